"""The bar that is shown while networks train: rich's on a terminal, one of HTML in a notebook."""

import contextlib
import importlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from functional_mlp import imports

if TYPE_CHECKING:
    from rich.console import Console

# How `fit` tells how far it is: the number of epochs done, a fraction within an epoch.
Tell = Callable[[float], None]


@contextlib.contextmanager
def shown(progress: bool | Tell | None, epochs: int) -> Iterator[Tell | None]:
    """What `fit` tells of its progress: `progress` itself, or with True a bar on standard error or in the notebook."""
    if not isinstance(progress, bool):
        yield progress
    elif not progress:
        yield None
    elif _in_notebook():
        yield NotebookBar(epochs)
    else:
        from rich.console import Console

        with terminal_bar(Console(stderr=True), epochs) as tell:
            yield tell


@contextlib.contextmanager
def terminal_bar(console: "Console", epochs: int) -> Iterator[Tell]:
    """rich's bar, and how it is told the number of epochs done."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("epoch {task.completed:.0f}/{task.total}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=epochs)
        yield lambda done: bar.update(task, completed=done)


class NotebookBar:
    """A bar in the output of a notebook's cell, called with the number of epochs done.

    Between two pictures there are at least `pause` seconds.
    """

    def __init__(self, epochs: int, pause: float = 0.1) -> None:
        self._epochs, self._pause, self._begun, self._last = epochs, pause, time.monotonic(), 0.0
        self._handle: Any = None
        self(0.0)

    def __call__(self, done: float) -> None:
        now = time.monotonic()
        if self._handle is not None and done < self._epochs and now - self._last < self._pause:
            return
        self._last = now
        shows = importlib.import_module("IPython.display")  # it is there, for it runs this
        picture = shows.HTML(bar_html(done, self._epochs, now - self._begun))
        if self._handle is None:
            self._handle = shows.display(picture, display_id=True)
        else:
            self._handle.update(picture)


def bar_html(done: float, epochs: int, seconds: float) -> str:
    """A bar, and how long it will take.

    >>> bar_html(25, 100, 2.0)
    '<progress value="25" max="100" style="width: 20em"></progress> epoch 25/100, 6 s left'
    """
    left = f", {seconds * (epochs - done) / done:.0f} s left" if 0 < done < epochs else ""
    return f'<progress value="{done:g}" max="{epochs}" style="width: 20em"></progress> epoch {int(done)}/{epochs}{left}'


def _in_notebook() -> bool:
    """Whether this runs in the kernel of a notebook."""
    ipython = imports.loaded("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None
