"""The reference engine: an epoch as a loop of torch operations, on any device and in any floating dtype."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor

from functional_mlp import checks, pytree
from functional_mlp.datasets import Dataset
from functional_mlp.layers.base import Layer
from functional_mlp.losses import Loss
from functional_mlp.metrics import Metrics, Tally, measure
from functional_mlp.optimizers import Optimizer, OptimizerState
from functional_mlp.penalties import Penalty, weights_among
from functional_mlp.state import Job, Member, Orders, Outcomes, Rates, Tick, ticks_after

# Batches whose inputs are gathered, and whose predictions are kept for the epoch's loss, at a time.
BATCHES_AT_ONCE = 1024


@attrs.frozen(eq=False)
class EpochResult:
    """An epoch's outcome: each sample is judged right before its own update."""

    state: OptimizerState
    loss: float
    accuracy: float


def run_epoch(
    network: Layer,
    loss: Loss,
    optimizer: Optimizer,
    state: OptimizerState,
    data: Dataset,
    order: Tensor,
    batch_size: int,
    progress: Callable[[float], None] | None = None,
    penalty: Penalty | None = None,
) -> EpochResult:
    """One epoch of minibatch gradient descent over `data` in the given order.

    For each batch (algorithm 1 of the paper): forward pass, gradient of the loss, backward pass, update. The penalty
    counts in the update, and not in the loss.
    """
    buffers = _Buffers(optimizer, state, penalty)
    probe, _ = network.forward(buffers.params, data.inputs[:1])  # shows the number of outputs
    batch_size = min(batch_size, len(order))
    tally, done = Tally(loss, data), 0
    for rows in order.to(data.inputs.device).split(BATCHES_AT_ONCE * batch_size):
        inputs, targets = data.inputs[rows], loss.encode(data.targets[rows], probe.expand(len(rows), -1))
        predictions = []
        for x, target, weight in _batches(batch_size, inputs, targets, data.weights_of(rows)):
            prediction, tape = network.forward(buffers.params, x)
            predictions.append(prediction.clone())  # a layer may return a view of its params
            grads, _ = network.backward(buffers.params, tape, loss.batch_grad(prediction, target, weight))
            buffers.update(grads)
        outputs = torch.stack(predictions) if batch_size == 1 else torch.cat(predictions)
        tally.add(rows, outputs, targets)
        done += len(rows)
        if progress is not None:
            progress(done / len(order))
    metrics = tally.metrics()
    return EpochResult(buffers.state(state), metrics.loss, metrics.accuracy)


class ReferenceRun:
    """A member in training on the reference engine (see `engines.Run`); a snapshot is the state itself."""

    epochs_at_once = 1

    def __init__(self, job: Job, member: Member) -> None:
        self._job, self._member = job, member
        self._state: OptimizerState = checks.detached(member.start.optimizer_state)

    def epochs(self, orders: Orders, learning_rates: Rates, tick: Tick) -> list[Outcomes]:
        outcomes: list[Outcomes] = []
        for done, ((order,), (learning_rate,)) in enumerate(zip(orders, learning_rates, strict=True)):
            outcome = run_epoch(
                self._job.network,
                self._job.loss,
                self._member.optimizer,
                attrs.evolve(self._state, learning_rate=learning_rate),
                self._member.data,
                order,
                self._job.batch_size,
                ticks_after(done, tick),
                self._job.penalty,
            )
            self._state = outcome.state
            outcomes.append([(outcome.loss, outcome.accuracy)])
        return outcomes

    def is_finite(self, members: Sequence[int]) -> bool:
        return checks.is_finite(self._state)

    def snapshot(self) -> OptimizerState:
        return self._state

    def restore(self, snapshot: OptimizerState) -> None:
        self._state = snapshot

    def state(self, snapshot: OptimizerState, member: int) -> OptimizerState:
        copy: OptimizerState = pytree.map(torch.clone, snapshot)
        return copy

    def evaluate(self, member: int, data: Dataset) -> Metrics:
        return measure(self._job.network, self._job.loss, self._state.params, data)


def _batches(
    batch_size: int, inputs: Tensor, targets: Tensor, weights: Tensor | None
) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    def batches(rows: Tensor) -> Sequence[Tensor]:
        # Single samples have no batch dimension: vectors are faster than one-row matrices.
        return rows.unbind() if batch_size == 1 else rows.split(batch_size)

    each_weight = itertools.repeat(None) if weights is None else batches(weights)
    return zip(batches(inputs), batches(targets), each_weight)  # noqa: B905 - `repeat` has no end


class _Buffers:
    """The state of a running epoch, owned by it: parameters and slots each laid end to end in one array.

    An optimizer's rule is elementwise, so one evaluation updates all the parameters at once. `params` is their
    tree, of views into the array.
    """

    def __init__(self, optimizer: Optimizer, state: OptimizerState, penalty: Penalty | None) -> None:
        self._optimizer, self._penalty = optimizer, penalty
        self._learning_rate = state.learning_rate
        self._step = state.step
        self._treedef = pytree.structure(state.params)
        self._shapes = [leaf.shape for leaf in pytree.leaves(state.params)]
        self._param = self._flat(pytree.leaves(state.params))
        self._penalized = weights_among(pytree.leaves(state.params)) if penalty is not None else None
        self._slots = [self._flat(pytree.leaves(getattr(state, slot))) for slot in optimizer.slots()]
        self._checked = False
        self.params = self._treedef.unflatten(self._views(self._param))

    def update(self, grads: Any) -> None:
        if not self._shapes:
            return
        if not self._checked:
            checks.tree_like("gradients of the network", grads, "params", self.params)
            self._checked = True
        grad = self._flat(self._treedef.flatten_up_to(grads))
        if self._penalty is not None:
            grad = self._penalty.added_to(grad, self._param, self._penalized)
        self._step += 1
        param, *slots = self._optimizer.apply_rule(self._step, self._learning_rate, self._param, grad, *self._slots)
        self._slots = [slot.clone() if slot is self._param else slot for slot in slots]
        self._param.copy_(param)

    def state(self, state: OptimizerState) -> OptimizerState:
        """The optimizer's state after the updates so far, in tensors of its own."""
        columns = [[view.clone() for view in self._views(array)] for array in (self._param, *self._slots)]
        updated: OptimizerState = self._optimizer.rebuild(state, self._step, list(zip(*columns, strict=True)))
        return updated

    def _flat(self, leaves: Sequence[Any]) -> Tensor:
        return (
            torch.cat([leaf if leaf.ndim == 1 else leaf.reshape(-1) for leaf in leaves])
            if leaves
            else torch.empty(0, device="cpu")
        )

    def _views(self, array: Tensor) -> list[Tensor]:
        pieces = array.split([shape.numel() for shape in self._shapes]) if self._shapes else ()
        return [piece.view(shape) for piece, shape in zip(pieces, self._shapes, strict=True)]
