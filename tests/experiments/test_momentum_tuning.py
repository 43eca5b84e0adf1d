"""The search for a better setting of momentum, and of plain SGD."""

import attrs
import pytest

import functional_mlp as fm
from functional_mlp.experiments import momentum_tuning, paper
from functional_mlp.experiments.momentum_tuning import BETAS, DECAYS, MOMENTUM_RATES, SGD_RATES, make_recipe
from functional_mlp.experiments.paper import Recipe
from functional_mlp.spread import Spread
from tests.experiments.short import asked, small_draw

__all__ = ["asked"]


def test_both_rules_have_as_many_candidates() -> None:
    assert len(SGD_RATES) * len(DECAYS) == len(MOMENTUM_RATES) * len(DECAYS) * len(BETAS)


def test_the_papers_setting_is_in_both_grids() -> None:
    assert make_recipe(paper.LEARNING_RATE, paper.DECAY.rate, 0.0) == Recipe()
    assert paper.LEARNING_RATE in SGD_RATES
    assert (paper.LEARNING_RATE in MOMENTUM_RATES, paper.DECAY.rate in DECAYS, paper.BETA in BETAS) == (True,) * 3


def test_the_best_is_chosen_on_some_draws_and_judged_on_others(asked) -> None:
    tuning, fresh = [small_draw(0)], [small_draw(1), small_draw(2)]
    result = momentum_tuning.run(tuning, fresh, every=12)
    for search, kind in ((result.sgd, fm.SGD), (result.momentum, fm.Momentum)):
        assert [type(candidate.recipe().optimizer) for candidate in search.candidates] == [kind] * 3
        assert search.best.accuracy.mean == max(candidate.accuracy.mean for candidate in search.candidates)
        assert len(search.performance.validation_mse.values) == 2
    assert [len(draws) for _, draws in asked] == [2, 2, 1, 1, 1, 2, 1, 1, 1, 2]
    assert all(draws in (tuning, fresh) for _, draws in asked)
    assert [recipe for recipe, draws in asked[2:] if draws == fresh] == [
        search.best.recipe() for search in (result.sgd, result.momentum)
    ]


@pytest.mark.parametrize("gain", [0.01, -0.01])
def test_the_verdict_is_that_of_the_medians(asked, gain: float) -> None:
    result = momentum_tuning.run([small_draw(0)], [small_draw(1)], every=36)

    def accurate(performance, accuracy):
        return attrs.evolve(performance, validation_accuracy=Spread.of([accuracy]))

    result = attrs.evolve(
        result,
        paper_sgd=accurate(result.paper_sgd, 0.95),
        paper_momentum=accurate(result.paper_momentum, 0.94),
        sgd=attrs.evolve(result.sgd, performance=accurate(result.sgd.performance, 0.95 + gain)),
        momentum=attrs.evolve(result.momentum, performance=accurate(result.momentum.performance, 0.97)),
    )
    verdict = momentum_tuning._verdict(result)
    assert ("lifts both" in verdict) == (gain > 0)
    assert f"({100 * gain:+.2f} points)" in verdict
