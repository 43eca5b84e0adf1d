"""`fit` on many ranks."""

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from functional_mlp import bar, engines
from functional_mlp.datasets import Dataset
from functional_mlp.distributed.agreement import check_agreement
from functional_mlp.distributed.asking import RanksCourse, RanksProgress, callback_of_all, score_of_first
from functional_mlp.distributed.keeping import RanksKeeper
from functional_mlp.distributed.ranks import Ranks
from functional_mlp.distributed.running import RanksRun
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
from functional_mlp.watching import Watch


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
        As `functional_mlp.fit` takes them, the same on all ranks, which is compared before training: digests, and
        what they compute on the first rows. Learning rates that a schedule gives are compared before each epoch.
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
    `ValueError` as `fit` does, on all ranks where it does on one. What a function of the caller's raises on one rank is
    a `ValueError` on the others that names the rank.

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
    watch = Watch(job, [callback_of_all(ranks, callbacks, interrupted)], keeper)
    ranks.attempted(lambda: check_lone_job(watch.job))
    score = None if job.score is None else score_of_first(ranks, job.score)
    asked = attrs.evolve(watch.job, score=score)
    group = engines.group(asked, (0,), functools.partial(RanksRun, ranks, interrupted))
    tick = RanksProgress(ranks, progress, interrupted)
    course, ended = RanksCourse(ranks, asked, group, watched=True, tick=tick), False
    ranks.attempted(watch.begin)
    try:
        for reached in course:
            watch.look(course, [0], reached)
    except KeyboardInterrupt:
        ended = True
    finally:
        watch.finish(course, [0])  # where a rank is lost as well
    tick.tell()
    return course.result(0, interrupted=ended)
