"""What several figures have in common, as of independent runs: mean, standard deviation, band, and "a ± b" in print."""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from attrs import frozen

if TYPE_CHECKING:
    from torch import Tensor

Curve = tuple[float, ...]


def mean(figures: Sequence[float]) -> float:
    """The mean, its sum rounded once; NaN for no figures.

    >>> mean([0.1] * 10), mean([])
    (0.1, nan)
    """
    if not figures:
        return math.nan
    try:
        return math.fsum(figures) / len(figures)
    except (OverflowError, ValueError):  # for a sum beyond the largest float, and for infinities of both signs
        return sum(figure / len(figures) for figure in figures)


def std(figures: Sequence[float]) -> float:
    """The standard deviation, of n − 1; 0 for a single figure, NaN for none and where one is not finite.

    >>> std([1.0, 3.0]), std([1.0]), std([])
    (1.4142135623730951, 0.0, nan)
    """
    if not figures or not all(map(math.isfinite, figures)):
        return math.nan
    center = mean(figures)
    # Not the root of a sum of squares, for the square of a large deviation is infinite.
    return math.dist(figures, [center] * len(figures)) / math.sqrt(max(len(figures) - 1, 1))


def deviation(figures: "Tensor") -> "Tensor":
    """`std` of figures (n, ...) in a tensor, along its first axis.

    >>> import torch
    >>> deviation(torch.tensor([[1.0], [3.0]])), deviation(torch.tensor([[1.0]]))
    (tensor([1.4142]), tensor([0.]))
    """
    return figures.std(0) if len(figures) > 1 else figures.new_zeros(figures.shape[1:])


class Summary(Protocol):
    """Whatever has a mean and a standard deviation."""

    @property
    def mean(self) -> float: ...

    @property
    def std(self) -> float: ...


@frozen
class Spread:
    """Mean, standard deviation (of n − 1; NaN for fewer than two values) and the values themselves.

    That NaN is what tables and files of measurements show as no figure. `std`, `deviation` and `Band` say 0 instead,
    for what is drawn or computed with: a band of no width.

    >>> Spread.of([1.0, 3.0])
    Spread(mean=2.0, std=1.4142135623730951, values=(1.0, 3.0))
    """

    mean: float
    std: float
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        values = tuple(map(float, values))
        return cls(mean(values), std(values) if len(values) > 1 else math.nan, values)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def standard_error(self) -> float:
        """The standard error of the mean."""
        return self.std / math.sqrt(len(self.values))

    def minus(self, other: "Spread") -> "Spread":
        """The differences value by value, where both were measured on the same draws."""
        return Spread.of(a - b for a, b in zip(self.values, other.values, strict=True))


def plus_minus(summary: Summary, digits: int = 4, scale: float = 1.0) -> str:
    """`mean ± standard deviation` in print; the mean alone where there is no deviation, of one figure.

    >>> plus_minus(Spread.of([1.0, 3.0]), 1), plus_minus(Spread.of([0.5]), 2, scale=100)
    ('2.0 ± 1.4', '50.00')
    """
    form = f".{digits}f"
    return with_deviation(scale * summary.mean, scale * summary.std, (form, form))


def with_deviation(mean: float, deviation: float, forms: tuple[str, str]) -> str:
    """As `plus_minus`, of two figures, each in a format of its own.

    >>> with_deviation(0.25, 0.125, ("+.2f", ".3f")), with_deviation(0.25, math.nan, (".1%", ".1%"))
    ('+0.25 ± 0.125', '25.0%')
    """
    shown = format(mean, forms[0])
    return shown if math.isnan(deviation) else f"{shown} ± {deviation:{forms[1]}}"


@frozen
class Band:
    """Curves of one length, point by point: their mean and their standard deviation, which is 0 for one curve.

    >>> Band.of([(1.0, 2.0), (3.0, 2.0)]).mean
    (2.0, 2.0)
    """

    mean: Curve
    std: Curve

    @classmethod
    def of(cls, curves: Iterable[Sequence[float]]) -> "Band":
        points = list(zip(*curves, strict=True))
        return cls(tuple(map(mean, points)), tuple(map(std, points)))

    def edges(self, deviations: float = 1.0) -> tuple[Curve, Curve]:
        """The mean less and plus a number of standard deviations.

        >>> Band(mean=(1.0, 2.0), std=(0.0, 0.5)).edges(2.0)
        ((1.0, 1.0), (1.0, 3.0))
        """
        pairs = list(zip(self.mean, self.std, strict=True))
        return tuple(m - deviations * s for m, s in pairs), tuple(m + deviations * s for m, s in pairs)


def count(number: int, noun: str) -> str:
    """A number with its noun.

    >>> count(1, "run"), count(30, "run")
    ('1 run', '30 runs')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
