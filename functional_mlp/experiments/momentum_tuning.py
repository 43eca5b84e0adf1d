"""Whether momentum's lower accuracy is a matter of tuning: a search with the same budget for plain SGD.

Each candidate trains on a few draws kept for tuning; the best by mean validation accuracy is then trained on
fresh ones, so that the figure reported is not the luck of the search.
"""

import itertools
from collections.abc import Sequence

import attrs
from matplotlib.figure import Figure

import functional_mlp as fm
from functional_mlp import style
from functional_mlp.experiments import paper, trials
from functional_mlp.experiments.document import Block, Heading, Paragraph, Picture, Table
from functional_mlp.experiments.paper import Recipe
from functional_mlp.experiments.statements import difference
from functional_mlp.experiments.trials import Draw, Performance
from functional_mlp.schedules import exponential_decay
from functional_mlp.spread import Spread, count, plus_minus

DECAYS = (0.9, 0.95, 0.98)
BETAS = (0.5, 0.8, 0.9)
MOMENTUM_RATES = (0.01, 0.025, 0.05, 0.1)
# As many candidates as the momentum grid has, over the same range.
SGD_RATES = (0.01, 0.0125, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.05, 0.06, 0.08, 0.1)
# A run that stays below this accuracy has not learnt the disk.
FAILED = 0.9
LOWEST_SHOWN = 0.95


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

    `every` thins the grids: with 10, every tenth candidate is tried.
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


def section(result: MomentumTuning) -> list[Block]:
    runs = len(result.paper_sgd.validation_mse.values)
    rows = (
        ("SGD, the paper's setting", (paper.LEARNING_RATE, paper.DECAY.rate, 0.0), result.paper_sgd),
        ("momentum, the paper's setting", (paper.LEARNING_RATE, paper.DECAY.rate, paper.BETA), result.paper_momentum),
        ("SGD, best of its grid", _setting(result.sgd.best), result.sgd.performance),
        ("momentum, best of its grid", _setting(result.momentum.best), result.momentum.performance),
    )
    return [
        Heading("Is momentum's lower accuracy a matter of tuning?"),
        Paragraph(
            f"{count(len(result.momentum.candidates), 'candidate')} of step size × decay × β for momentum, and "
            f"{count(len(result.sgd.candidates), 'candidate')} of step size × decay for plain SGD, each trained for "
            f"{paper.EPOCHS} epochs in {count(result.tuning_runs, 'run')}. The best by mean validation accuracy was "
            f"then trained on {runs} draws that had no part in the choice."
        ),
        Paragraph(_verdict(result)),
        Table(
            ("", "step size", "decay", "β", "validation MSE", "validation accuracy", "median"),
            tuple(_row(name, setting, performance) for name, setting, performance in rows),
            f"Mean ± standard deviation over the same {runs} fresh draws.",
        ),
        Picture(
            "momentum-tuning",
            _draw(result),
            f"The grids: mean ± standard deviation of the validation accuracy over {count(result.tuning_runs, 'run')}, "
            "by step size and decay. Open marks: settings whose mean is below the frame, where some runs diverge or "
            "learn nothing.",
            "Validation accuracy against the step size for three decays, by momentum",
        ),
    ]


def _verdict(result: MomentumTuning) -> str:
    sgd, momentum = result.sgd.performance.validation_accuracy, result.momentum.performance.validation_accuracy
    plain, before = result.paper_sgd.validation_accuracy, result.paper_momentum.validation_accuracy
    ahead = sum(gap > 0 for gap in momentum.minus(sgd).values)
    gains = 100 * (momentum.median - before.median), 100 * (sgd.median - plain.median)
    diverged = [sum(candidate.diverged for candidate in search.candidates) for search in (result.sgd, result.momentum)]
    conclusion = (
        "Tuning the step size and its decay lifts both: what momentum was found to lack is a matter of tuning, and "
        "plain SGD gains from the same tuning."
        if min(gains) > 0
        else "Tuning does not lift both."
    )
    return (
        f"At the paper's setting momentum reaches {plus_minus(before)} and plain SGD {plus_minus(plain)}, "
        f"{difference(before, plain)}. At the best settings the median accuracy is {momentum.median:.4f} with momentum "
        f"({gains[0]:+.2f} points) and {sgd.median:.4f} with plain SGD ({gains[1]:+.2f} points); momentum is ahead in "
        f"{ahead} of {len(sgd.values)} runs. {conclusion} The long steps that win the search are near the edge of what "
        f"trains: at the best settings {_failures(momentum)} of {len(momentum.values)} runs with momentum and "
        f"{_failures(sgd)} of plain SGD stay below an accuracy of {FAILED:g}, and in the grids {diverged[1]} runs with "
        f"momentum and {diverged[0]} of plain SGD diverged."
    )


def _failures(accuracy: Spread) -> int:
    return sum(value < FAILED for value in accuracy.values)


def _setting(candidate: Candidate) -> tuple[float, float, float]:
    return candidate.learning_rate, candidate.decay, candidate.beta


def _row(name: str, setting: tuple[float, float, float], performance: Performance) -> tuple[str, ...]:
    rate, decay, beta = setting
    return (
        name,
        f"{rate:g}",
        f"{decay:g}",
        f"{beta:g}" if beta else "–",
        plus_minus(performance.validation_mse),
        plus_minus(performance.validation_accuracy),
        f"{performance.validation_accuracy.median:.4f}",
    )


def _draw(result: MomentumTuning) -> Figure:
    figure, axes = style.panels(len(DECAYS), width=9.6, height=3.3, sharey=True)
    candidates = result.sgd.candidates + result.momentum.candidates
    for each, decay in zip(axes, DECAYS, strict=True):
        for row, beta in enumerate((0.0, *BETAS)):
            line = style.series(row)
            tried = [c for c in candidates if (c.decay, c.beta) == (decay, beta)]
            shown = [c for c in tried if c.accuracy.mean >= LOWEST_SHOWN]
            failing = [c.learning_rate for c in tried if c.accuracy.mean < LOWEST_SHOWN]
            style.draw_bars(
                each,
                [c.learning_rate for c in shown],
                [c.accuracy.mean for c in shown],
                None if result.tuning_runs == 1 else [c.accuracy.std for c in shown],
                line,
                f"β = {beta:g}" if beta else "plain SGD",
            )
            style.draw_open(each, failing, [LOWEST_SHOWN + 0.0012 * (row + 1)] * len(failing), line)
        each.set_xscale("log")
        ticks = (0.01, 0.02, 0.05, 0.1)
        each.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        each.set_xticks([], minor=True)
        each.set(xlim=(0.009, 0.115), xlabel="step size of the first epoch")
    axes[0].set(ylim=(LOWEST_SHOWN, 1.0), ylabel="validation accuracy")
    style.legend(axes[0], size="small", loc="upper right", ncols=2)
    style.letter(axes, [f"decay × {decay:g} an epoch" for decay in DECAYS])
    return figure
