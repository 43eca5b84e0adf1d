"""What functions return in forked processes, which are ended where they take too long."""

import contextlib
import gc
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

# Seconds after which a child that hangs is ended: none here has work for one.
LIMIT = 20


def forks_here(test: Callable[..., None]) -> Callable[..., None]:
    """The marks of a test that forks."""
    # What Python says of every fork beside threads, from 3.12 on.
    test = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")(test)
    return pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no forks")(test)


def forked(function: Callable[[], Any]) -> Any:
    """What a function returns in a child that is forked now; an error where that takes more than `LIMIT` seconds."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def answer() -> None:
        gc.freeze()  # what other tests have left behind is not taken apart here, without the threads that it may have
        sender.send(function())

    child = context.Process(target=answer, daemon=True)
    child.start()
    sender.close()
    try:
        assert receiver.poll(LIMIT), "the child hangs"
        return receiver.recv()
    finally:
        child.kill()
        child.join()


Run = Callable[[threading.Event, threading.Event], object]


@contextlib.contextmanager
def beside(run: Run) -> Iterator[None]:
    """A thread that runs, from when it says that it has begun until it is told that it is enough."""
    begun, enough = threading.Event(), threading.Event()
    thread = threading.Thread(target=run, args=(begun, enough))
    thread.start()
    try:
        assert begun.wait(LIMIT)
        yield
    finally:
        enough.set()
        thread.join(LIMIT)


def once(work: Callable[[], object]) -> contextlib.AbstractContextManager[None]:
    """A thread that has done some work, and lives on: `functional_mlp.forks` says why."""

    def run(done: threading.Event, enough: threading.Event) -> None:
        work()
        done.set()
        enough.wait()

    return beside(run)


def again_and_again(work: Callable[[], object]) -> contextlib.AbstractContextManager[None]:
    """A thread that does some work over and over, and has begun to."""

    def run(begun: threading.Event, enough: threading.Event) -> None:
        while not enough.is_set():
            begun.set()
            work()

    return beside(run)
