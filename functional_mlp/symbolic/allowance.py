"""A bound on the time of work that does not end by itself, as that of a computer algebra may not.

A second thread raises an exception in the one that works, as the key Ctrl-C does in the main thread: this ends any work
in Python, on every system, and costs nothing where the work ends by itself.
"""

import ctypes
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import attrs
import mpmath

Result = TypeVar("Result")

# Work that hides the exception, as a destructor does, is ended again after so long.
_AGAIN = 1.0


class OutOfTime(BaseException):
    """The time for some work is over; no error of the work, which may not take it for one of its own."""


@attrs.frozen
class Allowance:
    """Seconds for work, from now on: of the clock, and of the processor too, for a machine may have other work.

    >>> Allowance(60).run(lambda: 2 + 2)
    4
    """

    seconds: float
    _clock: float = attrs.field(factory=time.monotonic, init=False)
    _processor: float = attrs.field(factory=time.process_time, init=False)

    @property
    def left(self) -> float:
        """The seconds that are left, 0 where it is over."""
        spent = min(time.monotonic() - self._clock, time.process_time() - self._processor)
        return max(self.seconds - spent, 0.0)

    def part(self, share: float) -> "Allowance":
        """A share of what is left."""
        return Allowance(share * self.left)

    def run(self, work: Callable[[], Result]) -> Result:
        """What some work returns; raises `OutOfTime` where it takes longer than what is left."""
        if self.left == 0:
            raise OutOfTime
        precision = mpmath.mp.prec  # the work may be ended where it has changed it
        silenced, rung, me = threading.Event(), threading.Event(), threading.get_ident()
        bell = threading.Thread(target=self._ring, args=(me, silenced, rung), daemon=True)

        def silence() -> None:
            silenced.set()
            if bell.ident is not None:
                bell.join()
            if rung.is_set():
                _hear(me)  # it may not have been heard yet

        try:
            try:
                bell.start()
                return work()
            finally:
                silence()
        except OutOfTime:  # it may have come up in `silence`
            silence()
            raise
        finally:
            mpmath.mp.prec = precision

    def _ring(self, thread: int, silenced: threading.Event, rung: threading.Event) -> None:
        pause = self.left
        while not silenced.wait(min(pause, threading.TIMEOUT_MAX)):
            pause = self.left
            if pause == 0:
                rung.set()
                _raise_in(thread)
                pause = _AGAIN


def _raise_in(thread: int) -> None:
    """Raise `OutOfTime` in a thread, at its next step."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(OutOfTime))


def _hear(me: int) -> None:
    """Leave no exception that is still to be raised in this thread.

    One more takes the place of any before it, and is heard here. Python has a call that only takes it back, but then
    looks for it at each step for ever after, and comes to no end under a tracer (`sys.settrace`, Python 3.11).
    """
    try:
        _raise_in(me)
        while True:
            pass
    except OutOfTime:
        pass
