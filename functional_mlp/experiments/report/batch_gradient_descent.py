"""The section on batch gradient descent, section V-A of the paper."""

from matplotlib.figure import Figure

from functional_mlp.experiments import paper
from functional_mlp.experiments.batch_gradient_descent import BATCH_SIZES, Batches, BatchGradientDescent
from functional_mlp.experiments.report import style
from functional_mlp.experiments.report.document import Block, Heading, Paragraph, Picture, Table
from functional_mlp.experiments.report.style import count, plus_minus


def section(result: BatchGradientDescent) -> list[Block]:
    runs = count(len(result.decayed[0].performance.validation_mse.values), "run")
    smallest, largest = result.decayed[0], result.decayed[-1]
    constant = result.constant[-1]
    equal = result.equal_time[-1]
    return [
        Heading("Section V-A: batch gradient descent"),
        Paragraph(
            f"The paper describes batches and shows no result. {runs} a batch size, with the paper's step size of "
            f"{paper.LEARNING_RATE}: a batch of {largest.batch_size} makes "
            f"{paper.SAMPLES // largest.batch_size} updates an epoch instead of {paper.SAMPLES}. Under the paper's "
            f"decay all steps together are as long as {1 / (1 - paper.DECAY.rate):.0f} epochs at the first step size, "
            f"which leaves the validation accuracy at {plus_minus(largest.performance.validation_accuracy)} "
            f"(batch size 1: {plus_minus(smallest.performance.validation_accuracy)}). With a constant step size it "
            f"reaches {plus_minus(constant.performance.validation_accuracy)} in as many epochs. In the time of "
            f"{paper.EPOCHS} epochs at batch size 1 the fused engine makes {equal.epochs} epochs at batch size "
            f"{equal.batch_size}; with the decay stretched over them the accuracy is "
            f"{plus_minus(equal.performance.validation_accuracy)}."
        ),
        Picture(
            "batches",
            _draw(result),
            f"Batch gradient descent: the validation MSE of {runs} a batch size, mean ± standard deviation, (a) "
            "under the paper's decay, (b) with a constant step size, (c) against the time of training on the fused "
            "engine, with the decay stretched over the run.",
            "Validation MSE against epochs and time for the batch sizes 1, 10, 50 and 100",
        ),
        Table(
            ("batch size", "ms an epoch", "× 0.9 an epoch", "constant", "equal time", "epochs in it"),
            tuple(map(_row, result.decayed, result.constant, result.equal_time)),
            "Validation accuracy, mean ± standard deviation. The time is that of a lone run on the fused engine, "
            "without validation.",
        ),
        Paragraph(
            f"`BatchGD`, which takes one sample's gradient an update and applies the mean of every {BATCH_SIZES[1]}, "
            f"ends the paper's {paper.EPOCHS} epochs within {result.largest_difference:.1e} of SGD on batches of "
            f"{BATCH_SIZES[1]} in every parameter."
        ),
    ]


def _row(decayed: Batches, constant: Batches, equal_time: Batches) -> tuple[str, ...]:
    accuracies = [plus_minus(runs.performance.validation_accuracy) for runs in (decayed, constant, equal_time)]
    return (str(decayed.batch_size), f"{1e3 * decayed.seconds:.3f}", *accuracies, str(equal_time.epochs))


def _draw(result: BatchGradientDescent) -> Figure:
    figure, axes = style.panels(3, width=9.6, height=3.3, sharey=True)
    for each, group in zip(axes, (result.decayed, result.constant, result.equal_time), strict=True):
        for runs, line in zip(group, style.LINES, strict=True):
            band = runs.curves.validation_loss
            scale = 1e3 * runs.seconds if group is result.equal_time else 1
            x = [scale * epoch for epoch in style.epochs(band.mean)]
            style.draw_band(each, x, band, line, f"batch size {runs.batch_size}")
        each.set_xlabel("ms of training" if group is result.equal_time else "epoch")
    style.logarithmic(axes[0], 0.02, 0.5)
    axes[0].set_ylabel("validation MSE")
    axes[0].legend(frameon=False, fontsize="small")
    style.letter(axes, ("× 0.9 an epoch", "constant step size", "equal time"))
    return figure
