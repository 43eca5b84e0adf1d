"""The options that choose the data, and the data: the paper's disk or a user's table."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from attrs import evolve, frozen
from cyclopts import Group, Parameter

import functional_mlp as fm
from functional_mlp.cli.description import DataDescription
from functional_mlp.cli.parsing import parse_names
from functional_mlp.cli.recipes import PAPER_RECIPE, QUANTITY_RECIPE, TABLE_RECIPE, Recipe
from functional_mlp.spread import count

if TYPE_CHECKING:
    import torch

    from functional_mlp.random import Key
    from functional_mlp.tables import SplitTable, Table

DISK_POINTS = 1000

DATA_GROUP = Group("Data", sort_key=1)
Names = Annotated[
    tuple[str, ...], Parameter(converter=parse_names, n_tokens=1, negative="", metavar="NAMES", show_default=False)
]


@frozen(eq=False)
class Samples:
    """Training, validation and test sets, what a model must know of them, and the recipe that suits them.

    `notes` are what is to be said of the table.
    """

    description: str
    training: fm.Dataset
    validation: fm.Dataset | None
    test: fm.Dataset | None
    about: DataDescription
    recipe: Recipe
    notes: tuple[str, ...] = ()

    @property
    def parts(self) -> dict[str, fm.Dataset]:
        """The parts that there are, by their names."""
        parts = {"training": self.training, "validation": self.validation, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}

    @functools.cached_property
    def digests(self) -> dict[str, str]:
        """What tells the samples of training and validation from all others."""
        from functional_mlp.checkpoint.settings import described  # not loaded for a help

        parts = {"training samples": self.training, "validation samples": self.validation}
        return {name: "none" if part is None else described(part) for name, part in parts.items()}

    @functools.cached_property
    def as_labels(self) -> Samples:
        """The same with class indices for targets, as `BinaryCrossEntropy` takes them for one output."""
        return self._with_parts(as_labels)

    def _with_parts(self, change: Callable[[fm.Dataset], fm.Dataset]) -> Samples:
        """The same with something done to each part."""
        training, validation, test = (
            None if part is None else change(part) for part in (self.training, self.validation, self.test)
        )
        assert training is not None
        return evolve(self, training=training, validation=validation, test=test)

    def balanced(self) -> Samples:
        """The same with the weights that give each class of a part the same sum."""
        if self.about.scale is not None:
            raise ValueError("--class-weights is of classes, and the target is a quantity: leave it out")
        return evolve(self._with_parts(_balanced), description=f"{self.description}, balanced class weights")


def as_labels(data: fm.Dataset) -> fm.Dataset:
    """Data with class indices for targets."""
    assert data.labels is not None
    return fm.Dataset(data.inputs, data.labels, data.weights)


def _balanced(data: fm.Dataset) -> fm.Dataset:
    assert data.labels is not None
    return fm.Dataset(data.inputs, data.targets, fm.datasets.balanced_weights(data.labels))


@Parameter(name="*", group=DATA_GROUP)
@frozen(kw_only=True)
class FormatOptions:
    """How a table is written."""

    na: Names = ()
    """Texts that stand for a missing value, beside an empty cell, NA, N/A, NaN, ? and null, joined by commas."""

    separator: Annotated[str | None, Parameter(metavar="CHARACTER")] = None
    """What separates the columns of a text file: "," or ";", say, or tab. Default: told by the first lines."""

    decimal: Annotated[Literal[".", ","] | None, Parameter(metavar="MARK")] = None
    """The decimal mark, "." or ",". Default: told by the first lines."""

    encoding: Annotated[str | None, Parameter(metavar="NAME")] = None
    """How a text file's letters are written: latin-1, say. Default: UTF-8, or what its byte order mark says."""

    def arguments(self) -> dict[str, Any]:
        """Those of `read_table`."""
        separator = "\t" if self.separator in ("tab", r"\t") else self.separator
        return {"na": self.na, "separator": separator, "decimal": self.decimal, "encoding": self.encoding}


@Parameter(name="*", group=DATA_GROUP)
@frozen(kw_only=True)
class SourceOptions:
    """Where the samples come from."""

    data: Annotated[Path | None, Parameter(metavar="FILE")] = None
    """A table with a header, .csv, .tsv, .csv.gz or .parquet: one column to predict, all others features. Numbers are
    standardized, missing ones filled with the median, words and dates made into numbers, by the training part. Without
    a table, the paper's data: points of the unit square, inside or outside of a disk, 1000 for training and 1000 for
    validation."""

    target: Annotated[str | None, Parameter(metavar="COLUMN")] = None
    """The table's column to predict."""

    task: Literal["auto", "classification", "regression"] = "auto"
    """Whether the target is a class or a quantity. auto: a quantity where all its values are numbers, none begins with
    a 0 as codes do, and more than 20, or more than half of them, are distinct."""

    features: Names = ()
    """The columns that are features, joined by commas. Default: all but the target."""

    drop: Names = ()
    """Columns to leave out, joined by commas."""

    keep: Names = ()
    """Columns to keep although they number the rows: such columns are left out, for they tell nothing of new rows."""

    validation_share: Annotated[float | None, Parameter(metavar="SHARE")] = None
    """Share of the table's rows that are kept for validation, from 0 to below 1. Default: 0.2."""

    written: FormatOptions = FormatOptions()

    def read(self) -> Table | None:
        """The table, `None` for the paper's data; raises `ValueError` or `OSError` as `read_table` does."""
        if self.data is None:
            if any(value is not None for value in self._of_a_table()):
                raise ValueError("--target, --validation-share and the like describe a table: name it with --data")
            return None
        if self.target is None:
            raise ValueError("--data needs --target COLUMN, the column to predict")
        if not 0 <= self.share < 1:
            raise ValueError(f"--validation-share must be a share from 0 to below 1, got {self.share}")
        return fm.tables.read_table(
            self.data,
            self.target,
            task=self.task,
            drop=self.drop,
            keep=self.keep,
            features=self.features or None,
            **self.written.arguments(),
        )

    def _of_a_table(self) -> tuple[object, ...]:
        """Options that say something only beside a table; None where they are not given."""
        return self.target, self.validation_share, self.features or None, self.drop or None

    @property
    def share(self) -> float:
        return 0.2 if self.validation_share is None else self.validation_share

    def load(self, key: Key, dtype: torch.dtype, device: torch.device) -> Samples:
        """Draw or read the data, and split it."""
        table = self.read()
        if table is None:
            return _disk(key, dtype, device)
        parts = fm.tables.split_table(table, key, validation_share=self.share, dtype=dtype, device=device)
        return samples_of(table, parts)


@Parameter(name="*", group=DATA_GROUP)
@frozen(kw_only=True)
class DataOptions(SourceOptions):
    """What to learn from, and what to measure it on."""

    class_weights: Annotated[Literal["balanced"] | None, Parameter(show_default=False)] = None
    """Let each class count the same, however many samples it has: in training, and in the losses and accuracies that
    are shown. Default: each sample counts the same."""

    test: Annotated[Path | None, Parameter(metavar="FILE")] = None
    """Another table of the same columns: what is learned is measured on it too, at the end."""

    def files(self) -> dict[str, Path | None]:
        """The files that are read, by the options that name them."""
        return {"--data": self.data, "--test": self.test}

    def _of_a_table(self) -> tuple[object, ...]:
        return (*super()._of_a_table(), self.test)

    def load(self, key: Key, dtype: torch.dtype, device: torch.device) -> Samples:
        return self.completed(super().load(key, dtype, device), dtype, device)

    def completed(self, samples: Samples, dtype: torch.dtype, device: torch.device) -> Samples:
        """The samples with those of --test and with weights, as far as they are asked for."""
        if self.test is not None:
            test, notes = labelled_rows(self.test, samples.about, self.written, dtype, device)
            samples = evolve(samples, test=test, notes=(*samples.notes, *notes))
        return samples if self.class_weights is None else samples.balanced()


def _disk(key: Key, dtype: torch.dtype, device: torch.device) -> Samples:
    training_key, validation_key = key.split()
    return Samples(
        description="the paper's disk in the unit square",
        training=fm.datasets.disk(training_key, DISK_POINTS, dtype=dtype, device=device),
        validation=fm.datasets.disk(validation_key, DISK_POINTS, dtype=dtype, device=device),
        test=None,
        about=DataDescription.of_disk(),
        recipe=PAPER_RECIPE,
    )


def samples_of(table: Table, parts: SplitTable) -> Samples:
    """The samples of a table that is split into parts."""
    assert table.target is not None
    kind = "classes from" if table.classes else "quantity"
    return Samples(
        description=f"{table.path}, {kind} {table.target!r}",
        training=parts.training,
        validation=parts.validation,
        test=None,
        about=DataDescription(table.target, table.classes, parts.target_scale, parts.preparation),
        recipe=TABLE_RECIPE if table.classes else QUANTITY_RECIPE,
        notes=(*table.notes, *parts.notes),
    )


def labelled_rows(
    path: Path,
    about: DataDescription,
    written: FormatOptions,
    dtype: torch.dtype,
    device: torch.device | str,
    target: str | None = None,
) -> tuple[fm.Dataset, tuple[str, ...]]:
    """The rows of another table whose target is known, as a data set, and notes about them.

    Parameters
    ----------
    path
        The file of the table.
    written
        How the table is written.
    about
        The data that the model has learned from.
    dtype
        That of the data set.
    device
        That of the data set.
    target
        The column of the targets, where it has another name than in those data.

    Rows of a class that is not known are left out. Raises `ValueError` as `read_table` does.
    """
    name = about.target if target is None else target
    task: Literal["classification", "regression"] = "classification" if about.scale is None else "regression"
    table = fm.tables.read_table(
        path,
        name,
        task=task,
        classes=about.classes or None,
        preparation=about.preparation,
        **written.arguments(),
    )
    data = fm.tables.dataset_of(table, about.preparation, about.scale, dtype=dtype, device=device)
    surprises = about.preparation.surprises(table.columns)
    return data, tuple(f"{path}: {note}" for note in (*table.notes, *surprises))


def describe(samples: Samples) -> str:
    """The data in a line: what they are, and how many features and classes they have."""
    about = samples.about
    columns, features = len(about.preparation.columns), len(about.preparation.features)
    size = (
        count(features, "feature")
        if columns == features
        else f"{count(columns, 'column')} as {count(features, 'feature')}"
    )
    classes = f", {len(about.classes)} classes" if about.classes else ""
    return f"{samples.description}: {size}{classes}"
