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
from functional_mlp.spread import count

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
    """What is shown of a sweep.

    `progress` is told how many settings are trained, a fraction for those that are begun; `show` is given the table so
    far, and how many settings it is of.
    """

    progress: Callable[[float], None] | None
    show: Callable[[RenderableType, int], None]


@contextmanager
def sweep_display(console: Console, settings: int) -> Iterator[SweepDisplay]:
    """Show the best so far of some number of settings above a bar, on a terminal; elsewhere nothing."""
    if not console.is_terminal:
        yield SweepDisplay(None, lambda table, done: None)
        return
    bar = Progress(
        TextColumn("{task.percentage:>3.0f} %"), BarColumn(), TextColumn("{task.description}"), console=console
    )
    task = bar.add_task("", total=settings)
    with Live(bar, console=console, transient=True) as live:

        def progress(done: float) -> None:
            bar.update(task, completed=done)

        def show(table: RenderableType, done: int) -> None:
            bar.update(task, description=f"{done} of {count(settings, 'setting')}")
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
