"""A report's two forms, block by block."""

from matplotlib.figure import Figure

from functional_mlp.experiments.document import (
    Heading,
    Paragraph,
    Picture,
    Points,
    Table,
    to_html,
    to_markdown,
)
from functional_mlp.plotting import to_bytes

PICTURE = Picture("curve", Figure(figsize=(1, 1)), "A curve.", "a curve of x < y")
BLOCKS = [
    Heading("Title", level=1),
    Paragraph("x < y in `code`"),
    Points(("one", "two")),
    Table(("", "a"), (("row", "1"),), "Numbers."),
    PICTURE,
]


def test_markdown_links_its_pictures():
    text = to_markdown(BLOCKS)
    assert text.startswith("# Title\n\nx < y in `code`\n\n- one\n- two\n\n|  | a |\n| --- | ---: |\n| row | 1 |\n")
    assert text.endswith("*Numbers.*\n\n![a curve of x < y](curve.png)\n\n*A curve.*\n")


def test_html_holds_its_pictures_and_escapes_its_text():
    page = to_html("Title", BLOCKS, {"curve": to_bytes(PICTURE.figure)})
    assert "<p>x &lt; y in <code>code</code></p>" in page
    assert "<li>one</li>" in page
    assert "<td>row</td><td>1</td>" in page
    assert '<img alt="a curve of x &lt; y" src="data:image/png;base64,' in page
