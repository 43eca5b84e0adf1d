"""A report as a list of blocks, and its two forms: Markdown beside its figures, and one self-contained HTML page."""

import base64
import html
import re
from collections.abc import Sequence

import attrs
from matplotlib.figure import Figure

STYLE = """
body { max-width: 52rem; margin: 2.5rem auto; padding: 0 1rem; font: 1rem/1.55 Georgia, serif; color: #1a1a1a;
       background: #fff }
h1, h2 { font-family: system-ui, sans-serif; line-height: 1.25 }
h2 { margin-top: 2.8rem; border-top: 1px solid #ccc; padding-top: 1.2rem; font-size: 1.3rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; font: .875rem/1.5 system-ui, sans-serif; margin: 1rem 0 }
.table p, figcaption { color: #444; font: .875rem/1.45 system-ui, sans-serif }
th, td { padding: .25rem .8rem .25rem 0; text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
th:first-child, td:first-child { text-align: left }
thead { border-top: 1.5px solid; border-bottom: 1px solid }
tbody { border-bottom: 1.5px solid }
figure { margin: 1.4rem 0 } img { max-width: 100%; height: auto }
"""


@attrs.frozen
class Heading:
    text: str
    level: int = 2


@attrs.frozen
class Paragraph:
    """Running text, with code in backquotes."""

    text: str


@attrs.frozen
class Points:
    """A list of statements."""

    items: tuple[str, ...]


@attrs.frozen
class Table:
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str


@attrs.frozen(eq=False)
class Picture:
    """A figure and its caption; `name` is that of its file, `description` says in words what is drawn."""

    name: str
    figure: Figure
    caption: str
    description: str


Block = Heading | Paragraph | Points | Table | Picture


def to_markdown(blocks: Sequence[Block]) -> str:
    """The report with its pictures as links to `NAME.png` beside it."""
    return "\n\n".join(map(_markdown, blocks)) + "\n"


def to_html(title: str, blocks: Sequence[Block], images: dict[str, bytes]) -> str:
    """The report as one page with nothing outside of it; `images` are the PNG files of the pictures by name."""
    body = "\n".join(_html(block, images) for block in blocks)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {text}"
        case Paragraph(text):
            return text
        case Points(items):
            return "\n".join(f"- {item}" for item in items)
        case Table(header, rows, caption):
            alignment = ("---", *["---:"] * (len(header) - 1))
            lines = [header, alignment, *rows]
            return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n*{caption}*"
        case Picture(name, _, caption, description):
            return f"![{description}]({name}.png)\n\n*{caption}*"


def _html(block: Block, images: dict[str, bytes]) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{_inline(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{_inline(text)}</p>"
        case Points(items):
            return "<ul>\n" + "\n".join(f"<li>{_inline(item)}</li>" for item in items) + "\n</ul>"
        case Table(header, rows, caption):
            head = "".join(f"<th>{_inline(cell)}</th>" for cell in header)
            body = "\n".join("<tr>" + "".join(f"<td>{_inline(cell)}</td>" for cell in row) + "</tr>" for row in rows)
            return (
                f'<div class="table"><div class="wide"><table>\n'
                f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>\n"
                f"<p>{_inline(caption)}</p></div>"
            )
        case Picture(name, _, caption, description):
            data = base64.b64encode(images[name]).decode("ascii")
            return (
                f'<figure><img alt="{html.escape(description)}" src="data:image/png;base64,{data}">'
                f"<figcaption>{_inline(caption)}</figcaption></figure>"
            )


def _inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))
