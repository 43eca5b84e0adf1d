"""A network in training on the fused engine."""

import math
from collections.abc import Collection, Sequence

import attrs
from torch import Tensor

from functional_mlp.datasets import Dataset
from functional_mlp.engine.orders import Orders
from functional_mlp.engine.passes import Evaluation, nothing
from functional_mlp.engine.program import TrainingProgram
from functional_mlp.engine.session import Rows, Session
from functional_mlp.forks import cached_property
from functional_mlp.optimizers import OptimizerState
from functional_mlp.state import Keys, Outcome, Rates, Tick


class FusedRun:
    """A member in training on the fused engine (see `engines.Run`): epochs change its workspace in place.

    A snapshot is a copy of the workspace's parameters and slots, with step and learning rate.
    """

    def __init__(
        self,
        program: TrainingProgram,
        state: OptimizerState,
        data: Dataset,
        *,
        shuffle: bool = True,
        validation: Dataset | None = None,
    ) -> None:
        self._program = program
        self._check_unchanged = None if program.is_ours else program.check_unchanged
        self._session, self._shuffle = Session(program), shuffle
        self._rows, self._samples = Rows.of(data, program.loss), len(data)
        self._validation = None if validation is None else Evaluation(program, validation)
        self._template = state
        self._step, self._learning_rate = state.step, state.learning_rate
        self._names = ("params", *program.optimizer.slots())
        self._numbers = self._session.workspace[: self._session.layout.size * len(self._names)]
        self._structures = [
            self._session.layout.pack(getattr(state, name), self._session.array(index))
            for index, name in enumerate(self._names)
        ]

    @cached_property
    def _orders(self) -> Orders:
        return Orders(1, self._samples, shuffled=self._shuffle)

    @property
    def _validates_within(self) -> bool:
        """Whether the call that trains makes the passes over the validation data as well: on one thread."""
        policy = self._session.policy
        in_one_call = self._validation is not None and self._validation.is_short and not policy.divided
        return in_one_call and self._samples <= policy.rows_per_call

    @property
    def epochs_at_once(self) -> int:
        if self._validation is not None and not self._validates_within:
            return 1
        policy, held_out = self._session.policy, 0 if self._validation is None else self._validation.samples
        rows = self._samples + held_out
        return max(1, min(policy.rows_per_call // rows, policy.most_epochs_per_call))

    def epochs(self, keys: Keys, learning_rates: Rates, tick: Tick, validated: Collection[int]) -> list[Outcome]:
        if self._check_unchanged is not None:
            self._check_unchanged()
        own, rates = [key for (key,) in keys], [rate for (rate,) in learning_rates]
        validation = self._validation if validated else None
        within = validation if self._validates_within else None
        if self._samples <= self._session.policy.rows_per_call:
            table = None if within is None else within.table
            *sums, losses, right = self._session.run_epochs(self._rows, self._orders, own, rates, self._step, table)
            self._move_on(len(own), self._samples, rates[-1])
            tick(len(own))
        else:  # there is but one epoch
            self._orders.draw(own)
            sums = [[each] for each in self.sums_of_epoch(self._orders.memory[0], self._samples, rates[0], tick)]
        if within is not None:
            held_out = within.rows.figures(losses, right)
        elif validation is not None:
            metrics = validation.metrics(self._session.array(0))
            held_out = (metrics.loss,), (metrics.accuracy,)
        else:
            held_out = nothing(len(own))
        return [Outcome(*self._rows.figures(*sums), *held_out)]

    def sums_of_epoch(
        self, order: Tensor, samples: int, learning_rate: float, tick: Tick | None
    ) -> tuple[float, float]:
        """Run an epoch over the rows in `order`; returns the sum of the losses and the number of right answers."""
        sums = self._session.run(
            self._rows, samples, order, step=self._step, learning_rate=learning_rate, progress=tick
        )
        self._move_on(1, samples, learning_rate)
        return sums

    def _move_on(self, epochs: int, samples: int, learning_rate: float) -> None:
        self._step += epochs * -(-samples // self._program.batch_size)
        self._learning_rate = learning_rate

    def is_finite(self, members: Sequence[int]) -> bool:
        # A sum of finite numbers may overflow, and padding need not be finite: only then is each number looked at.
        if math.isfinite(self._numbers.sum().item()):
            return True
        layout = self._session.layout
        return all(layout.are_finite(self._session.array(index)) for index in range(len(self._names)))

    def restore(self, snapshot: tuple[Tensor, int, float]) -> None:
        numbers, self._step, self._learning_rate = snapshot
        self._numbers.copy_(numbers)

    def snapshot(self) -> tuple[Tensor, int, float]:
        return self._numbers.clone(), self._step, self._learning_rate

    def state(self, snapshot: tuple[Tensor, int, float], member: int = 0) -> OptimizerState:
        numbers, step, learning_rate = snapshot
        layout = self._session.layout
        arrays = numbers.split(layout.size) if layout.size else [numbers] * len(self._names)
        trees = map(layout.unpack, arrays, self._structures)
        named = dict(zip(self._names, trees, strict=True))
        return attrs.evolve(self._template, step=step, learning_rate=learning_rate, **named)
