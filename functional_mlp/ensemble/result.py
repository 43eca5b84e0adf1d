"""What `fit_ensemble` returns."""

import attrs

from functional_mlp import markup
from functional_mlp.checks import Integer
from functional_mlp.ensemble.history import EnsembleHistory
from functional_mlp.ensemble.trees import check_index, stack
from functional_mlp.history import NAMES
from functional_mlp.layers.base import Params
from functional_mlp.spread import count
from functional_mlp.state import FitResult


@attrs.frozen(eq=False, repr=False)
class EnsembleResult:
    """What `fit_ensemble` returns: a `FitResult` for each member, in the order of the keys."""

    members: tuple[FitResult, ...]

    @property
    def params(self) -> Params:
        """The stacked parameters: each leaf (…) of a member's is (members, …)."""
        return stack([member.params for member in self.members])

    @property
    def best_params(self) -> Params:
        """As `params`, those of each member's best epoch, by the early stopping that was asked for."""
        return stack([member.best_params for member in self.members])

    @property
    def best_epoch(self) -> tuple[int | None, ...]:
        """For each member what `FitResult` has."""
        return tuple(member.best_epoch for member in self.members)

    @property
    def stopped_early(self) -> tuple[bool, ...]:
        """For each member whether early stopping ended it."""
        return tuple(member.stopped_early for member in self.members)

    @property
    def history(self) -> EnsembleHistory:
        return EnsembleHistory(tuple(member.history for member in self.members))

    @property
    def diverged_at(self) -> tuple[int | None, ...]:
        """For each member the epoch whose loss stopped being finite, or `None`."""
        return tuple(member.diverged_at for member in self.members)

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the training of a member."""
        return any(member.interrupted for member in self.members)

    def member(self, index: Integer) -> FitResult:
        """The result of one member, counted from 0: what `fit` gives with its key, data and optimizer."""
        check_index("member: index", index, len(self.members))
        return self.members[index]

    def __len__(self) -> int:
        return len(self.members)

    def __repr__(self) -> str:
        return (
            f"<EnsembleResult of {count(len(self), 'member')}, on average{self.history.final().outcome() or ' none'}>"
        )

    def _repr_html_(self) -> str:
        mean = self.history.final()
        names = [name for name in NAMES[:4] if any(figure == figure for figure in getattr(mean, name))]
        rows = []
        for index, member in enumerate(self.members):
            columns = [getattr(member.history, name) for name in names]
            rows.append([index, member.state.epoch, *(figures[-1] if figures else "" for figures in columns)])
        return markup.table(repr(self), ["member", "epochs", *names], rows)
