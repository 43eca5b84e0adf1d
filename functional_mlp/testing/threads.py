"""Calling from other threads, in an order that is the same each time."""

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

# Seconds: a thread that has not answered until then waits for a lock, and not for a slow machine.
PATIENCE = 60.0

# A thread that interrupts may have to wait for a lock that the interrupted one holds.
INTERRUPTION = 0.5

# A call is interrupted at no more places than this.
PLACES = 12


class _Outcome(threading.Thread):
    """A thread that keeps what its function returns or raises."""

    def __init__(self, function: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._function = function
        self._torch_threads = torch.get_num_threads()
        self.result: Any = None
        self.error: Exception | None = None

    def run(self) -> None:
        # MKL does not take the number from the thread that has set it, and rounds otherwise with another one.
        torch.set_num_threads(self._torch_threads)
        try:
            self.result = self._function()
        except Exception as error:
            self.error = error


def in_another_thread(name: str, function: Callable[[], Any]) -> Any:
    """What a function returns in a new thread; `AssertionError` where it raises there, or does not return."""
    thread = _Outcome(function)
    thread.start()
    thread.join(PATIENCE)
    if thread.is_alive():
        raise AssertionError(f"{name} does not return in another thread, within {PATIENCE:.0f} seconds")
    if thread.error is not None:
        raise AssertionError(f"in another thread, {thread.error}") from thread.error
    return thread.result


def interrupted(function: Callable[[], Any], other: Callable[[], Any]) -> Any:
    """What a function returns while another one runs, in another thread, before some of its torch operations."""
    places = _Operations(lambda: None)
    with places:
        function()
    step = max(1, -(-places.count // PLACES))
    threads: list[_Outcome] = []

    def interrupt() -> None:
        if operations.count % step or any(thread.is_alive() for thread in threads):
            return
        threads.append(_Outcome(other))
        threads[-1].start()
        threads[-1].join(INTERRUPTION)

    operations = _Operations(interrupt)
    with operations:
        result = function()
    for thread in threads:
        thread.join(PATIENCE)
    return result


class _Operations(TorchFunctionMode):
    """Counts the torch operations of this thread, and does something before each."""

    def __init__(self, before: Callable[[], None]) -> None:
        super().__init__()
        self.count = 0
        self._before = before

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(function, "__name__", "") != "__get__":
            self._before()
            self.count += 1
        return function(*args, **(kwargs or {}))
