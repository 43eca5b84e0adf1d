"""The training of a group of members, in one thread."""

import threading

from functional_mlp.course import Course
from functional_mlp.engines import Group
from functional_mlp.state import FitResult, untrained
from functional_mlp.training import train
from functional_mlp.watching import Watch


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
        if self._cancelled.is_set():
            return dict(zip(self._group.numbers, map(untrained, self._group.members), strict=True))
        try:
            self._course = course = Course(self._watch.job, self._group, watched=self._watch.looks, tick=self._check)
            results = train(course, self._watch)
        except BaseException:
            self._cancelled.set()
            raise
        if any(result.interrupted for result in results.values()):
            self._cancelled.set()
        # The two hold each other, and a run may have gigabytes of a GPU, which Python's collector would come to late.
        self._ended_at, self._course = course.epochs_done, None
        return results

    def _check(self, done: float) -> None:
        if self._cancelled.is_set():
            raise KeyboardInterrupt
