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
        self._ended_at = group.members[0].start.epoch

    @property
    def epochs_done(self) -> int:
        """The number of epochs done, of all members together."""
        course = self._course  # another thread trains
        return (self._ended_at if course is None else course.epochs_done) * len(self._group.members)

    def run(self) -> dict[int, FitResult]:
        """Train until each member is over; returns results by their numbers in the job. An error ends all groups."""
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
        except BaseException:
            self._cancelled.set()
            raise
        self._watch.finish(course, numbers)
        # The two hold each other, and a run may have gigabytes of a GPU, which Python's collector would come to late.
        self._ended_at, self._course = course.epochs_done, None
        return {number: course.result(index, interrupted=interrupted) for index, number in enumerate(numbers)}

    def _check(self, done: float) -> None:
        if self._cancelled.is_set():
            raise CancelledError
