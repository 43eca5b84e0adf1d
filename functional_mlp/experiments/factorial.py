"""Why PyTorch's curves differ: initialization × step-size decay × framework.

Our network runs all four combinations of the two settings in which the paper's models differ, from the same
draws; torch.nn runs each of them with the first few of these draws.
"""

import itertools
from collections.abc import Callable, Sequence

import attrs
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import functional_mlp as fm
from functional_mlp import style
from functional_mlp.experiments import paper, trials
from functional_mlp.experiments.document import Block, Heading, Paragraph, Picture, Points, Table
from functional_mlp.experiments.paper import Recipe
from functional_mlp.experiments.trials import Curves, Draw, Performance, Trial
from functional_mlp.experiments.variance import Explanation, explain
from functional_mlp.initializers import Initializer
from functional_mlp.random import Key
from functional_mlp.schedules import Schedule, constant
from functional_mlp.spread import Spread, plus_minus

INITIALIZATIONS: dict[str, Initializer] = {"U(−1, 1)": paper.UNIFORM, "PyTorch's": paper.PYTORCH_DEFAULT}
STEP_SIZES: dict[str, Schedule] = {"× 0.9 an epoch": paper.DECAY, "constant": constant()}
FACTORS = ("initialization", "step-size decay", "framework")
PAPER_CELL, TORCH_CELL = 0, 3
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
class Cell:
    """A combination of initialization and step size: our runs, and torch.nn's with the first draws.

    `outcomes` are those of our runs over all epochs, in the order of `OUTCOMES`; `torch_outcomes` and
    `our_paired_outcomes` are those of either framework over `torch_epochs`, draw by draw.
    """

    initialization: str
    step_size: str
    performance: Performance
    curves: Curves
    first_run: fm.History
    outcomes: tuple[Spread, ...]
    torch_epochs: int
    torch_first_run: fm.History
    torch_performance: Performance
    torch_outcomes: tuple[Spread, ...]
    our_paired_outcomes: tuple[Spread, ...]
    largest_loss_difference: tuple[float, ...]


@attrs.frozen
class Factorial:
    """The four cells; what explains each outcome over our runs, and over the runs of both frameworks."""

    epochs: int
    common_epochs: int
    cells: tuple[Cell, ...]
    ours: tuple[Explanation, ...]
    both: tuple[Explanation, ...]


def recipes(epochs: int) -> tuple[Recipe, ...]:
    """The recipe of each cell, in the order of the factors' levels."""
    return tuple(
        Recipe(network=paper.network(init), schedule=schedule, epochs=epochs)
        for init, schedule in itertools.product(INITIALIZATIONS.values(), STEP_SIZES.values())
    )


def torch_tasks(keys: Sequence[Key], epochs: int, torch_cell_epochs: int) -> list[tuple[Recipe, Key]]:
    """What torch.nn has to train, cell by cell: the cell of the paper's PyTorch model for all its epochs."""
    cells = recipes(epochs)
    lengths = [torch_cell_epochs if index == TORCH_CELL else epochs for index in range(len(cells))]
    return [
        (attrs.evolve(recipe, epochs=length), key)
        for recipe, length in zip(cells, lengths, strict=True)
        for key in keys
    ]


def train_ours(draws: Sequence[Draw]) -> tuple[tuple[Trial, ...], ...]:
    """Our trials of each cell, for as many epochs as the paper's PyTorch model had."""
    return tuple(trials.train(recipe, draws) for recipe in recipes(paper.TORCH_EPOCHS))


def analyse(ours: Sequence[Sequence[Trial]], theirs: Sequence[Sequence[Trial]]) -> Factorial:
    """The factorial of our trials and torch.nn's, cell by cell."""
    levels = itertools.product(INITIALIZATIONS, STEP_SIZES)
    cells = tuple(_cell(*level, *runs) for level, *runs in zip(levels, ours, theirs, strict=True))
    common = min(cell.torch_epochs for cell in cells)
    paired = [
        (_outcomes(our[: len(their)], common), _outcomes(their, common))
        for our, their in zip(ours, theirs, strict=True)
    ]
    return Factorial(
        epochs=paper.TORCH_EPOCHS,
        common_epochs=common,
        cells=cells,
        ours=tuple(
            explain(
                outcome.name,
                torch.tensor([cell.outcomes[index].values for cell in cells]).unflatten(0, (2, 2)),
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


def _cell(initialization: str, step_size: str, ours: Sequence[Trial], theirs: Sequence[Trial]) -> Cell:
    epochs = len(theirs[0].history)
    pairs = list(zip(ours, theirs, strict=False))
    return Cell(
        initialization,
        step_size,
        performance=Performance.of(ours),
        curves=Curves.of(ours),
        first_run=ours[0].history,
        outcomes=_outcomes(ours, len(ours[0].history)),
        torch_epochs=epochs,
        torch_first_run=theirs[0].history,
        torch_performance=Performance.of(theirs),
        torch_outcomes=_outcomes(theirs, epochs),
        our_paired_outcomes=_outcomes(ours[: len(theirs)], epochs),
        largest_loss_difference=tuple(
            max(abs(our.history.train_loss[epoch] - their.history.train_loss[epoch]) for our, their in pairs)
            for epoch in range(epochs)
        ),
    )


def _outcomes(runs: Sequence[Trial], epochs: int) -> tuple[Spread, ...]:
    histories = [_first_epochs(run.history, epochs) for run in runs]
    return tuple(Spread.of(map(outcome.measure, histories)) for outcome in OUTCOMES)


def _first_epochs(history: fm.History, epochs: int) -> fm.History:
    return fm.History(*(values[:epochs] for values in attrs.astuple(history, recurse=False)))


def section(result: Factorial) -> list[Block]:
    runs = len(result.cells[0].outcomes[0].values)
    torch_runs = len(result.cells[0].torch_outcomes[0].values)
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
            _draw_curves(result),
            f"Our network under the four settings: mean ± standard deviation of {runs} runs. Dots: the first run of "
            "torch.nn, at every tenth epoch; open marks: ours on the same draw.",
            "Validation MSE and accuracy against the epoch for the four settings",
        ),
        _table(result),
        Picture(
            "factorial-shares",
            _draw_shares(result),
            "The share of each outcome's variance over all runs that each source explains: (a) our network, "
            f"{runs} draws over {result.epochs} epochs; (b) both frameworks, {torch_runs} draws over "
            f"{result.common_epochs} epochs.",
            "Stacked bars of the shares of variance by source for each outcome",
        ),
    ]


def _table(result: Factorial) -> Table:
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
                    for outcome, spread in zip(OUTCOMES, cell.outcomes, strict=True)
                ),
            )
            for cell in result.cells
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
    own, pytorch = result.cells[PAPER_CELL].outcomes, result.cells[TORCH_CELL].outcomes
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


def _draw_curves(result: Factorial) -> Figure:
    figure, (losses, accuracies) = style.panels(2, height=3.6)
    for axes, measure, label in (
        (losses, "validation_loss", "validation MSE"),
        (accuracies, "validation_accuracy", "validation accuracy"),
    ):
        for index, cell in enumerate(result.cells):
            line = style.series(index)
            band = getattr(cell.curves, measure)
            style.draw_band(axes, style.epochs(band.mean), band, line, f"{cell.initialization}, {cell.step_size}")
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
