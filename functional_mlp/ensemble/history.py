"""What an ensemble's training recorded: a history a member, their mean and their spread."""

import math
from collections.abc import Callable, Sequence

import attrs

from functional_mlp import checks, spread
from functional_mlp.ensemble.trees import check_index
from functional_mlp.history import History

Figures = Sequence[float]


@attrs.frozen
class EnsembleHistory:
    """The histories of the members, and what they have in common.

    Figures over the members are taken, epoch by epoch, over those that trained in it with a finite loss: a member
    that has diverged leaves the others' mean as it is. They are histories themselves, so that whatever shows a
    history shows them.

    >>> from functional_mlp.history import EpochRecord
    >>> records = [EpochRecord(loss, 0.8, 0.6, 0.7, 0.01, 0.1) for loss in (0.4, 0.6)]
    >>> history = EnsembleHistory(tuple(History.of([record]) for record in records))
    >>> history.mean().train_loss, round(history.std().train_loss[0], 4)
    ((0.5,), 0.1414)
    """

    members: tuple[History, ...]

    def __len__(self) -> int:
        """The number of epochs of the member that had most."""
        return max(map(len, self.members), default=0)

    def member(self, index: int) -> History:
        check_index("member: index", index, len(self.members))
        return self.members[index]

    def mean(self) -> History:
        """The mean over the members."""
        return self._over_members(spread.mean)

    def std(self) -> History:
        """The standard deviation over the members (of n − 1); 0 for a single one."""
        return self._over_members(spread.std)

    def band(self, deviations: float = 1.0) -> tuple[History, History]:
        """The mean less and plus a number of standard deviations."""
        deviations = checks.number("band: deviations", deviations, low=0.0)

        def edge(sign: float) -> History:
            return self._over_members(lambda figures: spread.mean(figures) + sign * deviations * spread.std(figures))

        return edge(-1.0), edge(1.0)

    def _over_members(self, summary: Callable[[Figures], float]) -> History:
        names = [field.name for field in attrs.fields(History)]
        return History(*(tuple(summary(self._at(name, e)) for e in range(len(self))) for name in names))

    def _at(self, name: str, epoch: int) -> Figures:
        """A figure in one epoch, of the members whose loss was finite in it."""
        alive = [h for h in self.members if len(h) > epoch and math.isfinite(h.train_loss[epoch])]
        return [getattr(history, name)[epoch] for history in alive]
