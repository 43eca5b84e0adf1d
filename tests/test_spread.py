"""Mean, standard deviation and band, against the standard library's."""

import math
import statistics

import pytest

import functional_mlp as fm
from functional_mlp.spread import Band, Spread, mean, plus_minus, std

INFINITE = math.inf


def test_a_spread_is_the_mean_and_the_sample_standard_deviation():
    values = [0.5, 2.0, 4.5, 4.5]
    spread = Spread.of(values)
    assert spread.mean == pytest.approx(statistics.mean(values))
    assert spread.std == pytest.approx(statistics.stdev(values))
    assert spread.standard_error == pytest.approx(spread.std / 2)
    assert math.isnan(Spread.of([1.0]).std)
    assert spread.minus(Spread.of([0.5, 1.0, 1.0, 4.0])).values == (0.0, 1.0, 3.5, 0.5)


def test_a_band_has_a_mean_and_a_deviation_for_each_epoch():
    band = Band.of([(1.0, 5.0), (3.0, 5.0)])
    assert band.mean == (2.0, 5.0)
    assert band.std == pytest.approx((math.sqrt(2), 0.0))
    assert Band.of([(1.0, 5.0)]).std == (0.0, 0.0)


@pytest.mark.parametrize(
    "figures", [[1e200, 3e200], [1e308, 1.5e308, 1.7e308], [5e-324, 1e-320], [1e-200, 3e-200, 0.0]]
)
def test_figures_of_any_size_have_a_mean_and_a_deviation(figures):
    assert mean(figures) == pytest.approx(statistics.mean(figures))
    assert std(figures) == pytest.approx(statistics.stdev(figures))


@pytest.mark.parametrize("figures", [[math.nan], [1.0, math.nan], [INFINITE, -INFINITE], [-INFINITE, 1.0, INFINITE]])
def test_figures_that_have_no_mean_have_none(figures):
    assert math.isnan(mean(figures))
    assert math.isnan(std(figures))


def test_an_infinite_figure_makes_the_mean_infinite():
    assert mean([1.0, INFINITE]) == INFINITE
    assert math.isnan(std([1.0, INFINITE]))


def test_no_figures_have_neither():
    spread = Spread.of([])
    assert math.isnan(spread.mean)
    assert math.isnan(spread.std)


def test_the_deviation_is_printed_where_there_is_one():
    assert plus_minus(Spread.of([0.25, 0.75]), 2) == "0.50 ± 0.35"
    assert plus_minus(Spread.of([0.5]), 1) == "0.5"
    assert plus_minus(Spread.of([0.5, 0.5]), 1, scale=100) == "50.0 ± 0.0"


def test_the_spread_of_members_with_huge_losses_is_theirs():
    records = [fm.EpochRecord(loss, 0.5, -loss, 0.5, 0.01, 0.1) for loss in (1e200, 3e200)]
    history = fm.EnsembleHistory(tuple(fm.History.of([record]) for record in records))
    assert history.mean().train_loss == pytest.approx((2e200,))
    assert history.std().validation_loss == pytest.approx((math.sqrt(2) * 1e200,))
