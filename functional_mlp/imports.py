"""Modules that are imported when they are first used, in programs with several threads.

`sys.modules` has a module from the beginning of its import on, and Python's own locks, one a module, let two threads
that import modules which need each other see them half done. So one thread at a time loads what the package loads
late, and what another library's import may still be doing is waited for.
"""

import contextlib
import importlib
import importlib._bootstrap
import sys
import threading
from collections.abc import Iterator
from types import FrameType, ModuleType
from typing import TypeVar

from functional_mlp import forks

Item = TypeVar("Item")

_lock = forks.lock()
_owners: list[int] = []

# Seconds between two looks at what the owner of the lock waits for; only a thread that is importing looks.
PAUSE = 0.02


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """A lock around the import of what is loaded when it is first used.

    Without it two threads could each see what the other one has half imported; and a module that is half imported at a
    fork would stay locked in the child, by Python's own lock. A thread that is itself importing the module that the
    lock's owner waits for goes on without it: neither would ever end.
    """
    is_owner = _lock.acquire(blocking=False) or _wait()
    if is_owner:
        _owners.append(threading.get_ident())
    try:
        yield
    finally:
        if is_owner:
            _owners.pop()
            _lock.release()


def loaded(name: str) -> ModuleType | None:
    """A module that somebody has imported, once it is whole; `None` where nobody has.

    >>> loaded("sys").__name__, loaded("no_such_module")
    ('sys', None)
    """
    return importlib.import_module(name) if sys.modules.get(name) else None


def taken(items: list[Item]) -> Iterator[Item]:
    """The items of a list, the last one first, each taken out of it by one thread.

    >>> items = [1, 2]
    >>> list(taken(items)), items
    ([2, 1], [])
    """
    while True:
        try:
            item = items.pop()
        except IndexError:  # another thread may have taken the last one
            return
        yield item


def _wait() -> bool:
    """Wait for the lock; false where its owner may wait for what this thread is importing."""
    if not any(frame.f_code.co_name == "_find_and_load" for frame in _import_frames(sys._getframe())):
        return _lock.acquire()
    while not _lock.acquire(timeout=PAUSE):
        if _owner_waits():
            return False
    return True


def _owner_waits() -> bool:
    """Whether the lock's owner waits for a module that another thread is importing."""
    stacks = sys._current_frames()
    tops = [stacks.get(owner) for owner in _owners[-1:]]
    return any(frame is top and frame.f_code.co_name == "acquire" for top in tops for frame in _import_frames(top))


def _import_frames(frame: FrameType | None) -> Iterator[FrameType]:
    """The frames of Python's import machinery in a stack, from the top down."""
    while frame is not None:
        if frame.f_globals is vars(importlib._bootstrap):
            yield frame
        frame = frame.f_back
