"""A checkpoint of a run on many ranks: rank 0 reads and writes the file, and tells the others what is in it."""

from collections.abc import Sequence
from typing import Any

import attrs

from functional_mlp import pytree
from functional_mlp.distributed.ranks import Ranks
from functional_mlp.state import Job, Keeper, Kept, Progress, TrainState


@attrs.frozen(eq=False)
class RanksKept:
    """The progress of a job, kept by the rank that has the file: the others keep nothing."""

    job: Job
    kept: Kept | None

    def save(self, progress: Sequence[Progress]) -> None:
        if self.kept is not None:
            self.kept.save(progress)

    def is_due(self, epoch: int, seconds: float) -> bool:
        return self.kept is not None and self.kept.is_due(epoch, seconds)


@attrs.frozen(eq=False)
class RanksKeeper:
    """What training takes for a checkpoint (see `functional_mlp.state.Keeper`)."""

    ranks: Ranks
    checkpoint: Keeper

    def keep(self, job: Job) -> RanksKept:
        kept = self.ranks.attempted(lambda: self.checkpoint.keep(job) if self.ranks.rank == 0 else None)
        progress = self.ranks.of_first(None if kept is None else kept.job.members[0].progress)
        (member,) = job.members
        leaves = pytree.leaves(member.start)
        device = leaves[0].device if leaves else None

        def moved(state: TrainState) -> Any:
            return pytree.map(lambda leaf: leaf.to(device), state)

        best = None if progress.best is None else moved(progress.best)
        own = attrs.evolve(member, progress=attrs.evolve(progress, state=moved(progress.state), best=best))
        return RanksKept(attrs.evolve(job, members=(own,)), kept)
