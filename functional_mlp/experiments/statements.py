"""Figures in words: the paper's beside ours, and two of ours over the same draws."""

import math

from functional_mlp.experiments import paper
from functional_mlp.experiments.document import Points
from functional_mlp.experiments.paper import Published, PublishedTable
from functional_mlp.experiments.trials import Performance
from functional_mlp.spread import Spread, plus_minus, with_deviation

ROWS = (
    ("training MSE", "training_mse"),
    ("training accuracy", "training_accuracy"),
    ("validation MSE", "validation_mse"),
    ("validation accuracy", "validation_accuracy"),
)
# Means this many standard errors apart are not put down to chance.
SIGNIFICANT = 3.0


def comparison_rows(published: PublishedTable, measured: Performance) -> tuple[tuple[str, ...], ...]:
    """The rows of a table: name, the paper's figure, ours, how far the paper's lies from ours, and where."""
    rows = []
    for name, field in ROWS:
        theirs, ours = getattr(published, field), getattr(measured, field)
        gap = f"{distance(theirs, ours):+.1f} std"
        rows.append((name, plus_minus(theirs), plus_minus(ours), gap, placement(theirs, ours)))
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
    if len(measured.values) == 1:
        return f"{name}: the paper's {published.mean:.4f} lies {side} that of our one run, {measured.mean:.4f}."
    inside = placement(published, measured) != "outside all runs"
    errors = standard_errors(published, measured)
    chance = "more than chance explains" if errors > SIGNIFICANT else "which chance explains"
    return (
        f"{name}: the paper's {published.mean:.4f} lies {abs(distance(published, measured)):.1f} standard deviations "
        f"{side} our mean and {'within' if inside else 'outside'} the range of our runs, "
        f"{min(measured.values):.4f} to {max(measured.values):.4f}; the two means are {errors:.1f} standard errors "
        f"apart, {chance}."
    )


def difference(first: Spread, second: Spread) -> str:
    """The mean difference of two shares over the same draws with its standard error, and whether it is chance.

    >>> difference(Spread.of([0.9, 0.8, 0.9]), Spread.of([0.8, 0.9, 0.9]))
    'a difference of +0.00 ± 5.77 points (standard error), which is no more than chance'
    """
    gap = first.minus(second)
    if len(gap.values) == 1:
        return f"a difference of {100 * gap.mean:+.2f} points in one run, from which nothing follows"
    chance = "more" if abs(gap.mean) > SIGNIFICANT * gap.standard_error else "no more"
    points = with_deviation(100 * gap.mean, 100 * gap.standard_error, ("+.2f", ".2f"))
    return f"a difference of {points} points (standard error), which is {chance} than chance"
