"""Training and validation parts of a table, prepared by the training part alone."""

import html
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from attrs import frozen
from torch import Tensor

from functional_mlp import checks, random
from functional_mlp.datasets import Dataset
from functional_mlp.random import Key
from functional_mlp.tables.columns import Scale
from functional_mlp.tables.preparation import Preparation
from functional_mlp.tables.reading import Table
from functional_mlp.targets import one_hot

if TYPE_CHECKING:
    import polars


@frozen(eq=False, repr=False)
class SplitTable:
    """A training and a validation part, both prepared by the training part.

    Targets are one-hot for classes, and (n, 1), standardized by `target_scale`, for quantities.
    """

    training: Dataset
    validation: Dataset | None
    preparation: Preparation
    classes: tuple[str, ...]
    target_scale: Scale | None
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        validation = 0 if self.validation is None else len(self.validation)
        return f"<SplitTable of {len(self.training)} training and {validation} validation rows: {self.preparation!r}>"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>\n{self.training._repr_html_()}"


def split_table(
    table: Table,
    key: Key,
    *,
    validation_share: float = 0.2,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> SplitTable:
    """Split a table at random into training and validation rows, and prepare both by the training rows.

    Each class is split by itself, so that both parts hold each; one that is seen once is in the training part. With a
    share of 0 there is no validation part.
    """
    strata = torch.zeros(len(table), dtype=torch.int64) if table.labels is None else table.labels
    training, validation = stratified_split(key, strata, validation_share)
    return parts_of(table, training, validation, dtype=dtype, device=device)


def parts_of(
    table: Table,
    training: Tensor,
    validation: Tensor,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> SplitTable:
    """The parts of a table that are its rows of two lists of indices."""
    if table.task is None:
        raise ValueError(f"{table.path}: there is nothing to learn without a target: name its column")
    columns = table.columns[training.numpy()]
    preparation = Preparation.learn(columns)
    scale = None
    if table.quantities is not None:
        scale = Scale.learn(table.quantities[training].numpy())
        if scale is None:
            raise ValueError(
                f"{table.path}: the target {table.target!r} is {table.quantities[training[0]].item():g} in all rows "
                "of the training part: there is nothing to learn"
            )

    def part(rows: Tensor) -> Dataset:
        raw = columns if rows is training else table.columns[rows.numpy()]
        return _dataset(table, raw, rows, preparation, scale, dtype, device)

    notes = [f"{each.name!r} left out: {each.reason}" for each in preparation.left_out]
    if table.labels is not None and len(validation):
        once = [table.classes[label] for label, rows in enumerate(table.labels.bincount().tolist()) if rows == 1]
        if once:
            notes.append(f"seen once, and so in the training part alone: {', '.join(map(repr, once))}")
    return SplitTable(
        part(training), part(validation) if len(validation) else None, preparation, table.classes, scale, tuple(notes)
    )


def dataset_of(
    table: Table,
    preparation: Preparation,
    scale: Scale | None,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Dataset:
    """A table as a data set: with one-hot classes, or with quantities in units of a scale."""
    return _dataset(table, table.columns, torch.arange(len(table)), preparation, scale, dtype, device)


def _dataset(
    table: Table,
    columns: "polars.DataFrame",
    rows: Tensor,
    preparation: Preparation,
    scale: Scale | None,
    dtype: torch.dtype,
    device: torch.device | str | None,
) -> Dataset:
    """The data set of some rows of a table.

    Parameters
    ----------
    table
        The table.
    rows
        Which of its rows.
    columns
        The columns of these rows.
    preparation
        What makes numbers of the columns.
    scale
        What makes numbers of a quantity to be predicted, if one is.
    dtype
        That of the data set.
    device
        That of the data set.
    """
    inputs = preparation.apply(columns, dtype)
    if table.labels is not None:
        targets = one_hot(table.labels[rows], len(table.classes), dtype)
    else:
        assert table.quantities is not None
        assert scale is not None
        targets = torch.from_numpy(scale.apply(table.quantities[rows].numpy()))[:, None].to(dtype)
    return Dataset(inputs.to(device), targets.to(device))


def stratified_split(key: Key, labels: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """The rows of two parts, sorted, the second with the given share of each class.

    Each part has at least one row of each class, unless the share is 0 or the class has a single row, which is in the
    first part.

    >>> rows, others = stratified_split(random.key(0), torch.tensor([0, 0, 0, 0, 1, 1]), 0.25)
    >>> len(rows), len(others)
    (4, 2)
    """
    checks.number("validation share", share, low=0.0, high=1.0, open_high=True)
    firsts, seconds = [], []
    for rows in _shuffled_classes(key, labels):
        count = min(max(round(share * len(rows)), 1), len(rows) - 1) if share > 0 else 0
        firsts.append(rows[count:])
        seconds.append(rows[:count])
    return torch.cat(firsts).sort().values, torch.cat(seconds).sort().values


def stratified_folds(key: Key, labels: Tensor, folds: checks.Integer) -> list[tuple[Tensor, Tensor]]:
    """The rows of `folds` pairs of parts: each row is in the second part of one pair, and in the first of all others.

    The second parts have equal shares of each class, up to a row. The row of a class that is seen once is in all first
    parts, for it could not be learned otherwise.

    >>> parts = stratified_folds(random.key(0), torch.tensor([0, 0, 0, 0, 1, 1]), 2)
    >>> [len(others) for rows, others in parts]
    [3, 3]
    """
    folds = checks.integer("folds", folds, minimum=2)
    classes = list(_shuffled_classes(key, labels))
    # Dealt like cards, class after class, so that the folds are of equal sizes too.
    dealt = torch.cat([torch.empty(0, dtype=torch.int64), *(rows for rows in classes if len(rows) > 1)])
    if folds > len(dealt):
        raise ValueError(f"{folds} folds need {folds} rows of classes that are seen more than once, got {len(dealt)}")
    once = [rows for rows in classes if len(rows) == 1]
    parts = [dealt[fold::folds].sort().values for fold in range(folds)]
    return [(torch.cat([*once, *(other for other in parts if other is not own)]).sort().values, own) for own in parts]


def _shuffled_classes(key: Key, labels: Tensor) -> Iterator[Tensor]:
    """The rows of each class, in a random order."""
    for label in labels.unique().tolist():
        rows = (labels == label).nonzero().squeeze(1)
        yield rows[random.permutation(key.fold_in(label), len(rows))]
