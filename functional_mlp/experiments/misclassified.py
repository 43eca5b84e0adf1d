"""Fig. 3: which points are misclassified, and how close they lie to the boundary."""

import math
from collections.abc import Sequence

import attrs
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Circle

import functional_mlp as fm
from functional_mlp import style
from functional_mlp.experiments.document import Block, Heading, Paragraph, Picture
from functional_mlp.experiments.paper import Recipe
from functional_mlp.experiments.trials import Draw, Trial

CENTER, RADIUS = (0.5, 0.5), 1 / math.sqrt(2 * math.pi)
GRID_POINTS = 201
NEAR = 0.05


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


def run(runs: Sequence[Trial], draws: Sequence[Draw]) -> Misclassified:
    """The misclassified validation points of the first of some runs, and their distances from the circle over all."""
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


def section(found: Misclassified) -> list[Block]:
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
            _draw(found),
            f"Fig. 3. The validation points of one run, the disk's boundary, the boundary that the network learnt, and "
            f"the {wrong} misclassified points.",
            "Points of the unit square with the disk's circle, the learnt boundary and the misclassified points",
        ),
    ]


def _draw(found: Misclassified) -> Figure:
    figure, (axes,) = style.panels(1, width=5.4, height=5.6, grid=False)
    for inside in (False, True):
        chosen = [point for point, label in zip(found.points, found.inside, strict=True) if label == inside]
        style.draw_samples(axes, [x for x, _ in chosen], [y for _, y in chosen], style.series(inside))
    missed = [point for point, wrong in zip(found.points, found.wrong, strict=True) if wrong]
    style.circle_misclassified(axes, [x for x, _ in missed], [y for _, y in missed])
    axes.add_patch(Circle(CENTER, RADIUS, fill=False, zorder=5, **style.REFERENCE.options()))
    ticks = [index / (len(found.margins) - 1) for index in range(len(found.margins))]
    style.draw_boundary(axes, ticks, ticks, found.margins)
    axes.set(xlabel="$x_1$", ylabel="$x_2$", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    entries = [
        style.samples_entry("outside", style.series(False)),
        style.samples_entry("inside", style.series(True)),
        style.line_entry("the learnt boundary", style.BOUNDARY),
        style.line_entry("the disk's boundary", style.REFERENCE),
        style.misclassified_entry("misclassified"),
    ]
    style.legend_above(figure, entries, columns=3)
    return figure
