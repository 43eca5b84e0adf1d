"""The training of a group of members, in one thread."""

import threading

from functional_mlp.course import Course
from functional_mlp.engines import Group
from functional_mlp.state import FitResult
from functional_mlp.watching import Watch


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
