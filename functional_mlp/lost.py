"""The error of a training whose workers, or ranks, are lost."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from functional_mlp.ensemble.result import EnsembleResult


class LostError(RuntimeError):
    """The workers, or the ranks, that a training needs are lost: it cannot go on.

    `reason` says what has happened, `advice` what to do about it, and `kept` where what was trained is. `result` has
    what `fit_ensemble` returns after Ctrl-C: members that were not done are as they were before, and `interrupted`. It
    is `None` where none was begun, and from `functional_mlp.distributed.fit`.

    >>> raise LostError("fit_ensemble", "there are no workers", "start some", "the checkpoint has those that are done")
    Traceback (most recent call last):
    functional_mlp.lost.LostError: fit_ensemble: there are no workers: start some; the checkpoint has those ...
    """

    def __init__(self, caller: str, reason: str, advice: str, kept: str) -> None:
        super().__init__(caller, reason, advice, kept)
        self.caller: str = caller
        self.reason: str = reason
        self.advice: str = advice
        self.kept: str = kept
        self.result: EnsembleResult | None = None

    def __str__(self) -> str:
        return f"{self.caller}: {self.reason}: {self.advice}; {self.kept}"

    def told_by(self, caller: str, kept: str) -> "LostError":
        """The same, as another caller says it to whom other things are kept."""
        told = LostError(caller, self.reason, self.advice, kept)
        told.result = self.result
        return told
