"""Whether another initialization improves the model, as the paper suggests (section IV)."""

from collections.abc import Sequence

import attrs
from matplotlib.figure import Figure

from functional_mlp import style
from functional_mlp.experiments import paper, trials
from functional_mlp.experiments.document import Block, Heading, Paragraph, Picture, Table
from functional_mlp.experiments.paper import Recipe
from functional_mlp.experiments.trials import Curves, Draw, Performance
from functional_mlp.initializers import kaiming_uniform, xavier_uniform, zeros
from functional_mlp.schedules import Schedule, constant, exponential_decay
from functional_mlp.spread import count, plus_minus

# Xavier and Kaiming describe weights: their biases start at zero.
NETWORKS = {
    "U(−1, 1)": paper.network(),
    "Xavier": paper.network(xavier_uniform(), zeros()),
    "Kaiming": paper.network(kaiming_uniform(), zeros()),
    "PyTorch's": paper.network(paper.PYTORCH_DEFAULT),
}
# A smaller start needs longer steps: the slower decay shows what the initialization costs where there is time.
SCHEDULES: dict[str, Schedule] = {"× 0.9": paper.DECAY, "× 0.97": exponential_decay(0.97), "constant": constant()}


@attrs.frozen
class Initialized:
    """The runs from one initialization under one step-size schedule."""

    initialization: str
    schedule: str
    performance: Performance
    curves: Curves


def run(draws: Sequence[Draw]) -> tuple[Initialized, ...]:
    """Train from every initialization under every schedule, with the paper's step size and epochs."""
    results = []
    for schedule_name, schedule in SCHEDULES.items():
        for name, network in NETWORKS.items():
            runs = trials.train(Recipe(network=network, schedule=schedule), draws)
            results.append(Initialized(name, schedule_name, Performance.of(runs), Curves.of(runs)))
    return tuple(results)


def section(results: Sequence[Initialized]) -> list[Block]:
    runs = count(len(results[0].performance.validation_mse.values), "run")
    statements = [_statement(schedule, _of_schedule(results, schedule)) for schedule in SCHEDULES]
    return [
        Heading("Would another initialization improve the model?"),
        Paragraph(
            f"{runs} from each initialization, with the paper's step size of {paper.LEARNING_RATE} and three "
            "decays; Xavier and Kaiming draw weights uniformly and start biases at zero, PyTorch's draws both. "
            + " ".join(statements)
        ),
        Picture(
            "initializations",
            _draw(results),
            f"Validation MSE by initialization: mean ± standard deviation of {runs}, under three decays of the "
            "step size.",
            "Validation MSE against the epoch for four initializations under three decays",
        ),
        Table(
            ("initialization", "step size", "validation MSE", "validation accuracy", "training MSE"),
            tuple(
                (
                    result.initialization,
                    result.schedule,
                    plus_minus(result.performance.validation_mse),
                    plus_minus(result.performance.validation_accuracy),
                    plus_minus(result.performance.training_mse),
                )
                for result in results
            ),
            f"Final figures after {paper.EPOCHS} epochs, mean ± standard deviation over {runs} on the same draws.",
        ),
    ]


def _of_schedule(results: Sequence[Initialized], schedule: str) -> list[Initialized]:
    return [result for result in results if result.schedule == schedule]


def _statement(schedule: str, results: Sequence[Initialized]) -> str:
    by_mse = min(results, key=lambda result: result.performance.validation_mse.mean)
    by_accuracy = max(results, key=lambda result: result.performance.validation_accuracy.mean)
    accuracies = [result.performance.validation_accuracy.mean for result in results]
    when = "With a constant step size" if schedule == "constant" else f"With a step size {schedule} an epoch"
    return (
        f"{when}, the lowest validation MSE comes from {by_mse.initialization} "
        f"({plus_minus(by_mse.performance.validation_mse)}) and the highest accuracy from "
        f"{by_accuracy.initialization} ({plus_minus(by_accuracy.performance.validation_accuracy)}), in a field from "
        f"{min(accuracies):.4f} to {max(accuracies):.4f}."
    )


def _draw(results: Sequence[Initialized]) -> Figure:
    figure, axes = style.panels(len(SCHEDULES), width=9.6, height=3.3, sharey=True)
    for each, schedule in zip(axes, SCHEDULES, strict=True):
        for index, result in enumerate(_of_schedule(results, schedule)):
            band = result.curves.validation_loss
            style.draw_band(each, style.epochs(band.mean), band, style.series(index), result.initialization)
        each.set_xlabel("epoch")
    titles = ("step size × 0.9", "step size × 0.97", "constant step size")
    style.finish_losses(axes, "validation MSE", (0.015, 0.5), titles)
    return figure
