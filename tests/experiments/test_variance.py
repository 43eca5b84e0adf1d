"""What explains an outcome, on outcomes whose explanation is known."""

import pytest
import torch

from functional_mlp.experiments.variance import variance_shares
from tests.helpers import draw

FACTORS = ("first", "second", "third")
LEVELS = torch.tensor([-1.0, 1.0])


@pytest.mark.parametrize("axis", range(3))
def test_an_outcome_that_follows_one_factor_is_explained_by_it(axis):
    shape = [1] * 4
    shape[axis] = 2
    values = LEVELS.reshape(shape).expand(2, 2, 2, 5)
    shares = variance_shares(values, FACTORS)
    assert shares[FACTORS[axis]] == pytest.approx(1)


def test_an_outcome_that_needs_both_factors_is_an_interaction():
    values = (LEVELS[:, None, None] * LEVELS[None, :, None]).expand(2, 2, 5)
    assert variance_shares(values, FACTORS[:2])["interaction"] == pytest.approx(1)


def test_an_outcome_that_follows_the_draw_is_explained_by_the_draw():
    values = torch.arange(5.0).expand(2, 2, 5)
    assert variance_shares(values, FACTORS[:2])["draw"] == pytest.approx(1)


def test_the_shares_of_any_outcome_sum_to_one():
    shares = variance_shares(draw(2, 2, 2, 7), FACTORS)
    assert list(shares) == [*FACTORS, "interaction", "draw", "rest"]
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) >= 0


def test_an_outcome_that_never_varies_has_no_explanation():
    assert set(variance_shares(torch.ones(2, 2, 3), FACTORS[:2]).values()) == {0.0}
