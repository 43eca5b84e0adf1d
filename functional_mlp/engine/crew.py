"""The threads that run native code together: one crew a process, started when it is first needed.

Whoever has work for several threads takes those of the crew that are idle, works beside them, and gives them back. So
threads wait for nobody but their own team, however many runs a process has at a time, and all runs together have no
more of them than there are cores to be used. A process that is forked has none of its parent's threads, and starts its
own.
"""

import functools
import queue
import threading
from collections.abc import Callable

from functional_mlp import forks
from functional_mlp.engine.barrier import Team

# What is run: work(rank, threads, team).
Work = Callable[[int, int, Team], object]


class Part:
    """What one thread does: it is begun once, or never."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._taken, self._ended = threading.Lock(), threading.Semaphore(0)
        self._error: BaseException | None = None

    def run(self) -> None:
        if not self._taken.acquire(blocking=False):
            return
        try:
            self._work()
        except BaseException as error:  # whatever it is, who waits is told
            self._error = error
        finally:
            self._ended.release()

    def end(self, *, unless_begun: bool) -> BaseException | None:
        """Wait for its end, or see to it that it does not begin; returns what went wrong.

        Whatever happens meanwhile, nobody goes on before: the part works in memory that must stay.
        """
        if unless_begun and self._taken.acquire(blocking=False):
            return None
        interruption: BaseException | None = None
        while True:
            try:
                self._ended.acquire()
                return self._error or interruption
            except BaseException as error:
                interruption = error


class Crew:
    """Threads, of whom the idle ones can be taken."""

    def __init__(self) -> None:
        self._parts = queue.SimpleQueue[Part]()
        self._threads = 0  # of the crew
        self._taken = 0  # of them
        self._working = 0  # in teams, those included that have taken others

    def take(self, most: int, cores: int) -> int:
        """Take at most `most` threads, and no more than keep `cores` cores busy together with the caller."""
        with _turn:
            wanted = max(0, min(most, cores - self._working - 1))
            try:
                while self._threads < self._taken + wanted:
                    threading.Thread(target=self._run, name="functional_mlp.crew", daemon=True).start()
                    self._threads += 1
            except RuntimeError:  # no more are to be had, as at the end of the process
                wanted = self._threads - self._taken
            self._taken += wanted
            self._working += 1 + wanted
            return wanted

    def give_back(self, count: int) -> None:
        with _turn:
            self._taken -= count
            self._working -= 1 + count

    def begin(self, part: Part) -> None:
        self._parts.put(part)

    def _run(self) -> None:
        while True:
            self._parts.get().run()


_turn = forks.lock()
_crew = Crew()


def _start_anew() -> None:
    global _crew
    _crew = Crew()


forks.in_child(_start_anew)


def together(work: Work, most: int, cores: int) -> None:
    """Run work(rank, threads, team) on the caller's thread and on idle ones beside it, `most` in all.

    No more are taken than there are cores for all that work like this at the moment. Returns when all have ended; where
    one fails, or does not begin, the team is abandoned and its error raised.
    """
    crew, team = _crew, Team()
    count, done = crew.take(most - 1, cores), False
    parts = [Part(functools.partial(_do_part, work, rank, 1 + count, team)) for rank in range(1, 1 + count)]
    try:
        for part in parts:
            crew.begin(part)
        _do_part(work, 0, 1 + count, team)
        done = True
    finally:
        if not done:
            team.abandon()
        errors = [error for part in parts if (error := part.end(unless_begun=not done)) is not None]
        crew.give_back(count)
    if errors:
        raise errors[0]


def _do_part(work: Work, rank: int, threads: int, team: Team) -> None:
    """Do a thread's part; where it fails, the others need not wait for it."""
    try:
        work(rank, threads, team)
    except BaseException:
        team.abandon()
        raise
