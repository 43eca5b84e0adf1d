"""Figures of ensembles, with matplotlib (the extra `plot`), in the style of `functional_mlp.plotting`."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from functional_mlp.ensemble.history import EnsembleHistory
from functional_mlp.plotting import COLORS, MARKERS, TRAINING_STYLE, VALIDATION_STYLE, learning_curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DASHES = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))


def learning_bands(history: EnsembleHistory) -> "Figure":
    """The means over the members of loss and accuracy, in bands of one standard deviation to both sides.

    >>> from functional_mlp.history import EpochRecord, History
    >>> records = [EpochRecord(loss, 0.8, 0.6, 0.7, 0.01, 0.1) for loss in (0.4, 0.6)]
    >>> figure = learning_bands(EnsembleHistory(tuple(History.of([record]) for record in records)))
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['loss', 'accuracy']
    """
    figure = learning_curves(history.mean())
    low, high = history.band()
    epochs = range(1, len(history) + 1)
    for axes, name in zip(figure.axes, ("loss", "accuracy"), strict=True):
        for part, style in (("train", TRAINING_STYLE), ("validation", VALIDATION_STYLE)):
            edges = [getattr(edge, f"{part}_{name}") for edge in (low, high)]
            axes.fill_between(epochs, *edges, color=style["color"], alpha=0.2, linewidth=0)
    return figure


@attrs.frozen
class Curve:
    """Means with their standard deviations, against a hyperparameter."""

    values: Sequence[float]
    means: Sequence[float]
    stds: Sequence[float]


def sweep_curves(parameter: str, figure_name: str, curves: Mapping[str, Curve]) -> "Figure":
    """A figure of merit against a hyperparameter, a curve for each setting of the others; bars are deviations.

    >>> curve = Curve([0.01, 0.1], [0.3, 0.2], [0.02, 0.01])
    >>> sweep_curves("learning rate", "validation loss", {"beta 0.9": curve}).axes[0].get_xlabel()
    'learning rate'
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 3.8), dpi=150, layout="constrained")
    axes = figure.subplots()
    for index, (name, curve) in enumerate(curves.items()):
        axes.errorbar(
            curve.values,
            curve.means,
            curve.stds,
            label=name,
            color=COLORS[index % len(COLORS)],
            marker=MARKERS[index % len(MARKERS)],
            linestyle=DASHES[index % len(DASHES)],
            markersize=4,
            linewidth=1.3,
            elinewidth=0.8,
            capsize=2,
        )
    values = [value for curve in curves.values() for value in curve.values]
    means = [mean for curve in curves.values() for mean in curve.means if math.isfinite(mean)]
    if min(values) > 0 and max(values) >= 10 * min(values):
        axes.set_xscale("log")
    if means and 0 < 10 * min(means) <= max(means):
        axes.set_yscale("log")
    axes.set(xlabel=parameter, ylabel=figure_name)
    axes.grid(color="0.88", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if len(curves) > 1:
        figure.legend(loc="outside upper center", ncols=min(len(curves), 4), frameon=False, fontsize="small")
    return figure
