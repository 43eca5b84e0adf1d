"""The options that keep trained networks, and those networks as they are found again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from attrs import frozen
from cyclopts import Parameter

import functional_mlp as fm
from functional_mlp.cli import ranks
from functional_mlp.cli.description import DataDescription
from functional_mlp.cli.output import OUTPUT_GROUP
from functional_mlp.cli.scores import probabilities_of
from functional_mlp.cli.training import TrainingSettings

if TYPE_CHECKING:
    import polars
    import torch
    from torch import Tensor

    from functional_mlp.layers.base import Params

# The options that decide an argument of `fit`.
OPTIONS = {
    "network": "--hidden, --activation and --initializer",
    "key": "--seed",
    "loss": "--loss, --delta and --label-smoothing",
    "optimizer": "--optimizer, --learning-rate, --beta and --weight-decay",
    "data": "--data, --class-weights and --seed",
    "validation": "--validation-share, --class-weights and --seed",
    "batch_size": "--batch-size",
    "schedule": "--decay",
    "params": "--initializer",
    "early_stopping": "--early-stopping",
    "penalty": "--l1 and --l2",
    "shuffle": "fit(shuffle=...), which the command leaves out",
    "score": "fit(score=...), which the command leaves out",
    "orders": "functional-mlp --version",
    "code": "classes of your own, which the command leaves out",
}


@frozen(eq=False)
class Model:
    """A trained network, or several that answer together, as `train --out` saved them."""

    saved: fm.Saved
    about: DataDescription

    @classmethod
    def load(cls, path: Path) -> Model:
        """Raises `OSError`, or `CheckpointError` for a file that is none of `train --out`."""
        saved = fm.load(path)
        about = DataDescription.from_saved(path, saved)
        about.check_fits(path, saved)
        return cls(saved, about)

    @property
    def loss(self) -> fm.Loss:
        return self.saved.loss if self.saved.loss is not None else fm.MeanSquaredError()

    @property
    def members(self) -> list[Params]:
        """The parameters of each network: those of its best epoch, where early stopping has looked for one."""
        found = self.saved.members or (self.saved,)
        return [each.params if each.best is None else each.best.optimizer_state.params for each in found]

    @property
    def dtype(self) -> torch.dtype:
        """The kind of number that the network computes with."""
        dtype: torch.dtype = fm.pytree.leaves(self.saved.params)[0].dtype
        return dtype

    def probabilities(self, columns: polars.DataFrame) -> Tensor:
        """The probabilities (members, n, classes) of raw columns (see `probabilities_of`)."""
        return probabilities_of(self.saved.loss, self._outputs(columns))

    def quantities(self, columns: polars.DataFrame) -> Tensor:
        """The quantities (members, n) of raw columns, in the target's units."""
        assert self.about.scale is not None
        return self._outputs(columns).squeeze(2).double() * self.about.scale.std + self.about.scale.mean

    def export(self, path: Path) -> None:
        """Write the model as one of ONNX. Raises `ImportError` without the extra `onnx`, and `OSError`."""
        from functional_mlp.interop.export import write_model  # not loaded for a help

        about = self.about
        write_model(
            path,
            self.saved.network,
            self.members,
            preparation=about.preparation,
            classes=None if about.scale is not None else about.classes,
            loss=self.loss,
            scale=about.scale,
        )

    def _outputs(self, columns: polars.DataFrame) -> Tensor:
        import torch

        inputs = self.about.preparation.apply(columns, self.dtype)
        return torch.stack([fm.predict(self.saved.network, params, inputs) for params in self.members])


@Parameter(name="*", group=OUTPUT_GROUP)
@frozen(kw_only=True)
class ModelOptions:
    """Where to keep what is learnt."""

    out: Annotated[Path | None, Parameter(metavar="FILE.safetensors")] = None
    """Save the network into this file, while it trains and at the end, with all that `predict` and --resume need."""

    resume: Annotated[bool, Parameter(negative="", show_default=False)] = False
    """Go on with the training that --out holds, up to --epochs in all; start it where there is no file yet. A step
    size that falls to 0 over all epochs goes on from where it would be by now with this many."""

    with_changes: Annotated[bool, Parameter(negative="", show_default=False)] = False
    """With --resume: go on although options, or the data, are not those that the training was started with."""

    def checkpoint(self, about: DataDescription, settings: TrainingSettings) -> fm.Checkpoint | None:
        """The checkpoint of a run over some data; `ValueError` where it is not that of the file."""
        if self.out is None:
            if self.resume:
                raise ValueError("--resume goes on with the file of --out: name it")
            return None
        if self.out.exists():
            if not self.resume:
                raise ValueError(f"--out: {self.out} is there already: go on with it by --resume, or name another file")
            self._check_saved(fm.load(self.out), about, settings.epochs)
        from functional_mlp.checkpoint.settings import CHANGEABLE  # not loaded for a help

        # A step size that falls to 0 over all epochs has a longer way to fall where there are more of them.
        allow = CHANGEABLE if self.with_changes else ("schedule",) if settings.decay is None else ()
        return fm.Checkpoint(self.out, extra=about.to_json(), allow=allow)

    def _check_saved(self, saved: fm.Saved, about: DataDescription, epochs: int) -> None:
        """Raise `ValueError` where the training of a file cannot go on over such data, or up to `epochs`."""
        assert self.out is not None
        try:
            found = DataDescription.from_saved(self.out, saved)
        except fm.CheckpointError:
            found = None
        if found is None or (not _is_alike(found, about) if self.with_changes else found != about):
            raise fm.CheckpointError(
                self.out,
                "was trained on other data, or on another part of them: give the options that it was started with "
                "(--data, --target, those of columns, --validation-share, --seed), or name another file",
            )
        reached = max((each.state.epoch for each in saved.members or (saved,) if each.state is not None), default=0)
        if epochs < reached:
            raise ValueError(f"--epochs is the total, at least the {reached} that {self.out} has had, got {epochs}")

    @contextmanager
    def in_options(self) -> Iterator[None]:
        """Say in options what is said in arguments: how a training differs from that of the file, and what it keeps."""
        try:
            yield
        except fm.LostError as error:
            name = "FILE.safetensors" if self.out is None else self.out
            kept = f"with --out {name} and --resume the same command goes on from what is saved there"
            raise error.told_by("torchrun" if ranks.count() > 1 else "--cluster", kept) from error
        except fm.CheckpointError as error:
            if not error.differs:
                raise
            options = ", ".join(OPTIONS[name] for name in error.differs)
            reason = error.reason.split(": pass ")[0]
            advice = "give what it was started with, name another file, or, where this is meant, add --with-changes"
            raise ValueError(f"{self.out}: {reason} (see {options}): {advice}") from error


def _is_alike(one: DataDescription, other: DataDescription) -> bool:
    """Whether a network of one could go on with the other: the same features and classes, be their scales others."""
    features = one.preparation.features == other.preparation.features
    return features and one.classes == other.classes and (one.scale is None) == (other.scale is None)
