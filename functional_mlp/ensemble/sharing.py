"""Data sets on their way to an executor's workers, each sent once, however many tasks take it."""

import copy
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from typing import Any, Protocol

import attrs

from functional_mlp import imports
from functional_mlp.datasets import Dataset

# Seconds without a worker after which no more are waited for: chosen to be longer than one takes to start.
PATIENCE = 300.0


class Sharing(Protocol):
    """How data sets get to the workers of an executor."""

    options: dict[str, Any]
    """What the executor's `submit` is given for a task that takes them."""

    def argument(self, data: Dataset, *, whole: bool) -> Any:
        """What a task takes for a data set; `whole` where a worker has asked for it."""

    def forget(self, arguments: Sequence[Any]) -> None:
        """Make anew what a lost task was given, for it may have been lost with its worker."""

    def is_idle(self) -> bool:
        """Whether there are workers, and none of them has a task: those that are not done then never will be."""

    def has_workers(self) -> bool:
        """Whether there are any, as far as is known."""


def sharing(executor: Executor) -> Sharing:
    """How data sets get to the workers of this executor; of one that is not known each task has its own."""
    if (client := dask_client(executor)) is not None:
        return _Scattered(client)
    if isinstance(executor, ProcessPoolExecutor):
        return _InMemory(_in_shared_memory)
    mpi = imports.loaded("mpi4py.futures")
    if mpi is not None and isinstance(executor, mpi.MPIPoolExecutor):
        return _Carrying(executor.num_workers)
    return _InMemory(lambda data: data)


def dask_client(executor: Executor) -> Any:
    """The client of a Dask executor, which has no public name for it; None of others."""
    module = imports.loaded("distributed.cfexecutor")
    return executor._client if module is not None and isinstance(executor, module.ClientExecutor) else None


def is_of_dask(error: Exception) -> bool:
    """Whether an error is one of Dask's own, and not of a task."""
    return type(error).__module__.partition(".")[0] == "distributed"


class _Kept:
    """The forms of data sets, each made once; the data sets are kept too, for they are known by their identity."""

    def __init__(self, form: Callable[[Dataset], Any]) -> None:
        self._form = form
        self.forms: dict[int, tuple[Dataset, Any]] = {}

    def of(self, data: Dataset) -> Any:
        if id(data) not in self.forms:
            self.forms[id(data)] = data, self._form(data)
        return self.forms[id(data)][1]


class _InMemory:
    """By memory that the workers have in common, or by nothing but the task."""

    def __init__(self, form: Callable[[Dataset], Dataset]) -> None:
        self._kept = _Kept(form)
        self.options: dict[str, Any] = {}

    def argument(self, data: Dataset, *, whole: bool) -> Dataset:
        form: Dataset = self._kept.of(data)
        return form

    def forget(self, arguments: Sequence[Any]) -> None:
        pass

    def is_idle(self) -> bool:
        return False

    def has_workers(self) -> bool:
        return True


def _in_shared_memory(data: Dataset) -> Dataset:
    """A copy that torch hands to other processes as it is; to share a tensor moves it, and the caller's stay put."""
    shared = copy.deepcopy(data)
    for tensor in (shared.inputs, shared.targets, shared.weights, shared.labels):
        if tensor is not None:
            tensor.share_memory_()
    return shared


class _Scattered:
    """By Dask, whose workers hand data on to each other."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._kept = _Kept(lambda data: client.scatter(data, hash=False, timeout=PATIENCE))
        # Each task is a new one: Dask would take one that was cancelled for done.
        self.options = {"pure": False}

    def argument(self, data: Dataset, *, whole: bool) -> Any:
        return self._kept.of(data)

    def is_idle(self) -> bool:
        tasks = self._client.processing()
        return bool(tasks) and not any(tasks.values())

    def has_workers(self) -> bool:
        return bool(self._client.processing())

    def forget(self, arguments: Sequence[Any]) -> None:
        # What is there still is made anew too: that it was lost may be heard later than that the task was.
        self._kept.forms = {
            number: (data, form)
            for number, (data, form) in self._kept.forms.items()
            if not any(form is argument for argument in arguments)
        }


class _Carrying:
    """With the first tasks, one for each of MPI's workers, which keep what they get; later tasks name it."""

    def __init__(self, workers: int) -> None:
        self._session, self._workers = uuid.uuid4().hex, workers
        self._kept = _Kept(lambda data: f"{self._session}/{len(self._kept.forms)}")
        self._carried: dict[str, int] = {}
        self.options: dict[str, Any] = {}

    def argument(self, data: Dataset, *, whole: bool) -> "Carried":
        name = self._kept.of(data)
        carried = self._carried.get(name, 0)
        if not whole and carried >= self._workers:
            return Carried(name, None)
        self._carried[name] = carried + 1
        return Carried(name, data)

    def forget(self, arguments: Sequence[Any]) -> None:
        pass

    def is_idle(self) -> bool:
        return False

    def has_workers(self) -> bool:
        return True


@attrs.frozen(eq=False)
class Carried:
    """A data set by its name, with the data for a worker that may not have them."""

    name: str
    data: Dataset | None


# What this process, a worker, was given, by name: all of one call of `fit_ensemble`.
_GIVEN: dict[str, Dataset] = {}


def received(argument: Dataset | Carried) -> Dataset | None:
    """The data set that a task was given; None for one that this worker does not have."""
    if isinstance(argument, Dataset):
        return argument
    if argument.data is not None:
        session = argument.name.partition("/")[0]
        for name in [name for name in _GIVEN if not name.startswith(session)]:
            del _GIVEN[name]
        _GIVEN[argument.name] = argument.data
    return _GIVEN.get(argument.name)
