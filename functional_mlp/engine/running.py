"""A network in training on the fused engine."""

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from functional_mlp import checks
from functional_mlp.datasets import Dataset
from functional_mlp.engine.expressions import strength_of
from functional_mlp.engine.orders import Orders
from functional_mlp.engine.passes import Evaluation, nothing
from functional_mlp.engine.policy import MEASURED, Policy
from functional_mlp.engine.program import TrainingProgram
from functional_mlp.engine.rows import Rows
from functional_mlp.engine.session import Session
from functional_mlp.forks import cached_property
from functional_mlp.optimizers import OptimizerState
from functional_mlp.random import Key
from functional_mlp.state import Keys, Outcome, Rates, Tick
from functional_mlp.views import View

# A state's numbers as numpy's array: to copy some hundreds takes a tenth of the time of torch's operation.
Numbers = np.ndarray[tuple[int], np.dtype[Any]]
Snapshot = tuple[Numbers, int, float]


class FusedRun:
    """A member in training on the fused engine (see `engines.Run`): epochs change its workspace in place.

    A snapshot is a copy of the workspace's parameters and slots, with step and learning rate.

    Parameters
    ----------
    program
        What is trained, and how.
    state
        The optimizer's, to start from.
    data
        The rows.
    shuffle
        Whether each epoch has an order of its own.
    validation
        A data set that is measured after epochs.
    policy
        How the engine makes code, and runs it.
    """

    _memory: Tensor | None  # for the numbers of states

    def __init__(
        self,
        program: TrainingProgram,
        state: OptimizerState,
        data: Dataset,
        *,
        shuffle: bool = True,
        validation: Dataset | None = None,
        policy: Policy = MEASURED,
    ) -> None:
        self._program = program
        self._strength = strength_of(program.penalty)
        self._session, self._shuffle = Session.of(program, policy), shuffle
        self._rows, self._samples = Rows.of(data, program.loss), len(data)
        self._validation = None if validation is None else Evaluation(program, validation, policy)
        self.within = self._validation if self._validates_within else None
        self._template, self._memory = state, None
        self._step, self._learning_rate = state.step, state.learning_rate
        self._names = ("params", *program.optimizer.slots())
        self._numbers: Numbers = self._session.workspace[: self._session.layout.size * len(self._names)].numpy()
        self._structures = [
            self._session.layout.pack(getattr(state, name), self._session.array(index))
            for index, name in enumerate(self._names)
        ]

    @cached_property
    def _orders(self) -> Orders:
        return Orders(1, self._samples, shuffled=self._shuffle, policy=self._session.plan.policy)

    @property
    def _validates_within(self) -> bool:
        """Whether the call that trains makes the passes over the validation data as well: on one thread."""
        plan = self._session.plan
        in_one_call = self._validation is not None and self._validation.is_short and not plan.divided
        return in_one_call and self._trains_in_one_call

    @property
    def _trains_in_one_call(self) -> bool:
        """Whether a call makes an epoch, or several: of a short one, whose rows need not be copied."""
        return self._samples <= self._session.plan.rows_per_call and not self._rows.pages

    @property
    def epochs_at_once(self) -> int:
        return max(1, min(self._epochs_per_call, self._session.plan.policy.most_epochs_per_call))

    @property
    def _epochs_per_call(self) -> int:
        """How many epochs take as long as a call is to take."""
        if self._validation is not self.within or self._rows.pages:
            return 1
        held_out = 0 if self._validation is None else self._validation.samples
        rows = self._session.threads * self._session.plan.rows_per_call  # for threads take as long together
        return rows // (self._samples + held_out)

    def epochs_ahead(self, wanted: int) -> int:
        if not self._trains_in_one_call:
            return 1
        policy = self._session.plan.policy
        soon = min(policy.most_epochs_ahead, self._epochs_per_call // policy.looks_in_a_call)
        held = policy.most_bytes_ahead // max(1, self._numbers.nbytes)
        return max(1, soon, min(wanted, self._epochs_per_call, held))

    @property
    def check_unchanged(self) -> Callable[[], None]:
        return self._program.check_unchanged

    def epochs(
        self, keys: Keys, learning_rates: Rates, tick: Tick, validated: Collection[int], *, each: bool = False
    ) -> tuple[list[Outcome], Sequence[Snapshot]]:
        self._program.check_unchanged()
        own, rates = [key for (key,) in keys], [rate for (rate,) in learning_rates]
        within = self.within if validated else None
        memory = self._memory_of(len(own)) if each and len(own) > 1 else None
        sums: Sequence[Sequence[float]]
        if self._trains_in_one_call:
            sums = self._sums_of_epochs(own, rates, within, memory)
            tick(len(own))
        else:
            sums = self._sums_of_long_epochs(own, rates, tick)
        snapshots = [self.snapshot()] if memory is None else self._snapshots_in(memory, rates)
        if self._validation is None or not validated or within is not None:
            return [self._outcome(sums, within)], snapshots
        assert len(own) == 1, "several epochs are validated within the call that trains them alone"
        metrics = self._validation.metrics(self._session.array(0))
        return [Outcome(*self._rows.figures(*sums[:2]), (metrics.loss,), (metrics.accuracy,))], snapshots

    def _sums_of_epochs(
        self,
        keys: Sequence[Key],
        learning_rates: Sequence[float],
        within: Evaluation | None,
        snapshots: Tensor | None,
    ) -> Sequence[list[float]]:
        """Run epochs in one native call, with passes over validation data `within` it; returns the sums of each.

        The numbers of a snapshot after each go to `snapshots`, where they are given.
        """
        sums = self._session.run_epochs(
            self._rows,
            self._orders,
            keys,
            learning_rates,
            step=self._step,
            strength=self._strength,
            validation=None if within is None else within.table,
            snapshots=snapshots,
        )
        self._move_on(len(keys), self._samples, learning_rates[-1])
        return sums

    def _sums_of_long_epochs(
        self, keys: Sequence[Key], learning_rates: Sequence[float], tick: Tick
    ) -> Sequence[Sequence[float]]:
        """Run epochs, each in several native calls, for one cannot be interrupted; returns the sums of each."""
        sums = []
        for done, (key, rate) in enumerate(zip(keys, learning_rates, strict=True)):
            self._orders.draw([key])
            sums.append(self.sums_of_epoch(self._orders.memory[0], self._samples, rate, _after(done, tick)))
        return [*zip(*sums, strict=True)]

    def _outcome(self, sums: Sequence[Sequence[float]], within: Evaluation | None) -> Outcome:
        """The outcome of epochs, given the sums of the losses and the right answers, and those over validation data."""
        losses, right, *held_out = sums
        return Outcome(
            *self._rows.figures(losses, right),
            *(nothing(len(losses)) if within is None else within.rows.figures(*held_out)),
        )

    def sums_of_epoch(
        self, order: Tensor, samples: int, learning_rate: float, tick: Tick | None
    ) -> tuple[float, float]:
        """Run an epoch over the rows in `order`; returns the sum of the losses and the number of right answers."""
        sums = self._session.run(
            self._rows,
            samples,
            order,
            step=self._step,
            learning_rate=learning_rate,
            strength=self._strength,
            progress=tick,
        )
        self._move_on(1, samples, learning_rate)
        return sums

    def _move_on(self, epochs: int, samples: int, learning_rate: float) -> None:
        self._step += epochs * self._steps_of(samples)
        self._learning_rate = learning_rate

    def _steps_of(self, samples: int) -> int:
        """The number of steps in an epoch."""
        return -(-samples // self._program.batch_size)

    def is_finite(self, members: Sequence[int]) -> bool:
        # A sum of finite numbers may overflow, and padding need not be finite: only then is each number looked at.
        # It is numpy's: the threads of torch's would keep the cores busy for a while, in wait of more to do.
        with np.errstate(over="ignore", invalid="ignore"):
            if math.isfinite(self._numbers.sum()):
                return True
        layout = self._session.layout
        return all(layout.are_finite(self._session.array(index)) for index in range(len(self._names)))

    def restore(self, snapshot: Snapshot) -> None:
        numbers, self._step, self._learning_rate = snapshot
        self._numbers[:] = numbers

    def snapshot(self) -> Snapshot:
        return self._numbers.copy(), self._step, self._learning_rate

    def _memory_of(self, states: int) -> Tensor:
        """Memory for the numbers after each epoch of a call.

        It is not filled: torch would fill it on all cores, and wait for them. A run keeps it: in new memory a call
        takes 1.3 of the time (13-100-3 in float64, 178 rows).
        """
        if self._memory is None or len(self._memory) < states:
            self._memory = torch.empty(states, len(self._numbers), dtype=self._program.dtype, device="cpu")
            checks.plain_tensor("the engine's memory for states", self._memory)
        return self._memory[:states]

    def _snapshots_in(self, memory: Tensor, learning_rates: Sequence[float]) -> Sequence[Snapshot]:
        """The snapshots after the last epochs, whose numbers native code has copied to memory, until its next call."""
        each, numbers = self._steps_of(self._samples), memory.numpy()
        steps = range(self._step - (len(memory) - 1) * each, self._step + 1, each)
        # Whoever keeps one does not keep them all.
        return View(len(memory), lambda place: (numbers[place].copy(), steps[place], learning_rates[place]))

    def state(self, snapshot: Snapshot, member: int = 0) -> OptimizerState:
        copied, step, learning_rate = snapshot
        layout, numbers = self._session.layout, torch.from_numpy(copied)
        arrays = numbers.split(layout.size) if layout.size else [numbers] * len(self._names)
        trees = map(layout.unpack, arrays, self._structures)
        named = dict(zip(self._names, trees, strict=True))
        return attrs.evolve(self._template, step=step, learning_rate=learning_rate, **named)


def _after(done: int, tick: Tick) -> Tick:
    """What is told a share of an epoch, and tells how many are done with those before it."""
    return lambda share: tick(done + share)
