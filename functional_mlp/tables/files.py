"""Files of tables, CSV and Parquet, as columns of cells: text without the blanks around it, null where one is missing.

Row numbers in messages are those of the file: in a text file the header is row 1, unless lines of comment stand before
it, in a Parquet file the first row of data is. Lines of text without anything in their cells are no rows.
"""

import contextlib
import csv
import functools
import io
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from functional_mlp.extras import installing
from functional_mlp.spread import count
from functional_mlp.tables.dialect import Dialect, content_of, decoded, dialect_of

if TYPE_CHECKING:
    import polars

MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "?", "null", "NULL")
"""The texts that stand for a missing value."""

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".parquet")
# No names of columns: these have no control characters at their ends.
ROW = "\0row"
HAS_END = "\0has end"


@frozen(eq=False)
class File:
    """A file that is yet to be read: `cells` has its columns, and in `ROW` the numbers of its rows.

    `HAS_END` is false where the last cell of a row is empty, as it is where the row has too few cells.
    """

    path: Path
    names: tuple[str, ...]
    cells: "polars.LazyFrame"
    decimal: str = "."
    notes: tuple[str, ...] = ()
    first: int = 1
    """The number of the first row."""
    check_rows: Callable[[], None] = lambda: None
    """Raises `ValueError` where it finds why the rows cannot be read, by names that the reader of the file lacks."""
    short_rows: Callable[[Sequence[int]], list[int]] = list
    """Of the numbers of rows whose last cell is empty those with fewer cells than the header."""

    def collect(self, *columns: Any) -> "polars.DataFrame":
        """Columns, or what is computed from them, for all rows; read piece by piece, so that text is not kept."""
        import polars

        try:
            return self.cells.select(*columns).collect(engine="streaming")
        except polars.exceptions.PolarsError as error:
            self.check_rows()
            raise _unreadable(self.path, error) from None

    def notes_on(self, read: "polars.DataFrame") -> Iterator[str]:
        """What is to be said of the rows, of which `ROW` and `HAS_END` have been read."""
        blank = read[ROW][-1] - self.first + 1 - len(read)
        if blank:
            yield f"{count(blank, 'blank line')} left out"
        without_end = read.filter(~read[HAS_END])[ROW].to_list()
        if without_end and (short := self.short_rows(without_end)):
            is_cut = ", and the file may be cut off in the last row" if short[-1] == read[ROW][-1] else ""
            yield (
                f"{count(len(short), 'row')} with fewer cells than the header, row {short[0]} the first: the others "
                f"are missing{is_cut}"
            )


def open_file(
    path: Path,
    *,
    separator: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    na: Sequence[str] = (),
) -> File:
    """The file at a path. Raises `OSError`, `ImportError` without polars, or `ValueError` for what is no table."""
    try:
        import polars
    except ImportError:
        raise ImportError(f"reading a table needs polars: {installing('table')}") from None
    _check_arguments(separator, decimal)
    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        raise ValueError(f"{path}: a table must be a file {', '.join(SUFFIXES)}, got {path.suffix or 'no suffix'!r}")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    if name.endswith(".parquet"):
        frame = _scan_parquet(path)
        names = tuple(frame.collect_schema())
        file = File(path, names, frame.with_row_index(ROW, 1).with_columns(polars.lit(True).alias(HAS_END)))
    else:
        file = _open_text(path, separator, decimal, encoding)
    words = [*MISSING, *na]
    text = polars.col(polars.String).str.strip_chars()
    numbers = polars.col(polars.Float32, polars.Float64)
    known = file.cells.with_columns(
        polars.when(text.is_in(words).not_()).then(text).name.keep(),
        polars.when(numbers.is_nan().not_()).then(numbers).name.keep(),
    )
    return evolve(file, cells=known)


def _open_text(path: Path, separator: str | None, decimal: str | None, encoding: str | None) -> File:
    import polars

    content = content_of(path, encoding)
    dialect = dialect_of(path, content, separator, decimal)
    try:
        frame = polars.scan_csv(
            path if content is None else content,
            has_header=False,
            skip_lines=dialect.skipped,
            separator=dialect.separator,
            infer_schema=False,
            schema=dict.fromkeys(dialect.names, polars.String),
            glob=False,
        )
        frame.collect_schema()
    except polars.exceptions.PolarsError as error:
        raise _unreadable(path, error) from None
    header = dialect.skipped + 1
    has_value = [polars.col(name).is_not_null() for name in dialect.names]
    rows = (
        frame.with_row_index(ROW, header)
        .filter(polars.col(ROW) > header, polars.any_horizontal(has_value))
        .with_columns(has_value[-1].alias(HAS_END))
    )
    check_rows = functools.partial(_check_rows, path, content, dialect)
    short_rows = functools.partial(_short_rows, path, content, dialect)
    return File(path, dialect.names, rows, dialect.decimal, dialect.notes, header + 1, check_rows, short_rows)


def _scan_parquet(path: Path) -> "polars.LazyFrame":
    import polars

    try:
        frame = polars.scan_parquet(path, glob=False)
        frame.collect_schema()
    except polars.exceptions.PolarsError as error:
        raise _unreadable(path, error) from None
    return frame


def _check_arguments(separator: str | None, decimal: str | None) -> None:
    if separator is not None and (len(separator) != 1 or ord(separator) > 127 or separator in '"\n\r'):
        raise ValueError(f"a separator is one character such as ';', got {separator!r}")
    if decimal not in (None, ".", ","):
        raise ValueError(f"a decimal mark is '.' or ',', got {decimal!r}")
    if decimal is not None and decimal == separator:
        raise ValueError(f"{separator!r} cannot be both the separator and the decimal mark: choose another")


def _unreadable(path: Path, error: Exception) -> ValueError:
    kind = "parquet" if path.suffix.lower() == ".parquet" else "csv"
    return ValueError(f"{path} cannot be read as a {kind} file: {str(error).strip().splitlines()[0]}")


def _check_rows(path: Path, content: bytes | None, dialect: Dialect) -> None:
    """Raise `ValueError` naming the first row with more cells than the header, or the last one if it has no end."""
    number, cells = 0, [""]
    for number, cells in _rows(path, content, dialect):
        if len(cells) > len(dialect.names):
            raise ValueError(
                f"{path} cannot be read as a csv file: row {number} has {len(cells)} cells, and the header "
                f"{len(dialect.names)}: put text with a separator into quotation marks, or correct the row"
            )
    text = decoded(path, path.read_bytes() if content is None else content)
    if text.count('"') % 2 and text.endswith(cells[-1]):
        raise ValueError(
            f"{path} cannot be read as a csv file: it ends within the quotation marks of row {number}, which has "
            f"{count(len(cells), 'cell')} up to there, and the header {len(dialect.names)}: the file may be cut off, "
            "or lack a quotation mark"
        )


def _short_rows(path: Path, content: bytes | None, dialect: Dialect, numbers: Sequence[int]) -> list[int]:
    """Of the numbers of rows those with fewer cells than the header."""
    asked, short, mark = set(numbers), [], dialect.separator.encode()
    with path.open("rb") if content is None else io.BytesIO(content) as lines:
        for number, line in enumerate(lines, 1):
            if b'"' in line:
                break
            if number in asked and line.count(mark) + 1 < len(dialect.names):
                short.append(number)
        else:  # without quotation marks a line is a row: this takes a tenth of the time of Python's reader
            return short
    rows = _rows(path, content, dialect)
    return [number for number, cells in rows if number in asked and len(cells) < len(dialect.names)]


def _rows(path: Path, content: bytes | None, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """The rows from the header on, with their numbers, up to one with a cell too long for Python's reader."""
    text = decoded(path, path.read_bytes() if content is None else content)
    lines = itertools.islice(io.StringIO(text, newline=""), dialect.skipped, None)
    with contextlib.suppress(csv.Error):
        yield from enumerate(csv.reader(lines, delimiter=dialect.separator), dialect.skipped + 1)
