"""How the figures are drawn and numbers written, so that all of them look alike and can be read in grey."""

import math
from collections.abc import Sequence
from typing import Any

import attrs
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from functional_mlp.experiments.trials import Band, Spread


@attrs.frozen
class Line:
    """A colour and a dash; the colours of `LINES` also differ in brightness, and the dashes tell them apart."""

    color: str
    dash: Any

    def options(self) -> dict[str, Any]:
        return {"color": self.color, "linestyle": self.dash}


BLACK = Line("black", "-")
BLUE = Line("#0072B2", (0, (5, 1.5)))
ORANGE = Line("#E69F00", "-")
GREEN = Line("#009E73", (0, (1, 1)))
VERMILION = Line("#D55E00", (0, (6, 1.5, 1, 1.5)))
# Means this many standard errors apart are not put down to chance.
SIGNIFICANT = 3.0
LINES = (BLACK, BLUE, ORANGE, VERMILION)
TRAINING, VALIDATION = BLUE, attrs.evolve(VERMILION, dash="-")
FILLS = ("0.25", "#56B4E9", "#F0E442", "#009E73", "#CC79A7", "0.85")
HATCHES = ("", "//", "", "\\\\", "..", "")


def panels(
    columns: int, *, width: float = 8.4, height: float = 3.3, rows: int = 1, **options: Any
) -> tuple[Figure, Any]:
    """A figure and its axes in an array of one row, or of `rows` rows."""
    figure = Figure(figsize=(width, height), dpi=160, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for each in axes.flat:
        plain(each)
    return figure, axes[0] if rows == 1 else axes


def plain(axes: Axes) -> None:
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def draw_band(axes: Axes, x: Sequence[float], band: Band, line: Line, label: str) -> None:
    """The mean of a curve as a line and ± one standard deviation as a band around it."""
    low = [mean - std for mean, std in zip(band.mean, band.std, strict=True)]
    high = [mean + std for mean, std in zip(band.mean, band.std, strict=True)]
    axes.fill_between(x, low, high, color=line.color, alpha=0.14, linewidth=0)
    axes.plot(x, band.mean, linewidth=1.5, label=label, **line.options())


def epochs(values: Sequence[float]) -> range:
    return range(1, len(values) + 1)


def logarithmic(axes: Axes, low: float, high: float) -> None:
    """A logarithmic y axis between two limits, labelled with plain numbers."""
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 1000 else (1,)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def letter(axes: Sequence[Axes], titles: Sequence[str]) -> None:
    """Title the panels (a), (b), …"""
    for index, (each, title) in enumerate(zip(axes, titles, strict=True)):
        each.set_title(f"({chr(ord('a') + index)}) {title}", loc="left", fontsize="medium")


def plus_minus(spread: Spread, digits: int = 4, scale: float = 1.0) -> str:
    """Mean ± standard deviation; the mean alone where there is one run.

    >>> plus_minus(Spread.of([1.0, 3.0]), 1)
    '2.0 ± 1.4'
    """
    mean = f"{scale * spread.mean:.{digits}f}"
    return mean if math.isnan(spread.std) else f"{mean} ± {scale * spread.std:.{digits}f}"


def count(number: int, noun: str) -> str:
    """
    >>> count(1, "run"), count(30, "run")
    ('1 run', '30 runs')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def difference(first: Spread, second: Spread, digits: int = 2, scale: float = 100.0, unit: str = "points") -> str:
    """The mean difference of two figures over the same draws with its standard error, and whether it is chance.

    >>> difference(Spread.of([0.9, 0.8, 0.9]), Spread.of([0.8, 0.9, 0.9]))
    'a difference of +0.00 ± 5.77 points (standard error), which is no more than chance'
    """
    gap = first.minus(second)
    chance = "more" if abs(gap.mean) > SIGNIFICANT * gap.standard_error else "no more"
    return (
        f"a difference of {scale * gap.mean:+.{digits}f} ± {scale * gap.standard_error:.{digits}f} {unit} (standard "
        f"error), which is {chance} than chance"
    )
