"""The reference engine: epochs as torch operations, on any device and in any floating dtype.

The loop over the batches is `functional_mlp.descent`. Here an epoch's rows are gathered for some of them at a time, and
on a GPU the kernels of their steps are launched as one (`functional_mlp.captured`).
"""

import math
from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor

from functional_mlp import trees
from functional_mlp.buffers import Buffers, Number, Rule, all_finite
from functional_mlp.captured import Launcher, epochs_at_once
from functional_mlp.descent import Batch, descend
from functional_mlp.metrics import NOTHING, Metrics, Tally, counted, measure
from functional_mlp.optimizers import OptimizerState
from functional_mlp.orders import order_of
from functional_mlp.pages import Pages
from functional_mlp.state import Job, Keys, Member, Outcome, Rates, Tick, ticks_after

Snapshot = tuple[list[Tensor], int, float]

# Batches whose inputs are gathered, and whose predictions are kept for the epoch's loss, at a time: of the time of an
# epoch 1.04 for 64, 1.00 to 1.02 for 256 and for 16,384 (2-8-2, 1; 20-64-64-4, 32), and they take memory.
BATCHES_AT_ONCE = 1024
# Epochs whose arrays are kept at a time, where some are launched together and each is looked at: chosen, not measured.
MOST_AHEAD = 16


class Descent:
    """Minibatch gradient descent for a member of a job: epochs that take arrays of parameters to new ones."""

    def __init__(self, job: Job, member: Member, batches_at_once: int = BATCHES_AT_ONCE) -> None:
        self._network, self._loss, self._data = job.network, job.loss, member.data
        self._pages = Pages.of(member.data.inputs, member.data.targets)
        data, params = member.data, trees.detached(member.start.optimizer_state.params)
        self.rule: Rule = Rule.of(member.optimizer, job.penalty, params)
        self._batch_size = min(job.batch_size, len(data))
        self.steps: int = math.ceil(len(data) / self._batch_size)
        self._probe, _ = job.network.forward(params, data.inputs[:1])  # shows the number of outputs
        self.is_answered: bool = job.loss.has_answers(data.targets, data.labels)
        self._launcher = Launcher(member.optimizer, data.inputs)
        # The checks of targets wait for a GPU, and are made once there; elsewhere no more is kept than a piece needs.
        self._encoded = self._encode(data.targets) if data.inputs.is_cuda else None
        numbers = self._batch_size * (data.inputs.shape[1] + self._probe.shape[-1])
        self._rows_at_once = self._batch_size * self._launcher.batches_at_once(batches_at_once, numbers)

    def _encode(self, targets: Tensor) -> Tensor:
        return self._loss.encode(targets, self._probe.expand(len(targets), -1))

    def inputs_of(self, rows: Tensor) -> Tensor:
        return self._pages.rows(self._data.inputs, rows)

    def targets_of(self, rows: Tensor) -> Tensor:
        return self._pages.rows(self._data.targets, rows)

    def epoch(
        self,
        arrays: Sequence[Tensor],
        step: int,
        learning_rate: float,
        order: Tensor,
        progress: Callable[[float], None] | None = None,
    ) -> tuple[list[Tensor], Tally]:
        """One epoch in the given order: the new arrays, and the tally of its losses and right answers."""
        tally, done = Tally(), 0
        for rows in order.to(self._data.inputs.device, non_blocking=True).split(self._rows_at_once):
            steps = step + done // self._batch_size
            value, right, weight, *arrays = self._launcher.call(self.piece, rows, steps, learning_rate, arrays)
            tally.add(len(rows), value, right, weight)
            done += len(rows)
            if progress is not None:
                progress(done / len(order))
        return list(arrays), tally

    def piece(self, rows: Tensor, step: Number, learning_rate: Number, *arrays: Tensor) -> list[Tensor]:
        """The steps with the batches of some rows: what a `Tally` takes of them, and new arrays."""
        loss, data, parameters = self._loss, self._data, Buffers(self.rule, learning_rate, arrays)
        targets = self._encode(self.targets_of(rows)) if self._encoded is None else self._encoded[rows]
        samples = Batch(self.inputs_of(rows), targets, data.weights_of(rows), len(rows))
        predictions = descend(self._network, loss, parameters, samples.cut(self._batch_size), step)
        outputs = torch.stack(predictions) if self._batch_size == 1 else torch.cat(predictions)
        right = loss.are_right(outputs, targets, data.labels_of(rows))
        return [
            loss.batch_value(outputs, targets, samples.weights),
            *counted(right, samples.weights),
            *parameters.arrays,
        ]


class ReferenceRun:
    """A member in training on the reference engine (see `engines.Run`).

    An epoch makes new arrays, so a snapshot is the arrays themselves.
    """

    def __init__(self, job: Job, member: Member) -> None:
        self._job, self._member = job, member
        state: OptimizerState = trees.detached(member.start.optimizer_state)
        self._descent = Descent(job, member)
        self._arrays, self._step = self._descent.rule.arrays([state]), state.step
        self._learning_rate = state.learning_rate
        self.epochs_at_once: int = epochs_at_once(member.data.inputs, self._descent.steps)

    def epochs_ahead(self, wanted: int) -> int:
        return min(self.epochs_at_once, MOST_AHEAD)

    def epochs(
        self, keys: Keys, learning_rates: Rates, tick: Tick, validated: Collection[int], *, each: bool = False
    ) -> tuple[list[Outcome], list[Snapshot]]:
        tallies, held_out = [], []
        snapshots: list[Snapshot] = []
        for done, ((key,), (learning_rate,)) in enumerate(zip(keys, learning_rates, strict=True)):
            order = order_of(key, len(self._member.data), self._job.shuffle)
            self._arrays, tally = self._descent.epoch(
                self._arrays, self._step, learning_rate, order, ticks_after(done, tick)
            )
            self._step += self._descent.steps
            self._learning_rate = learning_rate
            tallies.append(tally)
            held_out.append(self._validate() if validated else NOTHING)
            snapshots = [*(snapshots if each else []), self.snapshot()]
        trained = [metrics for tally in tallies for metrics in tally.metrics(self._descent.is_answered)]
        return [Outcome.of(trained, held_out)], snapshots

    def _validate(self) -> Metrics:
        if self._member.validation is None:
            return NOTHING
        params = self._descent.rule.layout.tree(self._arrays[0])
        return measure(self._job.network, self._job.loss, params, self._member.validation)

    def check_unchanged(self) -> None:
        """Torch operations follow whatever changes."""

    def is_finite(self, members: Sequence[int]) -> bool:
        return all_finite(self._arrays)

    def snapshot(self) -> Snapshot:
        return self._arrays, self._step, self._learning_rate

    def restore(self, snapshot: Snapshot) -> None:
        self._arrays, self._step, self._learning_rate = snapshot

    def state(self, snapshot: Snapshot, member: int) -> OptimizerState:
        return self._descent.rule.state(self._member.start.optimizer_state, *snapshot)
