"""The course of training on many ranks."""

import functools
import threading

import attrs

from functional_mlp import engines
from functional_mlp.course import Course
from functional_mlp.distributed.asking import score_of_first
from functional_mlp.distributed.ranks import Ranks
from functional_mlp.distributed.running import RanksRun
from functional_mlp.state import Job, Rates, Tick


class RanksCourse(Course):
    """The course of a job's one member on many ranks, which take the same learning rates and the score of rank 0.

    All ranks end at the same step where `interrupted` is set on any.
    """

    def __init__(self, ranks: Ranks, job: Job, *, interrupted: threading.Event, tick: Tick) -> None:
        self._ranks = ranks
        shared = job if job.score is None else attrs.evolve(job, score=score_of_first(ranks, job.score))
        group = engines.group(shared, (0,), functools.partial(RanksRun, ranks, interrupted))
        super().__init__(shared, group, watched=True, tick=tick)

    def _rates(self, epochs: range) -> Rates:
        """The learning rates in some epochs; raises `ValueError` where the schedules of ranks give different ones.

        Two functions may have one name, so that what they give is compared.
        """
        if all(member.schedule is None for member in self._members):
            return super()._rates(epochs)
        first, *others = self._ranks.asked(lambda: super(RanksCourse, self)._rates(epochs))
        for rank, own in enumerate(others, start=1):
            for epoch, (ours,), (theirs,) in zip(epochs, first, own, strict=True):
                if ours != theirs:
                    raise ValueError(
                        f"distributed.fit: rank {rank} was given another schedule than rank 0: the learning rate in "
                        f"epoch {epoch} is {theirs} there, and {ours} on rank 0: pass the same arguments on all ranks"
                    )
        return first
