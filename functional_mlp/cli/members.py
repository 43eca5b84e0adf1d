"""`train --members`: many networks at once, and what they have in common."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from attrs import frozen
from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

import functional_mlp as fm
from functional_mlp.cli.data import ClassificationData
from functional_mlp.cli.ending import check_members_completed
from functional_mlp.cli.parsing import parse_integer
from functional_mlp.cli.plots import write_figure
from functional_mlp.cli.terminal import Table, err_console, out_console, say, say_written
from functional_mlp.cli.training import TRAINING_GROUP, TrainingOptions, TrainingSettings
from functional_mlp.interrupts import no_interrupt
from functional_mlp.spread import Spread, plus_minus

if TYPE_CHECKING:
    from functional_mlp.random import Key


@Parameter(name="*", group=TRAINING_GROUP)
@frozen(kw_only=True)
class EnsembleOptions:
    """How many networks to train."""

    members: Annotated[int, Parameter(converter=parse_integer)] = 1
    """Networks to train at once, on the same data, each with initial weights and orders of its own. The figures are
    then means over them, with standard deviations, and those of their mean output."""

    def check(self, saves: bool) -> None:
        if self.members < 1:
            raise ValueError(f"--members: train at least one network, got {self.members}")
        if self.members > 1 and saves:
            raise ValueError("--out and --resume keep one network: leave them out, or leave out --members")


def train_members(
    network: fm.Layer,
    samples: ClassificationData,
    training: TrainingOptions,
    settings: TrainingSettings,
    members: int,
    key: Key,
    plot: Path | None,
) -> None:
    """Train an ensemble, and print its tables."""
    loss = settings.make_loss()
    result = fit_quietly(
        network,
        loss,
        settings.make_optimizer(),
        samples,
        keys=key.split(members),
        training=training,
        batch_size=settings.batch_size,
        schedule=settings.make_schedule(),
    )
    with no_interrupt():
        _print_results(network, loss, result, samples)
        if plot is not None and len(result.history):
            from functional_mlp.ensemble.plotting import learning_bands

            write_figure(learning_bands(result.history), plot)
            say_written(out_console(), "plot", plot)
    check_members_completed(result)


def _print_results(network: fm.Layer, loss: fm.Loss, result: fm.EnsembleResult, samples: ClassificationData) -> None:
    out = out_console()
    out.print()
    say(out, f"Results of {len(result)} networks: mean ± standard deviation; then their mean output")
    out.print(_results_table(network, loss, result, samples))
    seconds = math.fsum(math.fsum(member.history.seconds) for member in result.members)
    epochs = sum(len(member.history) for member in result.members)
    if seconds > 0:
        rate = epochs * len(samples.training) / seconds
        out.print()
        say(out, f"{epochs * len(samples.training):,} samples: {rate:,.0f} a second on each core")


def fit_quietly(
    network: fm.Layer,
    loss: fm.Loss,
    optimizer: fm.Optimizer | Sequence[fm.Optimizer],
    samples: ClassificationData,
    *,
    keys: Sequence[Key],
    training: TrainingOptions,
    batch_size: int,
    schedule: fm.schedules.Schedule | Sequence[fm.schedules.Schedule],
) -> fm.EnsembleResult:
    """`fit_ensemble` with a bar on a terminal, and without warnings: the end of the run says what diverged."""
    with _bar(err_console(), training.epochs) as progress, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "fit_ensemble: ", RuntimeWarning)
        return fm.fit_ensemble(
            network,
            loss,
            optimizer,
            samples.training,
            keys=keys,
            epochs=training.epochs,
            batch_size=batch_size,
            schedule=schedule,
            validation=samples.validation,
            engine=training.engine,
            progress=progress,
            early_stopping=training.make_early_stopping(),
            penalty=training.make_penalty(),
        )


@contextmanager
def _bar(console: Console, epochs: int) -> Iterator[Callable[[float], None] | None]:
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("epoch {task.completed:.0f}/{task.total}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=epochs)
        yield lambda done: bar.update(task, completed=done)


def _results_table(network: fm.Layer, loss: fm.Loss, result: fm.EnsembleResult, samples: ClassificationData) -> Table:
    table = Table()
    table.add_column("")
    for heading in ("samples", "loss", "accuracy"):
        table.add_column(heading, justify="right", no_wrap=True)
    params = fm.ensemble.stack([member.best_params for member in result.members])
    for name, part in (("training", samples.training), ("validation", samples.validation)):
        if part is not None:
            metrics = fm.ensemble.evaluate(network, loss, params, part)
            losses = plus_minus(Spread.of(member.loss for member in metrics.members))
            accuracies = plus_minus(Spread.of(member.accuracy for member in metrics.members))
            table.add_row(name, f"{len(part):,}", losses, accuracies)
            table.add_row("  the mean output", "", f"{metrics.loss:.4f}", f"{metrics.accuracy:.4f}")
    return table
