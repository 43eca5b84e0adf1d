"""What a process needs so that nothing hangs in a child that is forked from it.

A fork copies the whole memory, but only the thread that forks: whatever another thread was about to do is never done
in the child. Two things follow, and both are set up here, when the package is imported.

- torch's threads do not exist in a child, and its operations would wait for them. So a forked child is given one torch
  thread, as torch's own `DataLoader` does in its workers. This is the one global that the package changes; the process
  that forks keeps its own number, and `torch.set_num_threads` chooses another one in the child, at one's own risk.
- A lock that another thread holds is never released in a child. `lock` makes locks that nobody else holds at the time
  of a fork.

What is to be done before a fork is done in reverse order. `logging` and thread pools take their own locks then, which
importing torch needs as well; so they are imported here, for ours to be taken before theirs.

One thing is left that nothing here can mend. Where a thread ends that has multiplied large matrices, MKL, which torch
does that with on x86-64, holds all locks of its memory for the moment in which it gives the thread's back; a child that
is forked in that moment waits for them in its own first product. `Thread.join` returns before it: let such threads live
on until the fork, as a pool does until its shutdown.

Processes that are spawned share no memory, and need none of this.
"""

import concurrent.futures.thread  # noqa: F401 - for what it does at a fork
import contextlib
import functools
import logging  # noqa: F401 - the same
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Value = TypeVar("Value")


def lock() -> "threading.RLock":
    """A reentrant lock that is free in a forked child: a thread that forks takes it for that moment.

    So a fork waits until what the lock guards is done, and finds it whole in the child.

    >>> guard = lock()
    >>> with guard, guard:
    ...     print("once, or again in the same thread")
    once, or again in the same thread
    """
    guard = threading.RLock()
    _locks.append(guard)
    return guard


class cached_property(functools.cached_property[Value]):  # noqa: N801 - named as Python's
    """Python's cached property, without the lock that it has up to Python 3.11: a child would wait for it for ever.

    Two threads that ask at once may both compute the value; one of the two stays.
    """

    def __init__(self, function: Callable[[Any], Value]) -> None:
        super().__init__(function)
        self.lock: contextlib.nullcontext[None] = contextlib.nullcontext()


def in_child(function: Callable[[], None]) -> None:
    """Call a function in every child, right after the fork."""
    _at_fork(after_in_child=function)


def _at_fork(**functions: Callable[..., object]) -> None:
    if hasattr(os, "register_at_fork"):  # not on Windows, where there are no forks
        os.register_at_fork(**functions)


_locks: list["threading.RLock"] = []
_taken: list["threading.RLock"] = []


def _take_locks() -> None:
    for guard in reversed(_locks.copy()):
        guard.acquire()
        _taken.append(guard)


def _release_locks() -> None:
    """Release what was taken; a lock that another thread has made since then was not."""
    while _taken:
        _taken.pop().release()


def _take_one_torch_thread() -> None:
    torch: Any = sys.modules.get("torch")  # it is loaded when it is first used, and counts its threads then
    if hasattr(torch, "set_num_threads"):  # not where another thread was importing it at the fork
        torch.set_num_threads(1)


_at_fork(before=_take_locks, after_in_parent=_release_locks, after_in_child=_release_locks)
in_child(_take_one_torch_thread)
