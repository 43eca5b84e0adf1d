"""The curves of training, and what `verbose` prints of them."""

import itertools
from collections.abc import Iterable, Sequence

from attrs import frozen

from functional_mlp.history import History
from functional_mlp.random import Key
from functional_mlp.state import TrainState


def mean_curve(curves: Iterable[Sequence[float]], factor: float = 1.0) -> list[float]:
    """The mean curve of some members, times a factor: for each epoch over those that were still trained.

    >>> mean_curve([(1.0, 2.0), (3.0,)])
    [2.0, 2.0]
    """
    epochs = [[figure for figure in epoch if figure is not None] for epoch in itertools.zip_longest(*curves)]
    return [factor * sum(figures) / len(figures) for figures in epochs]


@frozen
class Printer:
    """A callback of `fit` that prints the lines of `verbose`; `keys` are those of the members in training."""

    keys: tuple[Key, ...]
    factor: float
    scores: bool

    def __call__(self, epoch: int, state: TrainState, history: History) -> None:
        member = f"Member {self.keys.index(state.key) + 1}, " if len(self.keys) > 1 else ""
        print(f"{member}Iteration {epoch + 1}, loss = {self.factor * history.train_loss[-1]:.8f}")
        if self.scores:
            print(f"{member}Validation score: {history.validation_accuracy[-1]:f}")
