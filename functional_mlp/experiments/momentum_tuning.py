"""Whether momentum's lower accuracy is a matter of tuning: a search with the same budget for plain SGD.

Each candidate trains on a few draws kept for tuning; the best by mean validation accuracy is then trained on
fresh ones, so that the figure reported is not the luck of the search.
"""

import itertools
from collections.abc import Sequence

import attrs

import functional_mlp as fm
from functional_mlp.experiments import paper, trials
from functional_mlp.experiments.paper import Recipe
from functional_mlp.experiments.trials import Draw, Performance, Spread
from functional_mlp.schedules import exponential_decay

DECAYS = (0.9, 0.95, 0.98)
BETAS = (0.5, 0.8, 0.9)
MOMENTUM_RATES = (0.01, 0.025, 0.05, 0.1)
# As many candidates as the momentum grid has, over the same range.
SGD_RATES = (0.01, 0.0125, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.05, 0.06, 0.08, 0.1)


@attrs.frozen
class Candidate:
    """A setting and its validation accuracy over the tuning draws; β = 0 is plain SGD."""

    learning_rate: float
    decay: float
    beta: float
    accuracy: Spread
    diverged: int

    def recipe(self) -> Recipe:
        return make_recipe(self.learning_rate, self.decay, self.beta)


@attrs.frozen
class Search:
    """A rule's grid, its best candidate, and that candidate's figures on fresh draws."""

    candidates: tuple[Candidate, ...]
    best: Candidate
    performance: Performance


@attrs.frozen
class MomentumTuning:
    """The two rules as the paper sets them, and each at its best."""

    tuning_runs: int
    paper_sgd: Performance
    paper_momentum: Performance
    sgd: Search
    momentum: Search


def make_recipe(learning_rate: float, decay: float, beta: float) -> Recipe:
    optimizer = fm.Momentum(learning_rate, beta) if beta else fm.SGD(learning_rate)
    return Recipe(optimizer=optimizer, schedule=exponential_decay(decay))


def run(tuning_draws: Sequence[Draw], draws: Sequence[Draw], every: int) -> MomentumTuning:
    """Search both grids on the tuning draws, and train the best settings and the paper's on the others.

    `every` thins the grids: one in so many candidates is tried.
    """
    sgd_grid = [(rate, decay, 0.0) for rate, decay in itertools.product(SGD_RATES, DECAYS)][::every]
    momentum_grid = list(itertools.product(MOMENTUM_RATES, DECAYS, BETAS))[::every]
    paper_decay = paper.DECAY.rate
    return MomentumTuning(
        len(tuning_draws),
        paper_sgd=_performance(make_recipe(paper.LEARNING_RATE, paper_decay, 0.0), draws),
        paper_momentum=_performance(make_recipe(paper.LEARNING_RATE, paper_decay, paper.BETA), draws),
        sgd=_search(sgd_grid, tuning_draws, draws),
        momentum=_search(momentum_grid, tuning_draws, draws),
    )


def _search(
    settings: Sequence[tuple[float, float, float]], tuning_draws: Sequence[Draw], draws: Sequence[Draw]
) -> Search:
    candidates = tuple(_candidate(*setting, tuning_draws) for setting in settings)
    best = max(candidates, key=lambda candidate: candidate.accuracy.mean)
    return Search(candidates, best, _performance(best.recipe(), draws))


def _candidate(learning_rate: float, decay: float, beta: float, draws: Sequence[Draw]) -> Candidate:
    recipe = make_recipe(learning_rate, decay, beta)
    runs = trials.train(recipe, draws, curves=False)
    accuracy = Spread.of(run.validation.accuracy for run in runs)
    diverged = sum(len(run.history) < recipe.epochs for run in runs)
    return Candidate(learning_rate, decay, beta, accuracy, diverged)


def _performance(recipe: Recipe, draws: Sequence[Draw]) -> Performance:
    return Performance.of(trials.train(recipe, draws, curves=False))
