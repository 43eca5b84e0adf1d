"""The section on why PyTorch's curves differ."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from functional_mlp.experiments.factorial import (
    FACTORS,
    OUTCOMES,
    PAPER_CELL,
    TORCH_CELL,
    Explanation,
    Factorial,
)
from functional_mlp.experiments.report import style
from functional_mlp.experiments.report.document import Block, Heading, Paragraph, Picture, Points, Table
from functional_mlp.experiments.report.style import plus_minus

# A factor with less of the variance than this is not said to explain an outcome.
EXPLAINS = 0.1


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
            "torch.nn, at every tenth epoch; open circles: ours on the same draw.",
            "Validation MSE and accuracy against the epoch for the four settings",
        ),
        Table(
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
        ),
        Picture(
            "factorial-shares",
            _draw_shares(result),
            "The share of each outcome's variance over all runs that each source explains: (a) our network, "
            f"{runs} draws over {result.epochs} epochs; (b) both frameworks, {torch_runs} draws over "
            f"{result.common_epochs} epochs.",
            "Stacked bars of the shares of variance by source for each outcome",
        ),
    ]


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
        for cell, line in zip(result.cells, style.LINES, strict=True):
            band = getattr(cell.curves, measure)
            style.draw_band(axes, style.epochs(band.mean), band, line, f"{cell.initialization}, {cell.step_size}")
            _draw_first_runs(axes, getattr(cell.torch_first_run, measure), getattr(cell.first_run, measure), line)
        axes.set(xlabel="epoch", ylabel=label)
    style.logarithmic(losses, 0.015, 0.5)
    accuracies.set_ylim(0.85, 1.0)
    figure.legend(
        *losses.get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False, fontsize="small"
    )
    return figure


def _draw_first_runs(axes: Axes, theirs: Sequence[float], ours: Sequence[float], line: style.Line) -> None:
    every = slice(9, None, 10) if len(theirs) >= 10 else slice(None)
    epochs = style.epochs(theirs)[every]
    axes.plot(epochs, theirs[every], "o", color=line.color, markersize=2.6)
    axes.plot(epochs, ours[: len(theirs)][every], "o", mfc="none", mec=line.color, markersize=5.5, mew=0.8)


def _draw_shares(result: Factorial) -> Figure:
    figure, axes = style.panels(2, width=9.6, height=3.4, sharey=True)
    names = ("final MSE", "final accuracy", "epochs to\n0.9611", "epochs of\ndescent", "roughness")
    for each, explanations in zip(axes, (result.ours, result.both), strict=True):
        left = [0.0] * len(explanations)
        sources = ("initialization", "step-size decay", "interaction", "framework", "draw", "rest")
        for source, fill, hatch in zip(sources, style.FILLS, style.HATCHES, strict=True):
            shares = [explanation.shares.get(source, 0.0) for explanation in explanations]
            each.barh(names, shares, left=left, color=fill, hatch=hatch, edgecolor="black", linewidth=0.5, label=source)
            left = [begin + share for begin, share in zip(left, shares, strict=True)]
        each.set(xlim=(0, 1), xlabel="share of the variance")
        each.grid(visible=False)
    axes[0].invert_yaxis()
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=6, frameon=False, fontsize="small"
    )
    style.letter(axes, ("our network", "both frameworks"))
    return figure
