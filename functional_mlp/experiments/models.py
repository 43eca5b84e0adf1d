"""The runs of one model: their final figures, and their learning curves as Fig. 2 and 6 draw them."""

from collections.abc import Sequence

import attrs
from matplotlib.figure import Figure

import functional_mlp as fm
from functional_mlp import style
from functional_mlp.experiments import trials
from functional_mlp.experiments.trials import Curves, Performance, Trial
from functional_mlp.spread import Spread


@attrs.frozen
class Model:
    """Independent runs of a recipe: the final figures, the curves of the first run and those of all."""

    performance: Performance
    first_run: fm.History
    curves: Curves
    roughness: Spread

    @classmethod
    def of(cls, runs: Sequence[Trial]) -> "Model":
        return cls(
            Performance.of(runs),
            runs[0].history,
            Curves.of(runs),
            Spread.of(trials.roughness(run.history) for run in runs),
        )


def draw_curves(model: Model) -> Figure:
    """MSE and accuracy against the epoch: the first run, and the band of all."""
    figure, (losses, accuracies) = style.panels(2)
    for axes, measure, label in ((losses, "loss", "mean squared error"), (accuracies, "accuracy", "accuracy")):
        for part, name, line in (
            ("train", "training", style.TRAINING),
            ("validation", "validation", style.VALIDATION),
        ):
            band = getattr(model.curves, f"{part}_{measure}")
            run = getattr(model.first_run, f"{part}_{measure}")
            style.fill_band(axes, style.epochs(band.mean), band, line)
            style.draw_curve(axes, run, line, name)
        axes.set(xlabel="epoch", ylabel=label)
    style.logarithmic_between(losses, 0.025, 0.5)
    accuracies.set_ylim(0.75, 1.0)
    style.legend(losses)
    return figure
