"""How a command ends: its exit code, and its results in spite of Ctrl-C."""

import contextlib
import signal
import threading
from collections.abc import Iterator

from functional_mlp.cli.terminal import fail

FAILED, MISUSED, INTERRUPTED = 1, 2, 130


@contextlib.contextmanager
def finishing() -> Iterator[None]:
    """Do not listen to Ctrl-C while the results of a training are evaluated, printed, drawn and saved."""
    if threading.current_thread() is not threading.main_thread():  # which hears nothing of Ctrl-C
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def exit_code(*, interrupted: bool, after: str = "", diverged: str = "") -> int:
    """The exit code of a training whose results are shown, with a line on standard error where it is not 0."""
    if interrupted:
        return fail(f"interrupted{after}; the results are those so far", INTERRUPTED)
    if diverged:
        return fail(f"{diverged}: try a smaller --learning-rate", FAILED)
    return 0
