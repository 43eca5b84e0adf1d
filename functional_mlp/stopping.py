"""Early stopping: when a run has gone on for long enough without getting better, and which of its epochs was best."""

import math

import attrs
from attrs import field, frozen

from functional_mlp import checks
from functional_mlp.history import History
from functional_mlp.monitors import check_monitor, is_better
from functional_mlp.value import Value


@frozen
class Improvement:
    """How a figure has improved over some epochs: its best value, the index of its epoch, and how many they were."""

    best: float = math.nan
    epoch: int | None = None
    epochs: int = 0


@frozen(repr=False)
class EarlyStopping(Value):
    """A run is over after `patience` epochs in a row that are not better than the best before them.

    `monitor` names the figure of a `History` that is looked at: a loss, which is to fall, or an accuracy, which is to
    grow. An epoch is better where it passes the best by more than `min_delta`; NaN is never better. Both answers are
    pure functions of a history. Prechelt, "Early stopping, but when?", 1998.

    >>> import functional_mlp as fm
    >>> history = fm.History(validation_loss=(0.5, 0.3, 0.4, 0.35))
    >>> rule = EarlyStopping(patience=2)
    >>> rule.best_epoch(history), rule.is_over(history)
    (1, True)
    """

    patience: int = field(default=10, validator=checks.positive_integer)
    monitor: str = field(default="validation_loss", kw_only=True, validator=check_monitor)
    min_delta: float = field(default=0.0, kw_only=True, validator=checks.non_negative_number)

    def best_epoch(self, history: History) -> int | None:
        """The index of the best epoch of a history; None where no epoch has a figure."""
        return self.over(history).epoch

    def is_over(self, history: History) -> bool:
        """Whether a run with this history is to end."""
        return self.is_over_after(self.over(history))

    def after(self, improvement: Improvement, figure: float) -> Improvement:
        """The improvement one epoch on: what a run keeps, so as not to go through its history again and again."""
        epochs = improvement.epochs + 1
        if is_better(self.monitor, figure, improvement.best, self.min_delta):
            return Improvement(figure, improvement.epochs, epochs)
        return attrs.evolve(improvement, epochs=epochs)

    def is_over_after(self, improvement: Improvement) -> bool:
        """Whether a run that has improved so is to end."""
        since = improvement.epochs if improvement.epoch is None else improvement.epochs - 1 - improvement.epoch
        return since >= self.patience

    def over(self, history: History) -> Improvement:
        """How a history has improved."""
        improvement = Improvement()
        for figure in getattr(history, self.monitor):
            improvement = self.after(improvement, figure)
        return improvement
