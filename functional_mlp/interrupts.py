"""Ctrl-C: pressed once it ends a run, and pressed again it does not lose what the run has come to."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def only_the_first() -> Iterator[None]:
    """Let the first Ctrl-C raise `KeyboardInterrupt`, and those that follow do nothing.

    What stops at the first one has then the time to hand over its results. Python tells the main thread alone of
    Ctrl-C, and a program with a handler of its own for it keeps that one.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    seen = False

    def interrupt(number: int, frame: Any) -> None:
        nonlocal seen
        if not seen:
            seen = True
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
