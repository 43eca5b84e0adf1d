"""The reference engine for many members: the operations of one network, over arrays with a member axis.

Activations, losses and optimizers are expressions that take such arrays as they are; `StackedLinear` is `Linear`
with a matrix a member. Arrays of samples are (members, batch, features), those of parameters (members, …).
"""

import math
from collections.abc import Collection, Sequence
from typing import Any

import torch
from attrs import field, frozen
from torch import Tensor

from functional_mlp.algebra import working_dtype
from functional_mlp.buffers import Buffers, Number, Rule, all_finite
from functional_mlp.captured import Launcher, epochs_at_once
from functional_mlp.descent import Batch, descend
from functional_mlp.layers.base import Layer
from functional_mlp.layers.combinators import Residual, Sequential
from functional_mlp.layers.elementwise import Elementwise
from functional_mlp.layers.linear import Linear, LinearParams
from functional_mlp.losses import Loss, weighted
from functional_mlp.metrics import NOTHING, Metrics, Tally, counted, measure
from functional_mlp.optimizers import Optimizer, OptimizerState
from functional_mlp.orders import order_of
from functional_mlp.pages import Pages
from functional_mlp.penalties import Penalty
from functional_mlp.state import Job, Keys, Member, Outcome, Rates, Tick, ticks_after
from functional_mlp.value import replaced

Snapshot = tuple[list[Tensor], int, list[float]]

# Batches whose inputs are gathered at a time: chosen, not measured.
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
        return self.backward_params(params, tape, grad_out), grad_out @ params.weight

    def backward_params(self, params: LinearParams, tape: Tensor, grad_out: Tensor) -> LinearParams:
        return LinearParams(grad_out.mT @ tape, None if params.bias is None else grad_out.sum(1))


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
        self._batch_size, self._members = min(job.batch_size, len(members[0].data)), members
        states = [member.start.optimizer_state for member in members]
        self._rule = Rule.of(members[0].optimizer, job.penalty, states[0].params)
        self._arrays = self._rule.arrays(states, (len(members),))
        self._step = states[0].step
        self._learning_rates = [state.learning_rate for state in states]
        self._inputs, self._targets, self._labels, self._weights = self._columns()
        self._answered = [job.loss.has_answers(member.data.targets, member.data.labels) for member in members]
        self._pages = Pages.of(*{id(column): column for column in (*self._inputs, *self._targets)}.values())
        self._launcher = Launcher(members[0].optimizer, self._inputs[0])
        width = self._inputs[0].shape[1] + self._targets[0].shape[-1]
        numbers = len(members) * self._batch_size * width
        self._rows_at_once = self._batch_size * self._launcher.batches_at_once(BATCHES_AT_ONCE, numbers)
        self._samples, self._shuffle = len(members[0].data), job.shuffle
        self._steps = math.ceil(self._samples / self._batch_size)
        self.epochs_at_once: int = epochs_at_once(self._inputs[0], self._steps)

    def _columns(self) -> tuple[list[Any], ...]:
        """Each member's inputs, encoded targets, labels, −1 where there are none, and weights, which all have or none.

        They are made once for each data set.
        """
        made: dict[int, tuple[Tensor | None, ...]] = {}
        for member in self._members:
            if id(member.data) not in made:
                made[id(member.data)] = self._prepared(member)
        return tuple(map(list, zip(*(made[id(member.data)] for member in self._members), strict=True)))

    def _prepared(self, member: Member) -> tuple[Tensor | None, ...]:
        data = member.data
        probe, _ = self._network.forward(member.start.optimizer_state.params, data.inputs[:1])
        targets = self._loss.encode(data.targets, probe.expand(len(data), -1))
        none = torch.full((len(data),), -1, device=data.inputs.device)
        return data.inputs, targets, none if data.labels is None else data.labels, data.weights_of(slice(None))

    def epochs_ahead(self, wanted: int) -> int:
        return 1

    def epochs(
        self, keys: Keys, learning_rates: Rates, tick: Tick, validated: Collection[int], *, each: bool = False
    ) -> tuple[list[Outcome], list[Snapshot]]:
        tallies, held_out, everyone = [], [], range(len(self._members))
        snapshots: list[Snapshot] = []
        for done, (own, rates) in enumerate(zip(keys, learning_rates, strict=True)):
            orders = [order_of(key, self._samples, self._shuffle) for key in own]
            tallies.append(self._epoch(orders, rates, ticks_after(done, tick)))
            held_out.append([self._validate(member) if member in validated else NOTHING for member in everyone])
            snapshots = [*(snapshots if each else []), self.snapshot()]
        trained = [tally.metrics(*self._answered) for tally in tallies]
        outcomes = list(map(Outcome.of, zip(*trained, strict=True), zip(*held_out, strict=True)))
        return outcomes, snapshots

    def _validate(self, member: int) -> Metrics:
        data = self._members[member].validation
        if data is None:
            return NOTHING
        return measure(self._network, self._loss, self._rule.layout.tree(self._arrays[0][member]), data)

    def _epoch(self, orders: Sequence[Tensor], rates: Sequence[float], tick: Tick) -> Tally:
        inputs = self._inputs[0]
        learning_rate: Number = rates[0]
        if len(set(rates)) > 1:
            column = torch.tensor(rates, dtype=working_dtype(inputs.dtype), device="cpu").unsqueeze(1)
            learning_rate = column.to(inputs.device, non_blocking=True)
        tally, done = Tally(), 0
        for rows in torch.stack(list(orders)).to(inputs.device, non_blocking=True).split(self._rows_at_once, 1):
            step = self._step + done // self._batch_size
            value, right, weight, *self._arrays = self._launcher.call(
                self._piece, rows, step, learning_rate, self._arrays
            )
            tally.add(rows.shape[1], value, right, weight)
            done += rows.shape[1]
            tick(done / self._samples)
        self._step += self._steps
        self._learning_rates = list(rates)
        return tally

    def _piece(self, rows: Tensor, step: Number, learning_rate: Number, *arrays: Tensor) -> list[Tensor]:
        """The batches of rows (members, n), one after the other: what a `Tally` takes of them, and new arrays."""
        loss, parameters = self._loss, Buffers(self._rule, learning_rate, arrays)
        inputs, targets, labels = (self._gathered(own, rows) for own in (self._inputs, self._targets, self._labels))
        weights = None if self._weights[0] is None else self._gathered(self._weights, rows)
        batches = Batch(inputs, targets, weights, rows.shape[1]).cut(self._batch_size, axis=1)
        predictions = torch.cat(descend(self._layer, loss, parameters, batches, step), 1)
        values = loss.sample_values(predictions, targets)
        means = (values if weights is None else weighted(values, weights)).mean((1, 2))
        return [means, *counted(loss.are_right(predictions, targets, labels), weights), *parameters.arrays]

    def _gathered(self, columns: Sequence[Tensor], rows: Tensor) -> Tensor:
        """The rows (members, n) of each member's own column, which may be one for all."""
        if all(column is columns[0] for column in columns):
            return self._pages.rows(columns[0], rows)
        return torch.stack([self._pages.rows(column, own) for column, own in zip(columns, rows, strict=True)])

    def check_unchanged(self) -> None:
        """Torch operations follow whatever changes."""

    def is_finite(self, members: Sequence[int]) -> bool:
        everyone = len(members) == len(self._members)
        return all_finite(self._arrays if everyone else [array[list(members)] for array in self._arrays])

    def restore(self, snapshot: Snapshot) -> None:
        self._arrays, self._step, self._learning_rates = snapshot

    def snapshot(self) -> Snapshot:
        return self._arrays, self._step, self._learning_rates

    def state(self, snapshot: Snapshot, member: int) -> OptimizerState:
        arrays, step, rates = snapshot
        own = [array[member] for array in arrays]
        return self._rule.state(self._members[member].start.optimizer_state, own, step, rates[member])
