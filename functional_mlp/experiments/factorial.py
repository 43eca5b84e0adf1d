"""Why PyTorch's curves differ: initialization × step-size decay × framework.

Our network runs all four combinations of the two settings in which the paper's models differ, from the same
draws; torch.nn runs each of them with the first few of these draws.
"""

import itertools
from collections.abc import Callable, Sequence

import attrs
import torch
from torch import Tensor

import functional_mlp as fm
from functional_mlp.experiments import paper, trials
from functional_mlp.experiments.paper import Recipe
from functional_mlp.experiments.trials import Curves, Draw, Performance, Spread, Trial
from functional_mlp.random import Key
from functional_mlp.schedules import constant

INITIALIZATIONS = {"U(−1, 1)": paper.UNIFORM, "PyTorch's": paper.PYTORCH_DEFAULT}
STEP_SIZES = {"× 0.9 an epoch": paper.DECAY, "constant": constant()}
FACTORS = ("initialization", "step-size decay", "framework")
PAPER_CELL, TORCH_CELL = 0, 3


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
class Explanation:
    """How much of an outcome's variance over all runs each source explains, as shares that sum to 1.

    `effects` are the mean changes from each factor's first level to its second.
    """

    outcome: str
    effects: tuple[float, ...]
    shares: dict[str, float]


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
            _explain(name, torch.tensor([cell.outcomes[index].values for cell in cells]).unflatten(0, (2, 2)))
            for index, name in enumerate(outcome.name for outcome in OUTCOMES)
        ),
        both=tuple(
            _explain(
                outcome.name,
                torch.tensor([[side[index].values for side in cell] for cell in paired]).unflatten(0, (2, 2)),
            )
            for index, outcome in enumerate(OUTCOMES)
        ),
    )


def variance_shares(values: Tensor, factors: Sequence[str]) -> dict[str, float]:
    """The shares of the sum of squares of a full factorial: an axis for each factor and a last one for the draws.

    All are 0 where the outcome never varies.

    >>> values = torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])
    >>> shares = variance_shares(values, ["level"])
    >>> {source: round(share, 3) for source, share in shares.items()}
    {'level': 0.771, 'interaction': 0.0, 'draw': 0.229, 'rest': 0.0}
    """
    deviations = values.double() - values.double().mean()
    total = deviations.square().sum()
    axes = range(values.ndim)
    mains = [_explained(deviations, [axis]) for axis in axes]
    cells = _explained(deviations, list(axes[:-1]))
    interaction = cells - torch.stack(mains[:-1]).sum()
    parts = [*mains[:-1], interaction, mains[-1], total - cells - mains[-1]]
    names = [*factors, "interaction", "draw", "rest"]
    scale = total.clamp_min(torch.finfo(torch.float64).tiny)  # what never varies has no shares
    return {name: max(0.0, float(part / scale)) for name, part in zip(names, parts, strict=True)}


def _explained(deviations: Tensor, axes: list[int]) -> Tensor:
    """The sum of squares of the means over all other axes."""
    others = [axis for axis in range(deviations.ndim) if axis not in axes]
    return deviations.mean(others, keepdim=True).expand_as(deviations).square().sum()


def _explain(name: str, values: Tensor) -> Explanation:
    factors = FACTORS[: values.ndim - 1]
    effects = [
        float(values.double().select(axis, 1).mean() - values.double().select(axis, 0).mean())
        for axis in range(len(factors))
    ]
    return Explanation(name, tuple(effects), variance_shares(values, factors))


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
