"""`read_table`: the columns and the target of a file, as they are before anything is learnt from them."""

import html
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from attrs import frozen
from torch import Tensor

from functional_mlp.spread import count
from functional_mlp.tables.files import ROW, File, open_file
from functional_mlp.tables.kinds import numbers_of, read_columns
from functional_mlp.tables.preparation import Preparation
from functional_mlp.tables.targets import Task, read_target

if TYPE_CHECKING:
    import polars

# Columns of these names number the rows of the table that they were cut from.
ROW_NAMES = ("rownames", "row.names", "__index_level_0__")
UNNAMED = "Unnamed: "


@frozen(eq=False, repr=False)
class Table:
    """A table as read.

    `columns` are the features as a polars DataFrame: numbers as Float64, words as String, dates as Datetime, null where
    a value is missing; `rows` the numbers of the rows in the file. With classes for a target, `labels` are their
    indices (n,) and `classes` their names; with quantities, `quantities` are (n,) of dtype float64. `notes` say in
    words what was taken for what and left out. `beside` are the columns that were asked for as they are.
    """

    path: Path
    columns: "polars.DataFrame"
    rows: "polars.Series"
    target: str | None
    labels: Tensor | None
    classes: tuple[str, ...]
    quantities: Tensor | None
    notes: tuple[str, ...]
    beside: "polars.DataFrame"

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        known = f" with {len(self.classes)} classes" if self.classes else ""
        target = "" if self.target is None else f", target {self.target!r}{known}"
        return f"<Table of {count(len(self), 'row')} and {count(len(self.features), 'feature')}{target}>"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>\n{self.columns._repr_html_()}"

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the columns that are features."""
        return tuple(self.columns.columns)

    @property
    def task(self) -> Literal["classification", "regression"] | None:
        """What there is to learn; `None` without a target."""
        if self.labels is not None:
            return "classification"
        return None if self.quantities is None else "regression"


def read_table(
    path: str | Path,
    target: str | None = None,
    *,
    task: Task = "auto",
    drop: Sequence[str] = (),
    keep: Sequence[str] = (),
    features: Sequence[str] | None = None,
    na: Sequence[str] = (),
    separator: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    preparation: Preparation | None = None,
    classes: Sequence[str] | None = None,
    beside: Sequence[str] = (),
) -> Table:
    """Read a table from a CSV or Parquet file with a header, as it is.

    Parameters
    ----------
    path
        A file .csv, .tsv, .txt, each perhaps packed as .gz, or .parquet.
    target
        The column to predict; without one the table has features only.
    task
        "classification": the classes are the distinct texts of the target, as they are written. "regression": the
        target is a quantity. "auto": a quantity where all its values are numbers, none begins with a 0 as codes do
        (007), and there are more than 20 distinct ones or more than half as many as rows; else classes.
    drop
        Columns that are no features.
    keep
        Columns that are features although they number the rows: those named `rownames` or without a name that hold
        distinct whole numbers, and those of 0…n−1 or 1…n in this order, are left out.
    features
        The columns that are features; by default all.
    na
        Texts that stand for a missing value, beside an empty cell, NA, N/A, NaN, ? and null.
    separator
        What is between two cells of a text file. Default: "," or what else makes columns of the header.
    decimal
        What is before the decimals of a number in a text file, "." or ",". Default: what its first lines tell.
    encoding
        That of a text file. Default: UTF-8, or what the byte order mark says.
    preparation
        Read what this `Preparation` takes, each column as what it was learned from.
    classes
        The classes that are known, in the order of their indices: rows of others are left out.
    beside
        Columns to keep as they are, whether they are features or not: names of the rows, say.

    Rows whose target is missing are left out, and lines of a text file with nothing in any of their cells. A row that
    ends before the header does is filled with missing values.

    Raises `FileNotFoundError`, `ImportError` where polars is not installed, or a `ValueError` that names the columns or
    the row: for a file that cannot be read or has no rows, an unknown column, a column of numbers with a few words in
    it, a value that is infinite, and a single class.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "table.csv"
    >>> _ = path.write_text("size,colour,code\\n1.5,red,007\\n2.5,,7\\nNA,red,7\\n0.5,blue,007\\n")
    >>> table = read_table(path, "code")
    >>> table.features, table.classes, table.labels
    (('size', 'colour'), ('007', '7'), tensor([0, 1, 1, 0]))
    """
    file = open_file(Path(path), separator=separator, decimal=decimal, encoding=encoding, na=na)
    if preparation is not None:
        features = preparation.columns
    beside = list(dict.fromkeys(beside))
    chosen = _chosen(file, target, drop, [*keep, *beside], features)
    known = {} if preparation is None else preparation.kinds
    columns, others = read_columns(file, chosen, known, [*([] if target is None else [target]), *beside])
    rows = others[ROW]
    if not len(rows):
        raise ValueError(f"{file.path} has no rows: a header and at least four rows are needed")
    notes = [*file.notes, *file.notes_on(others), *_other_decimals(file, columns.drop(known, strict=False))]
    if preparation is None and features is None:
        columns, said = _without_row_numbers(columns, keep)
        notes += said
    if target is None:
        return Table(file.path, columns, rows, None, None, (), None, tuple(notes), others.select(beside))
    found = read_target(file, others[target], rows, task, classes)
    columns, others = columns.filter(found.is_known), others.filter(found.is_known)
    notes += found.notes
    own = (target, found.labels, found.classes, found.quantities)
    return Table(file.path, columns, others[ROW], *own, tuple(notes), others.select(beside))


def _other_decimals(file: File, columns: "polars.DataFrame") -> Iterator[str]:
    """What is to be said of columns of words that are numbers with another decimal mark than the table's."""
    import polars

    mark, name = (",", "commas") if file.decimal == "." else (".", "points")
    for column in columns.select(polars.col(polars.String)):
        known = column.drop_nulls()
        if all(len(own) and not numbers_of(own, mark).null_count() for own in (known.head(1), known)):
            said = f"{column.name!r} is taken for words: its numbers have decimal {name}, {known[0]!r} the first; "
            yield said + f"give {mark!r} as the decimal mark to take them for numbers"


def _chosen(
    file: File, target: str | None, drop: Sequence[str], keep: Sequence[str], features: Sequence[str] | None
) -> list[str]:
    """The columns that are features. Raises `ValueError` that names those which are not there."""
    asked = [*([] if target is None else [target]), *drop, *keep, *(features or ())]
    unknown = [repr(name) for name in dict.fromkeys(asked) if name not in file.names]
    if unknown:
        known = ", ".join(map(repr, file.names))
        hint = "; name the separator, if it is another than ','" if len(file.names) == 1 else ""
        raise ValueError(f"{file.path}: there is no column {', '.join(unknown)}: the columns are {known}{hint}")
    if target is not None and features is not None and target in features:
        raise ValueError(f"{file.path}: column {target!r} is the target, and cannot be a feature: leave it out of them")
    chosen = [name for name in dict.fromkeys(features or file.names) if name != target and name not in drop]
    if not chosen:
        beside = "" if target is None else f" beside the target {target!r}"
        raise ValueError(f"{file.path}: a feature is needed{beside}, and no column is left for one")
    return chosen


def _without_row_numbers(columns: "polars.DataFrame", keep: Sequence[str]) -> tuple["polars.DataFrame", list[str]]:
    """The columns that do not number the rows, or all where each one does, and notes that say so."""
    numbering = [name for name in columns.columns if name not in keep and _numbers_rows(columns[name])]
    if not numbering:
        return columns, []
    names = ", ".join(map(repr, numbering))
    if len(numbering) == columns.width:
        return columns, [f"{names}: numbers of the rows, kept for there are no other features"]
    return columns.drop(numbering), [f"{names} left out: numbers of the rows, which tell nothing of new ones"]


def _numbers_rows(column: "polars.Series") -> bool:
    import polars

    if column.dtype != polars.Float64 or column.null_count() or len(column) < 2:
        return False
    is_named_so = column.name.lower() in ROW_NAMES or column.name.startswith(UNNAMED)
    if is_named_so and (column == column.round()).all() and column.n_unique() == len(column):
        return True
    first = column[0]
    return first in (0, 1) and bool((column == polars.Series(range(len(column)), dtype=polars.Float64) + first).all())
