"""`fit` on many ranks."""

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import torch

from functional_mlp import bar, engines
from functional_mlp.course import Course
from functional_mlp.datasets import Dataset
from functional_mlp.distributed.agreement import check_agreement
from functional_mlp.distributed.keeping import RanksKeeper
from functional_mlp.distributed.ranks import Ranks
from functional_mlp.distributed.running import RanksRun
from functional_mlp.history import History
from functional_mlp.interrupts import noted_interrupt
from functional_mlp.layers.base import Layer, Params
from functional_mlp.losses import Loss
from functional_mlp.monitoring import warn_of_blind_rules
from functional_mlp.optimizers import Optimizer
from functional_mlp.penalties import Penalty
from functional_mlp.random import Key
from functional_mlp.state import Callback, FitResult, Job, Keeper, ScheduleLike, Score, TrainState, check_observers
from functional_mlp.stopping import EarlyStopping
from functional_mlp.training import check_lone_job, lone_job, warn_of_divergence
from functional_mlp.watching import Watch, asked_all


def fit(
    network: Layer,
    loss: Loss,
    optimizer: Optimizer,
    data: Dataset,
    *,
    key: Key | None = None,
    epochs: int,
    batch_size: int = 1,
    schedule: ScheduleLike | None = None,
    penalty: Penalty | None = None,
    validation: Dataset | None = None,
    score: Score | None = None,
    params: Params | None = None,
    state: TrainState | None = None,
    progress: Callable[[float], None] | bool | None = None,
    callbacks: Sequence[Callback] = (),
    checkpoint: Keeper | None = None,
    early_stopping: EarlyStopping | None = None,
    shuffle: bool = True,
    group: Any = None,
) -> FitResult:
    """`functional_mlp.fit` with each batch divided among the ranks of a process group, on the reference engine.

    Every rank calls it with the same arguments, and returns the same bits. They are those of one process but for
    rounding: a sum of gradients is added up in another order.

    Parameters
    ----------
    network, loss, optimizer, data, key, epochs, batch_size, schedule, penalty, validation, params, state
        As `functional_mlp.fit` takes them, the same on all ranks: a digest of them is compared before training.
        `batch_size` is that of all ranks together. A batch may have fewer rows than there are ranks.
    score
        As `fit` takes it; rank 0 is asked.
    progress, callbacks
        As `fit` takes them, for each rank its own; where a callback of any rank returns True, all end. A bar, which
        `progress=True` shows, is shown by rank 0.
    checkpoint
        A `functional_mlp.Checkpoint`, which rank 0 reads and writes; only its path there counts.
    early_stopping, shuffle
        As `fit` takes them.
    group
        A process group of `torch.distributed`, by default all processes: gloo for tensors on CPUs, nccl on GPUs.

    Ctrl-C on any rank ends all at the same step, each with the state after the last epoch. A rank that dies is a
    `RuntimeError` in all others, at once or when the group's timeout is over; a checkpoint then has what was reached.
    Raises `ValueError` where there is no group or ranks were given different arguments, and `TypeError` or
    `ValueError` as `fit` does, on all ranks where it does on one.

    >>> import functional_mlp as fm
    >>> data = fm.datasets.disk(fm.random.key(0), 100)
    >>> fit(fm.Linear(2, 2), fm.MeanSquaredError(), fm.SGD(0.1), data, key=fm.random.key(1), epochs=2)
    Traceback (most recent call last):
    ValueError: distributed.fit: there is no process group: start the script with torchrun, ...
    """
    ranks = Ranks.of(group)

    def asked() -> Job:
        check_observers("fit", progress, callbacks, checkpoint)
        job = lone_job(
            network,
            loss,
            optimizer,
            data,
            key=key,
            epochs=epochs,
            batch_size=batch_size,
            schedule=schedule,
            penalty=penalty,
            validation=validation,
            score=score,
            params=params,
            state=state,
            engine="reference",
            early_stopping=early_stopping,
            shuffle=shuffle,
        )
        check_lone_job(job)
        return job

    job = ranks.attempted(asked)
    check_agreement(ranks, job, kept=checkpoint is not None)
    if job.score is not None:
        job = attrs.evolve(job, score=_score_of_first(ranks, job.score))
    shown = progress if ranks.rank == 0 or not isinstance(progress, bool) else None
    with noted_interrupt() as interrupted, bar.shown(shown, epochs) as tell:
        result = _train(ranks, job, tell, callbacks, checkpoint, interrupted)
    warn_of_divergence(result)
    warn_of_blind_rules("fit", job, [result])
    return result


def _train(
    ranks: Ranks,
    job: Job,
    progress: Callable[[float], None] | None,
    callbacks: Sequence[Callback],
    checkpoint: Keeper | None,
    interrupted: threading.Event,
) -> FitResult:
    keeper = None if checkpoint is None else RanksKeeper(ranks, checkpoint)
    watch = Watch(job, [_asked_on_all(ranks, callbacks, interrupted, job.members[0].data.inputs.device)], keeper)
    ranks.attempted(lambda: check_lone_job(watch.job))
    group = engines.group(watch.job, (0,), functools.partial(RanksRun, ranks, interrupted))

    def tick(done: float) -> None:
        try:
            if progress is not None:
                progress(done)
        except KeyboardInterrupt:
            interrupted.set()

    course, ended = Course(watch.job, group, watched=True, tick=tick), False
    ranks.attempted(watch.begin)
    try:
        for reached in course:
            watch.look(course, [0], reached)
    except KeyboardInterrupt:
        ended = True
    finally:
        watch.finish(course, [0])  # where a rank is lost as well
    return course.result(0, interrupted=ended)


def _asked_on_all(
    ranks: Ranks, callbacks: Sequence[Callback], interrupted: threading.Event, device: torch.device
) -> Callback:
    """One callback for those of all ranks: it returns True on each where one does on any."""

    def callback(epoch: int, state: TrainState, history: History) -> bool:
        says_end = False
        try:
            says_end = asked_all(callbacks, state, history)
        except KeyboardInterrupt:
            interrupted.set()
        return ranks.sums([float(says_end)], device)[0] > 0

    return callback


def _score_of_first(ranks: Ranks, score: Score) -> Score:
    """A score that rank 0 gives, so that all ranks decide by the same number."""

    def of_first(outputs: Any, data: Dataset) -> float:
        number: float = ranks.of_first(score(outputs, data))
        return number

    return of_first
