"""Figures of ensembles, with matplotlib (the extra `plot`)."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from functional_mlp import style
from functional_mlp.ensemble.history import EnsembleHistory
from functional_mlp.plotting import MOST_IN_LEGEND, learning_curves
from functional_mlp.spread import Band

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def learning_bands(
    history: EnsembleHistory, *, loss_name: str = "", title: str = "", accuracy: bool = True
) -> "Figure":
    """The means over the members of loss and accuracy, in bands of one standard deviation to both sides.

    Each epoch's are over the members that trained in it: after early stopping the last ones are those of few.
    The other arguments are those of `learning_curves`.

    >>> from functional_mlp.history import EpochRecord, History
    >>> records = [EpochRecord(loss, 0.8, 0.6, 0.7, 0.01, 0.1) for loss in (0.4, 0.6)]
    >>> figure = learning_bands(EnsembleHistory(tuple(History.of([record]) for record in records)))
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['loss', 'accuracy']
    """
    mean, std = history.mean(), history.std()
    figure = learning_curves(mean, loss_name=loss_name, title=title, accuracy=accuracy)
    for axes, name in zip(figure.axes, ("loss", "accuracy"), strict=False):  # there may be no accuracies
        for part, line in (("train", style.TRAINING), ("validation", style.VALIDATION)):
            band = Band(getattr(mean, f"{part}_{name}"), getattr(std, f"{part}_{name}"))
            style.fill_band(axes, style.epochs(band.mean), band, line)
    return figure


@attrs.frozen
class Curve:
    """Means with their standard deviations, against a hyperparameter, of numbers or of words."""

    values: Sequence[float] | Sequence[str]
    means: Sequence[float]
    stds: Sequence[float]


def sweep_curves(parameter: str, figure_name: str, curves: Mapping[str, Curve], *, title: str = "") -> "Figure":
    """A figure of merit against a hyperparameter, a curve for each setting of the others; bars are deviations.

    >>> curve = Curve([0.01, 0.1], [0.3, 0.2], [0.02, 0.01])
    >>> sweep_curves("learning rate", "validation loss", {"beta 0.9": curve}).axes[0].get_xlabel()
    'learning rate'
    """
    figure, (axes,) = style.panels(1, width=6.0, height=3.8)
    drawn = []
    for index, (name, curve) in enumerate(curves.items()):
        drawn.append(style.draw_bars(axes, curve.values, curve.means, curve.stds, style.series(index), name))
    values = [value for curve in curves.values() for value in curve.values if not isinstance(value, str)]
    means = [mean for curve in curves.values() for mean in curve.means if math.isfinite(mean)]
    if values and min(values) > 0 and max(values) >= 10 * min(values):
        axes.set_xscale("log")
    if means and 0 < 10 * min(means) <= max(means):
        axes.set_yscale("log")
    style.name_axes(axes, parameter, figure_name)
    if 1 < len(curves) <= MOST_IN_LEGEND:
        style.legend_above(figure, drawn, columns=min(len(curves), 4), title=title)
    else:
        style.title(figure, title)
    return figure
