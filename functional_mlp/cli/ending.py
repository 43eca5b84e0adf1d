"""How a training ends on the command line: with its results, in spite of Ctrl-C."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any


def _interrupt_once(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextlib.contextmanager
def one_interrupt(*, last: bool) -> Iterator[None]:
    """Let the first Ctrl-C raise `KeyboardInterrupt`, and no other: what it has ended shows its results in peace.

    `last` says that the process ends after this, and needs not listen any more.
    """
    with _sigint(_interrupt_once, afterwards=signal.SIG_IGN if last else None):
        yield


@contextlib.contextmanager
def finishing() -> Iterator[None]:
    """Do not listen to Ctrl-C while the results of a training are evaluated, printed, drawn and saved."""
    with _sigint(signal.SIG_IGN):
        yield


@contextlib.contextmanager
def _sigint(handler: Any, afterwards: Any = None) -> Iterator[None]:
    """Another answer to Ctrl-C for a while, and then the one of before, or `afterwards`.

    Only Python's own answer and ours are replaced: a process that was started deaf, or a program that has an answer of
    its own, keeps that. Other threads than the main one hear nothing of Ctrl-C.
    """
    ours = (signal.default_int_handler, _interrupt_once)
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) not in ours:
        yield
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before if afterwards is None else afterwards)


def check_completed(*, interrupted: bool, after: str = "", diverged: str = "") -> None:
    """Raise where a training whose results are shown was not completed.

    Raises `KeyboardInterrupt` where Ctrl-C ended it, and `ValueError` where it diverged.
    """
    if interrupted:
        raise KeyboardInterrupt(f"interrupted{after}; the results are those so far")
    if diverged:
        raise ValueError(f"{diverged}: try a smaller --learning-rate")
