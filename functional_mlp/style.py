"""The one style of figures: every figure of the package is made of these, looks alike, and can be read in grey."""

import io
import math
import warnings
from collections.abc import Sequence
from typing import Any

from attrs import frozen

from functional_mlp.spread import Band

try:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
except ImportError:
    raise ImportError("plots need matplotlib: pip install 'functional-mlp[plot]'") from None


@frozen
class Line:
    """A colour and a dash."""

    color: str
    dash: Any = "-"

    def options(self) -> dict[str, Any]:
        return {"color": self.color, "linestyle": self.dash}


DASHED, DOTTED, DASH_DOTTED = (0, (4, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5))

# Okabe and Ito's colours, which colour-blind readers tell apart, in an order that alternates dark and light.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
MARKERS = ("o", "^", "s", "D", "v", "P", "*")
DASHES = ("-", DASHED, DOTTED, DASH_DOTTED)

TRAINING, VALIDATION = Line("#0072B2"), Line("#D55E00", DASHED)

# A few curves in one panel: their colours differ in brightness too, and their dashes tell them apart.
BLACK, BLUE, ORANGE = Line("black"), Line("#0072B2", DASHED), Line("#E69F00")
GREEN, VERMILION = Line("#009E73", DOTTED), Line("#D55E00", DASH_DOTTED)
LINES = (BLACK, BLUE, ORANGE, VERMILION)

FILLS = ("0.25", "#56B4E9", "#F0E442", "#009E73", "#CC79A7", "0.85")
HATCHES = ("", "//", "", "\\\\", "..", "")


def color(index: int) -> str:
    """The colour of one of any number of classes or curves; after the last one they begin again."""
    return COLORS[index % len(COLORS)]


def marker(index: int) -> str:
    return MARKERS[index % len(MARKERS)]


def dash(index: int) -> Any:
    return DASHES[index % len(DASHES)]


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


def panels(columns: int, *, width: float = 8.4, height: float = 3.3, **options: Any) -> tuple[Figure, Any]:
    """A figure and its axes, side by side in an array."""
    figure = new_figure(width, height)
    axes = figure.subplots(1, columns, squeeze=False, **options)[0]
    for each in axes:
        each.grid(color="0.9", linewidth=0.6)
        each.set_axisbelow(True)
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes


def fill_band(axes: Axes, x: Sequence[float], band: Band, line: Line) -> None:
    """± one standard deviation around the mean of a curve, as a band."""
    axes.fill_between(x, *band.edges(), color=line.color, alpha=0.16, linewidth=0)


def draw_band(axes: Axes, x: Sequence[float], band: Band, line: Line, label: str) -> None:
    """The mean of a curve as a line in its band."""
    fill_band(axes, x, band, line)
    axes.plot(x, band.mean, linewidth=1.5, label=label, **line.options())


def epochs(values: Sequence[float]) -> range:
    """The numbers of the epochs of a curve, from 1 on."""
    return range(1, len(values) + 1)


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


def legend_entry(label: str, *, linestyle: Any = "", **look: Any) -> Line2D:
    """What a legend shows beside a label: a marker, or a line."""
    return Line2D([], [], label=label, linestyle=linestyle, **look)


def name_axes(axes: Axes, x: str, y: str) -> None:
    """Label the axes with names as they are: a `$` begins no mathematics."""
    axes.set_xlabel(x, parse_math=False)
    axes.set_ylabel(y, parse_math=False)


def title(figure: Figure, text: str) -> None:
    """What is shown, above the panels, as it is written; nothing where there is no text."""
    if text:
        figure.suptitle(shortened(text, 80), fontsize="small", parse_math=False)


def shortened(name: str, most: int = 32) -> str:
    """A name of at most so many letters, without its middle where it has more: beginnings and ends tell names apart.

    >>> shortened("the temperature of the water at noon", 20)
    'the tempe…er at noon'
    """
    if len(name) <= most:
        return name
    end = most // 2
    return f"{name[: most - end - 1]}…{name[-end:]}"


def legend_above(figure: Figure, handles: Sequence[Any], columns: int) -> None:
    """What is drawn, artists or containers of them, by their labels as they are, above the panels."""
    numbers = map(str, range(len(handles)))  # a label that begins with _ would be left out
    legend = figure.legend(handles, numbers, loc="outside upper center", ncols=columns, frameon=False, fontsize="small")
    for text, handle in zip(legend.get_texts(), handles, strict=True):
        text.set(text=handle.get_label(), parse_math=False)
