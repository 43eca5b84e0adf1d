"""Fig. 1, 2, 3 and 6: the paper's own model, by plain SGD and with momentum."""

import math
from collections.abc import Sequence

import attrs
import torch

import functional_mlp as fm
from functional_mlp.experiments import paper, trials
from functional_mlp.experiments.paper import Recipe
from functional_mlp.experiments.trials import Curves, Draw, Performance, Spread, Trial

CENTER, RADIUS = (0.5, 0.5), 1 / math.sqrt(2 * math.pi)
GRID_POINTS = 201
NEAR = 0.05


@attrs.frozen
class Model:
    """Independent runs of a recipe: the final figures, the curves of the first run and those of all."""

    performance: Performance
    first_run: fm.History
    curves: Curves
    roughness: Spread

    @classmethod
    def of(cls, runs: Sequence[Trial]) -> "Model":
        return cls(
            Performance.of(runs),
            runs[0].history,
            Curves.of(runs),
            Spread.of(trials.roughness(run.history) for run in runs),
        )


@attrs.frozen
class Misclassified:
    """The validation points of one run, the boundary that it learnt, and where all runs go wrong.

    `margins` is the difference of the two outputs, inside minus outside, on a square grid over [0, 1]²: row by
    row from below, positive where the network says inside. `distances` are those of all runs' misclassified
    points from the circle.
    """

    points: tuple[tuple[float, float], ...]
    inside: tuple[bool, ...]
    wrong: tuple[bool, ...]
    margins: tuple[tuple[float, ...], ...]
    distances: tuple[float, ...]
    near_share: float
    near_area: float


@attrs.frozen
class BasicModel:
    """The paper's model by plain SGD, where it goes wrong, and the same with momentum."""

    sgd: Model
    misclassified: Misclassified
    momentum: Model
    worse_than_training: int
    momentum_is_smoother: int


def run(draws: Sequence[Draw]) -> BasicModel:
    """Train the paper's model once for each draw by plain SGD, and once with momentum."""
    plain = trials.train(Recipe(), draws)
    momentum = trials.train(Recipe(optimizer=fm.Momentum(paper.LEARNING_RATE, paper.BETA)), draws)
    sgd_model, momentum_model = Model.of(plain), Model.of(momentum)
    roughness = zip(sgd_model.roughness.values, momentum_model.roughness.values, strict=True)
    return BasicModel(
        sgd=sgd_model,
        misclassified=find_misclassified(plain, draws),
        momentum=momentum_model,
        worse_than_training=sum(trial.validation.loss > trial.training.loss for trial in plain),
        momentum_is_smoother=sum(with_momentum < without for without, with_momentum in roughness),
    )


def find_misclassified(runs: Sequence[Trial], draws: Sequence[Draw]) -> Misclassified:
    """The misclassified validation points of the first run, and their distances from the circle over all runs."""
    network = Recipe().network
    wrong, distances = [], []
    for trial, draw in zip(runs, draws, strict=True):
        data = draw.validation
        assert data.labels is not None  # the disk's targets are one-hot
        wrong.append(fm.classify(network, trial.params, data.inputs).ne(data.labels))
        radii = (data.inputs[wrong[-1]].double() - torch.tensor(CENTER, dtype=torch.float64)).norm(dim=1)
        distances += (radii - RADIUS).abs().tolist()
    axis = torch.linspace(0, 1, GRID_POINTS)
    grid = torch.cartesian_prod(axis, axis).flip(1)
    outputs = fm.predict(network, runs[0].params, grid)
    shown = draws[0].validation
    assert shown.labels is not None
    return Misclassified(
        points=tuple((x, y) for x, y in shown.inputs.tolist()),
        inside=tuple(map(bool, shown.labels.tolist())),
        wrong=tuple(wrong[0].tolist()),
        margins=tuple(map(tuple, (outputs[:, 1] - outputs[:, 0]).reshape(GRID_POINTS, GRID_POINTS).tolist())),
        distances=tuple(distances),
        near_share=sum(distance <= NEAR for distance in distances) / max(len(distances), 1),
        near_area=math.pi * ((RADIUS + NEAR) ** 2 - (RADIUS - NEAR) ** 2),
    )
