"""What a process needs so that nothing hangs in a child that is forked from it.

A fork copies the whole memory, but only the thread that forks: whatever another thread was about to do is never done
in the child. Two things follow, and both are set up here, when the package is imported.

- torch's threads do not exist in a child, and its operations would wait for them. So a forked child is given one torch
  thread, as torch's own `DataLoader` does in its workers. This is the one global that the package changes; the process
  that forks keeps its own number, and `torch.set_num_threads` chooses another one in the child, at one's own risk.
- A lock that another thread holds is never released in a child. `lock` makes locks that nobody else holds at the time
  of a fork.

Processes that are spawned share no memory, and need none of this.
"""

import os
import threading
from collections.abc import Callable

import torch


def lock() -> "threading.RLock":
    """A reentrant lock that is free in a forked child: a thread that forks takes it for that moment.

    So a fork waits until what the lock guards is done, and finds it whole in the child.

    >>> guard = lock()
    >>> with guard, guard:
    ...     print("once, or again in the same thread")
    once, or again in the same thread
    """
    guard = threading.RLock()
    _at_fork(before=guard.acquire, after_in_parent=guard.release, after_in_child=guard.release)
    return guard


def in_child(function: Callable[[], None]) -> None:
    """Call a function in every child, right after the fork."""
    _at_fork(after_in_child=function)


def _at_fork(**functions: Callable[..., object]) -> None:
    if hasattr(os, "register_at_fork"):  # not on Windows, where there are no forks
        os.register_at_fork(**functions)


in_child(lambda: torch.set_num_threads(1))

# Held where a module is imported when it is first used: Python's own lock of a half imported module stays locked.
importing = lock()
