"""Independent runs of a recipe, each with data of its own, and what they come to."""

import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Sequence

import attrs
import torch

import functional_mlp as fm
from functional_mlp.experiments import paper
from functional_mlp.experiments.paper import Recipe
from functional_mlp.layers.base import Params
from functional_mlp.random import Key
from functional_mlp.spread import Band, Spread
from functional_mlp.state import EngineName


@attrs.frozen(eq=False)
class Draw:
    """What is random in a run: its two data sets, and the key of `fit` for initial weights and orders."""

    training: fm.Dataset
    validation: fm.Dataset
    key: Key


def draw(key: Key, dtype: torch.dtype = torch.float32) -> Draw:
    """The draw of a key."""
    training_key, validation_key, fit_key = key.split(3)
    training, validation = (
        fm.datasets.disk(part, paper.SAMPLES, dtype=dtype) for part in (training_key, validation_key)
    )
    return Draw(training, validation, fit_key)


def run_keys(key: Key, runs: int) -> tuple[Key, ...]:
    """A key for each run; the first ones are the same whatever their number is."""
    return tuple(key.fold_in(run) for run in range(runs))


@attrs.frozen(eq=False)
class Trial:
    """A finished run: its parameters, its curves, and the final figures over both data sets."""

    params: Params
    history: fm.History
    training: fm.Metrics
    validation: fm.Metrics

    @classmethod
    def of(cls, network: fm.Layer, params: Params, history: fm.History, draw: Draw) -> "Trial":
        training, validation = (
            fm.evaluate(network, paper.LOSS, params, data) for data in (draw.training, draw.validation)
        )
        return cls(params, history, training, validation)


def train(recipe: Recipe, draws: Sequence[Draw], *, curves: bool = True) -> tuple[Trial, ...]:
    """A trial of a recipe for each draw, all trained at once; without `curves`, histories have no validation figures.

    A run that diverges counts with the last parameters that were finite. Raises `KeyboardInterrupt` upon Ctrl-C, for
    what `fit_ensemble` then returns are not the recipe's runs.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"fit_ensemble: \d+ of \d+ members? diverged", RuntimeWarning)
        result = fm.fit_ensemble(
            recipe.network,
            paper.LOSS,
            recipe.optimizer,
            [draw.training for draw in draws],
            keys=[draw.key for draw in draws],
            epochs=recipe.epochs,
            batch_size=recipe.batch_size,
            schedule=recipe.schedule,
            validation=[draw.validation for draw in draws] if curves else None,
        )
    if result.interrupted:
        raise KeyboardInterrupt
    return tuple(
        Trial.of(recipe.network, run.params, run.history, draw) for run, draw in zip(result.members, draws, strict=True)
    )


def time_epochs(recipe: Recipe, draw: Draw, engine: EngineName) -> tuple[float, ...]:
    """The seconds of each epoch of a lone run without validation, to be measured while nothing else runs."""
    result = fm.fit(
        recipe.network,
        paper.LOSS,
        recipe.optimizer,
        draw.training,
        key=draw.key,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        schedule=recipe.schedule,
        engine=engine,
    )
    return result.history.seconds


@attrs.frozen
class Performance:
    """The final figures of independent runs: the rows of the paper's tables."""

    training_mse: Spread
    training_accuracy: Spread
    validation_mse: Spread
    validation_accuracy: Spread

    @classmethod
    def of(cls, trials: Sequence[Trial]) -> "Performance":
        return cls(
            Spread.of(trial.training.loss for trial in trials),
            Spread.of(trial.training.accuracy for trial in trials),
            Spread.of(trial.validation.loss for trial in trials),
            Spread.of(trial.validation.accuracy for trial in trials),
        )


@attrs.frozen
class Curves:
    """The learning curves of independent runs."""

    train_loss: Band
    train_accuracy: Band
    validation_loss: Band
    validation_accuracy: Band

    @classmethod
    def of(cls, trials: Iterable[Trial]) -> "Curves":
        """The bands of the trials that reached their last epoch; those that diverged have no whole curve."""
        histories = [trial.history for trial in trials]
        longest = max(map(len, histories))
        whole = [history for history in histories if len(history) == longest]
        names = [field.name for field in attrs.fields(cls)]
        return cls(*(Band.of(getattr(history, name) for history in whole) for name in names))


def roughness(history: fm.History) -> float:
    """How far a learning curve is from smooth: the mean change of the validation accuracy between epochs.

    >>> roughness(fm.History(validation_accuracy=(0.5, 0.9, 0.8)))
    0.25
    """
    accuracy = history.validation_accuracy
    return math.fsum(abs(b - a) for a, b in itertools.pairwise(accuracy)) / (len(accuracy) - 1)


def epochs_until(values: Sequence[float], reached: Callable[[float], bool]) -> float:
    """The number of epochs after which a curve first gets somewhere; its whole length where it does not.

    >>> epochs_until((0.5, 0.9, 0.8), lambda accuracy: accuracy > 0.7)
    2.0
    """
    return float(next((epoch for epoch, value in enumerate(values, 1) if reached(value)), len(values)))


def largest_difference(first: Params, second: Params) -> float:
    """The largest difference between two trees of parameters, over all entries."""
    pairs = zip(fm.pytree.leaves(first), fm.pytree.leaves(second), strict=True)
    return max(float((a - b).abs().max()) for a, b in pairs)
