"""Fig. 6: the basic model by SGD with momentum."""

from collections.abc import Sequence

import functional_mlp as fm
from functional_mlp.experiments import paper, trials
from functional_mlp.experiments.document import Block, Heading, Paragraph, Picture
from functional_mlp.experiments.models import Model, draw_curves
from functional_mlp.experiments.paper import Recipe
from functional_mlp.experiments.statements import difference
from functional_mlp.experiments.trials import Draw
from functional_mlp.spread import plus_minus


def run(draws: Sequence[Draw]) -> Model:
    """Train the paper's model with momentum, one run for each draw."""
    return Model.of(trials.train(Recipe(optimizer=fm.Momentum(paper.LEARNING_RATE, paper.BETA)), draws))


def section(momentum: Model, plain: Model) -> list[Block]:
    """Fig. 6, beside the same runs by plain SGD."""
    accuracy = momentum.performance.validation_accuracy
    runs = len(accuracy.values)
    changes = zip(momentum.roughness.values, plain.roughness.values, strict=True)
    smoother = sum(with_momentum < without for with_momentum, without in changes)
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
            f"{smoother} of {runs} runs from the same draws. A velocity with β = "
            f"{paper.BETA} averages over about {1 / (1 - paper.BETA):.0f} samples."
        ),
        Picture(
            "figure-6",
            draw_curves(momentum),
            f"Fig. 6. One run (lines) and the mean ± standard deviation of {runs} runs (bands), with momentum, "
            f"β = {paper.BETA}; the same draws as in Fig. 2.",
            "MSE and accuracy against the epoch for training and validation with momentum",
        ),
    ]
