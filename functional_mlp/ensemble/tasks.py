"""The tasks of an executor: groups of members that workers train, as pure functions of what is sent."""

import concurrent.futures
import contextlib
import pickle
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from queue import Empty, SimpleQueue
from typing import Any

import attrs

from functional_mlp import engines
from functional_mlp.datasets import Dataset
from functional_mlp.engines import Group
from functional_mlp.ensemble.groups import grouped
from functional_mlp.ensemble.parcels import unpack
from functional_mlp.ensemble.sharing import PATIENCE, Carried, is_of_dask, received, sharing
from functional_mlp.ensemble.work import Training
from functional_mlp.lost import LostError
from functional_mlp.spread import count
from functional_mlp.state import FitResult, Job
from functional_mlp.watching import Watch

# How often in a row an executor may lose all tasks that it has: Dask cancels them where their data are lost.
MOST_LOSSES = 3
# Seconds without a task that was done, after which it is asked whether workers have any.
SILENCE = 10.0
# The answer of a worker that does not have the data of a task.
MISSING = b""

Results = dict[int, FitResult]


def train_parcel(content: bytes, *datasets: Dataset | Carried) -> bytes:
    """The task: the results of a parcel's members, by their numbers in the job, pickled.

    They are bytes, for torch's own way to send tensors between the processes of a pool keeps a file open for each.
    """
    own = [data for given in datasets if (data := received(given)) is not None]
    if len(own) < len(datasets):
        return MISSING
    parcel = unpack(content, own)
    if parcel.processor is None or parcel.processor == engines.processor():
        return pickle.dumps(_trained(parcel.job, parcel.group))
    # Groups fill the vectors of a processor: another one has its own.
    groups, _ = grouped(parcel.job)
    numbers = parcel.group.numbers
    results = {numbers[place]: result for group in groups for place, result in _trained(parcel.job, group).items()}
    return pickle.dumps(results)


def _trained(job: Job, group: Group) -> Results:
    return Training(Watch(job, (), None), group, threading.Event()).run()


@attrs.frozen(eq=False)
class Task:
    """A packed group, with the data sets that it names, and the place of its job."""

    job: int
    content: bytes
    datasets: Sequence[Dataset]


class Tasks:
    """The tasks that an executor has; they come back done, in any order.

    Dask runs the tasks of a lost worker again by itself, and cancels those whose data sets only that worker had: these
    are sent again.
    """

    def __init__(self, executor: Executor) -> None:
        with _refusals():
            self._sharing = sharing(executor)
        self._executor = executor
        self._pending: dict[Future[bytes], tuple[Task, Sequence[Any]]] = {}
        self._done: SimpleQueue[Future[bytes]] = SimpleQueue()
        self._losses = 0
        self._without_workers = 0.0

    def submit(self, task: Task, *, whole: bool = False) -> None:
        """Hand a task over, with `whole` data where a worker has asked for them."""
        with _refusals():
            data = [self._sharing.argument(each, whole=whole) for each in task.datasets]
            future = self._executor.submit(train_parcel, task.content, *data, **self._sharing.options)
        self._pending[future] = task, data
        future.add_done_callback(self._done.put)

    def next(self) -> tuple[Task, Results]:
        """Wait for a task that is done; raises what it has raised."""
        while True:
            try:
                future = self._done.get(timeout=SILENCE)
            except Empty:
                with _refusals():
                    self._see_to_workers()
                continue
            task, given = self._pending.pop(future)
            try:
                content = _content(future)
            except CancelledError:
                self._count_loss()
                self._sharing.forget(given)
                self.submit(task)
                continue
            if content == MISSING:
                self.submit(task, whole=True)
                continue
            self._losses = 0
            results: Results = pickle.loads(content)
            return task, results

    def cancel(self, grace: float) -> Iterator[tuple[Task, Results]]:
        """Cancel what can be; gives those that were done, or are within some seconds."""
        pending, self._pending = self._pending, {}
        for future in pending:
            future.cancel()
        done, _ = concurrent.futures.wait(pending, grace)
        finished = [future for future in done if not future.cancelled() and future.exception() is None]
        for future in finished:
            if future.result() != MISSING:
                yield pending[future][0], pickle.loads(future.result())

    def _see_to_workers(self) -> None:
        """Cancel tasks that no worker has, so that they are sent again; raise where there has long been no worker."""
        self._without_workers = 0.0 if self._sharing.has_workers() else self._without_workers + SILENCE
        if self._without_workers > PATIENCE:
            raise TimeoutError(f"none for {PATIENCE:g} s")
        if self._sharing.is_idle():  # Dask has forgotten tasks whose data were lost as they came
            for forgotten in self._pending:
                forgotten.cancel()

    def _count_loss(self) -> None:
        self._losses += 1
        tasks = len(self._pending) + 1
        if self._losses == MOST_LOSSES * tasks:
            raise _lost(
                f"the workers have lost {count(tasks, 'task')}, all that they had, {MOST_LOSSES} times",
                "see what they, and their scheduler, say",
            )


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Raise what an executor says that takes no task as an error that says what to do."""
    try:
        yield
    except BrokenExecutor as error:
        raise _broken(error) from error
    except TimeoutError as error:  # Dask has waited for some
        raise _lost(f"there are no workers ({error})", "start some") from error
    except OSError as error:  # Dask's scheduler, or a worker that it sends data to, is gone
        raise _lost(f"the workers are not reached ({error})", "see that they, and their scheduler, run") from error
    except RuntimeError as error:  # the way of all executors to say that they take no more
        raise ValueError(
            f"fit_ensemble: the executor takes no tasks ({error}): call within its `with` block, before it is shut down"
        ) from error
    except Exception as error:  # of any kind: Dask raises here what its workers do
        raise _lost(f"the workers take no tasks ({error})", "see that they have functional_mlp as here") from error


def _content(future: "Future[bytes]") -> bytes:
    try:
        return future.result()
    except BrokenExecutor as error:
        raise _broken(error) from error
    except Exception as error:
        if is_of_dask(error):  # of a task that has ended several workers, say
            raise _lost(f"a task cannot be run ({error})", "see what the workers, and their scheduler, say") from error
        raise


def _broken(error: Exception) -> LostError:
    reason = f"the executor has lost a worker, and runs no more tasks ({error})"
    return _lost(reason, "make a new one, for what was given is not made anew here")


def _lost(reason: str, advice: str) -> LostError:
    kept = "the error's `result` has the members that are done, and with a checkpoint the same call trains the others"
    return LostError("fit_ensemble", reason, advice, kept)
