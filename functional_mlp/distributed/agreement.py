"""Whether all ranks were given the same: found before training, from digests and a trial."""

import re
from collections.abc import Sequence
from typing import Any

import functional_mlp
from functional_mlp import random
from functional_mlp.checkpoint.settings import Settings, digest
from functional_mlp.distributed import trial
from functional_mlp.distributed.ranks import Ranks
from functional_mlp.state import Job


def check_agreement(ranks: Ranks, job: Job, *, kept: bool) -> None:
    """Raise `ValueError`, naming the arguments and the rank, where ranks were given different ones.

    `kept` says whether the run is kept in a checkpoint.
    """
    described = ranks.gathered({**_described(job), "checkpoint": repr(kept)})
    for rank, other in enumerate(described):
        _refuse(rank, [name for name, words in other.items() if words != described[0][name]])
    first, *others = ranks.asked(lambda: trial.tried(job))
    for rank, figures in enumerate(others, start=1):
        difference = trial.first_difference(first, figures)
        _refuse(rank, [] if difference is None else [difference])


def _refuse(rank: int, differing: Sequence[str]) -> None:
    """Raise `ValueError` where some arguments of a rank differ from those of rank 0."""
    if differing:
        raise ValueError(
            f"distributed.fit: rank {rank} was given another {' and '.join(differing)} than rank 0: pass the same "
            "arguments on all ranks; each takes its share of the rows by itself"
        )


def _described(job: Job) -> dict[str, Any]:
    """The arguments that decide what a run comes to, by name, in words that two processes share."""
    (member,) = job.members
    settings = Settings.of(job, member)
    words = {
        "version of functional_mlp": functional_mlp.__version__,
        "network": job.network,
        "loss": job.loss,
        "optimizer": member.optimizer,
        "data": settings.data,
        "validation": settings.validation,
        "epochs": job.epochs,
        "batch_size": job.batch_size,
        "shuffle": job.shuffle,
        "schedule": settings.schedule,
        "penalty": settings.penalty,
        "early_stopping": settings.early_stopping,
        "score": settings.score,
        # As what it draws first: a key is not to be read from an error.
        "key": digest((random.uniform(member.start.key, (4,), 0.0, 1.0),)),
        "params": digest(member.start.optimizer_state),
        "state": member.start.epoch,
    }
    # The address of an object without a repr of its own says nothing.
    return {name: re.sub(r" at 0x[0-9a-f]+", "", repr(value)) for name, value in words.items()}
