"""Comparing the engines: the same training, once as torch operations and once as machine code.

The engines do the same arithmetic in another order, so they round in other ways. By how much two runs of n steps
may end apart is derived from two things:

- Each step rounds by a few dozen ε relative to the numbers in a leaf: `relative_bound`, 64 ε n, and at least 1e-10
  in float64 and 1e-5 in float32.
- What such a difference grows to depends on the run, and is measured: the reference runs again, twice from params of
  which every number is moved by 8 ε, and twice with a network that moves every output and every gradient by 8 ε of
  what it is computed from, at every step. A small gradient that Adam divides by its own size shows here.

A leaf may therefore differ by relative_bound · (its largest magnitude) + n · (its largest change in the former runs)
+ 4 · (that in the latter). A run that is chaotic, because it diverges for example, has large changes, and shows less.
"""

from collections.abc import Callable
from typing import Any

from functional_mlp import checks, random
from functional_mlp.datasets import Dataset
from functional_mlp.penalties import Penalty
from functional_mlp.testing.engines import properties
from functional_mlp.testing.engines.cases import Comparison, Engine, TrainingRun
from functional_mlp.testing.search import failures_of, for_each

PROPERTIES = [
    properties.arguments_stay,
    properties.runs_repeat,
    properties.runs_end_alike,
    properties.epochs_are_the_same_one_by_one,
    properties.numbers_agree,
    properties.accuracies_agree,
    properties.divergence_agrees,
]


def check_engines_agree(
    network: Any,
    loss: Any,
    optimizer: Any,
    data: Dataset,
    *,
    epochs: int = 3,
    batch_size: int = 1,
    schedule: Callable[[int], float] | None = None,
    penalty: Penalty | None = None,
    params: Any = None,
    seed: int = 0,
) -> None:
    """Raise `AssertionError` unless the fused engine trains as the reference does; the message names the leaf.

    Parameters
    ----------
    network
        What is trained.
    loss
        What training minimizes.
    optimizer
        How a gradient changes the parameters.
    data
        The samples.
    epochs
        The number of epochs.
    batch_size
        Samples an update.
    schedule
        As `functional_mlp.fit` takes it.
    penalty
        As `functional_mlp.fit` takes it.
    params
        Parameters to start from, in place of `network.init`'s.
    seed
        The seed of the key of both runs.

    Both run `functional_mlp.fit` from the same params and key, with the data for validation as well; their states,
    losses and accuracies, steps and rates, and the epoch at which they diverge are compared within the bound of the
    module's docstring. Of a run that diverges the epoch that does so is compared as well, by which numbers are finite.
    The params and the data that are handed in must come back with the same bits. A second fused run, one without
    validation, which may train several epochs at once, and `train_epoch` one epoch after the other must give the same
    bits as the first.

    Raises `ValueError` where the fused engine cannot take the network: `functional_mlp.engine.explain` says why.

    >>> import functional_mlp as fm
    >>> network = fm.Sequential(fm.Linear(2, 3), fm.Tanh(), fm.Linear(3, 2))
    >>> data = fm.datasets.disk(fm.random.key(0), 20)
    >>> check_engines_agree(network, fm.CrossEntropy(), fm.Momentum(0.1), data, batch_size=4)
    """
    checks.instance("data", data, Dataset, "make one with functional_mlp.Dataset")
    run = TrainingRun(
        network=network,
        loss=loss,
        optimizer=optimizer,
        data=data,
        epochs=epochs,
        batch_size=batch_size,
        schedule=schedule,
        penalty=penalty,
        key=random.key(seed),
    )
    with failures_of(f"check_engines_agree({network!r}, {loss!r}, {optimizer!r}, batch_size={batch_size})"):
        compare(run, params, "fused")


def compare(run: TrainingRun, params: Any, engine: Engine) -> None:
    """Raise `AssertionError` unless an engine and the reference agree on a training run."""
    params = run.initial_params() if params is None else params
    for_each([Comparison(run, params, engine)], PROPERTIES)
