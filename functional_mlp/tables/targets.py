"""The column that is to be predicted: classes, or quantities."""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from attrs import frozen
from torch import Tensor

from functional_mlp.spread import count
from functional_mlp.tables.files import File
from functional_mlp.tables.kinds import as_known, numbers_of, words

if TYPE_CHECKING:
    import polars

Task = Literal["auto", "classification", "regression"]

# A column of numbers with more distinct ones is taken for a quantity.
MOST_CLASSES = 20


@frozen(eq=False)
class Target:
    """A target as read; `is_known` says which rows of the file have one, and `notes` what is to be said of it."""

    is_known: "polars.Series"
    labels: Tensor | None
    classes: tuple[str, ...]
    quantities: Tensor | None
    notes: tuple[str, ...]


def read_target(
    file: File, column: "polars.Series", rows: "polars.Series", task: Task, classes: Sequence[str] | None
) -> Target:
    """The target in a column, whose rows have these numbers; those of none of the classes, if given, are left out."""
    name = column.name
    if column.dtype.is_nested() or column.dtype.is_temporal():
        raise ValueError(f"{file.path}: the target {name!r} must hold words or numbers, got {column.dtype}")
    column = words(column)
    known, notes = column.is_not_null(), []
    if column.null_count():
        notes.append(f"{count(column.null_count(), 'row')} without a value of {name!r} left out")
    if classes is not None:
        column = as_known(column, classes)
        unknown = column.filter(known & ~column.is_in(classes).fill_null(False))
        if len(unknown):
            notes.append(f"{count(len(unknown), 'row')} of unknown classes left out, {unknown[0]!r} the first")
        known = column.is_in(classes).fill_null(False)
    rows, column = rows.filter(known), column.filter(known)
    if not len(column):
        raise ValueError(f"{file.path}: column {name!r} has no value{' of a known class' if classes else ''}")
    if task == "auto":
        task = task_of(file, column)
        if task == "regression":
            notes.append(f"{name!r} is taken for a quantity: it has {column.n_unique()} distinct numbers")
    if task == "regression":
        return Target(known, None, (), quantities_of(file, column, rows), tuple(notes))
    chosen = classes_of(file.path, column) if classes is None else tuple(classes)
    return Target(known, indices_of(column, chosen), chosen, None, tuple(notes))


def task_of(file: File, column: "polars.Series") -> Literal["classification", "regression"]:
    """What a target is taken for where nobody says it.

    It is a quantity where all its values are numbers, none of them begins with a 0 as codes do (007), and there are
    more than 20 distinct ones, or more than half as many as there are rows. Otherwise it is a class.
    """
    values = column.drop_nulls()
    figures = numbers_of(values, file.decimal)
    if figures.null_count() or not figures.is_finite().all() or values.str.contains(r"^[+-]?0\d").any():
        return "classification"
    distinct = figures.n_unique()
    return "regression" if distinct > MOST_CLASSES or 2 * distinct > len(values) else "classification"


def classes_of(path: Path, column: "polars.Series") -> tuple[str, ...]:
    """The distinct texts of a column without nulls, ordered by number where all are numbers, or else by the alphabet.

    Raises `ValueError` where there is one only.
    """
    names = column.unique().to_list()
    try:
        names.sort(key=lambda text: (Decimal(text), text))
    except InvalidOperation:
        names.sort()
    if len(names) < 2:
        raise ValueError(
            f"{path}: column {column.name!r} holds one class only, {names[0]!r}: a classifier needs at least two"
        )
    return tuple(names)


def indices_of(column: "polars.Series", classes: Sequence[str]) -> Tensor:
    """The index (n,), of dtype int64, that each text has among the classes."""
    import polars

    own = polars.DataFrame({"class": polars.Series(classes, dtype=polars.String), "index": range(len(classes))})
    found = column.alias("class").to_frame().join(own, on="class", how="left", maintain_order="left")["index"]
    return torch.tensor(found.cast(polars.Int64).to_numpy(writable=True))


def quantities_of(file: File, column: "polars.Series", rows: "polars.Series") -> Tensor:
    """The numbers (n,), of dtype float64, of texts. Raises `ValueError` for what is no finite number."""
    figures = numbers_of(column, file.decimal)
    wrong = figures.is_null() | ~figures.is_finite()
    if wrong.any():
        cell, row = column.filter(wrong)[0], rows.filter(wrong)[0]
        raise ValueError(
            f"{file.path}: column {column.name!r} must hold finite numbers to be a quantity, got {cell!r} in row "
            f"{row}: correct it, or learn it as classes"
        )
    return torch.from_numpy(figures.to_numpy(writable=True))
