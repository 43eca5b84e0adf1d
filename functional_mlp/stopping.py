"""Early stopping: when a run has gone on for long enough without getting better, and which of its epochs was best."""

import functools
import math
from typing import NamedTuple

from attrs import field, frozen

from functional_mlp import checks
from functional_mlp.history import History
from functional_mlp.monitors import check_monitor, compared
from functional_mlp.value import Value


class Improvement(NamedTuple):  # one is made in each epoch that is looked at, in half the time that attrs takes
    """How a figure has improved over some epochs.

    Its best value, the index of that epoch, and how many epochs there were; how many were not better since one was, or
    since the last plateau, and how many plateaus there were.
    """

    best: float = math.nan
    epoch: int | None = None
    epochs: int = 0
    since: int = 0
    plateaus: int = 0


@frozen(repr=False)
class EarlyStopping(Value):
    """A run is over after `patience` epochs in a row that are not better than the best before them.

    `monitor` names the figure of a `History` that is looked at: a loss, which is to fall, or an accuracy, which is to
    grow. An epoch is better where it passes the best by more than `min_delta`; NaN is never better, and epochs before
    the first whose figure is a number do not count. The best is that of the last better epoch, so that smaller gains
    add up; with `cumulative=False` it is that of all epochs, and a run that gains less than `min_delta` an epoch is
    over. With `plateaus` above 1 the run goes on until `patience` epochs without a better one have passed that number
    of times, as where `schedules.on_plateau` shortens its steps in between.

    Both answers are pure functions of a history. Prechelt, "Early stopping, but when?", 1998.

    >>> import functional_mlp as fm
    >>> history = fm.History(validation_loss=(0.5, 0.3, 0.4, 0.35))
    >>> rule = EarlyStopping(patience=2)
    >>> rule.best_epoch(history), rule.is_over(history)
    (1, True)
    """

    patience: int = field(default=10, converter=checks.plain_integer, validator=checks.positive_integer)
    monitor: str = field(default="validation_loss", kw_only=True, validator=check_monitor)
    min_delta: float = field(default=0.0, kw_only=True, validator=checks.non_negative_number)
    cumulative: bool = field(default=True, kw_only=True, validator=checks.boolean)
    plateaus: int = field(default=1, kw_only=True, converter=checks.plain_integer, validator=checks.positive_integer)

    def best_epoch(self, history: History) -> int | None:
        """The index of the best epoch of a history; None where no epoch has a figure."""
        return self.over(history).epoch

    def is_over(self, history: History) -> bool:
        """Whether a run with this history is to end."""
        return self.is_over_after(self.over(history))

    def after(self, improvement: Improvement, figure: float) -> Improvement:
        """The improvement one epoch on: what a run keeps, so as not to go through its history again and again."""
        better, best = compared(self, figure, improvement.best)
        epoch, epochs = improvement.epoch if best is improvement.best else improvement.epochs, improvement.epochs + 1
        if math.isnan(best):  # nothing has been seen yet
            return Improvement(epochs=epochs)
        if better:  # a run that was over, and goes on, is over no more
            return Improvement(best, epoch, epochs, 0, min(improvement.plateaus, self.plateaus - 1))
        if improvement.since + 1 == self.patience:
            return Improvement(best, epoch, epochs, 0, improvement.plateaus + 1)
        return Improvement(best, epoch, epochs, improvement.since + 1, improvement.plateaus)

    def is_over_after(self, improvement: Improvement) -> bool:
        """Whether a run that has improved so is to end."""
        return improvement.plateaus >= self.plateaus

    def fewest_left(self, improvement: Improvement) -> int:
        """The fewest further epochs after which a run that has improved so may be over."""
        return (self.plateaus - improvement.plateaus) * self.patience - improvement.since

    def over(self, history: History, first: int = 0) -> Improvement:
        """How a history has improved, from the place `first` on."""
        checks.instance("history", history, History, "pass a result's .history")
        return functools.reduce(self.after, getattr(history, self.monitor)[first:], Improvement(epochs=first))
