"""The paper's figures beside ours, in words."""

import math

import pytest

from functional_mlp.experiments import paper, statements
from functional_mlp.experiments.paper import Published
from functional_mlp.spread import Spread

OURS = Spread.of([0.8, 0.9, 1.0])  # mean 0.9, deviation 0.1


@pytest.mark.parametrize(
    ("mean", "place"),
    [(0.95, "within one std"), (1.01, "outside all runs"), (0.79, "outside all runs"), (0.9, "within one std")],
)
def test_a_published_mean_lies_somewhere_among_the_runs(mean: float, place: str) -> None:
    assert statements.placement(Published(mean, 0.1), OURS) == place


def test_a_mean_beyond_one_deviation_may_lie_within_the_range_of_the_runs() -> None:
    wide = Spread.of([0.0, 0.5, 0.5, 0.5, 0.5, 0.5, 1.0])
    assert statements.placement(Published(0.9, 0.1), wide) == "within the range of the runs"


def test_distances_are_in_our_deviations_and_in_standard_errors_of_the_difference() -> None:
    published = Published(1.1, 0.2)
    assert statements.distance(published, OURS) == pytest.approx(2.0)
    error = math.sqrt(0.2**2 / paper.RUNS + 0.1**2 / 3)
    assert statements.standard_errors(published, OURS) == pytest.approx(0.2 / error)


def test_nothing_follows_from_one_run() -> None:
    one = Spread.of([0.9])
    assert statements.difference(one, Spread.of([0.8])).endswith("in one run, from which nothing follows")


def test_a_difference_is_more_than_chance_where_it_is_many_standard_errors() -> None:
    first = Spread.of([0.9, 0.91, 0.92])
    assert "is more than chance" in statements.difference(first, Spread.of([0.5, 0.52, 0.51]))
    assert "is no more than chance" in statements.difference(first, Spread.of([0.92, 0.91, 0.9]))
