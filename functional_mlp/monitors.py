"""The figures of a history that a rule may look at, and when one of them is better than another."""

from typing import Any, Protocol

import attrs

from functional_mlp import checks

LOSSES, ACCURACIES = ("train_loss", "validation_loss"), ("train_accuracy", "validation_accuracy")


class Rule(Protocol):
    """What looks at a figure: gains of up to `min_delta` count for nothing, or, where it is `cumulative`, add up."""

    @property
    def monitor(self) -> str: ...
    @property
    def min_delta(self) -> float: ...
    @property
    def cumulative(self) -> bool: ...


def compared(rule: Rule, figure: float, best: float) -> tuple[bool, float]:
    """Whether a figure is better than the best before it, and the best that the next one is compared with.

    >>> import functional_mlp as fm
    >>> rule = fm.EarlyStopping(min_delta=0.2)
    >>> compared(rule, 0.4, 0.5), compared(attrs.evolve(rule, cumulative=False), 0.4, 0.5)
    ((False, 0.5), (False, 0.4))
    """
    better = is_better(rule.monitor, figure, best, rule.min_delta)
    kept = not better and (rule.cumulative or not is_better(rule.monitor, figure, best, 0.0))
    return better, best if kept else figure


def is_better(monitor: str, figure: float, best: float, min_delta: float) -> bool:
    """Whether a figure passes the best by more than `min_delta`: a loss falls, an accuracy grows; NaN does neither.

    >>> nan = float("nan")
    >>> is_better("train_loss", 0.3, 0.5, 0.0), is_better("train_accuracy", 0.5, nan, 0.0)
    (True, True)
    >>> is_better("train_loss", nan, nan, 0.0), is_better("train_accuracy", 0.6, 0.5, 0.2)
    (False, False)
    """
    if figure != figure or best != best:
        return figure == figure
    gain = best - figure if monitor in LOSSES else figure - best
    return gain > min_delta


def check_monitor(owner: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    """An attrs validator: the name of a loss or an accuracy of a history."""
    if value not in (*LOSSES, *ACCURACIES):
        names = ", ".join(map(repr, (*LOSSES, *ACCURACIES)))
        raise ValueError(f"{checks.field_name(owner, attribute)} must be one of {names}, got {checks.describe(value)}")
