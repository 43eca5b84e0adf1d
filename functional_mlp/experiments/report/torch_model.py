"""The sections on Fig. 4 and 5, and on how far the two frameworks agree."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

import functional_mlp as fm
from functional_mlp.experiments import paper
from functional_mlp.experiments.factorial import TORCH_CELL, Cell, Factorial
from functional_mlp.experiments.report import style
from functional_mlp.experiments.report.basic_model import ROWS, comparison_statements
from functional_mlp.experiments.report.document import Block, Heading, Paragraph, Picture, Table
from functional_mlp.experiments.report.style import count, plus_minus
from functional_mlp.experiments.torch_model import StepByStep


def section(steps: Sequence[StepByStep], factorial: Factorial) -> list[Block]:
    cell = factorial.cells[TORCH_CELL]
    ours, theirs = cell.performance, cell.torch_performance
    runs, torch_runs = len(ours.validation_mse.values), len(theirs.validation_mse.values)
    published = [
        f"{getattr(paper.FIGURE_5, field).mean:.4f} ± {getattr(paper.FIGURE_5, field).std:.4f}" for _, field in ROWS
    ]
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
            ("", "paper", f"torch.nn, {cell.torch_epochs} epochs", f"ours, {factorial.epochs} epochs"),
            tuple(
                (name, figures, plus_minus(getattr(theirs, field)), plus_minus(getattr(ours, field)))
                for (name, field), figures in zip(ROWS, published, strict=True)
            ),
            f"Fig. 5. The PyTorch model: paper ({paper.TORCH_EPOCHS} epochs), torch.nn ({count(torch_runs, 'run')}), "
            f"and our network with the same recipe ({runs} runs, among them those on torch.nn's draws).",
        ),
        comparison_statements(paper.FIGURE_5, ours),
        Heading("Do the two frameworks compute the same?", level=3),
        Paragraph(" ".join(map(_agreement, steps))),
        Paragraph(_loss_agreement(factorial)),
        Picture(
            "agreement",
            _draw_agreement(steps, factorial.cells),
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


def _loss_agreement(factorial: Factorial) -> str:
    runs = len(factorial.cells[0].torch_performance.validation_mse.values)
    parts = [
        f"{max(cell.largest_loss_difference):.1e} from {cell.initialization} initialization with step size "
        f"{cell.step_size}"
        for cell in factorial.cells
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
            style.BLUE,
            "ours, mean",
        )
        for history, line, name in (
            (cell.first_run, style.ORANGE, "ours, first draw"),
            (cell.torch_first_run, style.GREEN, "torch.nn, first draw"),
        ):
            _draw_run(axes, history, measure, line, name)
        axes.set(xlabel="epoch", ylabel=label)
    style.logarithmic(losses, 0.015, 0.4)
    accuracies.set_ylim(0.75, 1.0)
    losses.legend(frameon=False)
    return figure


def _draw_run(axes: Axes, history: fm.History, measure: str, line: style.Line, name: str) -> None:
    values = getattr(history, measure)
    marker = "o" if len(values) < 5 else ""
    axes.plot(style.epochs(values), values, linewidth=1.4, label=name, marker=marker, markersize=3, **line.options())


def _draw_agreement(steps: Sequence[StepByStep], cells: Sequence[Cell]) -> Figure:
    figure, (updates, epochs) = style.panels(2)
    for step, line in zip(steps, (style.VERMILION, style.BLUE), strict=False):
        visible = [max(difference, step.epsilon / 100) for difference in step.differences]
        updates.plot(style.epochs(visible), visible, linewidth=1.2, label=step.dtype, color=line.color)
        updates.axhline(step.epsilon * step.largest_parameter, color=line.color, linestyle=":", linewidth=1.2)
    updates.set_yscale("log")
    updates.set(xlabel="update", ylabel="largest difference of a parameter")
    updates.legend(frameon=False, loc="center right")
    for cell, line in zip(cells, style.LINES, strict=True):
        differences = cell.largest_loss_difference
        label = f"{cell.initialization}, {cell.step_size}"
        marker = "o" if len(differences) < 5 else ""
        epochs.plot(style.epochs(differences), differences, linewidth=1.3, label=label, marker=marker, **line.options())
    epochs.set_yscale("log")
    epochs.set(xlabel="epoch", ylabel="largest difference of the training MSE")
    epochs.set_ylim(bottom=1e-12)
    epochs.legend(frameon=False, fontsize="small", loc="lower right")
    style.letter((updates, epochs), ("parameters, step by step", "training MSE, epoch by epoch"))
    return figure
