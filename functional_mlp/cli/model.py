"""The options that keep a trained network, and what travels with it: the names and the scale of its data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import cattrs
from attrs import frozen
from cyclopts import Group, Parameter

import functional_mlp as fm
from functional_mlp.cli.data import ClassificationData

if TYPE_CHECKING:
    from torch import Tensor

# The options that decide an argument of `fit`.
OPTIONS = {
    "network": "--hidden, --activation and --initializer",
    "key": "--seed",
    "loss": "--loss and --label-smoothing",
    "optimizer": "--optimizer, --learning-rate, --beta and --weight-decay",
    "data": "--data, --class-weights and --seed",
    "validation": "--validation-share, --class-weights and --seed",
    "batch_size": "--batch-size",
    "schedule": "--decay",
    "params": "--initializer",
    "early_stopping": "--early-stopping",
    "penalty": "--l2",
    "score": "fit(score=...), which the command leaves out",
}


@frozen
class DataDescription:
    """What a classifier must know of the data that it learnt from."""

    features: tuple[str, ...]
    classes: tuple[str, ...]
    standardization: fm.tables.Standardization | None

    @classmethod
    def of(cls, data: ClassificationData) -> DataDescription:
        features = ("x1", "x2") if data.standardization is None else data.standardization.features
        return cls(features, data.classes, data.standardization)

    def standardize(self, values: Tensor) -> Tensor:
        """Values (n, features) of a table as the network takes them."""
        return values if self.standardization is None else self.standardization.apply(values)

    def to_json(self) -> Any:
        return {"data": cattrs.unstructure(self)}


@frozen(eq=False)
class Model:
    """A trained classifier, as `train --out` saved it."""

    saved: fm.Saved
    data: DataDescription

    @classmethod
    def load(cls, path: Path) -> Model:
        """Raises `OSError`, or `CheckpointError` for a file that is none of `train --out`."""
        saved = fm.load(path)
        try:
            converter = cattrs.Converter(forbid_extra_keys=True)
            data = converter.structure(saved.extra["data"], DataDescription)
        except (TypeError, KeyError, cattrs.BaseValidationError):
            reason = "does not say what its features and classes are: make it with functional-mlp train --out"
            raise fm.CheckpointError(path, reason) from None
        sizes = (saved.network.in_features, saved.network.out_features)
        if sizes != (len(data.features), len(data.classes)):
            raise fm.CheckpointError(path, f"names other features and classes than its network has, {sizes}")
        return cls(saved, data)

    def probabilities(self, path: Path) -> Tensor:
        """The probabilities (n, classes) of a table's rows.

        They are the softmax of the outputs where the network has learnt with the cross-entropy. With the mean squared
        error the outputs themselves estimate them, and are made to lie between 0 and 1 with the sum 1.
        """
        inputs = self.data.standardize(fm.tables.read_features(path, self.data.features))
        best = self.saved.best
        params = self.saved.params if best is None else best.optimizer_state.params
        leaves = fm.pytree.leaves(params)
        outputs = fm.predict(self.saved.network, params, inputs.to(leaves[0].dtype)).cpu().double()
        if isinstance(self.saved.loss, fm.CrossEntropy):
            return outputs.softmax(1)
        shares = outputs.clamp(1e-12, 1)
        return shares / shares.sum(1, keepdim=True)


@Parameter(name="*", group=Group("Output", sort_key=4))
@frozen(kw_only=True)
class ModelOptions:
    """Where to keep what is learnt."""

    out: Annotated[Path | None, Parameter(metavar="FILE.safetensors")] = None
    """Save the network into this file, while it trains and at the end, with all that `predict` and --resume need."""

    resume: Annotated[bool, Parameter(negative="", show_default=False)] = False
    """Go on with the training that --out holds, up to --epochs in all; start it where there is no file yet."""

    with_changes: Annotated[bool, Parameter(negative="", show_default=False)] = False
    """With --resume: go on although options, or the data, are not those that the training was started with."""

    def checkpoint(self, data: ClassificationData, epochs: int) -> fm.Checkpoint | None:
        """The checkpoint of a run over some data, up to some epochs; `ValueError` where it is not that of the file."""
        if self.out is None:
            if self.resume:
                raise ValueError("--resume goes on with the file of --out: name it")
            return None
        description = DataDescription.of(data)
        if self.out.exists():
            if not self.resume:
                raise ValueError(f"--out: {self.out} is there already: go on with it by --resume, or name another file")
            self._check_saved(fm.load(self.out), description, epochs)
        from functional_mlp.checkpoint.settings import CHANGEABLE  # not loaded for a help

        allow = tuple(CHANGEABLE) if self.with_changes else ()
        return fm.Checkpoint(self.out, extra=description.to_json(), allow=allow)

    def _check_saved(self, saved: fm.Saved, description: DataDescription, epochs: int) -> None:
        """Raise `ValueError` where the training of a file cannot go on over such data, or up to `epochs`."""
        assert self.out is not None
        known = description.to_json()["data"]
        found = saved.extra["data"] if isinstance(saved.extra, dict) and "data" in saved.extra else {}
        asked = ("features", "classes") if self.with_changes else known
        if any(found.get(name) != known[name] for name in asked):
            raise fm.CheckpointError(self.out, "was trained on other data: name those, or another file")
        if saved.state is not None and epochs < saved.state.epoch:
            raise ValueError(
                f"--epochs is the total, at least the {saved.state.epoch} that {self.out} has had, got {epochs}"
            )

    @contextmanager
    def in_options(self) -> Iterator[None]:
        """Say in options what a checkpoint says in arguments: how a training differs from that of the file."""
        try:
            yield
        except fm.CheckpointError as error:
            if not error.differs:
                raise
            options = ", ".join(OPTIONS[name] for name in error.differs)
            reason = error.reason.split(": pass ")[0]
            advice = "give what it was started with, name another file, or, where this is meant, add --with-changes"
            raise ValueError(f"{self.out}: {reason} (see {options}): {advice}") from error
