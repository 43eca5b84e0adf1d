"""`fit_ensemble`: training many networks at once, each as `fit` would train it."""

import concurrent.futures
import math
import os
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from torch import Tensor

from functional_mlp import checks, forks, random
from functional_mlp.datasets import Dataset
from functional_mlp.ensemble.arguments import Plan, plan
from functional_mlp.ensemble.groups import Group, GroupRun, Outcomes, grouped
from functional_mlp.ensemble.history import EnsembleHistory
from functional_mlp.ensemble.trees import check_index, stack
from functional_mlp.evaluation import Metrics
from functional_mlp.history import EpochRecord, History
from functional_mlp.layers.base import Layer, Params
from functional_mlp.losses import Loss
from functional_mlp.optimizers import Optimizer
from functional_mlp.random import Key
from functional_mlp.runs import EngineName
from functional_mlp.training import FitResult, ScheduleLike, TrainState

# Seconds between two looks at how far the groups are.
POLL = 0.05
# The most epochs that are taken together: Ctrl-C is heard before their orders are drawn.
EPOCHS_AT_ONCE = 16
# Held by the group whose orders are drawn: threads that run Python by turns take longer than one after the other.
_drawing = forks.lock()


@attrs.frozen(eq=False)
class EnsembleResult:
    """What `fit_ensemble` returns: a `FitResult` for each member, in the order of the keys."""

    members: tuple[FitResult, ...]

    @property
    def params(self) -> Params:
        """The stacked parameters: each leaf (…) of a member's is (members, …)."""
        return stack([member.params for member in self.members])

    @property
    def history(self) -> EnsembleHistory:
        return EnsembleHistory(tuple(member.history for member in self.members))

    @property
    def diverged_at(self) -> tuple[int | None, ...]:
        """For each member the epoch whose loss stopped being finite, or `None`."""
        return tuple(member.diverged_at for member in self.members)

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the training of a member."""
        return any(member.interrupted for member in self.members)

    def member(self, index: int) -> FitResult:
        """The result of one member, counted from 0: what `fit` gives with its key, data and optimizer."""
        check_index("member: index", index, len(self.members))
        return self.members[index]

    def __len__(self) -> int:
        return len(self.members)


def fit_ensemble(
    network: Layer,
    loss: Loss,
    optimizer: Optimizer | Sequence[Optimizer],
    data: Dataset | Sequence[Dataset],
    *,
    keys: Sequence[Key],
    epochs: int,
    batch_size: int = 1,
    schedule: ScheduleLike | Sequence[ScheduleLike] | None = None,
    validation: Dataset | Sequence[Dataset] | None = None,
    params: Params | None = None,
    engine: EngineName = "auto",
    progress: Callable[[float], None] | None = None,
) -> EnsembleResult:
    """Train one network for each key, at the price of a few.

    Member i is trained as by `fit(network, loss, optimizer, data, key=keys[i], …)`: it has the same initial
    parameters, orders and batches to the bit, and its numbers agree with that run's within the rounding of an
    engine. `optimizer`, `data`, `schedule` and `validation` are one for all members or a sequence of one each;
    optimizers are of one kind, and may differ in their learning rates and other numbers. `params` starts from
    given parameters, stacked (see `functional_mlp.ensemble.stack`).

    A member whose loss stops being finite stops alone, as `fit` does; one `RuntimeWarning` names all of them.
    Groups of members are trained to the end one after the other on each core; Ctrl-C ends the training with what
    each member has learnt so far, nothing for those whose turn had not come. `progress` is called now and then with the
    number of epochs done, the mean over the members. The same ensemble gives the same bits each time, in whatever
    order its members stand. A record's `seconds` are the member's share of the time of those trained with it.

    Raises `TypeError` or `ValueError` as `fit` does, and for sequences that do not have one item a key.

    >>> import functional_mlp as fm
    >>> network = fm.Sequential(fm.Linear(2, 8), fm.Tanh(), fm.Linear(8, 2))
    >>> data, keys = fm.datasets.disk(fm.random.key(0), 100), fm.random.key(1).split(3)
    >>> rates = [fm.SGD(0.01), fm.SGD(0.1), fm.SGD(0.1)]
    >>> result = fm.fit_ensemble(network, fm.MeanSquaredError(), rates, data, keys=keys, epochs=5)
    >>> result.params[0].weight.shape, len(result.member(2).history)
    (torch.Size([3, 8, 2]), 5)
    """
    if progress is not None and not callable(progress):
        raise TypeError(f"fit_ensemble: progress must be callable, got {checks.describe(progress)}: pass a function")
    ensemble = plan(
        network,
        loss,
        optimizer,
        data,
        keys=keys,
        epochs=epochs,
        batch_size=batch_size,
        schedule=schedule,
        validation=validation,
        params=params,
        engine=engine,
    )
    groups, fused = grouped(ensemble)
    cancelled = threading.Event()
    trainings = [GroupTraining(ensemble, group, cancelled) for group in groups]
    # torch's operations use the cores by themselves, and native calls one each.
    workers = min(len(groups), _cores()) if fused else 1
    members: list[FitResult | None] = [None] * len(ensemble.members)
    for group, results in zip(groups, _run_all(trainings, workers, cancelled, progress), strict=True):
        for number, result in zip(group.numbers, results, strict=True):
            members[number] = result
    outcome = EnsembleResult(tuple(member for member in members if member is not None))
    _warn_of_divergence(outcome)
    return outcome


class CancelledError(Exception):
    """Raised inside an epoch to end it."""


class GroupTraining:
    """The training of a group from its first epoch to its last, in one thread."""

    def __init__(self, ensemble: Plan, group: Group, cancelled: threading.Event) -> None:
        self._ensemble, self._group, self._cancelled = ensemble, group, cancelled
        self._records: list[list[EpochRecord]] = [[] for _ in group.members]
        self._results: dict[int, FitResult] = {}
        self.epochs_done = 0

    @property
    def size(self) -> int:
        return len(self._group.members)

    def run(self) -> list[FitResult]:
        """Train until each member has had its epochs or has diverged; returns their results."""
        run = self._group.start()
        validated = self._group.members[0].validation is not None
        at_once = 1 if validated else min(run.epochs_at_once, EPOCHS_AT_ONCE)
        snapshot, previous = run.snapshot(), None
        epoch, one_by_one = 0, 0  # epochs before this one are not taken together
        interrupted = False
        try:
            while epoch < self._ensemble.epochs and (active := self._active()):
                self._check()
                stop = epoch + 1 if epoch < one_by_one else min(epoch + at_once, self._ensemble.epochs)
                started = time.perf_counter()
                outcomes = run.epochs(self._orders(epoch, stop), epoch, self._check)
                finite = all(math.isfinite(outcome[index][0]) for outcome in outcomes for index in active)
                if stop - epoch > 1 and not (finite and run.is_finite(active)):
                    run.restore(snapshot)  # find the epochs in which members diverge
                    one_by_one = stop
                    continue
                self._record(run, active, epoch, outcomes, started)
                if not finite:
                    for index in active:
                        if not math.isfinite(outcomes[0][index][0]):
                            self._finish(run, index, snapshot, previous, epoch, diverged_at=epoch)
                snapshot, previous = run.snapshot(), snapshot
                self.epochs_done = epoch = stop
        except CancelledError:
            interrupted = True
        for index in self._active():
            self._finish(run, index, snapshot, previous, len(self._records[index]), interrupted=interrupted)
        return [self._results[index] for index in range(self.size)]

    def _active(self) -> list[int]:
        """The members that are still trained."""
        return [index for index in range(self.size) if index not in self._results]

    def _orders(self, epoch: int, stop: int) -> list[list[Tensor]]:
        """Each member's order in each of some epochs."""
        keys, samples = [member.state.key for member in self._group.members], len(self._group.members[0].data)
        with _drawing:
            return [[random.permutation(key.fold_in(one), samples) for key in keys] for one in range(epoch, stop)]

    def _record(
        self, run: GroupRun, active: Sequence[int], epoch: int, outcomes: Sequence[Outcomes], started: float
    ) -> None:
        """Set down what epochs from `epoch` on came to."""
        validations = {index: self._validate(run, index) for index in active}
        seconds = (time.perf_counter() - started) / (len(active) * len(outcomes))
        for index, held_out in validations.items():
            rates = self._group.members[index].learning_rates[epoch : epoch + len(outcomes)]
            self._records[index] += [
                EpochRecord(*outcome[index], held_out.loss, held_out.accuracy, rate, seconds)
                for outcome, rate in zip(outcomes, rates, strict=True)
            ]

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise CancelledError

    def _validate(self, run: GroupRun, index: int) -> Metrics:
        return Metrics(math.nan, math.nan) if self._group.members[index].validation is None else run.evaluate(index)

    def _finish(
        self,
        run: GroupRun,
        index: int,
        snapshot: Any,
        previous: Any,
        epoch: int,
        *,
        diverged_at: int | None = None,
        interrupted: bool = False,
    ) -> None:
        """Set down a member's result: the last finite state, of `snapshot`, after `epoch` epochs, or `previous`."""
        state = run.state(snapshot, index)
        if previous is not None and not checks.is_finite(state):  # an epoch's loss is that before its last update
            epoch, state = epoch - 1, run.state(previous, index)
            diverged_at = epoch if diverged_at is None else diverged_at
        reached = TrainState(state, self._group.members[index].state.key, epoch)
        self._results[index] = FitResult(reached, History.of(self._records[index]), diverged_at, interrupted)


def _run_all(
    trainings: Sequence[GroupTraining],
    workers: int,
    cancelled: threading.Event,
    progress: Callable[[float], None] | None,
) -> list[list[FitResult]]:
    """The results of each training; Ctrl-C, or an error in any of them, ends the others at their next call."""
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(training.run) for training in trainings]
        pending = set(futures)
        try:
            while pending:
                timeout = None if progress is None else POLL
                done, pending = concurrent.futures.wait(pending, timeout, concurrent.futures.FIRST_EXCEPTION)
                for future in done:
                    future.result()
                if progress is not None:
                    members = sum(training.size for training in trainings)
                    progress(sum(training.size * training.epochs_done for training in trainings) / members)
        except KeyboardInterrupt:
            cancelled.set()
        except BaseException:
            cancelled.set()
            raise
        return [future.result() for future in futures]


def _cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _warn_of_divergence(outcome: EnsembleResult) -> None:
    diverged = {index: epoch for index, epoch in enumerate(outcome.diverged_at) if epoch is not None}
    if diverged:
        described = ", ".join(f"{index} in epoch {epoch}" for index, epoch in diverged.items())
        warnings.warn(
            f"fit_ensemble: {len(diverged)} of {len(outcome)} members diverged, and end with their last finite state: "
            f"member {described}: a smaller learning rate may help",
            RuntimeWarning,
            stacklevel=3,
        )
