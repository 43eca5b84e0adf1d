"""The checkpoint that `fit` keeps while it trains, and goes on from."""

import os
from pathlib import Path
from typing import Any

from attrs import field, frozen

from functional_mlp import checks, pytree
from functional_mlp.checkpoint.container import CheckpointError
from functional_mlp.checkpoint.saving import load, save
from functional_mlp.checkpoint.values import Registry
from functional_mlp.history import History
from functional_mlp.layers.base import Layer
from functional_mlp.losses import Loss
from functional_mlp.optimizers import Optimizer
from functional_mlp.training import TrainState


def _path(value: Any) -> Path:
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"Checkpoint: path must be a path, got {checks.describe(value)}: pass 'model.safetensors', say")
    return Path(value)


@frozen(eq=False)
class Checkpoint:
    """A file in which `fit` saves its state every `every` epochs and at its end, and from which it goes on.

    The same call of `fit` starts a run where the file is not there yet, goes on with it where it is, and gives in
    both cases what an unbroken run gives, to the bit: parameters, optimizer's state and history (but for its times).
    `extra` is saved with it, and `registry` holds classes of your own: see `save`.

    >>> import functional_mlp as fm, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> data, key = fm.datasets.disk(fm.random.key(0), 50), fm.random.key(1)
    >>> def train(epochs):
    ...     checkpoint = fm.Checkpoint(path, every=2)
    ...     network, loss, optimizer = fm.Linear(2, 2), fm.MeanSquaredError(), fm.SGD(0.1)
    ...     return fm.fit(network, loss, optimizer, data, key=key, epochs=epochs, checkpoint=checkpoint)
    >>> first = train(3)
    >>> len(train(5).history), fm.load(path).state.epoch
    (5, 5)
    """

    path: Path = field(converter=_path)
    every: int = field(default=1, converter=checks.plain_number, validator=checks.positive_integer)
    extra: Any = field(default=None, kw_only=True)
    registry: Registry = field(default=Registry(), kw_only=True)

    def is_due(self, epoch: int) -> bool:
        """Whether a run saves its state after this many epochs."""
        return epoch % self.every == 0

    def save(self, state: TrainState, history: History, network: Layer, loss: Loss, optimizer: Optimizer) -> None:
        """Save a run's state as it is, if it is finite: one that diverged is of no use to anyone."""
        if checks.is_finite(state):
            save(
                self.path,
                state,
                network=network,
                optimizer=optimizer,
                loss=loss,
                history=history,
                extra=self.extra,
                registry=self.registry,
            )

    def resume(self, start: TrainState, network: Layer, loss: Loss, optimizer: Optimizer) -> tuple[TrainState, History]:
        """The state and the history to go on from: the file's, or `start` where there is none.

        Raises `CheckpointError` where the file is not of this run: another network, loss, optimizer or key.
        """
        if not self.path.exists():
            return start, History()
        saved = load(self.path, network=network, optimizer=optimizer, loss=loss, registry=self.registry)
        if saved.state is None or saved.history is None:
            raise CheckpointError(self.path, "holds parameters without a run to go on with: pass them to fit as params")
        if saved.state.key != start.key:
            raise CheckpointError(self.path, "is the run of another key: pass its key, or another path")
        return _moved(saved.state, start), saved.history


def _moved(state: TrainState, like: TrainState) -> TrainState:
    """A state on the device of another."""
    leaves = pytree.leaves(like)
    moved: TrainState = pytree.map(lambda leaf: leaf.to(leaves[0].device), state)
    return moved
