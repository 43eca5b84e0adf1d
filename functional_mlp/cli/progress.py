"""What is shown while a network trains: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from attrs import frozen
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from functional_mlp.bar import terminal_bar

if TYPE_CHECKING:
    from functional_mlp.history import History
    from functional_mlp.state import Callback, TrainState

LINES = 10


@frozen
class Display:
    """The two functions that `fit` calls: `progress` within epochs, `callback` after each."""

    progress: Callable[[float], None] | None
    callback: Callback


@contextmanager
def training_display(console: Console, epochs: int) -> Iterator[Display]:
    """Show the progress of `epochs` epochs and the latest losses."""
    if not console.is_terminal:
        yield Display(None, _line_printer(console, epochs))
        return
    columns = (
        TextColumn("epoch {task.fields[epoch]}/{task.total}"),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=epochs, epoch=0)

        def progress(done: float) -> None:
            bar.update(task, completed=done)

        def callback(epoch: int, state: TrainState, history: History) -> None:
            bar.update(task, completed=epoch + 1, epoch=epoch + 1, description=describe_losses(history))

        yield Display(progress, callback)


@contextmanager
def ensemble_display(console: Console, epochs: int) -> Iterator[Callable[[float], None] | None]:
    """Show a bar on a terminal, for what `fit_ensemble` tells of its progress."""
    if not console.is_terminal:
        yield None
        return
    with terminal_bar(console, epochs) as tell:
        yield tell


@frozen
class SweepDisplay:
    """What is shown of a sweep: `progress` is told the epochs done of those trained now, `show` the table so far."""

    progress: Callable[[float], None] | None
    show: Callable[[RenderableType, float], None]


@contextmanager
def sweep_display(console: Console, epochs: int) -> Iterator[SweepDisplay]:
    """Show the best settings so far above a bar, on a terminal; elsewhere nothing.

    `show` is given what stands above the bar, and the share of the settings that is done; `epochs` are those of each.
    """
    if not console.is_terminal:
        yield SweepDisplay(None, lambda table, share: None)
        return
    bar = Progress(
        TextColumn("{task.percentage:>3.0f} %"), BarColumn(), TextColumn("{task.description}"), console=console
    )
    task = bar.add_task(f"epoch 0/{epochs}", total=1.0)
    with Live(bar, console=console, transient=True) as live:

        def progress(done: float) -> None:
            bar.update(task, description=f"epoch {done:.0f}/{epochs}")

        def show(table: RenderableType, share: float) -> None:
            bar.update(task, completed=share)
            live.update(Group(table, bar), refresh=True)

        yield SweepDisplay(progress, show)


def _line_printer(console: Console, epochs: int) -> Callback:
    every = max(epochs // LINES, 1)

    def callback(epoch: int, state: TrainState, history: History) -> None:
        if (epoch + 1) % every == 0 or epoch + 1 == epochs:
            console.print(f"epoch {epoch + 1:>{len(str(epochs))}}/{epochs}  {describe_losses(history)}")

    return callback


def describe_losses(history: History) -> str:
    """The losses of the last epoch in words.

    >>> from functional_mlp.history import EpochRecord, History
    >>> describe_losses(History.of([EpochRecord(0.5, 0.8, 0.6, 0.7, 0.01, 0.1)]))
    'training loss 0.5000  validation loss 0.6000'
    """
    losses = {"training": history.train_loss[-1], "validation": history.validation_loss[-1]}
    return "  ".join(f"{name} loss {loss:.4f}" for name, loss in losses.items() if not math.isnan(loss))
