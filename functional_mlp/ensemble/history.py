"""What an ensemble's training recorded: a history a member, their mean and their spread."""

import math
from collections.abc import Callable, Sequence

import attrs

from functional_mlp import checks, markup, spread
from functional_mlp.checks import Integer
from functional_mlp.ensemble.trees import check_index
from functional_mlp.history import NAMES, History
from functional_mlp.spread import Band, count, with_deviation

Figures = Sequence[float]
# How a mean and a deviation are printed.
FORMS = (".4g", ".2g")


@attrs.frozen(repr=False)
class EnsembleHistory:
    """The histories of the members, and what they have in common.

    Figures over the members are taken, epoch by epoch, over those that trained in it with a finite loss: a member that
    has diverged leaves the others' mean as it is, and so does one that early stopping has ended, so that the last
    epochs may be those of few. `final` is the mean of the members' last epochs. They are histories themselves, so that
    whatever shows a history shows them.

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

    def __repr__(self) -> str:
        told = f"{count(len(self.members), 'member')} and {count(len(self), 'epoch')}"
        return f"<EnsembleHistory of {told}{self.final().outcome()}>"

    def _repr_html_(self) -> str:
        mean, std = self.mean(), self.std()
        names = [name for name in NAMES if any(figure == figure for figure in getattr(mean, name))]
        pairs = [(getattr(mean, name), getattr(std, name)) for name in names]
        rows = [
            (epoch + 1, *(with_deviation(means[epoch], stds[epoch], FORMS) for means, stds in pairs))
            for epoch in markup.evenly(len(self))
        ]
        return markup.table(repr(self), ["epoch", *names], rows)

    def member(self, index: Integer) -> History:
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
        mean, std = self.mean(), self.std()
        edges = [Band(getattr(mean, name), getattr(std, name)).edges(deviations) for name in NAMES]
        low, high = zip(*edges, strict=True)
        return History(*low), History(*high)

    def final(self) -> History:
        """The mean over the members of each one's last epoch: a history of one epoch, or of none.

        >>> stopped, others = History(*((0.5,),) * 6), History(*((0.5, 0.3),) * 6)
        >>> EnsembleHistory((stopped, others)).final().train_loss
        (0.4,)
        """
        ended = [own for own in self.members if len(own) and math.isfinite(own.train_loss[-1])]
        return History(*((spread.mean([getattr(own, name)[-1] for own in ended]),) for name in NAMES if ended))

    def _over_members(self, summary: Callable[[Figures], float]) -> History:
        """What a summary makes of each figure in each epoch, over the members whose loss was finite in it."""
        epochs = [
            (epoch, [own for own in self.members if len(own) > epoch and math.isfinite(own.train_loss[epoch])])
            for epoch in range(len(self))
        ]

        def over_epochs(name: str) -> tuple[float, ...]:
            return tuple(summary([getattr(own, name)[epoch] for own in alive]) for epoch, alive in epochs)

        return History(*(over_epochs(field.name) for field in attrs.fields(History)))
