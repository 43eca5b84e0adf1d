"""The reference engine for many members: the operations of one network, over arrays with a member axis.

Activations, losses and optimizers are expressions that take such arrays as they are; `StackedLinear` is `Linear`
with a matrix a member. Arrays of samples are (members, batch, features), those of parameters (members, …).
"""

import math
from collections.abc import Sequence
from typing import Any

import attrs
import torch
from attrs import field, frozen
from torch import Tensor

from functional_mlp import pytree
from functional_mlp.algebra import working_dtype
from functional_mlp.datasets import Dataset
from functional_mlp.layers.base import Layer
from functional_mlp.layers.combinators import Residual, Sequential
from functional_mlp.layers.elementwise import Elementwise
from functional_mlp.layers.linear import Linear, LinearParams
from functional_mlp.losses import Loss
from functional_mlp.metrics import Metrics, measure, share
from functional_mlp.optimizers import Optimizer, OptimizerState
from functional_mlp.penalties import Penalty, weights_among
from functional_mlp.state import Job, Member, Orders, Outcomes, Rates, Tick, ticks_after
from functional_mlp.value import replaced

# Batches whose inputs are gathered at a time.
BATCHES_AT_ONCE = 256


@frozen(repr=False)
class StackedLinear(Layer):
    """s = w x + b with `weight` (members, out, in) and `bias` (members, out), for inputs (members, batch, in)."""

    in_features: int = field()
    out_features: int = field()

    def forward(self, params: LinearParams, x: Tensor) -> tuple[Tensor, Tensor]:
        if params.bias is None:
            return x @ params.weight.mT, x
        return torch.baddbmm(params.bias.unsqueeze(1), x, params.weight.mT), x

    def backward(self, params: LinearParams, tape: Tensor, grad_out: Tensor) -> tuple[LinearParams, Tensor]:
        grad_bias = None if params.bias is None else grad_out.sum(1)
        return LinearParams(grad_out.mT @ tape, grad_bias), grad_out @ params.weight


def stacked_layer(job: Job) -> Layer | None:
    """The network of a job for parameters with a member axis; `None` where it, the loss, an optimizer or the penalty
    is more than expressions in the array algebra, and members must be trained one by one.
    """
    more = replaced(job.loss, Loss, Loss.DERIVED) or replaced(job.members[0].optimizer, Optimizer, Optimizer.DERIVED)
    if more or (job.penalty is not None and replaced(job.penalty, Penalty, Penalty.DERIVED)):
        return None
    return _stacked(job.network)


def _stacked(layer: Layer) -> Layer | None:
    if type(layer) is Linear:
        return StackedLinear(layer.in_features, layer.out_features)
    if type(layer) is Residual:
        inner = _stacked(layer.layer)
        return None if inner is None else Residual(inner)
    if type(layer) is Sequential:
        layers = [_stacked(each) for each in layer]
        return None if None in layers else Sequential(*(each for each in layers if each is not None))
    if isinstance(layer, Elementwise) and not replaced(layer, Elementwise, Elementwise.DERIVED):
        return layer
    return None


class StackedRun:
    """A training run of members whose data are of one length and whose optimizers differ in the learning rate alone.

    Parameters and slots are arrays (members, numbers), for an optimizer's rule is elementwise. An epoch makes new
    arrays, so a snapshot is the arrays themselves.
    """

    def __init__(self, layer: Layer, job: Job, members: tuple[Member, ...]) -> None:
        self._layer, self._network, self._loss = layer, job.network, job.loss
        self._batch_size, self._members, self._penalty = job.batch_size, members, job.penalty
        self._optimizer = members[0].optimizer
        self._names = ("params", *self._optimizer.slots())
        self._template = members[0].start.optimizer_state.params
        self._treedef = pytree.structure(self._template)
        self._shapes = [leaf.shape for leaf in pytree.leaves(self._template)]
        self._penalized = None if job.penalty is None else weights_among(pytree.leaves(self._template))
        states = [member.start.optimizer_state for member in members]
        self._arrays = [torch.stack([_flat(getattr(state, name)) for state in states]) for name in self._names]
        self._step = states[0].step
        self._learning_rates = [state.learning_rate for state in states]
        self._targets = [self._encoded(member) for member in members]

    def _encoded(self, member: Member) -> Tensor:
        probe, _ = self._network.forward(member.start.optimizer_state.params, member.data.inputs[:1])
        return self._loss.encode(member.data.targets, probe.expand(len(member.data), -1))

    epochs_at_once = 1

    def epochs(self, orders: Orders, learning_rates: Rates, tick: Tick) -> list[Outcomes]:
        return [
            self._epoch(own, rates, ticks_after(done, tick))
            for done, (own, rates) in enumerate(zip(orders, learning_rates, strict=True))
        ]

    def _epoch(self, orders: Sequence[Tensor], rates: Sequence[float], tick: Tick) -> list[tuple[float, float]]:
        inputs = self._members[0].data.inputs
        learning_rate = (
            rates[0]
            if len(set(rates)) == 1
            else torch.tensor(rates, dtype=working_dtype(inputs.dtype), device=inputs.device).unsqueeze(1)
        )
        samples, done = len(orders[0]), 0
        loss_sums = torch.zeros(len(orders), dtype=torch.float64, device="cpu")
        right, total = torch.zeros(2, len(orders), dtype=torch.float64, device=inputs.device)
        self._arrays = [array.clone() for array in self._arrays]
        params = self._views(self._arrays[0])
        for piece in torch.stack(list(orders)).to(inputs.device).split(BATCHES_AT_ONCE * self._batch_size, 1):
            x, targets, weights = self._gathered(piece)
            outputs = []
            for rows in torch.arange(piece.shape[1]).split(self._batch_size):
                batch = slice(int(rows[0]), int(rows[-1]) + 1)
                prediction, tape = self._layer.forward(params, x[:, batch])
                outputs.append(prediction)
                weight = None if weights is None else weights[:, batch]
                grad = self._loss.batch_grad(prediction, targets[:, batch], weight, samples=len(rows))
                grads, _ = self._layer.backward(params, tape, grad)
                self._update(learning_rate, grads)
            done += piece.shape[1]
            tick(done / samples)
            predictions = torch.cat(outputs, 1)
            values = self._loss.sample_values(predictions, targets)
            values = values if weights is None else weights * values
            loss_sums += values.cpu().double().sum((1, 2))
            counts = torch.ones_like(piece) if weights is None else weights.squeeze(-1).double()
            right += (counts * self._loss.are_right(predictions, targets, self._labels(piece))).sum(1)
            total += counts.sum(1)
        self._learning_rates = list(rates)
        accuracies = [
            share(own, whole) if self._loss.has_answers(member.data.targets, member.data.labels) else math.nan
            for member, own, whole in zip(self._members, right.tolist(), total.tolist(), strict=True)
        ]
        return list(zip((loss_sums / samples).tolist(), accuracies, strict=True))

    def _gathered(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Inputs, targets and weights of rows (members, n), each of its member's own data."""
        inputs = [member.data.inputs[own] for member, own in zip(self._members, rows, strict=True)]
        targets = [targets[own] for targets, own in zip(self._targets, rows, strict=True)]
        weights = [member.data.weights_of(own) for member, own in zip(self._members, rows, strict=True)]
        columns = [own for own in weights if own is not None]  # those of all members, or none
        return torch.stack(inputs), torch.stack(targets), torch.stack(columns) if columns else None

    def _labels(self, rows: Tensor) -> Tensor:
        """The labels of rows (members, n), −1 where there are none."""
        none = torch.full_like(rows[0], -1)
        labels = [
            none if member.data.labels is None else member.data.labels[own]
            for member, own in zip(self._members, rows, strict=True)
        ]
        return torch.stack(labels)

    def _update(self, learning_rate: float | Tensor, grads: Any) -> None:
        """One step of the optimizer; the array of the params stays where it is, for the tree holds views of it."""
        self._step += 1
        if not self._shapes:
            return
        leaves: list[Any] = self._treedef.flatten_up_to(grads)
        grad = torch.cat([leaf.reshape(len(self._members), -1) for leaf in leaves], 1)
        param, *slots = self._arrays
        if self._penalty is not None:
            grad = self._penalty.added_to(grad, param, self._penalized)
        updated, *slots = self._optimizer.apply_rule(self._step, learning_rate, param, grad, *slots)
        self._arrays = [param, *(slot.clone() if slot is param else slot for slot in slots)]
        param.copy_(updated)

    def _views(self, array: Tensor) -> Any:
        """The stacked tree of an array (members, numbers), in views of it."""
        sizes = [shape.numel() for shape in self._shapes]
        pieces = array.split(sizes, 1) if sizes else ()
        views = [piece.unflatten(1, tuple(shape)) for piece, shape in zip(pieces, self._shapes, strict=True)]
        return pytree.unflatten(self._template, views)

    def is_finite(self, members: Sequence[int]) -> bool:
        return all(bool(array[list(members)].isfinite().all()) for array in self._arrays)

    def restore(self, snapshot: tuple[list[Tensor], int, list[float]]) -> None:
        self._arrays, self._step, self._learning_rates = snapshot

    def snapshot(self) -> tuple[list[Tensor], int, list[float]]:
        return self._arrays, self._step, self._learning_rates

    def state(self, snapshot: tuple[list[Tensor], int, list[float]], member: int) -> OptimizerState:
        arrays, step, rates = snapshot
        trees = [pytree.map(lambda leaf: leaf[member].clone(), self._views(array)) for array in arrays]
        leaves = list(zip(*map(pytree.leaves, trees), strict=True))
        initial = self._members[member].start.optimizer_state
        state: OptimizerState = self._members[member].optimizer.rebuild(initial, step, leaves)
        return attrs.evolve(state, learning_rate=rates[member])

    def evaluate(self, member: int, data: Dataset) -> Metrics:
        own = pytree.map(lambda leaf: leaf[member], self._views(self._arrays[0]))
        return measure(self._network, self._loss, own, data)


def _flat(tree: Any) -> Tensor:
    """The leaves of a tree laid end to end."""
    leaves = pytree.leaves(tree)
    return torch.cat([leaf.detach().reshape(-1) for leaf in leaves]) if leaves else torch.empty(0)
