"""Section V-A: batch gradient descent, which the paper describes and does not show."""

import statistics
from collections.abc import Sequence

import attrs

import functional_mlp as fm
from functional_mlp.experiments import paper, trials
from functional_mlp.experiments.paper import Recipe
from functional_mlp.experiments.trials import Curves, Draw, Performance, largest_difference
from functional_mlp.schedules import constant, exponential_decay

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
