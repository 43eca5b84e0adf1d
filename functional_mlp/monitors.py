"""The figures of a history that a rule may look at, and when one of them is better than another."""

import math
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
    gained = gain(rule.monitor, figure, best)
    better = gained > rule.min_delta
    return better, figure if better or (gained > 0.0 and not rule.cumulative) else best


def gain(monitor: str, figure: float, best: float) -> float:
    """By how much a figure passes the best: a loss falls, an accuracy grows. The first that is not NaN does by all.

    >>> nan = float("nan")
    >>> gain("train_loss", 0.25, 0.5), gain("train_accuracy", 0.25, 0.5), gain("train_accuracy", 0.5, nan)
    (0.25, -0.25, inf)
    >>> gain("train_loss", nan, nan), gain("train_loss", nan, 0.5)
    (nan, nan)
    """
    if best != best:
        return math.inf if figure == figure else math.nan
    return best - figure if monitor in LOSSES else figure - best


def check_monitor(owner: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    """An attrs validator: the name of a loss or an accuracy of a history."""
    if value not in (*LOSSES, *ACCURACIES):
        names = ", ".join(map(repr, (*LOSSES, *ACCURACIES)))
        raise ValueError(f"{checks.field_name(owner, attribute)} must be one of {names}, got {checks.describe(value)}")
