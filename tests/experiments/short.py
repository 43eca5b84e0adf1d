"""Experiments that train nothing: draws of a few points, and trials of networks as they were drawn."""

from collections.abc import Sequence

import pytest

import functional_mlp as fm
from functional_mlp.experiments import trials
from functional_mlp.experiments.paper import Recipe
from functional_mlp.experiments.trials import Draw, Trial
from tests.helpers import KEY

HISTORY = fm.History(*[(0.5, 0.4)] * 6)


def small_draw(number: int, points: int = 50) -> Draw:
    """A draw of few points."""
    training, validation, key = KEY.fold_in(number).split(3)
    return Draw(fm.datasets.disk(training, points), fm.datasets.disk(validation, points), key)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Recipe, Sequence[Draw]]]:
    """What trials are asked to train: they end as they begin, with a history of two epochs."""
    found = []

    def train(recipe: Recipe, draws: Sequence[Draw], *, curves: bool = True) -> tuple[Trial, ...]:
        found.append((recipe, draws))
        return tuple(
            Trial.of(recipe.network, recipe.network.init(draw.key.fold_in(len(found))), HISTORY, draw) for draw in draws
        )

    monkeypatch.setattr(trials, "train", train)
    return found
