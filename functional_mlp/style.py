"""The one style of figures: every figure of the package is made of these, looks alike, and can be read in grey.

What is drawn looks the same wherever it stands, and no other file chooses a colour, a dash or a width:

- training: a blue line; validation: a vermilion one, dashed
- one of several settings, runs or rules: the colour, the dash and the marker of its `series`
- one of several classes: the points of its `series`; a black circle around those that are misclassified
- the best epoch: a thin green line, dotted
- the boundary that a network has learnt: a black line
- what something is held against (equality, a bound, the true boundary): a line of the longer dashes, or black
- a mean: a line; its standard deviation to both sides: a band, or bars with caps; single runs: small grey points
- what the paper reports: an open purple square
- a part of a whole: a bar of the fill and the hatching of its `portion`
"""

import io
import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from functional_mlp.extras import installing
from functional_mlp.spread import Band, Summary

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

try:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.container import ErrorbarContainer
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
except ImportError:
    raise ImportError(f"plots need matplotlib: {installing('plot')}") from None


@frozen
class Line:
    """How a curve looks: its colour, its dash, the marker of its points, and its width."""

    color: str
    dash: Any = "-"
    marker: str = "o"
    width: float = 1.4

    def options(self) -> dict[str, Any]:
        return {"color": self.color, "linestyle": self.dash, "linewidth": self.width}


DASHED, DOTTED, DASH_DOTTED, LONG_DASHED = (0, (4, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)), (0, (7, 3))

# Okabe and Ito's colours, which colour-blind readers tell apart, in an order that alternates dark and light.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
MARKERS = ("o", "^", "s", "D", "v", "P", "*")
DASHES = ("-", DASHED, DOTTED, DASH_DOTTED)

TRAINING, VALIDATION = Line("#0072B2"), Line("#D55E00", DASHED)
BEST_EPOCH = Line("#009E73", DOTTED, width=0.9)
BOUNDARY = Line("black", width=1.1)
REFERENCE = Line("black", LONG_DASHED, width=1.1)
OURS, PAPER = Line("black", "", "o"), Line("#CC79A7", "", "s")
RUNS: dict[str, Any] = {"color": "0.6", "linestyle": "", "marker": "o", "markersize": 3}
MEDIANS: dict[str, Any] = {"color": "black", "linestyle": "", "marker": "_", "markersize": 22, "markeredgewidth": 2}
MISCLASSIFIED: dict[str, Any] = {"facecolors": "none", "edgecolors": "black", "linewidths": 0.9, "zorder": 4}

FILLS = ("0.25", "#56B4E9", "#F0E442", "#009E73", "#CC79A7", "0.85")
HATCHES = ("", "//", "", "\\\\", "..", "")

# Runs this short are drawn with a marker at each epoch: a single point makes no line.
MARKED_EPOCHS = 15


def series(index: int) -> Line:
    """The look of one of any number of classes or curves; after the last colour they begin again."""
    return Line(COLORS[index % len(COLORS)], DASHES[index % len(DASHES)], MARKERS[index % len(MARKERS)])


def portion(index: int) -> dict[str, Any]:
    """The look of a part of a bar."""
    return {"color": FILLS[index], "hatch": HATCHES[index], "edgecolor": "black", "linewidth": 0.5}


class QuietFigure(Figure):
    """A figure that is drawn without warnings: a character that no font has is an empty box.

    Notebooks show it without being told how.
    """

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()

    def draw(self, renderer: Any) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
            super().draw(renderer)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, of a size in inches."""
    return QuietFigure(figsize=(width, height), dpi=160, layout="constrained")


def panels(
    columns: int, *, width: float = 8.4, height: float = 3.3, grid: bool = True, **options: Any
) -> tuple[Figure, Any]:
    """A figure and its axes, side by side in an array; `options` are those of `Figure.subplots`."""
    figure = new_figure(width, height)
    axes = figure.subplots(1, columns, squeeze=False, **options)[0]
    for each in axes:
        if grid:
            each.grid(color="0.9", linewidth=0.6)
        each.set_axisbelow(True)
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes


def epochs(values: Sequence[float]) -> range:
    """The numbers of the epochs of a curve, from 1 on."""
    return range(1, len(values) + 1)


def draw_curve(axes: Axes, values: Sequence[float], line: Line, label: str) -> None:
    """A curve against the epoch."""
    marker = line.marker if len(values) <= MARKED_EPOCHS else ""
    axes.plot(epochs(values), values, label=label, marker=marker, markersize=3.5, **line.options())


def fill_band(axes: Axes, x: Sequence[float], band: Band, line: Line) -> None:
    """± one standard deviation around the mean of a curve, as a band."""
    axes.fill_between(x, *band.edges(), color=line.color, alpha=0.16, linewidth=0)


def draw_band(axes: Axes, x: Sequence[float], band: Band, line: Line, label: str) -> None:
    """The mean of a curve as a line in its band."""
    fill_band(axes, x, band, line)
    axes.plot(x, band.mean, label=label, **line.options())


def draw_bars(
    axes: Axes, x: "ArrayLike", means: Sequence[float], stds: Sequence[float] | None, line: Line, label: str
) -> ErrorbarContainer:
    """Means with their standard deviations as bars, joined by a line.

    Parameters
    ----------
    axes
        Where they are drawn.
    x
        Where each bar stands.
    means
        The middle of each.
    stds
        Half the height of each; None for points alone.
    line
        How they look.
    label
        What the legend calls them.
    """
    look: dict[str, Any] = {"marker": line.marker, "markersize": 4, "elinewidth": 0.8, "capsize": 2, **line.options()}
    return axes.errorbar(x, means, stds, label=label, **look)


def draw_spread(axes: Axes, x: float, spread: Summary, line: Line, label: str | None) -> None:
    """A mean with its standard deviation as bars; the paper's is open."""
    look: dict[str, Any] = {"fmt": line.marker, "color": line.color, "capsize": 4}
    axes.errorbar(x, spread.mean, spread.std, label=label, mfc="white" if line is PAPER else line.color, **look)


def draw_open(axes: Axes, x: Sequence[float], y: Sequence[float], line: Line) -> None:
    """Open marks, of what is beside the curves."""
    axes.plot(x, y, linestyle="", marker=line.marker, mfc="none", mec=line.color, markersize=5.5, mew=0.8)


def draw_samples(axes: Axes, x: "ArrayLike", y: "ArrayLike", line: Line) -> None:
    """Samples, those of a class in the look of its series."""
    look: dict[str, Any] = {"color": line.color, "marker": line.marker}
    axes.scatter(x, y, s=11, edgecolors="black", linewidths=0.25, zorder=3, **look)


def draw_dots(axes: Axes, x: Sequence[float], y: Sequence[float], line: Line) -> None:
    """Small filled marks, of another curve than the one in this look."""
    axes.plot(x, y, linestyle="", marker=line.marker, color=line.color, markersize=2.6)


def draw_boundary(axes: Axes, x: "ArrayLike", y: "ArrayLike", margins: "ArrayLike") -> None:
    """Where margins over a grid are 0: the boundary that a network has learnt."""
    axes.contour(x, y, margins, levels=[0], colors=BOUNDARY.color, linewidths=BOUNDARY.width)


def circle_misclassified(axes: Axes, x: "ArrayLike", y: "ArrayLike") -> None:
    axes.scatter(x, y, s=42, **MISCLASSIFIED)


def against(line: Line) -> Line:
    """The look of what a curve is held against."""
    return evolve(REFERENCE, color=line.color)


def logarithmic(axes: Axes, decades: float) -> None:
    """A logarithmic y axis, labelled with plain numbers; `decades` is how many its figures span."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 3 else (1,)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def logarithmic_between(axes: Axes, low: float, high: float) -> None:
    """A logarithmic y axis between two limits."""
    logarithmic(axes, decades=math.log10(high / low))
    axes.set_ylim(low, high)


def label_integers(axis: Axis) -> None:
    """Label whole numbers only: an axis of epochs has no other."""
    axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))


def letter(axes: Sequence[Axes], titles: Sequence[str]) -> None:
    """Title the panels (a), (b), …"""
    for index, (each, title) in enumerate(zip(axes, titles, strict=True)):
        each.set_title(f"({chr(ord('a') + index)}) {title}", loc="left", fontsize="medium")


def legend(axes: Axes, *entries: Any, size: str = "medium", **place: Any) -> None:
    """What is drawn in some axes, by its labels, or some entries and their labels; `place` is that of `Axes.legend`."""
    axes.legend(*entries, frameon=False, fontsize=size, **place)


def finish_losses(axes: Sequence[Axes], label: str, limits: tuple[float, float], titles: Sequence[str]) -> None:
    """Panels of losses that share a logarithmic axis, with one label and one legend, in the first."""
    logarithmic_between(axes[0], *limits)
    axes[0].set_ylabel(label)
    legend(axes[0], size="small")
    letter(axes, titles)


def line_entry(label: str, line: Line) -> Line2D:
    """What a legend shows of a line."""
    return Line2D([], [], label=label, **line.options())


def samples_entry(label: str, line: Line) -> Line2D:
    """What a legend shows of a class."""
    return Line2D([], [], label=label, linestyle="", marker=line.marker, color=line.color, markersize=5)


def misclassified_entry(label: str) -> Line2D:
    """What a legend shows of the circles around samples."""
    return Line2D([], [], label=label, linestyle="", marker="o", mfc="none", mec="black", markersize=7)


def name_axes(axes: Axes, x: str, y: str) -> None:
    """Label the axes with names as they are: a `$` begins no mathematics."""
    axes.set_xlabel(x, parse_math=False)
    axes.set_ylabel(y, parse_math=False)


def title(figure: Figure, text: str) -> None:
    """What is shown, above the panels, as it is written; nothing where there is no text."""
    if text:
        figure.suptitle(shortened(text, 80), fontsize="small", parse_math=False)


def shortened(name: str, most: int = 32) -> str:
    """A name with at most `most` letters: longer ones lose their middle, for beginnings and ends tell names apart.

    >>> shortened("the temperature of the water at noon", 20)
    'the tempe…er at noon'
    """
    if len(name) <= most:
        return name
    end = most // 2
    return f"{name[: most - end - 1]}…{name[-end:]}"


def legend_above(figure: Figure, handles: Sequence[Any], columns: int, title: str = "") -> None:
    """What is drawn, artists or containers of them, by their labels as they are, above the panels and below a title."""
    numbers = map(str, range(len(handles)))  # a label that begins with _ would be left out
    legend = figure.legend(handles, numbers, loc="outside upper center", ncols=columns, frameon=False, fontsize="small")
    for text, handle in zip(legend.get_texts(), handles, strict=True):
        text.set(text=handle.get_label(), parse_math=False)
    if title:  # one above all panels would lie on the legend
        legend.set_title(shortened(title, 80))
        legend.get_title().set_fontsize("small")
        legend.get_title().set_parse_math(False)
