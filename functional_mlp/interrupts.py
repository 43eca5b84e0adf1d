"""Ctrl-C: pressed once it ends a run; pressed again it does not lose the run's results."""

import _thread
import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

# Seconds until an interrupt that was dropped is raised again: what it would be raised in has then been left.
SOON = 0.01


class _Once:
    """An answer to Ctrl-C: the first raises `KeyboardInterrupt`, and those that follow do nothing.

    As long as there is an `end`, each calls that instead.
    """

    def __init__(self, end: Callable[[], Any] | None = None) -> None:
        self.end, self.is_heard = end, False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.end is not None:
            self.end()
        elif not self.is_heard:
            self.is_heard = True
            raise KeyboardInterrupt


@contextlib.contextmanager
def one_interrupt() -> Iterator[None]:
    """Let the first Ctrl-C raise `KeyboardInterrupt`, and those that follow do nothing.

    What stops at the first one has then the time to hand over its results. One that Python drops, for it came in a
    finalizer, is raised again.
    """
    around = signal.getsignal(signal.SIGINT)
    if isinstance(around, _Once):
        around.end = None
        yield
    else:
        once = _Once()
        with _answer(once), _dropped_interrupts_again(once):
            yield


@contextlib.contextmanager
def ending_interrupt(end: Callable[[], Any]) -> Iterator[None]:
    """Let Ctrl-C call `end`, which ends the process, until `one_interrupt` is entered; then do as that does.

    Nothing is raised meanwhile, which a module that is loaded could take for something else, and go on without a part.
    Afterwards Ctrl-C does nothing, for the process ends.
    """
    once = _Once(end)
    with _answer(once, afterwards=signal.SIG_IGN), _dropped_interrupts_again(once):
        yield


@contextlib.contextmanager
def _dropped_interrupts_again(once: _Once) -> Iterator[None]:
    before = sys.unraisablehook

    def again() -> None:
        time.sleep(SOON)
        once.is_heard = False
        if hasattr(signal, "pthread_kill"):  # which wakes a thread that waits
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        else:
            _thread.interrupt_main()

    def dropped(unraisable: Any) -> None:
        if unraisable.exc_type is KeyboardInterrupt and once.is_heard:
            _thread.start_new_thread(again, ())  # which nothing can interrupt, as it can what `threading` does
        else:
            before(unraisable)

    sys.unraisablehook = dropped
    try:
        yield
    finally:
        if sys.unraisablehook is dropped:
            sys.unraisablehook = before


@contextlib.contextmanager
def noted_interrupt() -> Iterator[threading.Event]:
    """Let Ctrl-C set an event, and do nothing else: for what must not end in the middle of a step."""
    pressed = threading.Event()
    with _answer(lambda number, frame: pressed.set()):
        yield pressed


@contextlib.contextmanager
def no_interrupt() -> Iterator[None]:
    """Do not listen to Ctrl-C for a while."""
    with _answer(signal.SIG_IGN):
        yield


@contextlib.contextmanager
def _answer(answer: Any, afterwards: Any = None) -> Iterator[None]:
    """Another answer to Ctrl-C for a while, and then the one of before, or `afterwards`.

    Only Python's answer and those made here are replaced: a process that was started deaf, or a program with an answer
    of its own, keeps that. Python tells the main thread alone of Ctrl-C.
    """
    before = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or not (before is signal.default_int_handler or isinstance(before, _Once)):
        yield
        return
    signal.signal(signal.SIGINT, answer)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before if afterwards is None else afterwards)
