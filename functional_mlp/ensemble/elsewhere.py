"""Training on other machines: groups of members are the tasks of an executor.

A task is a pure function of what is sent, so that it may run anywhere, and again where a worker is lost.
"""

import concurrent.futures
import copy
import pickle
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from typing import Any

import attrs

from functional_mlp import checks, engines
from functional_mlp.datasets import Dataset
from functional_mlp.engines import Group
from functional_mlp.ensemble.groups import grouped
from functional_mlp.ensemble.parcels import Packed, Packing, Parcel, unpack
from functional_mlp.ensemble.work import Training
from functional_mlp.history import History
from functional_mlp.state import FitResult, Job, Member, Progress
from functional_mlp.watching import Watch

# Seconds that tasks have after Ctrl-C, of which a terminal tells the processes of a pool as well, to hand over results.
GRACE = 2.0
# How often in a row an executor may lose all tasks that it has: Dask cancels them where their data are lost.
MOST_LOSSES = 3

Results = dict[int, FitResult]


def check_executor(executor: object, callbacks: Sequence[object]) -> None:
    """Raise unless this is an executor, and nobody looks at what happens within its tasks, or None."""
    if executor is None:
        return
    advice = "pass a concurrent.futures.Executor; that of a Dask client is its .get_executor()"
    checks.instance("fit_ensemble: executor", executor, Executor, advice)
    if callbacks:
        raise ValueError(
            "fit_ensemble: callbacks look at each epoch, and an executor's workers train in other processes: leave "
            "them out; early_stopping, a checkpoint and progress work with an executor"
        )


def train_elsewhere(
    watch: Watch,
    groups: Sequence[Group],
    fused: bool,
    executor: Executor,
    progress: Callable[[float], None] | None,
) -> Results:
    """Train all groups by an executor; after Ctrl-C the members of those that are not done stay as they were."""
    job, packing = watch.job, Packing()
    processor = engines.processor() if fused else None
    packed = [packing.pack(Parcel(attrs.evolve(job, members=g.members), g, processor)) for g in groups]
    tasks = _Tasks(executor, packing.datasets, packed)
    results: Results = {}
    interrupted = False
    try:
        for arrived in tasks:
            results |= arrived
            watch.receive({number: _progress(job, number, result) for number, result in arrived.items()})
            if progress is not None:
                progress(_epochs_done(job, results))
    except KeyboardInterrupt:
        results |= tasks.cancel(GRACE)
        interrupted = True
        watch.receive({number: _progress(job, number, result) for number, result in results.items()})
    except BaseException:
        tasks.cancel(0.0)
        raise
    finally:
        watch.close()
    untrained = {number: _untrained(member) for number, member in enumerate(job.members) if number not in results}
    assert interrupted or not untrained
    return results | untrained


def train_parcel(content: bytes, *datasets: Dataset) -> bytes:
    """The task: the results of a parcel's members, by their numbers in the job, pickled.

    They are bytes, for torch's own way to send tensors between the processes of a pool keeps a file open for each.
    """
    parcel = unpack(content, datasets)
    if parcel.processor is None or parcel.processor == engines.processor():
        return pickle.dumps(_trained(parcel.job, parcel.group))
    # Groups fill the vectors of a processor: another one has its own.
    own, _ = grouped(parcel.job)
    numbers = parcel.group.numbers
    results = {numbers[place]: result for group in own for place, result in _trained(parcel.job, group).items()}
    return pickle.dumps(results)


def _trained(job: Job, group: Group) -> Results:
    return Training(Watch(job, (), None), group, threading.Event()).run()


class _Tasks:
    """The tasks of an executor, as they are done: iterating gives the results of each.

    Dask runs the tasks of a lost worker again by itself, and cancels those whose data sets only that worker had: these
    are sent again.
    """

    def __init__(self, executor: Executor, datasets: Sequence[Dataset], packed: Sequence[Packed]) -> None:
        self._executor, self._datasets, self._packed = executor, datasets, packed
        self._pending: dict[Future[bytes], int] = {}

    def __iter__(self) -> Iterator[Results]:
        left, losses = list(range(len(self._packed))), 0
        while left:
            self._submit(left)
            lost: list[int] = []
            for future in concurrent.futures.as_completed(list(self._pending)):
                try:
                    results = _received(future)
                except concurrent.futures.CancelledError:
                    lost.append(self._pending.pop(future))
                    continue
                del self._pending[future]
                yield results
            losses = losses + 1 if len(lost) == len(left) else 0
            if losses == MOST_LOSSES:
                raise RuntimeError(
                    f"fit_ensemble: the executor has cancelled all of {len(lost)} tasks {losses} times: see what its "
                    "workers, and their scheduler, say"
                )
            left = lost

    def cancel(self, grace: float) -> Results:
        """Cancel what can be; the results of those that were done, or are within some seconds."""
        for future in self._pending:
            future.cancel()
        done, _ = concurrent.futures.wait(self._pending, grace)
        finished = [f for f in done if not f.cancelled() and f.exception() is None]
        return {number: result for future in finished for number, result in _received(future).items()}

    def _submit(self, tasks: Sequence[int]) -> None:
        client = _dask_client(self._executor)
        # Each task of Dask is a new one: it would take one that was cancelled for done.
        options: dict[str, Any] = {} if client is None else {"pure": False}
        try:
            sent = _sent(self._executor, client, self._datasets)
            for task in tasks:
                packed = self._packed[task]
                own = [sent[number] for number in packed.datasets]
                self._pending[self._executor.submit(train_parcel, packed.content, *own, **options)] = task
        except BrokenExecutor as error:
            raise _broken(error) from error
        except TimeoutError as error:  # Dask has waited for some
            raise RuntimeError(f"fit_ensemble: the executor has no workers ({error}): start some") from error
        except RuntimeError as error:  # the way of all executors to say that they take no more
            raise ValueError(
                f"fit_ensemble: the executor takes no tasks ({error}): call within its `with` block, before it is shut "
                "down"
            ) from error


def _received(future: "Future[bytes]") -> Results:
    try:
        results: Results = pickle.loads(future.result())
    except BrokenExecutor as error:
        raise _broken(error) from error
    return results


def _broken(error: Exception) -> RuntimeError:
    return RuntimeError(
        f"fit_ensemble: the executor has lost a worker, and runs no more tasks ({error}): make a new one; with a "
        "checkpoint the same call then goes on from the members that were done"
    )


def _sent(executor: Executor, client: Any, datasets: Sequence[Dataset]) -> Sequence[Any]:
    """The data sets in a form that many tasks may have as their argument, at the price of one."""
    if client is not None:
        # Workers hand them on to each other. What is lost with a worker is sent anew: see `_Tasks`.
        futures: Sequence[Any] = client.scatter(list(datasets), hash=False)
        return futures
    if isinstance(executor, ProcessPoolExecutor):
        return [_in_shared_memory(data) for data in datasets]
    return datasets


def _dask_client(executor: Executor) -> Any:
    """The client of a Dask executor, which has no public name for it; None of others."""
    module = sys.modules.get("distributed.cfexecutor")
    return executor._client if module is not None and isinstance(executor, module.ClientExecutor) else None


def _in_shared_memory(data: Dataset) -> Dataset:
    """A copy that torch hands to other processes as it is; to share a tensor moves it, and the caller's stay put."""
    shared = copy.deepcopy(data)
    for tensor in (shared.inputs, shared.targets, shared.weights, shared.labels):
        if tensor is not None:
            tensor.share_memory_()
    return shared


def _progress(job: Job, number: int, result: FitResult) -> Progress:
    """What a checkpoint keeps of a member's result: its last finite state, and the history up to there."""
    before = job.members[number].progress
    length = len(before.history) + result.state.epoch - before.state.epoch
    best = None if job.early_stopping is None else result.best
    return Progress(result.state, History.of(result.history.records()[:length]), before.ended, best)


def _untrained(member: Member) -> FitResult:
    before = member.progress
    best = before.state if before.best is None else before.best
    return FitResult(before.state, before.history, interrupted=True, best=best)


def _epochs_done(job: Job, results: Results) -> float:
    """The number of epochs done, the mean over the members: one whose training is over has had all of them."""
    left = (member.start.epoch for number, member in enumerate(job.members) if number not in results)
    return (len(results) * job.epochs + sum(left)) / len(job.members)
