"""The section on whether momentum's accuracy is a matter of tuning."""

from matplotlib.figure import Figure

from functional_mlp.experiments import paper
from functional_mlp.experiments.momentum_tuning import BETAS, DECAYS, Candidate, MomentumTuning
from functional_mlp.experiments.report import style
from functional_mlp.experiments.report.document import Block, Heading, Paragraph, Picture, Table
from functional_mlp.experiments.report.style import count, difference, plus_minus
from functional_mlp.experiments.trials import Performance, Spread

# A run that stays below this accuracy has not learnt the disk.
FAILED = 0.9
LOWEST_SHOWN = 0.95


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
        for row, (beta, line, marker) in enumerate(zip((0.0, *BETAS), style.LINES, "os^D", strict=True), 1):
            tried = [c for c in candidates if (c.decay, c.beta) == (decay, beta)]
            shown = [c for c in tried if c.accuracy.mean >= LOWEST_SHOWN]
            failing = [c.learning_rate for c in tried if c.accuracy.mean < LOWEST_SHOWN]
            each.errorbar(
                [c.learning_rate for c in shown],
                [c.accuracy.mean for c in shown],
                None if result.tuning_runs == 1 else [c.accuracy.std for c in shown],
                marker=marker,
                markersize=4,
                capsize=2,
                linewidth=1.2,
                elinewidth=0.7,
                label=f"β = {beta:g}" if beta else "plain SGD",
                **line.options(),
            )
            height = LOWEST_SHOWN + 0.0012 * row
            each.plot(failing, [height] * len(failing), marker, mfc="none", mec=line.color, markersize=5)
        each.set_xscale("log")
        ticks = (0.01, 0.02, 0.05, 0.1)
        each.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        each.set_xticks([], minor=True)
        each.set(xlim=(0.009, 0.115), xlabel="step size of the first epoch")
    axes[0].set(ylim=(LOWEST_SHOWN, 1.0), ylabel="validation accuracy")
    axes[0].legend(frameon=False, fontsize="small", loc="upper right", ncols=2)
    style.letter(axes, [f"decay × {decay:g} an epoch" for decay in DECAYS])
    return figure
