"""The options that choose the data, and the data: the paper's disk or a user's table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from attrs import evolve, frozen
from cyclopts import Group, Parameter

import functional_mlp as fm
from functional_mlp.cli.training import PAPER_RECIPE, TABLE_RECIPE, Recipe

if TYPE_CHECKING:
    import torch

    from functional_mlp.random import Key
    from functional_mlp.tables import Standardization

DISK_POINTS = 1000


@frozen(eq=False)
class ClassificationData:
    """Training and validation sets with the names of their features and classes, and the recipe that suits them."""

    description: str
    training: fm.Dataset
    validation: fm.Dataset | None
    features: tuple[str, ...]
    classes: tuple[str, ...]
    recipe: Recipe
    standardization: Standardization | None = None

    def balanced(self) -> ClassificationData:
        """The same with the weights that give each class of a part the same sum."""
        validation = None if self.validation is None else _balanced(self.validation)
        description = f"{self.description}, balanced class weights"
        return evolve(self, description=description, training=_balanced(self.training), validation=validation)


def _balanced(data: fm.Dataset) -> fm.Dataset:
    assert data.labels is not None  # both kinds of data have classes
    return fm.Dataset(data.inputs, data.targets, fm.datasets.balanced_weights(data.labels))


@Parameter(name="*", group=Group("Data", sort_key=1))
@frozen(kw_only=True)
class DataOptions:
    """What to learn from."""

    data: Annotated[Path | None, Parameter(metavar="FILE")] = None
    """A table with a header, .csv or .parquet: one column of classes, all others numbers. They are standardized
    with the mean and deviation of the training part. Without a table, the paper's data: points of the unit square,
    inside or outside of a disk, 1000 for training and 1000 for validation."""

    target: Annotated[str | None, Parameter(metavar="COLUMN")] = None
    """The table's column of classes, numbers or words."""

    validation_share: Annotated[float | None, Parameter(metavar="SHARE")] = None
    """Share of the table's rows that are kept for validation, from 0 to below 1. Default: 0.2."""

    class_weights: Annotated[Literal["balanced"] | None, Parameter(show_default=False)] = None
    """Let each class count the same, however many samples it has: in training, and in the losses and accuracies that
    are shown. Default: each sample counts the same."""

    def load(self, key: Key, dtype: torch.dtype, device: torch.device) -> ClassificationData:
        """Draw or read the data; raises `ValueError` or `OSError` as `read_table` does."""
        samples = self._table(self.data, key, dtype, device) if self.data else self._disk(key, dtype, device)
        return samples if self.class_weights is None else samples.balanced()

    def _disk(self, key: Key, dtype: torch.dtype, device: torch.device) -> ClassificationData:
        if self.target is not None or self.validation_share is not None:
            raise ValueError("--target and --validation-share describe a table: name it with --data")
        training_key, validation_key = key.split()
        return ClassificationData(
            description="the paper's disk in the unit square",
            training=fm.datasets.disk(training_key, DISK_POINTS, dtype=dtype, device=device),
            validation=fm.datasets.disk(validation_key, DISK_POINTS, dtype=dtype, device=device),
            features=("x₁", "x₂"),
            classes=("outside", "inside"),
            recipe=PAPER_RECIPE,
        )

    def _table(self, path: Path, key: Key, dtype: torch.dtype, device: torch.device) -> ClassificationData:
        if self.target is None:
            raise ValueError("--data needs --target COLUMN, the column of the classes")
        share = 0.2 if self.validation_share is None else self.validation_share
        table = fm.tables.read_table(path, self.target)
        parts = fm.tables.split_table(table, key, validation_share=share, dtype=dtype, device=device)
        return ClassificationData(
            description=f"{path}, classes from {self.target!r}",
            training=parts.training,
            validation=parts.validation,
            features=tuple(f"{name} (standardized)" for name in table.features),
            classes=parts.classes,
            recipe=TABLE_RECIPE,
            standardization=parts.standardization,
        )
