"""Ctrl-C: pressed once it ends a run; pressed again it does not lose the run's results."""

import _thread
import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

# Seconds until an interrupt that was dropped is raised again: what it would be raised in has then been left.
SOON = 0.01


def _interrupt_once(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextlib.contextmanager
def one_interrupt(*, last: bool = False) -> Iterator[None]:
    """Let the first Ctrl-C raise `KeyboardInterrupt`, and those that follow do nothing.

    What stops at the first one has then the time to hand over its results. One that Python drops, for it came in a
    finalizer, is raised again. `last` says that the process ends after this, and needs not listen any more.
    """
    answer = _answer(_interrupt_once, (signal.default_int_handler,), afterwards=signal.SIG_IGN if last else None)
    with answer, _dropped_interrupts_again():
        yield


@contextlib.contextmanager
def _dropped_interrupts_again() -> Iterator[None]:
    before = sys.unraisablehook

    def dropped(unraisable: Any) -> None:
        if unraisable.exc_type is KeyboardInterrupt and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, _interrupt_once)
            threading.Timer(SOON, _thread.interrupt_main).start()
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
    with _answer(lambda number, frame: pressed.set(), (signal.default_int_handler, _interrupt_once)):
        yield pressed


@contextlib.contextmanager
def no_interrupt() -> Iterator[None]:
    """Do not listen to Ctrl-C for a while."""
    with _answer(signal.SIG_IGN, (signal.default_int_handler, _interrupt_once)):
        yield


@contextlib.contextmanager
def _answer(handler: Any, replaced: tuple[Any, ...], afterwards: Any = None) -> Iterator[None]:
    """Another answer to Ctrl-C for a while, and then the one of before, or `afterwards`.

    Only the answers in `replaced` are: a process that was started deaf, or a program with an answer of its own, keeps
    that. Python tells the main thread alone of Ctrl-C.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) not in replaced:
        yield
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before if afterwards is None else afterwards)
