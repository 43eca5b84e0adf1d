"""The orders in which the epochs of a run go over the data."""

import contextlib
import functools
import os
from concurrent.futures import Future, ThreadPoolExecutor

import attrs
from torch import Tensor

from functional_mlp import forks, random
from functional_mlp.random import Key

# Orders of fewer rows in all are drawn when they are needed: handing them over would take longer.
FEWEST_AHEAD = 16_000


@functools.cache
def _worker() -> ThreadPoolExecutor:
    """The thread that draws ahead, one for the process: to start it takes longer than to draw many orders."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="functional_mlp.orders")


forks.in_child(_worker.cache_clear)  # threads do not live on in a child


@attrs.frozen(eq=False)
class Ahead:
    """What the thread of a process draws: in a process forked from it, nobody does."""

    process: int
    epochs: range
    orders: Future[list[Tensor]]


class Orders:
    """Draws the order of each epoch, `permutation(key.fold_in(epoch), samples)`, some of them ahead of their use.

    While native code trains on some epochs, Python is free, and a thread draws the orders of those that follow. An
    order depends on its key alone, so it makes no difference who draws it, and when.

    >>> import functional_mlp as fm
    >>> orders = Orders(fm.random.key(0), samples=1000)
    >>> first, second = orders.take(range(2), following=range(2, 6)), orders.take(range(2, 6), following=range(0))
    >>> len(first), len(second), second[0].equal(fm.random.permutation(fm.random.key(0).fold_in(2), 1000))
    (2, 4, True)
    """

    def __init__(self, key: Key, samples: int) -> None:
        self._key, self._samples = key, samples
        self._ahead: Ahead | None = None

    def take(self, epochs: range, following: range) -> list[Tensor]:
        """The orders of some epochs; the thread goes on with those of the epochs that follow, if there are any."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and (ahead.process, ahead.epochs) == (os.getpid(), epochs):
            orders = ahead.orders.result()
        else:
            orders = self._draw(epochs)
        if self._samples * len(following) >= FEWEST_AHEAD:
            # Where no thread is to be had, as at the end of the process, they are drawn when they are needed.
            with contextlib.suppress(RuntimeError):
                self._ahead = Ahead(os.getpid(), following, _worker().submit(self._draw, following))
        return orders

    def _draw(self, epochs: range) -> list[Tensor]:
        return [random.permutation(self._key.fold_in(epoch), self._samples) for epoch in epochs]
