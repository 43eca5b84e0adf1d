"""`fit_ensemble`: training many networks at once, each as `fit` would train it."""

import concurrent.futures
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from functional_mlp import bar
from functional_mlp.arguments import check_observers
from functional_mlp.checks import Integer
from functional_mlp.datasets import Dataset
from functional_mlp.ensemble.arguments import job_of_ensemble
from functional_mlp.ensemble.elsewhere import check_executor, train_elsewhere
from functional_mlp.ensemble.groups import grouped
from functional_mlp.ensemble.result import EnsembleResult
from functional_mlp.ensemble.tasks import Results
from functional_mlp.ensemble.work import Training
from functional_mlp.interrupts import one_interrupt
from functional_mlp.layers.base import Layer, Params
from functional_mlp.losses import Loss
from functional_mlp.lost import LostError
from functional_mlp.monitor_checks import warn_of_blind_rules
from functional_mlp.optimizers import Optimizer
from functional_mlp.penalties import Penalty
from functional_mlp.random import Key
from functional_mlp.spread import count
from functional_mlp.state import Callback, EngineName, Keeper, ScheduleLike, Score
from functional_mlp.stopping import EarlyStopping
from functional_mlp.watching import Watch

# Seconds between two looks at how far the groups are.
POLL = 0.05


def fit_ensemble(
    network: Layer,
    loss: Loss,
    optimizer: Optimizer | Sequence[Optimizer],
    data: Dataset | Sequence[Dataset],
    *,
    keys: Sequence[Key],
    epochs: Integer,
    batch_size: Integer = 1,
    shuffle: bool = True,
    schedule: ScheduleLike | Sequence[ScheduleLike] | None = None,
    penalty: Penalty | None = None,
    validation: Dataset | Sequence[Dataset] | None = None,
    score: Score | None = None,
    params: Params | None = None,
    engine: EngineName = "auto",
    progress: Callable[[float], None] | bool | None = None,
    callbacks: Sequence[Callback] = (),
    checkpoint: Keeper | None = None,
    early_stopping: EarlyStopping | None = None,
    executor: concurrent.futures.Executor | None = None,
) -> EnsembleResult:
    """Train one network for each key, at the price of a few.

    Member i is trained as by `fit(network, loss, optimizer, data, key=keys[i], …)`: it has the same initial
    parameters, orders and batches to the bit, and its numbers agree with that run's within the rounding of an
    engine. The same ensemble gives the same bits each time, in whatever order its members stand.

    Parameters
    ----------
    network
        What is trained: one for all members.
    loss
        What training minimizes: one for all members.
    optimizer
        One for all members, or a sequence of one each: of one kind, with learning rates and other numbers that may
        differ.
    data
        The samples: one data set for all members, or a sequence of one each.
    keys
        A key for each member.
    epochs
        The number of epochs of each member in all, those of the checkpoint included.
    batch_size
        Samples an update.
    shuffle
        Whether each epoch has an order of its own.
    schedule
        As `fit` takes it: one for all members, or a sequence of one each.
    penalty
        As `fit` takes it: one for all members.
    validation
        As `fit` takes it: one data set for all members, or a sequence of one each.
    score
        As `fit` takes it: one for all members.
    params
        Parameters to start from, stacked (see `functional_mlp.ensemble.stack`).
    engine
        As `fit` takes it.
    progress
        Is called now and then with the number of epochs done, the mean over the members; True shows a bar.
    callbacks
        Each is called as by `fit`, for each member, one at a time and in the thread that trains it; one that returns
        True ends that member alone.
    checkpoint
        A `functional_mlp.Checkpoint`, which keeps all members in one file; the same call goes on with them.
    early_stopping
        A `functional_mlp.EarlyStopping`, by which each member stops alone.
    executor
        Any `concurrent.futures.Executor`, whose workers train in place of this process: a `ProcessPoolExecutor`,
        `Client(...).get_executor()` of Dask, mpi4py's `MPIPoolExecutor`. The bits are those of a run without one where
        the processors are of one kind, and agree within the rounding of an engine where they are not.

    Groups of members are trained to the end one after the other on each core. A member whose loss stops being finite
    stops alone, as `fit` does; one `RuntimeWarning` names all of them. Ctrl-C ends the training with what each member
    has learnt so far, nothing for those whose turn had not come. A record's `seconds` are the member's share of the
    time of those trained with it. Raises `TypeError` or `ValueError` as `fit` does, and for sequences that do not have
    one item a key.

    With an executor each group is a task. Data that members share are sent once: Dask scatters them over its workers,
    the processes of a pool share memory, and MPI's keep what their first task brings. `progress` and a checkpoint learn
    of groups that are done; callbacks, which look at each epoch, are a `ValueError`. Ctrl-C cancels the tasks that have
    not begun. Where Dask loses a worker, its tasks run again on another. A process pool ends with a worker, and is not
    made anew, for it is yours. That is a `LostError`, as it is where no worker is reached: its `result` has the members
    that were done, and so has the checkpoint. A value of a class that workers cannot import is a `TypeError` that names
    it.

    >>> import functional_mlp as fm
    >>> network = fm.Sequential(fm.Linear(2, 8), fm.Tanh(), fm.Linear(8, 2))
    >>> data, keys = fm.datasets.disk(fm.random.key(0), 100), fm.random.key(1).split(3)
    >>> rates = [fm.SGD(0.01), fm.SGD(0.1), fm.SGD(0.1)]
    >>> result = fm.fit_ensemble(network, fm.MeanSquaredError(), rates, data, keys=keys, epochs=5)
    >>> result.params[0].weight.shape, len(result.member(2).history)
    (torch.Size([3, 8, 2]), 5)
    """
    check_observers("fit_ensemble", progress, callbacks, checkpoint)
    check_executor(executor, callbacks)
    asked = job_of_ensemble(
        network,
        loss,
        optimizer,
        data,
        keys=keys,
        epochs=epochs,
        batch_size=batch_size,
        shuffle=shuffle,
        schedule=schedule,
        penalty=penalty,
        validation=validation,
        score=score,
        params=params,
        engine=engine,
        early_stopping=early_stopping,
    )
    watch = Watch(asked, callbacks, checkpoint)
    job = watch.job
    with one_interrupt(), bar.shown(progress, job.epochs) as tell:
        results = _train(watch, tell) if executor is None else _train_elsewhere(watch, executor, tell)
    outcome = _result(results)
    _warn_of_divergence(outcome)
    warn_of_blind_rules(job, outcome.members)
    return outcome


def fit_ensembles(
    calls: Iterable[Mapping[str, Any]],
    executor: concurrent.futures.Executor,
    *,
    at_once: int,
    progress: Callable[[int], None] | None = None,
) -> Iterator[tuple[int, EnsembleResult]]:
    """Train many ensembles by an executor whose workers need not wait for the last members of each.

    `calls` are arguments of `fit_ensemble`, by name, of those that say what is trained. The next is begun while fewer
    than `at_once` members are with the workers. Gives the results, each with the place of its call, in the order in
    which they are done; `progress` is told how many members are. Ctrl-C ends all, and those that were begun are given
    as they are, as they are before a `LostError`. Nothing is said of divergence but in the results.
    """
    watches = (Watch(job_of_ensemble(**call), (), None) for call in calls)
    tell = None if progress is None else lambda members, epochs: progress(members)
    for place, results in train_elsewhere(watches, executor, at_once=at_once, progress=tell):
        yield place, _result(results)


def _train_elsewhere(
    watch: Watch, executor: concurrent.futures.Executor, progress: Callable[[float], None] | None
) -> Results:
    """Train all groups by an executor; a `LostError` has what was done."""
    arrived: dict[int, Results] = {}
    tell = None if progress is None else lambda members, epochs: progress(epochs)
    try:
        arrived |= train_elsewhere([watch], executor, progress=tell)
    except LostError as error:
        error.result = _result(arrived[0]) if arrived else None
        raise
    return arrived[0]


def _result(results: Results) -> EnsembleResult:
    return EnsembleResult(tuple(results[number] for number in sorted(results)))


def _train(watch: Watch, progress: Callable[[float], None] | None) -> Results:
    """Train all groups; Ctrl-C, or an error in any of them, ends the others at their next call."""
    groups, fused = grouped(watch.job)
    watch.begin()
    # torch's operations use the cores by themselves, and native calls one each.
    workers = min(len(groups), _cores()) if fused else 1
    cancelled = threading.Event()
    trainings = [Training(watch, group, cancelled) for group in groups]
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(training.run) for training in trainings]
        pending = set(futures)
        try:
            while pending:
                timeout = None if progress is None else POLL
                done, pending = concurrent.futures.wait(pending, timeout, concurrent.futures.FIRST_EXCEPTION)
                for future in done:
                    future.result()
                if progress is not None:
                    progress(sum(training.epochs_done for training in trainings) / len(watch.job.members))
        except KeyboardInterrupt:
            cancelled.set()
        except BaseException:
            cancelled.set()
            raise
        return {number: result for future in futures for number, result in future.result().items()}


def _cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _warn_of_divergence(outcome: EnsembleResult) -> None:
    diverged = {index: epoch for index, epoch in enumerate(outcome.diverged_at) if epoch is not None}
    if diverged:
        described = ", ".join(f"member {index} in epoch {epoch}" for index, epoch in diverged.items())
        warnings.warn(
            f"fit_ensemble: {len(diverged)} of {count(len(outcome), 'member')} diverged: {described}: each ends with "
            "its last finite state: a smaller learning rate may help",
            RuntimeWarning,
            stacklevel=3,
        )
