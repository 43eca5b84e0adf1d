"""`fit` on many ranks."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from functional_mlp import bar
from functional_mlp.arguments import check_observers, check_samples, job_of_fit
from functional_mlp.checks import Integer
from functional_mlp.datasets import Dataset
from functional_mlp.distributed.agreement import check_agreement
from functional_mlp.distributed.asking import RanksProgress, callback_of_all
from functional_mlp.distributed.course import RanksCourse
from functional_mlp.distributed.keeping import RanksKeeper
from functional_mlp.distributed.ranks import Ranks
from functional_mlp.interrupts import noted_interrupt
from functional_mlp.layers.base import Layer, Params
from functional_mlp.losses import Loss
from functional_mlp.monitor_checks import warn_of_blind_rules
from functional_mlp.optimizers import Optimizer
from functional_mlp.penalties import Penalty
from functional_mlp.random import Key
from functional_mlp.state import Callback, FitResult, Job, Keeper, ScheduleLike, Score, TrainState
from functional_mlp.stopping import EarlyStopping
from functional_mlp.training import train, warn_of_divergence
from functional_mlp.watching import Watch


def fit(
    network: Layer,
    loss: Loss,
    optimizer: Optimizer,
    data: Dataset,
    *,
    key: Key | None = None,
    epochs: Integer,
    batch_size: Integer = 1,
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
    network
        What is trained.
    loss
        What training minimizes.
    optimizer
        How a gradient changes the parameters.
    data
        The samples, all of them on each rank.
    key
        What the initial parameters and the orders are drawn with.
    epochs
        The number of epochs in all.
    batch_size
        Samples an update, those of all ranks together. A batch may have fewer rows than there are ranks.
    schedule
        As `fit` takes it; the learning rates that it gives are compared before each epoch.
    penalty
        As `fit` takes it.
    validation
        As `fit` takes it.
    score
        As `fit` takes it; rank 0 is asked.
    params
        Parameters to start from.
    state
        A state to go on from.
    progress
        As `fit` takes it, for each rank its own; a bar, which True shows, is shown by rank 0.
    callbacks
        As `fit` takes them, for each rank its own; where a callback of any rank returns True, all end.
    checkpoint
        A `functional_mlp.Checkpoint`, which rank 0 reads and writes; only its path there counts.
    early_stopping
        As `fit` takes it.
    shuffle
        As `fit` takes it.
    group
        A process group of `torch.distributed`, by default all processes: gloo for tensors on CPUs, nccl on GPUs, of
        which each rank has its data on one of its own.

    What is trained, on what, how and from where must be the same on all ranks. This is compared before training by
    digests, and by what the ranks compute on the first rows.

    Ctrl-C on any rank ends all at the same step, each with the state after the last epoch. A rank that dies is a
    `LostError` in all others, at once or when the group's timeout is over; a checkpoint then has what was reached.
    Raises `ValueError` where there is no group or ranks were given different arguments, and `TypeError` or
    `ValueError` as `fit` does, on all ranks where it does on one. What a function of the caller's raises on one rank is
    a `ValueError` on the others that names the rank.

    >>> import functional_mlp as fm
    >>> data = fm.datasets.disk(fm.random.key(0), 100)
    >>> fit(fm.Linear(2, 2), fm.MeanSquaredError(), fm.SGD(0.1), data, key=fm.random.key(1), epochs=2)
    Traceback (most recent call last):
    ValueError: distributed.fit: there is no process group: start the script with torchrun, ...
    """
    ranks = Ranks.of(group, data.inputs.device if isinstance(data, Dataset) else torch.device("cpu"))

    def asked() -> Job:
        check_observers("fit", progress, callbacks, checkpoint)
        job = job_of_fit(
            network,
            loss,
            optimizer,
            data,
            key=key,
            epochs=epochs,
            batch_size=batch_size,
            shuffle=shuffle,
            schedule=schedule,
            penalty=penalty,
            validation=validation,
            score=score,
            params=params,
            state=state,
            engine="reference",
            early_stopping=early_stopping,
        )
        check_samples(job)
        ranks.check_sends(job.members[0].data.inputs.device)
        return job

    job = ranks.attempted(asked)
    check_agreement(ranks, job, kept=checkpoint is not None)
    shown = progress if ranks.rank == 0 or not isinstance(progress, bool) else None
    keeper = None if checkpoint is None else RanksKeeper(ranks, checkpoint)
    with noted_interrupt() as interrupted, bar.shown(shown, job.epochs) as tell:
        callback, tick = callback_of_all(ranks, callbacks, interrupted), RanksProgress(ranks, tell, interrupted)
        watch = ranks.attempted(lambda: Watch(job, [callback], keeper))
        course = RanksCourse(ranks, watch.job, interrupted=interrupted, tick=tick)
        ranks.attempted(watch.begin)
        try:
            (result,) = train(course, watch).values()
        except Exception:  # a lost rank is one
            watch.finish(course)
            raise
        tick.tell()
    warn_of_divergence(result)
    warn_of_blind_rules(watch.job, [result])
    return result
