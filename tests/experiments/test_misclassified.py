"""Which points are misclassified, and how far from the circle they lie."""

import math

import pytest
import torch

import functional_mlp as fm
from functional_mlp.experiments import misclassified, trials
from functional_mlp.experiments.document import Picture
from functional_mlp.experiments.paper import Recipe
from functional_mlp.experiments.trials import Trial
from tests.helpers import KEY

DRAWS = [trials.draw(key) for key in trials.run_keys(KEY, 2)]


def untrained(draw: trials.Draw) -> Trial:
    network = Recipe().network
    return Trial.of(network, network.init(draw.key), fm.History(), draw)


RUNS = [untrained(draw) for draw in DRAWS]


def test_the_points_are_those_that_the_network_takes_for_the_other_class() -> None:
    found, data = misclassified.run(RUNS, DRAWS), DRAWS[0].validation
    share = fm.evaluate(Recipe().network, fm.MeanSquaredError(), RUNS[0].params, data).accuracy
    assert sum(found.wrong) == round((1 - share) * len(data))
    assert found.points == tuple(map(tuple, data.inputs.tolist()))
    assert found.inside == tuple(data.labels.bool().tolist())


def test_distances_are_those_of_the_wrong_points_of_all_runs_from_the_circle() -> None:
    found = misclassified.run(RUNS, DRAWS)
    expected = []
    for run, draw in zip(RUNS, DRAWS, strict=True):
        outputs = fm.predict(Recipe().network, run.params, draw.validation.inputs)
        wrong = draw.validation.inputs[outputs.argmax(1) != draw.validation.labels].tolist()
        expected += [abs(math.hypot(x - 0.5, y - 0.5) - 1 / math.sqrt(2 * math.pi)) for x, y in wrong]
    assert found.distances == pytest.approx(tuple(expected))
    assert found.near_share == sum(distance <= misclassified.NEAR for distance in expected) / len(expected)


def test_margins_are_the_outputs_on_a_grid_row_by_row_from_below() -> None:
    found = misclassified.run(RUNS, DRAWS)
    below_right = fm.predict(Recipe().network, RUNS[0].params, torch.tensor([1.0, 0.0]))
    assert found.margins[0][-1] == pytest.approx((below_right[1] - below_right[0]).item(), abs=1e-5)


def test_the_section_shows_the_points() -> None:
    blocks = misclassified.section(misclassified.run(RUNS, DRAWS))
    assert [block.name for block in blocks if isinstance(block, Picture)] == ["figure-3"]
