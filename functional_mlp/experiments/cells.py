"""The four combinations of initialization and step size in which the paper's two models differ, in both frameworks.

Our network runs all four from the same draws; torch.nn runs each of them with the first few of these draws. Fig. 4 and
5 are one of the cells, and the factorial says what makes the difference between all.
"""

import itertools
from collections.abc import Sequence

import attrs

import functional_mlp as fm
from functional_mlp.experiments import paper, trials
from functional_mlp.experiments.paper import Recipe
from functional_mlp.experiments.trials import Curves, Draw, Performance, Trial
from functional_mlp.initializers import Initializer
from functional_mlp.random import Key
from functional_mlp.schedules import Schedule, constant

INITIALIZATIONS: dict[str, Initializer] = {"U(−1, 1)": paper.UNIFORM, "PyTorch's": paper.PYTORCH_DEFAULT}
STEP_SIZES: dict[str, Schedule] = {"× 0.9 an epoch": paper.DECAY, "constant": constant()}
# The paper's two models are the first cell and the last.
PAPER_CELL, TORCH_CELL = 0, 3


@attrs.frozen
class Cell:
    """A combination of initialization and step size: our runs, and torch.nn's with the first draws.

    `largest_loss_difference` is that of the training MSE between the frameworks, epoch by epoch.
    """

    initialization: str
    step_size: str
    performance: Performance
    curves: Curves
    first_run: fm.History
    torch_epochs: int
    torch_first_run: fm.History
    torch_performance: Performance
    largest_loss_difference: tuple[float, ...]

    @property
    def name(self) -> str:
        return f"{self.initialization}, {self.step_size}"

    @classmethod
    def of(cls, initialization: str, step_size: str, ours: Sequence[Trial], theirs: Sequence[Trial]) -> "Cell":
        epochs = len(theirs[0].history)
        pairs = list(zip(ours, theirs, strict=False))
        return cls(
            initialization,
            step_size,
            performance=Performance.of(ours),
            curves=Curves.of(ours),
            first_run=ours[0].history,
            torch_epochs=epochs,
            torch_first_run=theirs[0].history,
            torch_performance=Performance.of(theirs),
            largest_loss_difference=tuple(
                max(abs(our.history.train_loss[epoch] - their.history.train_loss[epoch]) for our, their in pairs)
                for epoch in range(epochs)
            ),
        )


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


def cells_of(ours: Sequence[Sequence[Trial]], theirs: Sequence[Sequence[Trial]]) -> tuple[Cell, ...]:
    """The cells of our trials and torch.nn's."""
    levels = itertools.product(INITIALIZATIONS, STEP_SIZES)
    return tuple(Cell.of(*level, *runs) for level, *runs in zip(levels, ours, theirs, strict=True))
