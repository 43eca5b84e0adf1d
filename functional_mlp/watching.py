"""Who looks at training as it goes: callbacks are asked whether it is to end, and a checkpoint keeps its progress."""

import math
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import attrs
import numpy as np
import torch
from torch import Tensor

from functional_mlp import checks, pytree
from functional_mlp.arguments import check_start
from functional_mlp.course import Course
from functional_mlp.history import History
from functional_mlp.optimizers import OptimizerState
from functional_mlp.state import Callback, Job, Keeper, Progress, TrainState

T = TypeVar("T")

# Many members share a file, which holds all of them: to save takes at most about this share of the time.
SAVING_SHARE = 0.1


class Watch:
    """The callbacks and the checkpoint of a job, whose groups may train in several threads.

    `job` is the one given, with its members where the checkpoint has them. `looks` says whether there is anyone to look
    at each state. Raises as the checkpoint's `keep` does, and `ValueError` where the members cannot start there.
    """

    job: Job
    looks: bool

    def __init__(self, job: Job, callbacks: Sequence[Callback], checkpoint: Keeper | None) -> None:
        self._callbacks = callbacks
        self._kept = None if checkpoint is None else checkpoint.keep(job)
        self.looks = bool(callbacks) or checkpoint is not None
        self.job = job if self._kept is None else self._asked_again(self._kept.job)
        check_start(self.job)
        self._progress = [member.progress for member in self.job.members]
        self._lock = threading.Lock()
        self._saved_at, self._saving = 0.0, 0.0

    def begin(self) -> None:
        """Keep what there is before training: what cannot be kept is found then."""
        if self._kept is not None:
            self._kept.save(self._progress)
            self._saved_at = time.perf_counter()

    def look(self, course: Course, reached: Sequence[int]) -> None:
        """Look at the members of a course that have reached a further state."""
        if not self.looks:
            return
        with self._lock:
            if self._kept is not None:
                for member in reached:
                    self._progress[course.numbers[member]] = course.progress(member)
                if self._is_due(course.epochs_done) and course.epochs_done < self.job.epochs:
                    self._save()
            try:
                for member in reached:
                    if asked_all(self._callbacks, course.reached, member):
                        course.end(member)
            except Exception:
                if self._is_due(course.epochs_done, seconds=math.inf):
                    self._save()  # what was trained is not lost with a callback
                raise

    def finish(self, course: Course) -> None:
        """Keep what the members of a course have reached at its end."""
        if self._kept is None:
            return
        with self._lock:
            for member, number in enumerate(course.numbers):
                self._progress[number] = course.progress(member)
            self._save()

    def receive(self, progress: Mapping[int, Progress]) -> None:
        """Keep what members that were trained elsewhere have reached, by their numbers; it is called by one thread.

        Nothing is saved soon after the last save: `close` saves what then came.
        """
        for number, reached in progress.items():
            self._progress[number] = reached
        if self._kept is not None and self._has_time(time.perf_counter() - self._saved_at):
            self._save()

    def close(self) -> None:
        """Keep all that was received."""
        if self._kept is not None:
            self._save()

    def _asked_again(self, job: Job) -> Job:
        """The job as it goes on: a member that a callback has ended is over as long as a callback says so."""

        def asked(progress: Progress) -> Progress:
            ended = progress.ended and asked_all(self._callbacks, copied, progress)
            return attrs.evolve(progress, ended=ended)

        members = [attrs.evolve(member, progress=asked(member.progress)) for member in job.members]
        return attrs.evolve(job, members=tuple(members))

    def _is_due(self, epoch: int, seconds: float | None = None) -> bool:
        """Whether progress is to be saved after an epoch, by default by the time since it was saved last."""
        if self._kept is None:
            return False
        since = time.perf_counter() - self._saved_at if seconds is None else seconds
        return self._has_time(since) and self._kept.is_due(epoch, since)

    def _has_time(self, since: float) -> bool:
        """Whether a save, `since` seconds after the last one, takes a small share of that time."""
        return len(self._progress) == 1 or since > self._saving / SAVING_SHARE

    def _save(self) -> None:
        """Keep the progress; where that fails, training goes on, and what was kept before is still there."""
        assert self._kept is not None
        started = time.perf_counter()
        try:
            self._kept.save(self._progress)
        except OSError as error:
            warnings.warn(
                f"the checkpoint could not be saved, and training goes on: {error}", RuntimeWarning, stacklevel=5
            )
        self._saved_at = time.perf_counter()
        self._saving = self._saved_at - started


def copied(progress: Progress) -> tuple[TrainState, History]:
    """The state and the history of some progress, the state in tensors of its own, made when they are asked for."""
    before = progress.state

    def copy(_: str) -> OptimizerState:
        own: OptimizerState = pytree.map(torch.clone, before.optimizer_state)
        return own

    state: TrainState = TrainState.deferred(copy, {"key": before.key, "epoch": before.epoch})
    return state, progress.history


def asked_all(callbacks: Sequence[Callback], reached: Callable[[T], tuple[TrainState, History]], by: T) -> bool:
    """Whether one of the callbacks, which are all asked, ends the run of what has `reached` a state and a history.

    Each is given its own: it may write into the state, which is not the one that is kept. Raises `TypeError` where one
    returns anything but True, False or None.
    """
    ends = False
    for callback in callbacks:
        state, history = reached(by)
        answer = callback(state.epoch - 1, state, history)
        if answer is not None and _is_true(answer):
            ends = True
    return ends


def _is_true(answer: object) -> bool:
    if isinstance(answer, Tensor) and answer.dtype is torch.bool and answer.ndim == 0:
        return bool(answer)  # of a comparison of parameters
    if isinstance(answer, bool | np.bool_):
        return bool(answer)
    raise TypeError(
        f"a callback must return True, to end the training, or False or None, got {checks.describe(answer)}: see that "
        "its last line is a comparison, or returns nothing"
    )
