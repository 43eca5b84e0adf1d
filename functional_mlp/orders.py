"""The orders in which the epochs of a run go over the data."""

import contextlib
import functools
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import attrs
import torch
from torch import Tensor

from functional_mlp import forks, random
from functional_mlp.random import Key

# Orders of fewer rows in all are drawn when they are needed: handing them over would take longer.
FEWEST_AHEAD = 16_000


def order_of(key: Key, epoch: int, samples: int, shuffle: bool = True) -> Tensor:
    """The order of an epoch: a permutation that follows from the key of the run and the epoch's number alone.

    Without `shuffle` it is that of the data.

    >>> import functional_mlp as fm
    >>> order_of(fm.random.key(0), 3, 5).equal(fm.random.permutation(fm.random.key(0).fold_in(3), 5))
    True
    """
    return random.permutation(key.fold_in(epoch), samples) if shuffle else torch.arange(samples, device="cpu")


@functools.cache
def _worker() -> ThreadPoolExecutor:
    """The thread that draws ahead, one for the process: to start it takes longer than to draw many orders."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="functional_mlp.orders")


forks.in_child(_worker.cache_clear)  # threads do not live on in a child

# Held by whoever draws: threads that run Python by turns take longer than one after the other.
_turn = forks.lock()


@attrs.frozen(eq=False)
class Ahead:
    """What the thread of a process draws: in a process forked from it, nobody does."""

    process: int
    epochs: range
    orders: Future[list[list[Tensor]]]


class Orders:
    """Draws the order of each epoch for the members of a group, some of them ahead of their use.

    While native code trains on some epochs, Python is free, and a thread draws the orders of those that follow. An
    order depends on its key alone, so it makes no difference who draws it, and when.

    >>> import functional_mlp as fm
    >>> orders = Orders([fm.random.key(0)], samples=1000)
    >>> first, second = orders.take(range(2), following=range(2, 6)), orders.take(range(2, 6), following=range(0))
    >>> len(first), len(second), second[0][0].equal(order_of(fm.random.key(0), 2, 1000))
    (2, 4, True)
    """

    def __init__(self, keys: Sequence[Key], samples: int, shuffle: bool = True) -> None:
        self._keys, self._samples, self._shuffle = keys, samples, shuffle
        self._ahead: Ahead | None = None

    def take(self, epochs: range, following: range = range(0)) -> list[list[Tensor]]:
        """For each epoch the members' orders; the thread goes on with the epochs that follow, if there are any."""
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

    def _draw(self, epochs: range) -> list[list[Tensor]]:
        with _turn:
            return [[order_of(key, epoch, self._samples, self._shuffle) for key in self._keys] for epoch in epochs]
