"""A network in training on many ranks: each takes its share of every batch, and all the same step."""

import threading
from collections.abc import Collection

import torch
from torch import Tensor

from functional_mlp.buffers import Buffers
from functional_mlp.datasets import Dataset
from functional_mlp.distributed.ranks import Ranks
from functional_mlp.metrics import NOTHING, ROWS_AT_ONCE, Metrics, Tally, count_in, metrics_of
from functional_mlp.orders import order_of
from functional_mlp.pages import Pages
from functional_mlp.reference import ReferenceRun, Snapshot
from functional_mlp.state import Job, Keys, Member, Outcome, Rates, Tick, ticks_after


class RanksRun(ReferenceRun):
    """A member in training on the reference engine (see `engines.Run`), the same on all ranks.

    The gradient of a batch of n rows is a sum over them, divided by n: each rank has the part of its own rows, and
    one all-reduce a step adds them up. Figures are sums as well. So all ranks hold the same bits.
    """

    def __init__(self, ranks: Ranks, interrupted: threading.Event, job: Job, members: tuple[Member, ...]) -> None:
        super().__init__(job, *members)
        self.epochs_at_once = 1
        self._ranks, self._interrupted = ranks, interrupted

    def epochs(
        self, keys: Keys, learning_rates: Rates, tick: Tick, validated: Collection[int], *, each: bool = False
    ) -> tuple[list[Outcome], list[Snapshot]]:
        trained, held_out = [], []
        snapshots: list[Snapshot] = []
        for done, ((key,), (learning_rate,)) in enumerate(zip(keys, learning_rates, strict=True)):
            order = order_of(key, len(self._member.data), self._job.shuffle)
            trained.append(self._epoch(order, learning_rate, ticks_after(done, tick)))
            held_out.append(self._validate() if validated else NOTHING)
            snapshots = [*(snapshots if each else []), self.snapshot()]
        return [Outcome.of(trained, held_out)], snapshots

    def _epoch(self, order: Tensor, learning_rate: float, tick: Tick) -> Metrics:
        batch_size, step, tally = self._job.batch_size, self._step, Tally()
        buffers = Buffers(self._descent.rule, learning_rate, self._arrays)
        for first in range(0, len(order), batch_size):
            gradient = self._gradient(buffers, order[first : first + batch_size], tally)
            self._add(gradient)
            step += 1
            buffers.update_by(step, gradient[:-1])
            tick(min(first + batch_size, len(order)) / len(order))
        # All at once: an interruption finds the state before this epoch.
        self._arrays, self._step, self._learning_rate = buffers.arrays, step, learning_rate
        return self._metrics(tally, self._member.data)

    def _gradient(self, buffers: Buffers, rows: Tensor, tally: Tally) -> Tensor:
        """This rank's part of the gradient of a batch, and whether Ctrl-C was pressed here, in one array."""
        data, loss, network = self._member.data, self._job.loss, self._job.network
        own, gradient = (
            rows[self._ranks.share_of(len(rows))].to(data.inputs.device),
            torch.zeros_like(buffers.arrays[0]),
        )
        if len(own):
            prediction, tape = network.forward(buffers.params, self._descent.inputs_of(own))
            target = loss.encode(self._descent.targets_of(own), prediction)
            count_in(tally, loss, data, own, prediction, target)
            grad_out = loss.batch_grad(prediction, target, data.weights_of(own), samples=len(rows))
            gradient = buffers.gradient(network.backward_params(buffers.params, tape, grad_out))
        return torch.cat([gradient, gradient.new_tensor([float(self._interrupted.is_set())])])

    def _add(self, gradient: Tensor) -> None:
        """Add up the parts of all ranks; all end at the same step where Ctrl-C was pressed on any."""
        self._ranks.add(gradient)
        if gradient[-1] > 0:
            raise KeyboardInterrupt

    def _validate(self) -> Metrics:
        data = self._member.validation
        if data is None:
            return NOTHING
        tally, own, loss = Tally(), self._ranks.share_of(len(data)), self._job.loss
        params = self._descent.rule.layout.tree(self._arrays[0])
        for rows in Pages.of(data.inputs, data.targets).slices(range(own.start, own.stop), ROWS_AT_ONCE):
            predictions, _ = self._job.network.forward(params, data.inputs[rows])
            count_in(tally, loss, data, rows, predictions, loss.encode(data.targets[rows], predictions))
        return self._metrics(tally, data)

    def _metrics(self, tally: Tally, data: Dataset) -> Metrics:
        """The figures over the rows of all ranks."""
        totals = tally.totals().to(data.inputs.device)
        self._ranks.add(totals)
        (metrics,) = metrics_of(totals, self._job.loss.has_answers(data.targets, data.labels))
        return metrics
