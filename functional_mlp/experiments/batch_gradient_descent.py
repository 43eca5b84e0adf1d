"""Section V-A: batch gradient descent, which the paper describes and does not show."""

import statistics
from collections.abc import Sequence

import attrs
from matplotlib.figure import Figure

import functional_mlp as fm
from functional_mlp import style
from functional_mlp.experiments import paper, trials
from functional_mlp.experiments.document import Block, Heading, Paragraph, Picture, Table
from functional_mlp.experiments.paper import Recipe
from functional_mlp.experiments.trials import Curves, Draw, Performance, largest_difference
from functional_mlp.schedules import constant, exponential_decay
from functional_mlp.spread import count, plus_minus

BATCH_SIZES = (1, 10, 50, 100)
TIMED_RUNS = 3


@attrs.frozen
class Batches:
    """Runs at one batch size: what an epoch takes without validation, how many fit into the time, and the curves."""

    batch_size: int
    seconds: float
    epochs: int
    curves: Curves
    performance: Performance


@attrs.frozen
class BatchGradientDescent:
    """Each batch size at equal epochs with the paper's decay, with a constant step size, and at equal time.

    The time is that of the paper's epochs at batch size 1. At equal time the step size falls over the whole run
    by as much as over the paper's epochs. `largest_difference` is that between the parameters of `BatchGD`, which
    takes one sample an update, and of `SGD` on batches.
    """

    decayed: tuple[Batches, ...]
    constant: tuple[Batches, ...]
    equal_time: tuple[Batches, ...]
    largest_difference: float


def time_epochs(draws: Sequence[Draw]) -> dict[int, float]:
    """The median seconds of an epoch of a lone run at each batch size, to be measured while nothing else runs."""
    return {
        batch_size: statistics.median(
            seconds
            for draw in draws[:TIMED_RUNS]
            for seconds in trials.time_epochs(Recipe(batch_size=batch_size), draw, "fused")
        )
        for batch_size in BATCH_SIZES
    }


def run(draws: Sequence[Draw], seconds: dict[int, float]) -> BatchGradientDescent:
    """Train at each batch size, given the seconds that an epoch takes."""
    decayed, constantly, equal_time = [], [], []
    for size in BATCH_SIZES:
        decayed.append(_batches(Recipe(batch_size=size), draws, seconds[size]))
        constantly.append(_batches(Recipe(batch_size=size, schedule=constant()), draws, seconds[size]))
        epochs = max(1, round(paper.EPOCHS * seconds[BATCH_SIZES[0]] / seconds[size]))
        stretched = exponential_decay(paper.DECAY.rate ** (paper.EPOCHS / epochs))
        equal_time.append(_batches(Recipe(batch_size=size, epochs=epochs, schedule=stretched), draws, seconds[size]))
    return BatchGradientDescent(tuple(decayed), tuple(constantly), tuple(equal_time), _compare_optimizers(draws[0]))


def _batches(recipe: Recipe, draws: Sequence[Draw], seconds: float) -> Batches:
    runs = trials.train(recipe, draws)
    return Batches(recipe.batch_size, seconds, recipe.epochs, Curves.of(runs), Performance.of(runs))


def _compare_optimizers(draw: Draw) -> float:
    size = BATCH_SIZES[1]
    one_by_one = Recipe(optimizer=fm.BatchGD(paper.LEARNING_RATE, batch_size=size))
    (accumulated,), (batched,) = (
        trials.train(recipe, [draw], curves=False) for recipe in (one_by_one, Recipe(batch_size=size))
    )
    return largest_difference(accumulated.params, batched.params)


def section(result: BatchGradientDescent) -> list[Block]:
    runs = count(len(result.decayed[0].performance.validation_mse.values), "run")
    smallest, largest = result.decayed[0], result.decayed[-1]
    constant = result.constant[-1]
    equal = result.equal_time[-1]
    return [
        Heading("Section V-A: batch gradient descent"),
        Paragraph(
            f"The paper describes batches and shows no result. {runs} a batch size, with the paper's step size of "
            f"{paper.LEARNING_RATE}: a batch of {largest.batch_size} makes "
            f"{paper.SAMPLES // largest.batch_size} updates an epoch instead of {paper.SAMPLES}. Under the paper's "
            f"decay all steps together are as long as {1 / (1 - paper.DECAY.rate):.0f} epochs at the first step size, "
            f"which leaves the validation accuracy at {plus_minus(largest.performance.validation_accuracy)} "
            f"(batch size 1: {plus_minus(smallest.performance.validation_accuracy)}). With a constant step size it "
            f"reaches {plus_minus(constant.performance.validation_accuracy)} in as many epochs. In the time of "
            f"{paper.EPOCHS} epochs at batch size 1 the fused engine makes {equal.epochs} epochs at batch size "
            f"{equal.batch_size}; with the decay stretched over them the accuracy is "
            f"{plus_minus(equal.performance.validation_accuracy)}."
        ),
        Picture(
            "batches",
            _draw(result),
            f"Batch gradient descent: the validation MSE of {runs} a batch size, mean ± standard deviation, (a) "
            "under the paper's decay, (b) with a constant step size, (c) against the time of training on the fused "
            "engine, with the decay stretched over the run.",
            "Validation MSE against epochs and time for the batch sizes 1, 10, 50 and 100",
        ),
        Table(
            ("batch size", "ms an epoch", "× 0.9 an epoch", "constant", "equal time", "epochs in it"),
            tuple(map(_row, result.decayed, result.constant, result.equal_time)),
            "Validation accuracy, mean ± standard deviation. The time is that of a lone run on the fused engine, "
            "without validation.",
        ),
        Paragraph(
            f"`BatchGD`, which takes one sample's gradient an update and applies the mean of every {BATCH_SIZES[1]}, "
            f"ends the paper's {paper.EPOCHS} epochs within {result.largest_difference:.1e} of SGD on batches of "
            f"{BATCH_SIZES[1]} in every parameter."
        ),
    ]


def _row(decayed: Batches, constant: Batches, equal_time: Batches) -> tuple[str, ...]:
    accuracies = [plus_minus(runs.performance.validation_accuracy) for runs in (decayed, constant, equal_time)]
    return (str(decayed.batch_size), f"{1e3 * decayed.seconds:.3f}", *accuracies, str(equal_time.epochs))


def _draw(result: BatchGradientDescent) -> Figure:
    figure, axes = style.panels(3, width=9.6, height=3.3, sharey=True)
    for each, group in zip(axes, (result.decayed, result.constant, result.equal_time), strict=True):
        for index, runs in enumerate(group):
            band = runs.curves.validation_loss
            scale = 1e3 * runs.seconds if group is result.equal_time else 1
            x = [scale * epoch for epoch in style.epochs(band.mean)]
            style.draw_band(each, x, band, style.series(index), f"batch size {runs.batch_size}")
        each.set_xlabel("ms of training" if group is result.equal_time else "epoch")
    titles = ("× 0.9 an epoch", "constant step size", "equal time")
    style.finish_losses(axes, "validation MSE", (0.02, 0.5), titles)
    return figure
