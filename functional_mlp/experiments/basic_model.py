"""Fig. 1, 2 and 6: the paper's own model, by plain SGD and with momentum."""

import math
from collections.abc import Sequence

import attrs
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

import functional_mlp as fm
from functional_mlp import style
from functional_mlp.experiments import paper, trials
from functional_mlp.experiments.document import Block, Heading, Paragraph, Picture, Table
from functional_mlp.experiments.paper import Published, Recipe
from functional_mlp.experiments.statements import comparison_rows, comparison_statements, difference
from functional_mlp.experiments.trials import Curves, Draw, Performance, Trial
from functional_mlp.random import Key
from functional_mlp.spread import Spread, count, mean, plus_minus

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


@attrs.frozen
class BasicModel:
    """The paper's model by plain SGD, and the same with momentum."""

    sgd: Model
    momentum: Model
    common_sets: CommonSets
    worse_than_training: int
    momentum_is_smoother: int


def run(plain: Sequence[Trial], draws: Sequence[Draw]) -> BasicModel:
    """Compare runs of the paper's model by plain SGD, one for each draw, with runs with momentum on the same draws."""
    momentum = trials.train(Recipe(optimizer=fm.Momentum(paper.LEARNING_RATE, paper.BETA)), draws)
    sgd_model, momentum_model = Model.of(plain), Model.of(momentum)
    roughness = zip(sgd_model.roughness.values, momentum_model.roughness.values, strict=True)
    return BasicModel(
        sgd=sgd_model,
        momentum=momentum_model,
        common_sets=_over_common_sets(plain, draws[0].key),
        worse_than_training=sum(trial.validation.loss > trial.training.loss for trial in plain),
        momentum_is_smoother=sum(with_momentum < without for without, with_momentum in roughness),
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
            _draw_curves(result.sgd),
            f"Fig. 2. One run (lines) and the mean ± standard deviation of {runs} runs (bands), by plain SGD. Training "
            "figures are those of each sample right before its own update, averaged over the epoch; validation figures "
            "are taken at the epoch's end.",
            "MSE and accuracy against the epoch for training and validation by plain SGD",
        ),
    ]


def _draw_curves(model: Model) -> Figure:
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


def momentum_section(result: BasicModel) -> list[Block]:
    """Fig. 6."""
    plain, momentum = result.sgd, result.momentum
    accuracy = momentum.performance.validation_accuracy
    runs = len(accuracy.values)
    as_low = sum(value < paper.MOMENTUM_ACCURACY + 0.005 for value in accuracy.values)
    return [
        Heading("Fig. 6: SGD with momentum"),
        Paragraph(
            f"With momentum (β = {paper.BETA}) and everything else as above, the final validation accuracy is "
            f"{plus_minus(accuracy)}, under plain SGD {plus_minus(plain.performance.validation_accuracy)}: "
            f"{difference(accuracy, plain.performance.validation_accuracy)}. The paper reports about "
            f"{paper.MOMENTUM_ACCURACY} for the run that it shows; {as_low} of our {runs} runs end with what rounds to "
            "this or less."
        ),
        Paragraph(
            "The paper finds its curves clearly smoother. Here the validation accuracy changes from one epoch to the "
            f"next by {plus_minus(momentum.roughness, 2, 100)} points with momentum and by "
            f"{plus_minus(plain.roughness, 2, 100)} under plain SGD, "
            f"{difference(momentum.roughness, plain.roughness)}; momentum's curve is the smoother one in "
            f"{result.momentum_is_smoother} of {runs} runs from the same draws. A velocity with β = "
            f"{paper.BETA} averages over about {1 / (1 - paper.BETA):.0f} samples."
        ),
        Picture(
            "figure-6",
            _draw_curves(momentum),
            f"Fig. 6. One run (lines) and the mean ± standard deviation of {runs} runs (bands), with momentum, "
            f"β = {paper.BETA}; the same draws as in Fig. 2.",
            "MSE and accuracy against the epoch for training and validation with momentum",
        ),
    ]
