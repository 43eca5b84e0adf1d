"""A run of training as the options ask for it: what is trained, on what, and how."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from attrs import asdict, frozen
from rich.console import Console

import functional_mlp as fm
from functional_mlp.cli import ranks
from functional_mlp.cli.data import Samples, describe
from functional_mlp.cli.network import NetworkOptions, NetworkSettings
from functional_mlp.cli.progress import training_display
from functional_mlp.cli.terminal import plain_warnings
from functional_mlp.cli.training import RuleOptions, TrainingOptions, TrainingSettings
from functional_mlp.cli.wording import in_options
from functional_mlp.interrupts import one_interrupt

if TYPE_CHECKING:
    from functional_mlp.random import Key


@frozen(eq=False)
class Run:
    """The samples and the network of a run, with the values that its settings stand for."""

    samples: Samples
    shape: NetworkSettings
    network: fm.Sequential
    training: TrainingOptions
    settings: TrainingSettings
    loss: fm.Loss
    optimizer: fm.Optimizer
    schedule: fm.schedules.Schedule
    penalty: fm.penalties.Penalty | None
    early_stopping: fm.EarlyStopping | None

    @classmethod
    def of(cls, samples: Samples, network: NetworkOptions, training: TrainingOptions, rule: RuleOptions) -> Run:
        """Raises `ValueError`, in options, for settings that cannot be."""
        settings = training.filled(samples.recipe, **asdict(rule), samples=len(samples.training))
        about, shape = samples.about, network.filled(samples.recipe)
        with in_options():
            loss = settings.make_loss(len(about.classes))
            run = cls(
                samples.as_labels if isinstance(loss, fm.BinaryCrossEntropy) else samples,
                shape,
                shape.network(len(about.preparation.features), about.outputs(loss)),
                training,
                settings,
                loss,
                settings.make_optimizer(),
                settings.make_schedule(),
                settings.make_penalty(),
                training.make_early_stopping(has_validation=samples.validation is not None),
            )
        run._check_engine()
        return run

    def _check_engine(self) -> None:
        """Raise where the fused engine is asked for and cannot run this."""
        if self.training.engine == "fused":
            like = self.samples.training.inputs
            reason = fm.engine.explain(
                self.network, self.loss, self.optimizer, penalty=self.penalty, dtype=like.dtype, device=like.device
            )
            if reason is not None:
                raise ValueError(f"--engine: fused cannot run this: {reason}; choose reference or auto")

    @property
    def facts(self) -> dict[str, str]:
        """What is trained, on what and how, in a line each."""
        about, shape = self.samples.about, self.shape
        widths = (len(about.preparation.features), *shape.hidden, self.network.out_features)
        parameters = sum(count for _, _, count in self.network.summary_rows(widths[0]))
        layers = ["-".join(map(str, widths)), *([", ".join(shape.activations)] if shape.hidden else [])]
        return {
            "data": describe(self.samples),
            "network": f"{', '.join(layers)}, {shape.initializer}: {parameters:,} parameters",
            "training": self.settings.describe(self.training),
        }

    def fit(self, key: Key, console: Console, checkpoint: fm.Checkpoint | None = None) -> fm.FitResult:
        """`fit` with a display, and without its warnings: the end of the run says what diverged."""
        shown = training_display(console, self.settings.epochs)
        with one_interrupt(), shown as display, _quietly("fit: "), in_options():
            observers: dict[str, Any] = {
                "progress": display.progress,
                "callbacks": [display.callback],
                "checkpoint": checkpoint,
            }
            if ranks.count() == 1:
                return fm.fit(**self._task, **observers, key=key, engine=self.training.engine)
            from functional_mlp import distributed

            with ranks.joined(str(self.samples.training.inputs.device)):
                return distributed.fit(**self._task, **observers, key=key)

    @property
    def _task(self) -> dict[str, Any]:
        """What is trained, by the names of the arguments that `fit` and `fit_ensemble` share."""
        return {
            "network": self.network,
            "loss": self.loss,
            "optimizer": self.optimizer,
            "data": self.samples.training,
            "epochs": self.settings.epochs,
            "batch_size": self.settings.batch_size,
            "schedule": self.schedule,
            "validation": self.samples.validation,
            "early_stopping": self.early_stopping,
            "penalty": self.penalty,
        }

    def ensemble(self, keys: Sequence[Key]) -> dict[str, Any]:
        """What `fit_ensemble` is to train, by the names of its arguments."""
        return {**self._task, "keys": keys, "engine": self.training.engine}


def fit_ensemble(
    what: Mapping[str, Any],
    progress: Callable[[float], None] | None,
    *,
    checkpoint: fm.Checkpoint | None = None,
    executor: Executor | None = None,
) -> fm.EnsembleResult:
    """The library's `fit_ensemble`, without its warnings."""
    with _quietly("fit_ensemble: "), in_options():
        result: fm.EnsembleResult = fm.fit_ensemble(**what, progress=progress, checkpoint=checkpoint, executor=executor)
    return result


@contextmanager
def _quietly(speaker: str) -> Iterator[None]:
    """Show warnings as lines, but for those of a function that the end of the run tells."""
    with plain_warnings():
        warnings.filterwarnings("ignore", speaker, RuntimeWarning)
        yield
