"""Fig. 1 and 2: the paper's own model, by plain SGD."""

import math
from collections.abc import Sequence

import attrs
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

import functional_mlp as fm
from functional_mlp import style
from functional_mlp.experiments import paper
from functional_mlp.experiments.document import Block, Heading, Paragraph, Picture, Table
from functional_mlp.experiments.models import Model, draw_curves
from functional_mlp.experiments.paper import Published, Recipe
from functional_mlp.experiments.statements import comparison_rows, comparison_statements
from functional_mlp.experiments.trials import Draw, Performance, Trial
from functional_mlp.random import Key
from functional_mlp.spread import Spread, count, mean

# Validation sets that all runs are measured on.
COMMON_SETS = 100


@attrs.frozen
class CommonSets:
    """The validation MSE of runs that are all measured on the same sets.

    `runs` is each run's mean over the sets, and `sets` the mean of all runs over each set.
    """

    runs: Spread
    sets: Spread

    @classmethod
    def of(cls, losses: Sequence[Sequence[float]]) -> "CommonSets":
        """Those of the losses of all runs on each set."""
        return cls(Spread.of(map(mean, zip(*losses, strict=True))), Spread.of(map(mean, losses)))

    @property
    def standard_error(self) -> float:
        """How far the mean of new runs would scatter, of as many as these, all measured on one new set.

        >>> round(CommonSets.of([[0.1, 0.3], [0.5, 0.7]]).standard_error, 6)
        0.3
        """
        return math.hypot(self.sets.std, self.runs.standard_error)


@attrs.frozen
class BasicModel:
    """The paper's model by plain SGD, and its validation MSE where all runs share a set."""

    sgd: Model
    common_sets: CommonSets
    worse_than_training: int


def run(plain: Sequence[Trial], draws: Sequence[Draw]) -> BasicModel:
    """The figures of runs of the paper's model by plain SGD, one for each draw."""
    return BasicModel(
        sgd=Model.of(plain),
        common_sets=_over_common_sets(plain, draws[0].key),
        worse_than_training=sum(trial.validation.loss > trial.training.loss for trial in plain),
    )


def _over_common_sets(runs: Sequence[Trial], key: Key) -> CommonSets:
    params = fm.ensemble.stack([run.params for run in runs])
    losses = []
    for index in range(COMMON_SETS):
        data = fm.datasets.disk(key.fold_in(index), paper.SAMPLES)
        metrics = fm.ensemble.evaluate(Recipe().network, paper.LOSS, params, data)
        losses.append([member.loss for member in metrics.members])
    return CommonSets.of(losses)


def section(result: BasicModel) -> list[Block]:
    """Fig. 1 and 2."""
    return [*_figure_1(result), *_figure_2(result)]


def _figure_1(result: BasicModel) -> list[Block]:
    performance = result.sgd.performance
    runs = len(performance.validation_mse.values)
    return [
        Heading("Fig. 1: performance of the basic model"),
        Paragraph(
            f"The network 2-25-25-25-2 (ReLU, ReLU, Tanh), weights and biases from U(−1, 1), trained by SGD on one "
            f"sample at a time for {paper.EPOCHS} epochs, step size {paper.LEARNING_RATE} × {paper.DECAY.rate} an "
            f"epoch: {count(runs, 'independent run')}, each with new data, {paper.SAMPLES} points a set."
        ),
        Table(
            ("", "paper", "here", "paper − here", "the paper's value lies"),
            comparison_rows(paper.FIGURE_1, performance),
            f"Fig. 1. Mean ± standard deviation over {runs} runs (paper: {paper.RUNS}); the difference in our standard "
            "deviations.",
        ),
        comparison_statements(paper.FIGURE_1, performance),
        Paragraph(
            f"In {result.worse_than_training} of our {runs} runs the validation MSE is above the training MSE, as one "
            "expects of a network that was fitted to the training set; in the paper's table it is below."
        ),
        *_one_set_for_all(result),
        Picture(
            "figure-1",
            _draw_performance(performance),
            f"Fig. 1. Final figures of {runs} runs (dots), their mean ± standard deviation, and the paper's.",
            "Dot plots of the final MSE and accuracy of all runs beside the paper's mean and standard deviation",
        ),
    ]


def _one_set_for_all(result: BasicModel) -> list[Block]:
    """How far the paper's validation figure lies from ours, if all its runs had one validation set."""
    ours, theirs, common = result.sgd.performance.validation_mse, paper.FIGURE_1.validation_mse, result.common_sets
    if len(ours.values) == 1:
        return []
    gap = abs(theirs.mean - ours.mean)
    return [
        Paragraph(
            "Whether the paper's runs had a validation set each or one for all of them it does not say. This decides "
            f"how far its mean can lie from ours by chance. With a set each, as here, the mean validation MSE of "
            f"{len(ours.values)} runs scatters by {ours.standard_error:.4f}; with one for all of them by "
            f"{common.standard_error:.4f}, as {len(common.sets.values)} sets show. The "
            f"paper's {theirs.mean:.4f} is {gap / ours.standard_error:.1f} of the one, and "
            f"{gap / common.standard_error:.1f} of the other, from our {ours.mean:.4f}."
        )
    ]


def _draw_performance(performance: Performance) -> Figure:
    figure, axes = style.panels(2, height=2.9)
    for each, measure, label in zip(axes, ("mse", "accuracy"), ("mean squared error", "accuracy"), strict=True):
        for place, part in enumerate(("training", "validation")):
            ours: Spread = getattr(performance, f"{part}_{measure}")
            theirs: Published = getattr(paper.FIGURE_1, f"{part}_{measure}")
            spread = [place - 0.3 + 0.2 * index / max(len(ours.values) - 1, 1) for index in range(len(ours.values))]
            runs, here, there = ("runs", "here", "paper") if place == 0 else (None, None, None)
            each.plot(spread, ours.values, label=runs, **style.RUNS)
            style.draw_spread(each, place, ours, style.OURS, here)
            style.draw_spread(each, place + 0.2, theirs, style.PAPER, there)
        each.set_xticks([0, 1], ["training", "validation"])
        each.yaxis.set_major_locator(MaxNLocator(6))
        each.set(xlim=(-0.5, 1.5), ylabel=label)
    style.legend(axes[0], size="small", ncols=3, loc="upper left")
    low, high = axes[0].get_ylim()
    axes[0].set_ylim(low, high + 0.12 * (high - low))
    return figure


def _figure_2(result: BasicModel) -> list[Block]:
    runs = len(result.sgd.roughness.values)
    return [
        Heading("Fig. 2: learning curves"),
        Picture(
            "figure-2",
            draw_curves(result.sgd),
            f"Fig. 2. One run (lines) and the mean ± standard deviation of {runs} runs (bands), by plain SGD. Training "
            "figures are those of each sample right before its own update, averaged over the epoch; validation figures "
            "are taken at the epoch's end.",
            "MSE and accuracy against the epoch for training and validation by plain SGD",
        ),
    ]
