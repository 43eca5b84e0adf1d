"""`fit_ensemble`: training many networks at once, each as `fit` would train it."""

import concurrent.futures
import os
import threading
import warnings
from collections.abc import Callable, Sequence

import attrs

from functional_mlp.course import Course
from functional_mlp.datasets import Dataset
from functional_mlp.engines import Group
from functional_mlp.ensemble.arguments import job_of
from functional_mlp.ensemble.groups import grouped
from functional_mlp.ensemble.history import EnsembleHistory
from functional_mlp.ensemble.trees import check_index, stack
from functional_mlp.interrupts import one_interrupt
from functional_mlp.layers.base import Layer, Params
from functional_mlp.losses import Loss
from functional_mlp.optimizers import Optimizer
from functional_mlp.penalties import Penalty
from functional_mlp.random import Key
from functional_mlp.state import (
    Callback,
    EngineName,
    FitResult,
    Keeper,
    ScheduleLike,
    Score,
    check_observers,
)
from functional_mlp.stopping import EarlyStopping
from functional_mlp.watching import Watch

# Seconds between two looks at how far the groups are.
POLL = 0.05


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
    shuffle: bool = True,
    schedule: ScheduleLike | Sequence[ScheduleLike] | None = None,
    penalty: Penalty | None = None,
    validation: Dataset | Sequence[Dataset] | None = None,
    score: Score | None = None,
    params: Params | None = None,
    engine: EngineName = "auto",
    progress: Callable[[float], None] | None = None,
    callbacks: Sequence[Callback] = (),
    checkpoint: Keeper | None = None,
    early_stopping: EarlyStopping | None = None,
) -> EnsembleResult:
    """Train one network for each key, at the price of a few.

    Member i is trained as by `fit(network, loss, optimizer, data, key=keys[i], …)`: it has the same initial
    parameters, orders and batches to the bit, and its numbers agree with that run's within the rounding of an
    engine. The same ensemble gives the same bits each time, in whatever order its members stand.

    Parameters
    ----------
    network, loss, penalty, score
        As `fit` takes them, one for all members.
    optimizer, data, schedule, validation
        As `fit` takes them: one for all members, or a sequence of one each. Optimizers are of one kind, and may differ
        in their learning rates and other numbers.
    keys
        A key for each member.
    epochs, batch_size, shuffle, engine
        As `fit` takes them.
    params
        Parameters to start from, stacked (see `functional_mlp.ensemble.stack`).
    progress
        Is called now and then with the number of epochs done, the mean over the members.
    callbacks
        Each is called as by `fit`, for each member, one at a time and in the thread that trains it; one that returns
        True ends that member alone.
    checkpoint
        A `functional_mlp.Checkpoint`, which keeps all members in one file; the same call goes on with them.
    early_stopping
        A `functional_mlp.EarlyStopping`, by which each member stops alone.

    Groups of members are trained to the end one after the other on each core. A member whose loss stops being finite
    stops alone, as `fit` does; one `RuntimeWarning` names all of them. Ctrl-C ends the training with what each member
    has learnt so far, nothing for those whose turn had not come. A record's `seconds` are the member's share of the
    time of those trained with it. Raises `TypeError` or `ValueError` as `fit` does, and for sequences that do not have
    one item a key.

    >>> import functional_mlp as fm
    >>> network = fm.Sequential(fm.Linear(2, 8), fm.Tanh(), fm.Linear(8, 2))
    >>> data, keys = fm.datasets.disk(fm.random.key(0), 100), fm.random.key(1).split(3)
    >>> rates = [fm.SGD(0.01), fm.SGD(0.1), fm.SGD(0.1)]
    >>> result = fm.fit_ensemble(network, fm.MeanSquaredError(), rates, data, keys=keys, epochs=5)
    >>> result.params[0].weight.shape, len(result.member(2).history)
    (torch.Size([3, 8, 2]), 5)
    """
    check_observers("fit_ensemble", progress, callbacks, checkpoint)
    job = job_of(
        network,
        loss,
        optimizer,
        data,
        keys=keys,
        epochs=epochs,
        batch_size=batch_size,
        shuffle=shuffle,
        schedule=schedule,
        penalty=penalty,
        validation=validation,
        score=score,
        params=params,
        engine=engine,
        early_stopping=early_stopping,
    )
    watch = Watch(job, callbacks, checkpoint)
    with one_interrupt():
        groups, fused = grouped(watch.job)
        watch.begin()
        # torch's operations use the cores by themselves, and native calls one each.
        outcome = _train(watch, groups, min(len(groups), _cores()) if fused else 1, progress)
    _warn_of_divergence(outcome)
    return outcome


class CancelledError(Exception):
    """Raised inside an epoch to end it."""


class Training:
    """The training of a group from its first epoch to its last, in one thread."""

    def __init__(self, watch: Watch, group: Group, cancelled: threading.Event) -> None:
        self._watch, self._group, self._cancelled = watch, group, cancelled
        self._course: Course | None = None

    @property
    def epochs_done(self) -> int:
        """The number of epochs done, of all members together."""
        members = self._group.members
        done = members[0].start.epoch if self._course is None else self._course.epochs_done
        return done * len(members)

    def run(self) -> dict[int, FitResult]:
        """Train until each member is over; returns their results, by their numbers in the job."""
        numbers, interrupted = self._group.numbers, False
        course = Course(self._watch.job, self._group, watched=self._watch.looks, tick=self._check)
        self._course = course
        try:
            self._check(0.0)
            for reached in course:
                self._watch.look(course, numbers, reached)
        except (CancelledError, KeyboardInterrupt):
            self._cancelled.set()
            interrupted = True
        self._watch.finish(course, numbers)
        return {number: course.result(index, interrupted=interrupted) for index, number in enumerate(numbers)}

    def _check(self, done: float) -> None:
        if self._cancelled.is_set():
            raise CancelledError


def _train(
    watch: Watch,
    groups: Sequence[Group],
    workers: int,
    progress: Callable[[float], None] | None,
) -> EnsembleResult:
    """Train all groups; Ctrl-C, or an error in any of them, ends the others at their next call."""
    cancelled = threading.Event()
    trainings = [Training(watch, group, cancelled) for group in groups]
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
                    progress(sum(training.epochs_done for training in trainings) / len(watch.job.members))
        except KeyboardInterrupt:
            cancelled.set()
        except BaseException:
            cancelled.set()
            raise
        results = {number: result for future in futures for number, result in future.result().items()}
    return EnsembleResult(tuple(results[number] for number in sorted(results)))


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
