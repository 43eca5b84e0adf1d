"""Why PyTorch's curves differ: initialization × step-size decay × framework."""

from collections.abc import Callable, Sequence

import attrs
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import functional_mlp as fm
from functional_mlp import style
from functional_mlp.experiments import paper, trials
from functional_mlp.experiments.cells import PAPER_CELL, TORCH_CELL, Cell
from functional_mlp.experiments.document import Block, Heading, Paragraph, Picture, Points, Table
from functional_mlp.experiments.trials import Trial
from functional_mlp.experiments.variance import Explanation, explain
from functional_mlp.spread import Spread, plus_minus

FACTORS = ("initialization", "step-size decay", "framework")
# A factor with less of the variance than this is not said to explain an outcome.
EXPLAINS = 0.5


@attrs.frozen
class Outcome:
    """Something to explain: a figure of a run's history, and the factor and format to show it in."""

    name: str
    measure: Callable[[fm.History], float]
    scale: float = 1.0
    format: str = ".4f"


def descent_epochs(history: fm.History) -> float:
    """The epochs after which the training MSE is within a tenth of its lowest."""
    goal = 1.1 * min(history.train_loss)
    return trials.epochs_until(history.train_loss, lambda loss: loss <= goal)


def accuracy_epochs(history: fm.History) -> float:
    """The epochs after which the validation accuracy first is what the paper's PyTorch model ends with."""
    goal = paper.FIGURE_5.validation_accuracy.mean
    return trials.epochs_until(history.validation_accuracy, lambda accuracy: accuracy >= goal)


OUTCOMES = (
    Outcome("final validation MSE", lambda history: history.validation_loss[-1]),
    Outcome("final validation accuracy", lambda history: history.validation_accuracy[-1]),
    Outcome("epochs to the paper's PyTorch accuracy", accuracy_epochs, format=".0f"),
    Outcome("epochs until the training MSE is within 10 % of its lowest", descent_epochs, format=".0f"),
    Outcome("roughness (change of validation accuracy an epoch, in points)", trials.roughness, 100.0, ".2f"),
)


@attrs.frozen
class Factorial:
    """The outcomes of all runs, cell by cell, and what explains each over our runs, and over those of both frameworks.

    `outcomes` are those of our runs over `epochs`, and `paired_outcomes` those of either framework over
    `common_epochs`, draw by draw; both are in the order of `OUTCOMES`.
    """

    epochs: int
    common_epochs: int
    outcomes: tuple[tuple[Spread, ...], ...]
    paired_outcomes: tuple[tuple[tuple[Spread, ...], tuple[Spread, ...]], ...]
    ours: tuple[Explanation, ...]
    both: tuple[Explanation, ...]


def run(ours: Sequence[Sequence[Trial]], theirs: Sequence[Sequence[Trial]]) -> Factorial:
    """The factorial of our trials and torch.nn's, cell by cell."""
    common = min(len(their[0].history) for their in theirs)
    outcomes = tuple(_outcomes(our, paper.TORCH_EPOCHS) for our in ours)
    paired = tuple(
        (_outcomes(our[: len(their)], common), _outcomes(their, common))
        for our, their in zip(ours, theirs, strict=True)
    )
    return Factorial(
        epochs=paper.TORCH_EPOCHS,
        common_epochs=common,
        outcomes=outcomes,
        paired_outcomes=paired,
        ours=tuple(
            explain(
                outcome.name,
                torch.tensor([cell[index].values for cell in outcomes]).unflatten(0, (2, 2)),
                FACTORS[:2],
            )
            for index, outcome in enumerate(OUTCOMES)
        ),
        both=tuple(
            explain(
                outcome.name,
                torch.tensor([[side[index].values for side in cell] for cell in paired]).unflatten(0, (2, 2)),
                FACTORS,
            )
            for index, outcome in enumerate(OUTCOMES)
        ),
    )


def _outcomes(runs: Sequence[Trial], epochs: int) -> tuple[Spread, ...]:
    histories = [_first_epochs(run.history, epochs) for run in runs]
    return tuple(Spread.of(map(outcome.measure, histories)) for outcome in OUTCOMES)


def _first_epochs(history: fm.History, epochs: int) -> fm.History:
    return fm.History(*(values[:epochs] for values in attrs.astuple(history, recurse=False)))


def section(result: Factorial, cells: Sequence[Cell]) -> list[Block]:
    runs = len(result.outcomes[0][0].values)
    torch_runs = len(cells[0].torch_performance.validation_mse.values)
    return [
        Heading("Why do PyTorch's curves differ?"),
        Paragraph(
            "The paper's two models differ in initialization and in step-size decay, besides the framework. All "
            f"combinations were run from the same draws: {runs} runs a cell of our network over {result.epochs} "
            f"epochs, and torch.nn on the first {torch_runs} of these draws over {result.common_epochs}."
        ),
        Points(tuple(_statement(explanation) for explanation in result.ours)),
        Paragraph(_framework(result)),
        Paragraph(_verdict(result)),
        Picture(
            "factorial-curves",
            _draw_curves(cells),
            f"Our network under the four settings: mean ± standard deviation of {runs} runs. Dots: the first run of "
            "torch.nn, at every tenth epoch; open marks: ours on the same draw.",
            "Validation MSE and accuracy against the epoch for the four settings",
        ),
        _table(result, cells),
        Picture(
            "factorial-shares",
            _draw_shares(result),
            "The share of each outcome's variance over all runs that each source explains: (a) our network, "
            f"{runs} draws over {result.epochs} epochs; (b) both frameworks, {torch_runs} draws over "
            f"{result.common_epochs} epochs.",
            "Stacked bars of the shares of variance by source for each outcome",
        ),
    ]


def _table(result: Factorial, cells: Sequence[Cell]) -> Table:
    return Table(
        (
            "initialization",
            "step size",
            "validation MSE",
            "accuracy",
            "epochs to 0.9611",
            "epochs of descent",
            "roughness",
        ),
        tuple(
            (
                cell.initialization,
                cell.step_size,
                *(
                    plus_minus(spread, int(outcome.format[1]), outcome.scale)
                    for outcome, spread in zip(OUTCOMES, outcomes, strict=True)
                ),
            )
            for cell, outcomes in zip(cells, result.outcomes, strict=True)
        ),
        "Our network: final validation MSE and accuracy; epochs until the validation accuracy first reaches the "
        "0.9611 that the paper's PyTorch model ends with; epochs until the training MSE is within 10 % of its "
        "lowest; mean change of the validation accuracy from an epoch to the next, in percentage points. A run "
        f"that does not get there counts with its {result.epochs} epochs.",
    )


def _statement(explanation: Explanation) -> str:
    outcome = next(outcome for outcome in OUTCOMES if outcome.name == explanation.outcome)
    shares = {name: explanation.shares[name] for name in FACTORS[:2]}
    main = max(shares, key=lambda name: shares[name])
    listed = ", ".join(f"{name} {100 * share:.0f} %" for name, share in explanation.shares.items())
    initialization, step_size = (f"{outcome.scale * effect:+{outcome.format}}" for effect in explanation.effects)
    explained = f"explained by {main}" if shares[main] >= EXPLAINS else "explained by neither"
    return (
        f"{outcome.name}: {explained} (shares of the variance: {listed}). PyTorch's initialization changes it by "
        f"{initialization} on the average, a constant step size by {step_size}."
    )


def _framework(result: Factorial) -> str:
    largest = max(result.both, key=lambda explanation: explanation.shares["framework"])
    return (
        f"The framework explains at most {100 * largest.shares['framework']:.2g} % of the variance of any outcome "
        f"({largest.outcome}): with the same initialization, step sizes and draws, torch.nn's curves are ours."
    )


def _verdict(result: Factorial) -> str:
    own, pytorch = result.outcomes[PAPER_CELL], result.outcomes[TORCH_CELL]
    mse, accuracy, reaching, descent, roughness = range(len(OUTCOMES))
    lower = [pytorch[index].mean < own[index].mean for index in (mse, accuracy)]
    smoother = pytorch[roughness].mean < own[roughness].mean
    return (
        f"The PyTorch model's recipe takes {pytorch[reaching].median:.0f} epochs to the accuracy that the paper "
        f"reports for it, the basic model's {own[reaching].median:.0f}, in the median (the paper: about 150 and 70). "
        f"Its training MSE goes on falling for {pytorch[descent].median:.0f} epochs, the basic model's for "
        f"{own[descent].median:.0f}. Its validation curves are "
        f"{'smoother' if smoother else 'rougher, not smoother as the paper has it'}: the accuracy changes by "
        f"{100 * pytorch[roughness].mean:.2f} points an epoch against {100 * own[roughness].mean:.2f}. It ends at "
        f"{'a lower' if lower[0] else 'no lower'} MSE ({pytorch[mse].mean:.4f} against {own[mse].mean:.4f}) and "
        f"{'a lower' if lower[1] else 'no lower'} accuracy ({pytorch[accuracy].mean:.4f} against "
        f"{own[accuracy].mean:.4f}), {'as' if all(lower) else 'unlike'} in the paper's tables."
    )


def _draw_curves(cells: Sequence[Cell]) -> Figure:
    figure, (losses, accuracies) = style.panels(2, height=3.6)
    for axes, measure, label in (
        (losses, "validation_loss", "validation MSE"),
        (accuracies, "validation_accuracy", "validation accuracy"),
    ):
        for index, cell in enumerate(cells):
            line = style.series(index)
            band = getattr(cell.curves, measure)
            style.draw_band(axes, style.epochs(band.mean), band, line, cell.name)
            _draw_first_runs(axes, getattr(cell.torch_first_run, measure), getattr(cell.first_run, measure), line)
        axes.set(xlabel="epoch", ylabel=label)
    style.logarithmic_between(losses, 0.015, 0.5)
    accuracies.set_ylim(0.85, 1.0)
    style.legend_above(figure, losses.get_legend_handles_labels()[0], columns=4)
    return figure


def _draw_first_runs(axes: Axes, theirs: Sequence[float], ours: Sequence[float], line: style.Line) -> None:
    every = slice(9, None, 10) if len(theirs) >= 10 else slice(None)
    epochs = style.epochs(theirs)[every]
    style.draw_dots(axes, epochs, theirs[every], line)
    style.draw_open(axes, epochs, ours[: len(theirs)][every], line)


def _draw_shares(result: Factorial) -> Figure:
    figure, axes = style.panels(2, width=9.6, height=3.4, grid=False, sharey=True)
    names = ("final MSE", "final accuracy", "epochs to\n0.9611", "epochs of\ndescent", "roughness")
    for each, explanations in zip(axes, (result.ours, result.both), strict=True):
        left = [0.0] * len(explanations)
        sources = ("initialization", "step-size decay", "interaction", "framework", "draw", "rest")
        for index, source in enumerate(sources):
            shares = [explanation.shares.get(source, 0.0) for explanation in explanations]
            each.barh(names, shares, left=left, label=source, **style.portion(index))
            left = [begin + share for begin, share in zip(left, shares, strict=True)]
        each.set(xlim=(0, 1), xlabel="share of the variance")
    axes[0].invert_yaxis()
    style.legend_above(figure, axes[0].get_legend_handles_labels()[0], columns=6)
    style.letter(axes, ("our network", "both frameworks"))
    return figure
