"""Fig. 4 and 5: the paper's network in torch.nn, beside ours from the same numbers."""

from collections.abc import Sequence

import attrs
import torch
from matplotlib.figure import Figure

import functional_mlp as fm
from functional_mlp import style
from functional_mlp.experiments import paper, torch_nn, trials
from functional_mlp.experiments.cells import TORCH_CELL, Cell
from functional_mlp.experiments.document import Block, Heading, Paragraph, Picture, Table
from functional_mlp.experiments.paper import Recipe
from functional_mlp.experiments.statements import ROWS, comparison_statements
from functional_mlp.experiments.trials import Draw
from functional_mlp.orders import key_of, order_of
from functional_mlp.random import Key
from functional_mlp.schedules import constant
from functional_mlp.spread import count, plus_minus

# The PyTorch model of section VI-B: its own initialization and a constant step size.
RECIPE = Recipe(network=paper.network(paper.PYTORCH_DEFAULT), schedule=constant(), epochs=paper.TORCH_EPOCHS)


@attrs.frozen
class StepByStep:
    """How far the two networks are apart after each update, from the same start and in the same order.

    `differences` are the largest ones over all parameters; `epsilon` is the dtype's relative rounding error, and
    `largest_parameter` the size of what is compared.
    """

    dtype: str
    epsilon: float
    largest_parameter: float
    differences: tuple[float, ...]


def run(key: Key, steps: int) -> tuple[StepByStep, ...]:
    """Compare the networks step by step in single and in double precision, from the draw of a key."""
    return tuple(step_by_step(trials.draw(key, dtype), steps) for dtype in (torch.float32, torch.float64))


def step_by_step(draw: Draw, steps: int) -> StepByStep:
    """Train both networks in the draw's dtype, comparing all parameters after each of the first updates."""
    network, optimizer = RECIPE.network, fm.SGD(paper.LEARNING_RATE)
    data, dtype = draw.training, draw.training.inputs.dtype
    init_key, train_key = draw.key.split()
    params = network.init(init_key, dtype=dtype)
    state, model = optimizer.init(params), torch_nn.module(params)
    torch_optimizer = torch.optim.SGD(model.parameters(), lr=paper.LEARNING_RATE)
    value_and_grad = fm.value_and_grad(network, paper.LOSS)
    differences = []
    for row in order_of(key_of(train_key, 0), len(data))[:steps].unsqueeze(1):
        sample = fm.Dataset(data.inputs[row], data.targets[row])
        _, grads = value_and_grad(state.params, sample.inputs, sample.targets)
        state = optimizer.update(state, grads)
        torch_nn.run_epoch(model, torch_optimizer, sample, torch.tensor([0]))
        differences.append(trials.largest_difference(state.params, torch_nn.params_of(model)))
    largest = max(float(leaf.abs().max()) for leaf in fm.pytree.leaves(state.params))
    return StepByStep(str(dtype).removeprefix("torch."), torch.finfo(dtype).eps, largest, tuple(differences))


def section(steps: Sequence[StepByStep], cells: Sequence[Cell]) -> list[Block]:
    cell = cells[TORCH_CELL]
    ours, theirs = cell.performance, cell.torch_performance
    runs, torch_runs = len(ours.validation_mse.values), len(theirs.validation_mse.values)
    return [
        Heading("Fig. 4 and 5: the PyTorch model"),
        Paragraph(
            "The paper's PyTorch model has PyTorch's default initialization and a constant step size of "
            f"{paper.LEARNING_RATE}. It is built here with `torch.nn`, `torch.optim.SGD` and autograd, and trained "
            "beside our network from the same initial parameters, on the same data and in the same order."
        ),
        Picture(
            "figure-4",
            _draw_curves(cell),
            f"Fig. 4. Validation figures of the PyTorch model ({count(cell.torch_epochs, 'epoch')}) and of our network "
            f"on the same draw, with the mean ± standard deviation of {count(runs, 'run')} of ours (bands).",
            "Validation MSE and accuracy against the epoch for torch.nn and for our network",
        ),
        Table(
            ("", "paper", f"torch.nn, {cell.torch_epochs} epochs", f"ours, {paper.TORCH_EPOCHS} epochs"),
            tuple(
                (name, *(plus_minus(getattr(table, field)) for table in (paper.FIGURE_5, theirs, ours)))
                for name, field in ROWS
            ),
            f"Fig. 5. The PyTorch model: paper ({paper.TORCH_EPOCHS} epochs), torch.nn ({count(torch_runs, 'run')}), "
            f"and our network with the same recipe ({runs} runs, among them those on torch.nn's draws).",
        ),
        comparison_statements(paper.FIGURE_5, ours),
        Heading("Do the two frameworks compute the same?", level=3),
        Paragraph(" ".join(map(_agreement, steps))),
        Paragraph(_loss_agreement(cells)),
        Picture(
            "agreement",
            _draw_agreement(steps, cells),
            "(a) The largest difference between any two parameters of torch.nn and ours after each update, from the "
            "same start; dotted: one rounding error of the largest parameter. (b) The largest difference of the "
            f"training MSE over {count(torch_runs, 'run')}, float32, between torch.nn and the fused engine.",
            "Differences between torch.nn and our network against updates and epochs, on logarithmic scales",
        ),
    ]


def _agreement(steps: StepByStep) -> str:
    return (
        f"In {steps.dtype} the largest difference between any two parameters after {len(steps.differences)} updates is "
        f"{steps.differences[-1]:.1e}, and {max(steps.differences):.1e} at any update, that is "
        f"{max(steps.differences) / (steps.epsilon * steps.largest_parameter):.1f} rounding errors of the largest "
        "parameter."
    )


def _loss_agreement(cells: Sequence[Cell]) -> str:
    runs = len(cells[0].torch_performance.validation_mse.values)
    parts = [
        f"{max(cell.largest_loss_difference):.1e} from {cell.initialization} initialization with step size "
        f"{cell.step_size}"
        for cell in cells
    ]
    return (
        f"Over whole runs in float32 ({runs} draws a setting), rounding errors grow as the trajectories amplify them: "
        f"the training MSE of an epoch differs between torch.nn and the fused engine by at most {'; '.join(parts)}. "
        "Both are the same algorithm, so that what our network shows over many runs holds for torch.nn."
    )


def _draw_curves(cell: Cell) -> Figure:
    figure, (losses, accuracies) = style.panels(2)
    for axes, measure, label in (
        (losses, "validation_loss", "validation MSE"),
        (accuracies, "validation_accuracy", "validation accuracy"),
    ):
        style.draw_band(
            axes,
            style.epochs(getattr(cell.curves, measure).mean),
            getattr(cell.curves, measure),
            style.series(0),
            "ours, mean",
        )
        for history, line, name in (
            (cell.first_run, style.series(1), "ours, first draw"),
            (cell.torch_first_run, style.series(2), "torch.nn, first draw"),
        ):
            style.draw_curve(axes, getattr(history, measure), line, name)
        axes.set(xlabel="epoch", ylabel=label)
    style.logarithmic_between(losses, 0.015, 0.4)
    accuracies.set_ylim(0.75, 1.0)
    style.legend(losses)
    return figure


def _draw_agreement(steps: Sequence[StepByStep], cells: Sequence[Cell]) -> Figure:
    figure, (updates, epochs) = style.panels(2)
    for index, step in enumerate(steps):
        line = style.series(index)
        visible = [max(difference, step.epsilon / 100) for difference in step.differences]
        style.draw_curve(updates, visible, line, step.dtype)
        updates.axhline(step.epsilon * step.largest_parameter, **style.against(line).options())
    updates.set_yscale("log")
    updates.set(xlabel="update", ylabel="largest difference of a parameter")
    style.legend(updates, loc="center right")
    for index, cell in enumerate(cells):
        style.draw_curve(epochs, cell.largest_loss_difference, style.series(index), cell.name)
    epochs.set_yscale("log")
    epochs.set(xlabel="epoch", ylabel="largest difference of the training MSE")
    epochs.set_ylim(bottom=1e-12)
    style.legend(epochs, size="small", loc="lower right")
    style.letter((updates, epochs), ("parameters, step by step", "training MSE, epoch by epoch"))
    return figure
