"""Where a member of a course stands, and the epochs between one standing and the next."""

from collections.abc import Sequence
from typing import NamedTuple

import attrs

from functional_mlp.engines import Snapshot
from functional_mlp.history import History
from functional_mlp.state import TrainState
from functional_mlp.stopping import Improvement


class Standing(NamedTuple):  # one is made in each epoch that is looked at, in half the time that attrs takes
    """Where a member stands: its last finite state, that after `epoch` epochs, and how many epochs it has had in all.

    `diverged_at` is the epoch whose loss is not finite, `ended` says that it was told to end, and `stopped_early` that
    it has not improved for long enough: it is then over. `improvement` and `best`, the state after its best epoch so
    far, are those that early stopping asks for.
    """

    epoch: int
    snapshot: Snapshot
    trained: int
    diverged_at: int | None = None
    ended: bool = False
    stopped_early: bool = False
    improvement: Improvement = Improvement()
    best: TrainState | None = None

    @property
    def is_over(self) -> bool:
        return self.ended or self.stopped_early or self.diverged_at is not None


@attrs.frozen(eq=False, kw_only=True)
class Stretch:
    """Epochs that the active members of a group were trained in, before it is decided whether they stand.

    `histories` are those of each active member, and `improvements` after each epoch, where early stopping judges them.
    `snapshots` are those after each epoch where a member may end at each, and otherwise that after the last one.
    `settled` says that all numbers are finite.
    """

    epochs: range
    active: list[int]
    histories: Sequence[History]
    improvements: Sequence[Sequence[Improvement]]
    snapshots: Sequence[Snapshot]
    settled: bool

    def after(self, epoch: int) -> Snapshot:
        """The snapshot after `epoch` epochs."""
        return self.snapshots[epoch - self.epochs.stop - 1]  # counted from the end
