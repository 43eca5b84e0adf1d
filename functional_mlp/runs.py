"""Training runs: what an engine offers to `fit`, and which engine a run gets."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from torch import Tensor

from functional_mlp import reference
from functional_mlp.datasets import Dataset
from functional_mlp.evaluation import EngineName as EngineName
from functional_mlp.evaluation import Metrics
from functional_mlp.layers.base import Layer
from functional_mlp.losses import Loss
from functional_mlp.optimizers import Optimizer, OptimizerState

Progress = Callable[[float], None]
Snapshot = Any


class Run(Protocol):
    """A training run in progress: a state that each epoch takes one epoch on."""

    def epoch(self, order: Tensor, learning_rate: float, progress: Progress | None) -> tuple[float, float]:
        """Run an epoch over the rows in `order`; returns mean loss and accuracy before each sample's own update.

        `progress` is called now and then with the share of the epoch that is done.
        """

    @property
    def epochs_at_once(self) -> int:
        """How many epochs one call of `epochs` had best be given: those of some milliseconds."""

    def epochs(self, orders: Sequence[Tensor], learning_rates: Sequence[float]) -> list[tuple[float, float]]:
        """Run epochs one after the other, as `epoch` would; returns what it would for each."""

    def is_finite(self) -> bool:
        """Whether all numbers of the state at this moment are finite."""

    def snapshot(self) -> Snapshot:
        """The state at this moment, in whatever form is quick to keep."""

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to the state of a snapshot."""

    def state(self, snapshot: Snapshot) -> OptimizerState:
        """The optimizer's state that a snapshot holds."""

    def evaluate(self, data: Dataset) -> Metrics:
        """Loss and accuracy over a data set with the parameters of this moment."""


def start(
    engine: EngineName,
    network: Layer,
    loss: Loss,
    optimizer: Optimizer,
    state: OptimizerState,
    data: Dataset,
    batch_size: int,
) -> Run:
    """A run on the engine asked for; all arguments are taken to fit each other.

    Raises `ValueError` with the reason where the fused engine is asked for and cannot run them.
    """
    if engine == "reference":
        return reference.ReferenceRun(network, loss, optimizer, state, data, batch_size)
    from functional_mlp import engine as fused  # LLVM is loaded when it is used

    reason = fused.explain(network, loss, optimizer, dtype=data.inputs.dtype, device=data.inputs.device)
    if reason is None and (engine == "fused" or fused.is_faster(network, batch_size)):
        try:
            return fused.start(network, loss, optimizer, state, data, batch_size)
        except fused.CannotMakeCodeError as error:
            reason = str(error)
    if engine == "fused":
        raise ValueError(f"engine='fused' cannot run this: {reason}; pass engine='reference' or 'auto'")
    if reason is not None:
        fused.warn_of_fallback(reason)
    return reference.ReferenceRun(network, loss, optimizer, state, data, batch_size)
