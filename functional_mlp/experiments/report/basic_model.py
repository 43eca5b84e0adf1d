"""The sections on Fig. 1, 2, 3 and 6."""

import math

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from matplotlib.ticker import MaxNLocator

from functional_mlp.experiments import paper
from functional_mlp.experiments.basic_model import CENTER, NEAR, RADIUS, BasicModel, Misclassified, Model
from functional_mlp.experiments.paper import Published, PublishedTable
from functional_mlp.experiments.report import style
from functional_mlp.experiments.report.document import Block, Heading, Paragraph, Picture, Points, Table
from functional_mlp.experiments.report.style import count, difference, plus_minus
from functional_mlp.experiments.trials import Performance, Spread

ROWS = (
    ("training MSE", "training_mse"),
    ("training accuracy", "training_accuracy"),
    ("validation MSE", "validation_mse"),
    ("validation accuracy", "validation_accuracy"),
)


def section(result: BasicModel) -> list[Block]:
    """Fig. 1, 2 and 3."""
    return [*_figure_1(result), *_figure_2(result), *_figure_3(result)]


def comparison_rows(published: PublishedTable, measured: Performance) -> tuple[tuple[str, ...], ...]:
    """The rows of a table: name, the paper's figure, ours, how far the paper's lies from ours, and where."""
    rows = []
    for name, field in ROWS:
        theirs, ours = getattr(published, field), getattr(measured, field)
        rows.append(
            (
                name,
                f"{theirs.mean:.4f} ± {theirs.std:.4f}",
                plus_minus(ours),
                f"{distance(theirs, ours):+.1f} std",
                placement(theirs, ours),
            )
        )
    return tuple(rows)


def comparison_statements(published: PublishedTable, measured: Performance) -> Points:
    """For each figure in words: whether the paper's value lies within what was measured."""
    return Points(tuple(_statement(name, getattr(published, field), getattr(measured, field)) for name, field in ROWS))


def distance(published: Published, measured: Spread) -> float:
    """How far the paper's mean lies above ours, in our standard deviations."""
    return (published.mean - measured.mean) / measured.std


def standard_errors(published: Published, measured: Spread) -> float:
    """How far the two means are apart in standard errors of their difference (Welch's t)."""
    variance = published.std**2 / paper.RUNS + measured.std**2 / len(measured.values)
    return abs(published.mean - measured.mean) / math.sqrt(variance)


def placement(published: Published, measured: Spread) -> str:
    """Where the paper's mean lies among our runs."""
    if abs(distance(published, measured)) <= 1:
        return "within one std"
    if min(measured.values) <= published.mean <= max(measured.values):
        return "within the range of the runs"
    return "outside all runs"


def _statement(name: str, published: Published, measured: Spread) -> str:
    side = "above" if published.mean > measured.mean else "below"
    inside = placement(published, measured) != "outside all runs"
    errors = standard_errors(published, measured)
    chance = "more than chance explains" if errors > style.SIGNIFICANT else "which chance explains"
    return (
        f"{name}: the paper's {published.mean:.4f} lies {abs(distance(published, measured)):.1f} standard deviations "
        f"{side} our mean and {'within' if inside else 'outside'} the range of our runs, "
        f"{min(measured.values):.4f} to {max(measured.values):.4f}; the two means are {errors:.1f} standard errors "
        f"apart, {chance}."
    )


def _figure_1(result: BasicModel) -> list[Block]:
    performance = result.sgd.performance
    runs = len(performance.validation_mse.values)
    return [
        Heading("Fig. 1: performance of the basic model"),
        Paragraph(
            f"The network 2-25-25-25-2 (ReLU, ReLU, Tanh), weights and biases from U(−1, 1), trained by SGD on one "
            f"sample at a time for {paper.EPOCHS} epochs, step size {paper.LEARNING_RATE} × {paper.DECAY.rate} an "
            f"epoch: {count(runs, 'independent run')}, each with new data, {paper.SAMPLES} points a set."
        ),
        Table(
            ("", "paper", "here", "paper − here", "the paper's value lies"),
            comparison_rows(paper.FIGURE_1, performance),
            f"Fig. 1. Mean ± standard deviation over {runs} runs (paper: {paper.RUNS}); the difference in our standard "
            "deviations.",
        ),
        comparison_statements(paper.FIGURE_1, performance),
        Paragraph(
            f"In {result.worse_than_training} of our {runs} runs the validation MSE is above the training MSE, as one "
            "expects of a network that was fitted to the training set; in the paper's table it is below."
        ),
        Picture(
            "figure-1",
            _draw_performance(performance),
            f"Fig. 1. Final figures of {runs} runs (dots), their mean ± standard deviation, and the paper's.",
            "Dot plots of the final MSE and accuracy of all runs beside the paper's mean and standard deviation",
        ),
    ]


def _draw_performance(performance: Performance) -> Figure:
    figure, axes = style.panels(2, height=2.9)
    for each, measure, label in zip(axes, ("mse", "accuracy"), ("mean squared error", "accuracy"), strict=True):
        for place, part in enumerate(("training", "validation")):
            ours: Spread = getattr(performance, f"{part}_{measure}")
            theirs: Published = getattr(paper.FIGURE_1, f"{part}_{measure}")
            spread = [place - 0.3 + 0.2 * index / max(len(ours.values) - 1, 1) for index in range(len(ours.values))]
            each.plot(spread, ours.values, "o", color="0.6", markersize=3, label="runs" if place == 0 else None)
            each.errorbar(
                place, ours.mean, ours.std, fmt="o", color="black", capsize=4, label="here" if place == 0 else None
            )
            each.errorbar(
                place + 0.2,
                theirs.mean,
                theirs.std,
                fmt="s",
                color=style.VERMILION.color,
                mfc="white",
                capsize=4,
                label="paper" if place == 0 else None,
            )
        each.set_xticks([0, 1], ["training", "validation"])
        each.yaxis.set_major_locator(MaxNLocator(6))
        each.set(xlim=(-0.5, 1.5), ylabel=label)
    axes[0].legend(frameon=False, fontsize="small", ncols=3, loc="upper left")
    low, high = axes[0].get_ylim()
    axes[0].set_ylim(low, high + 0.12 * (high - low))
    return figure


def _figure_2(result: BasicModel) -> list[Block]:
    runs = len(result.sgd.roughness.values)
    return [
        Heading("Fig. 2: learning curves"),
        Picture(
            "figure-2",
            _draw_curves(result.sgd),
            f"Fig. 2. One run (lines) and the mean ± standard deviation of {runs} runs (bands), by plain SGD. Training "
            "figures are those of each sample right before its own update, averaged over the epoch; validation figures "
            "are taken at the epoch's end.",
            "MSE and accuracy against the epoch for training and validation by plain SGD",
        ),
    ]


def _draw_curves(model: Model) -> Figure:
    figure, (losses, accuracies) = style.panels(2)
    for axes, measure, label in ((losses, "loss", "mean squared error"), (accuracies, "accuracy", "accuracy")):
        for part, name, line in (
            ("train", "training", style.TRAINING),
            ("validation", "validation", style.VALIDATION),
        ):
            band = getattr(model.curves, f"{part}_{measure}")
            run = getattr(model.first_run, f"{part}_{measure}")
            low = [mean - std for mean, std in zip(band.mean, band.std, strict=True)]
            high = [mean + std for mean, std in zip(band.mean, band.std, strict=True)]
            axes.fill_between(style.epochs(low), low, high, color=line.color, alpha=0.16, linewidth=0)
            axes.plot(style.epochs(run), run, linewidth=1.3, label=name, **line.options())
        axes.set(xlabel="epoch", ylabel=label)
    style.logarithmic(losses, 0.025, 0.5)
    accuracies.set_ylim(0.75, 1.0)
    losses.legend(frameon=False)
    return figure


def _figure_3(result: BasicModel) -> list[Block]:
    found = result.misclassified
    wrong = sum(found.wrong)
    return [
        Heading("Fig. 3: misclassified samples"),
        Paragraph(
            f"Of the {len(found.points)} validation points of the run above, {wrong} are misclassified. Over all runs "
            f"{100 * found.near_share:.0f} % of the misclassified points lie within {NEAR} of the circle, a ring that "
            f"holds {100 * found.near_area:.0f} % of the square: as the paper says, the samples that are misclassified "
            "lie close to the boundary."
            if found.near_share > 2 * found.near_area
            else f"Of the {len(found.points)} validation points of the run above, {wrong} are misclassified; over all "
            f"runs {100 * found.near_share:.0f} % of the misclassified points lie within {NEAR} of the circle."
        ),
        Picture(
            "figure-3",
            _draw_misclassified(found),
            f"Fig. 3. The validation points of one run, the disk's boundary, the boundary that the network learnt, and "
            f"the {wrong} misclassified points.",
            "Points of the unit square with the disk's circle, the learnt boundary and the misclassified points",
        ),
    ]


def _draw_misclassified(found: Misclassified) -> Figure:
    figure, (axes,) = style.panels(1, width=5.4, height=5.6)
    axes.grid(visible=False)
    for inside, marker, fill in ((True, "o", "#7FB8DA"), (False, "^", "0.85")):
        chosen = [
            point
            for point, label, wrong in zip(found.points, found.inside, found.wrong, strict=True)
            if label == inside and not wrong
        ]
        axes.scatter(*zip(*chosen, strict=True), s=13, marker=marker, color=fill, edgecolors="0.45", linewidths=0.3)
    missed = [point for point, wrong in zip(found.points, found.wrong, strict=True) if wrong]
    if missed:
        axes.scatter(*zip(*missed, strict=True), s=42, marker="x", color="#D40000", linewidths=1.6, zorder=4)
    axes.add_patch(Circle(CENTER, RADIUS, fill=False, linestyle=(0, (5, 2)), linewidth=1.6, color="black"))
    ticks = [index / (len(found.margins) - 1) for index in range(len(found.margins))]
    axes.contour(ticks, ticks, found.margins, levels=[0], colors="black", linewidths=1.6)
    axes.set(xlabel="$x_1$", ylabel="$x_2$", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    handles = [
        Line2D([], [], linestyle="", marker="o", mfc="#7FB8DA", mec="0.45", label="inside"),
        Line2D([], [], linestyle="", marker="^", mfc="0.85", mec="0.45", label="outside"),
        Line2D([], [], linestyle="", marker="x", color="#D40000", mew=1.6, label="misclassified"),
        Line2D([], [], color="black", linestyle=(0, (5, 2)), linewidth=1.6, label="the disk's boundary"),
        Line2D([], [], color="black", linewidth=1.6, label="the learnt boundary"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False, fontsize="small")
    return figure


def momentum_section(result: BasicModel) -> list[Block]:
    """Fig. 6."""
    plain, momentum = result.sgd, result.momentum
    accuracy = momentum.performance.validation_accuracy
    runs = len(accuracy.values)
    as_low = sum(value < paper.MOMENTUM_ACCURACY + 0.005 for value in accuracy.values)
    return [
        Heading("Fig. 6: SGD with momentum"),
        Paragraph(
            f"With momentum (β = {paper.BETA}) and everything else as above, the final validation accuracy is "
            f"{plus_minus(accuracy)}, under plain SGD {plus_minus(plain.performance.validation_accuracy)}: "
            f"{difference(accuracy, plain.performance.validation_accuracy)}. The paper reports about "
            f"{paper.MOMENTUM_ACCURACY} for the run that it shows; {as_low} of our {runs} runs end with what rounds to "
            "this or less."
        ),
        Paragraph(
            "The paper finds its curves clearly smoother. Here the validation accuracy changes from one epoch to the "
            f"next by {plus_minus(momentum.roughness, 2, 100)} points with momentum and by "
            f"{plus_minus(plain.roughness, 2, 100)} under plain SGD, "
            f"{difference(momentum.roughness, plain.roughness)}; momentum's curve is the smoother one in "
            f"{result.momentum_is_smoother} of {runs} runs from the same draws. A velocity with β = "
            f"{paper.BETA} averages over about {1 / (1 - paper.BETA):.0f} samples."
        ),
        Picture(
            "figure-6",
            _draw_curves(momentum),
            f"Fig. 6. One run (lines) and the mean ± standard deviation of {runs} runs (bands), with momentum, "
            f"β = {paper.BETA}; the same draws as in Fig. 2.",
            "MSE and accuracy against the epoch for training and validation with momentum",
        ),
    ]
