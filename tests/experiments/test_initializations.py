"""Other initializations than the paper's."""

import math

import pytest

from functional_mlp.experiments import initializations, paper
from functional_mlp.experiments.document import Picture, Table
from functional_mlp.experiments.initializations import NETWORKS, SCHEDULES
from tests.experiments.short import asked, small_draw
from tests.helpers import KEY

__all__ = ["asked"]


def test_each_initialization_is_trained_under_each_schedule(asked) -> None:
    draws = [small_draw(0), small_draw(1)]
    results = initializations.run(draws)
    expected = [(name, schedule) for schedule in SCHEDULES for name in NETWORKS]
    assert [(result.initialization, result.schedule) for result in results] == expected
    trained = [(NETWORKS[name], SCHEDULES[schedule]) for name, schedule in expected]
    assert [(recipe.network, recipe.schedule) for recipe, _ in asked] == trained
    assert all(own == draws for _, own in asked)
    (table,) = (block for block in initializations.section(results) if isinstance(block, Table))
    assert len(table.rows) == len(results)
    assert [block.name for block in initializations.section(results) if isinstance(block, Picture)] == [
        "initializations"
    ]


@pytest.mark.parametrize(
    ("name", "bound"),
    [("U(−1, 1)", 1.0), ("Xavier", math.sqrt(6 / 50)), ("Kaiming", math.sqrt(6 / 25)), ("PyTorch's", 1 / 5)],
)
def test_weights_are_drawn_as_the_initialization_is_called(name: str, bound: float) -> None:
    layer = NETWORKS[name].init(KEY)[2]  # of 25 units each
    assert 0.95 * bound < layer.weight.abs().max() <= bound
    if name in ("Xavier", "Kaiming"):
        assert not layer.bias.any()
    else:
        assert 0.8 * bound < layer.bias.abs().max() <= bound


def test_the_first_network_is_the_papers() -> None:
    assert NETWORKS["U(−1, 1)"] == paper.NETWORK
