"""How a text file of a table is written: its encoding, its separator, its decimal mark, and where its header is."""

import codecs
import csv
import gzip
import io
import re
from collections import Counter
from pathlib import Path

from attrs import frozen

# What is looked at to tell how a file is written.
HEAD = 1 << 16
SEPARATORS = (",", ";", "\t", "|")
NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_GZIP = b"\x1f\x8b"
_POINT = re.compile(r"[+-]?\d*\.\d+(e[+-]?\d+)?", re.IGNORECASE)
_COMMA = re.compile(r"[+-]?\d*,\d+(e[+-]?\d+)?", re.IGNORECASE)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")


@frozen
class Dialect:
    """How a text file is written; `names` are the columns', `skipped` the lines of comment before the header."""

    separator: str
    decimal: str
    names: tuple[str, ...]
    skipped: int
    notes: tuple[str, ...]


def content_of(path: Path, encoding: str | None) -> bytes | None:
    r"""The content of a file as UTF-8, or `None` where the file itself is what can be read, and need not be read here.

    Files that gzip has packed are known by their first bytes, and encodings by their byte order mark. Lines that end
    with `\r` alone end with `\n` in the content. Raises `ValueError` for bytes that are none of the encoding.
    """
    with open(path, "rb") as file:
        start = file.read(HEAD)
    packed = start.startswith(_GZIP)
    if packed:
        try:
            with gzip.open(path) as file:
                content = file.read()
        except (OSError, EOFError) as error:
            raise ValueError(f"{path} cannot be read as a gzip file: {error}") from None
        start = content[:HEAD]
    marked = next((name for mark, name in _MARKS if start.startswith(mark)), None)
    chosen = encoding or marked or "utf-8"
    if chosen.lower() in ("utf-8", "utf8", "utf-8-sig"):
        if _has_returns(start):
            return _with_line_feeds(content if packed else path.read_bytes())
        return content if packed else None
    try:
        content = (content if packed else path.read_bytes()).decode(chosen).encode()
    except LookupError:
        raise ValueError(f"{path}: there is no encoding {encoding!r}: choose utf-8, latin-1 or utf-16, say") from None
    except UnicodeError as error:
        raise ValueError(f"{path} cannot be read as {chosen}: {error}: name its encoding") from None
    return _with_line_feeds(content) if _has_returns(content[:HEAD]) else content


def decoded(path: Path, content: bytes) -> str:
    """The text of bytes of a file. Raises `ValueError` with the line that is not UTF-8."""
    try:
        return content.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path} cannot be read as a csv file: it is not UTF-8: line {line} has the byte 0x"
            f"{error.object[error.start]:02x}: name its encoding"
        ) from None


def _has_returns(start: bytes) -> bool:
    return b"\r" in start and b"\n" not in start


def _with_line_feeds(content: bytes) -> bytes:
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def dialect_of(path: Path, content: bytes | None, separator: str | None, decimal: str | None) -> Dialect:
    """How a file is written, from its first lines, where it is not said.

    Raises `ValueError` for a file without a line, for lines that are none of a table, and for a column without a name
    of its own.
    """
    try:
        return _dialect_of(path, _head(path, content), separator, decimal)
    except csv.Error as error:
        raise ValueError(f"{path} cannot be read as a csv file: {error}") from None


def _dialect_of(path: Path, lines: list[str], separator: str | None, decimal: str | None) -> Dialect:
    skipped, notes = _comments(lines), []
    chosen = separator or _separator(path, lines[skipped:])
    if separator is None and chosen != ("\t" if _is_tsv(path) else ","):
        notes.append(f"columns are separated by {NAMES[chosen]}")
    rows = list(csv.reader(io.StringIO("".join(lines[skipped:])), delimiter=chosen))
    if decimal is None:
        decimal = "," if _has_decimal_commas(rows[1:]) else "."
        if decimal == ",":
            notes.append("numbers have decimal commas")
    return Dialect(chosen, decimal, _header(path, rows[0]), skipped, tuple(notes))


def _head(path: Path, content: bytes | None) -> list[str]:
    """The first lines, whole ones."""
    if content is None:
        with open(path, "rb") as file:
            head = file.read(HEAD)
            while head and b"\n" not in head and (more := file.read(HEAD)):
                head += more
    else:
        head = content[: max(HEAD, content.find(b"\n") + 1)]
    complete = head[: head.rfind(b"\n") + 1] if len(head) >= HEAD else head
    text = decoded(path, complete)
    if not text.strip():
        raise ValueError(f"{path} is empty: a header and at least four rows are needed")
    return text.splitlines(keepends=True)


def _comments(lines: list[str]) -> int:
    """How many lines before the header are blank, or begin with `#` and have another number of cells than the table."""
    first = next((index for index, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    marked = [index for index in range(first) if lines[index].startswith("#")]
    if marked and (first == len(lines) or _has_as_many_cells(lines[marked[-1]], lines[first])):
        return marked[-1]  # a header whose first name begins so
    return first


def _has_as_many_cells(line: str, other: str) -> bool:
    return any(line.count(mark) == other.count(mark) > 0 for mark in SEPARATORS)


def _is_tsv(path: Path) -> bool:
    return ".tsv" in (suffix.lower() for suffix in path.suffixes)


def _separator(path: Path, lines: list[str]) -> str:
    """The mark that makes the most columns, as many in each row; the one of the file's suffix where none does so."""
    usual = "\t" if _is_tsv(path) else ","
    columns = {}
    for mark in (usual, *SEPARATORS):
        sizes = {len(row) for row in csv.reader(lines[:20], delimiter=mark) if row}
        columns[mark] = sizes.pop() if len(sizes) == 1 else 1
    return max(columns, key=lambda mark: columns[mark])


def _has_decimal_commas(rows: list[list[str]]) -> bool:
    """Whether some cells are numbers with one comma, none has a decimal point, and commas do not part thousands."""
    cells = [cell.strip() for row in rows for cell in row]
    with_comma = [cell for cell in cells if _COMMA.fullmatch(cell)]
    has_points = any(_POINT.fullmatch(cell) for cell in cells)
    return bool(with_comma) and not has_points and not all(_THOUSANDS.fullmatch(cell) for cell in with_comma)


def _header(path: Path, cells: list[str]) -> tuple[str, ...]:
    """The names of the columns, without the blanks around them; one without a name is `Unnamed: 0`, by its place."""
    names = tuple(cell.strip() or f"Unnamed: {index}" for index, cell in enumerate(cells))
    twice = [repr(name) for name, times in Counter(names).items() if times > 1]
    if twice:
        raise ValueError(f"{path}: two columns are named {', '.join(twice)}: give each a name of its own")
    return names
