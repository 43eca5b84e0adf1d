"""Proving a vector-Jacobian product: the transpose of the Jacobian that differences measure.

For a layer y = f(params, x), a tangent u of one leaf of (params, x) and a cotangent v of y,

    ⟨v, J u⟩ = d/dt ⟨v, f((params, x) + t u)⟩ at t = 0     is measured,
    ⟨Jᵀ v, u⟩ = ⟨vjp(params, x, v), u⟩                      is claimed,

and the two must be equal for every leaf and every u. `derivatives.slope` measures, and bounds its own error; over a
batch `derivatives.slopes` measures the slope of every row.
"""

import math
import sys

import torch
from torch import Tensor

from functional_mlp import pytree
from functional_mlp.testing.derivatives import ROUNDINGS, Line, Slopes, slopes
from functional_mlp.testing.gradients import Tally, assert_gradient, direction_of
from functional_mlp.testing.layer.point import Point
from functional_mlp.testing.layer.properties import checked_vjp
from functional_mlp.testing.purity import attempt
from functional_mlp.testing.trees import assert_like, largest

# Inputs up to here can be moved in many digits, and still are what they are meant to be: see `gradients.DIGITS`.
EXACT = 2.0**14


def claimed_gradients(point: Point) -> list[Tensor]:
    """The gradient of each leaf that the layer's vjp states."""
    result = attempt("vjp", point.layer.vjp, point.params, point.x, point.grad_out)
    grad_params, grad_x = checked_vjp("vjp", result, point.params, point.x)
    return [*pytree.leaves(grad_params), grad_x]


def assert_leaf_gradient(point: Point, index: int, claimed: Tensor, number: int = 0) -> bool:
    """`gradients.assert_gradient` for one leaf, in one of the directions that belong to the point."""
    # What an operation inside f rounds may be larger than what comes out, as in 1 + erf(s): it is taken to be of
    # the size of 1, of the leaves and of the output.
    inside = 1 + largest(*point.leaves)

    def line_of(direction: Tensor) -> Line:
        def line(t: float) -> tuple[float, float]:
            y = point.outputs(index, point.leaves[index] + t * direction)
            assert_like("apply: the output", y, "grad_out", point.grad_out)
            return (point.grad_out * y).sum().item(), (point.grad_out.abs() * (y.abs() + inside)).sum().item()

        return line

    return assert_gradient(point.names[index], claimed, line_of, point.key.fold_in(index).fold_in(number))


class Transposition:
    """vjp is the transposed Jacobian, leaf by leaf, along one line through all rows.

    Where a point has a kink, one nearby is tried.
    """

    tally: Tally

    def __init__(self) -> None:
        self.tally = Tally()

    def __call__(self, point: Point) -> None:
        claimed = claimed_gradients(point)
        for index, name in enumerate(point.names):
            if point.is_movable(index):
                decided = assert_leaf_gradient(point, index, claimed[index]) or self._nearby(point.jittered(), index)
                self.tally.add(name, point, decided=decided)

    @staticmethod
    def _nearby(point: Point, index: int) -> bool:
        return assert_leaf_gradient(point, index, claimed_gradients(point)[index])


def rows_are_transposed(point: Point) -> None:
    """vjp is the transposed Jacobian at each row of a batch where the output is finite and has no kink."""
    point = _finite_rows(point.flat())
    if not point.rows:
        return
    inputs = len(point.leaves) - 1
    for index in (inputs, *range(inputs)):
        if point.is_movable(index):
            direction = _direction(point, index)
            measured = _row_slopes(point, index, direction)
            rows = measured.decided
            terms = claimed_gradients(point.chosen(rows))[index] * (direction[rows] if index == inputs else direction)
            values, errors = measured.values[rows], measured.errors[rows]
            if index != inputs:  # gradients of params are sums over the rows
                terms, values, errors = terms.reshape(1, -1), values.sum(0, keepdim=True), errors.sum(0, keepdim=True)
            _assert_slopes(point.names[index], terms, values, errors)


def _direction(point: Point, index: int) -> Tensor:
    """A direction in which one leaf moves what the layer computes by about 1, however large the inputs are.

    Inputs beyond 2¹⁴ move by 1, so that they stay exact, and params by 1 over the largest of such inputs.
    """
    leaf, size = point.leaves[index], largest(point.x)
    direction = direction_of(tuple(leaf.shape), point.key.fold_in(index))
    if leaf is point.x:
        return torch.where(leaf.abs() > EXACT, direction.sign(), direction)
    return direction if size <= EXACT else direction.sign() * 2.0 ** -math.ceil(math.log2(size))


def _finite_rows(point: Point) -> Point:
    finite = point.outputs(len(point.leaves) - 1, point.x).isfinite().all(dim=-1)
    return point if finite.all() else point.chosen(finite)


def _row_slopes(point: Point, index: int, direction: Tensor) -> Slopes:
    """The slope of ⟨v, f⟩ in each row, where one leaf moves."""
    inside = 1 + point.x.abs().amax(-1) + largest(*point.leaves[:-1])

    def lines(t: float) -> tuple[Tensor, Tensor]:
        y = point.outputs(index, point.leaves[index] + t * direction)
        magnitudes = point.grad_out.abs() * (y.abs() + inside.unsqueeze(-1))
        return (point.grad_out * y).sum(-1), magnitudes.sum(-1)

    return slopes(lines)


def _assert_slopes(name: str, terms: Tensor, values: Tensor, errors: Tensor) -> None:
    """Raise unless the sum of each row of terms is the measured slope, up to its error and to rounding."""
    claimed = terms.sum(-1)
    allowed = errors + ROUNDINGS * sys.float_info.epsilon * terms.abs().sum(-1)
    wrong = ~((claimed - values).abs() <= allowed)  # NaN is wrong
    if wrong.any():
        row = wrong.nonzero()[0]
        raise AssertionError(
            f"the gradient of {name} is wrong: {claimed[row].item():.10g} for the slope in some direction, "
            f"differences give {values[row].item():.10g} ± {allowed[row].item():.1g}"
        )
