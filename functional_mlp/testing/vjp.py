"""Proving a vector-Jacobian product: the transpose of the Jacobian that differences measure.

For a layer y = f(params, x), a tangent u of one leaf of (params, x) and a cotangent v of y,

    ⟨v, J u⟩ = d/dt ⟨v, f((params, x) + t u)⟩ at t = 0     is measured,
    ⟨Jᵀ v, u⟩ = ⟨vjp(params, x, v), u⟩                      is claimed,

and the two must be equal for every leaf and every u. `derivatives.slope` measures, and bounds its
own error.
"""

from typing import Any

import attrs
import torch
from torch import Tensor

from functional_mlp import checks, pytree, random
from functional_mlp.testing.cases import assignments
from functional_mlp.testing.derivatives import Line
from functional_mlp.testing.gradients import assert_gradient
from functional_mlp.testing.purity import attempt, restored_globals
from functional_mlp.testing.search import failures_of, named
from functional_mlp.testing.trees import largest, side_by_side


def check_vjp(layer: Any, params: Any, x: Tensor, grad_out: Tensor, *, directions: int = 4, seed: int = 0) -> None:
    """Raise `AssertionError` unless `layer.vjp` is the transposed Jacobian of `layer.apply` at one point.

    `layer` is any object with `apply` and `vjp`; `params` and `x` are of dtype float64, and so is `grad_out`, shaped
    like the output. Each leaf of `params` and `x` is moved in `directions` random directions. The message names the
    leaf, and the number in it that is wrong. A point where f has a kink in every direction is an error as well:
    nothing can be proven there. See the module's docstring for the mathematics.

    >>> import functional_mlp as fm
    >>> layer, x = fm.Tanh(), torch.tensor([0.5, -1.0], dtype=torch.float64)
    >>> check_vjp(layer, (), x, torch.ones_like(x))
    """
    directions = checks.integer("check_vjp: directions", directions, minimum=1)
    point = Point(layer, params, x, grad_out, random.key(seed))
    for name, leaf in (*zip(point.names, point.leaves, strict=True), ("grad_out", grad_out)):
        if leaf.is_floating_point() and leaf.dtype != torch.float64:
            raise ValueError(f"check_vjp: {name} must have dtype torch.float64, got {leaf.dtype}: call .double()")
    with restored_globals(), failures_of(f"check_vjp({named(layer)})"):
        claimed = point.claimed()
        for index, name in enumerate(point.names):
            decided = [point.assert_gradient(index, claimed, direction) for direction in range(directions)]
            if point.is_movable(index) and not any(decided):
                raise AssertionError(
                    f"the gradient of {name} cannot be decided here: this is no smooth point of the function, or apply "
                    f"computes in a lower precision than float64; choose another point\n{point}"
                )


def checked_vjp(name: str, result: Any, params: Any, x: Tensor) -> tuple[Any, Tensor]:
    """What `vjp` returned, once it is a pair of gradients that are like `params` and `x`."""
    if not isinstance(result, tuple) or len(result) != 2:
        raise AssertionError(f"{name} must return the pair (grad_params, grad_x), got {checks.describe(result)}")
    grad_params, grad_x = result
    if pytree.structure(grad_params) != pytree.structure(params):
        raise AssertionError(
            f"{name} must return grad_params with the structure of params, {pytree.structure(params)}, "
            f"got {pytree.structure(grad_params)}"
        )
    for path, grad, leaf in side_by_side(grad_params, params):
        assert_like(f"{name}: grad_params{path}", grad, f"params{path}", leaf)
    assert_like(f"{name}: grad_x", grad_x, "x", x)
    return grad_params, grad_x


def assert_like(name: str, tensor: Any, other_name: str, other: Tensor) -> None:
    """Raise unless `tensor` has the shape and the dtype of `other`."""
    if not isinstance(tensor, Tensor):
        raise AssertionError(f"{name} must be a tensor, got {checks.describe(tensor)}")
    if tensor.shape != other.shape:
        raise AssertionError(f"{name} must have the shape of {other_name}, {_shape(other)}, got {_shape(tensor)}")
    if tensor.dtype != other.dtype:
        raise AssertionError(f"{name} must have the dtype of {other_name}, {other.dtype}, got {tensor.dtype}")


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)


@attrs.frozen(eq=False)
class Point:
    """A layer at params and inputs, with a cotangent of its output, and a key for the directions to look in."""

    layer: Any
    params: Any
    x: Tensor
    grad_out: Tensor
    key: random.Key

    def __str__(self) -> str:
        return assignments(params=self.params, x=self.x, grad_out=self.grad_out)

    @property
    def leaves(self) -> list[Any]:
        """The leaves of params, and x."""
        return [*pytree.leaves(self.params), self.x]

    @property
    def output_size(self) -> float:
        """The size of the numbers that outputs are computed from."""
        return 1 + largest(self.x)

    @property
    def gradient_size(self) -> float:
        """The size of the products that gradients are sums of."""
        return largest(self.grad_out) * self.output_size

    @property
    def names(self) -> list[str]:
        return [*(f"params{path}" for path in pytree.paths(self.params)), "x"]

    def claimed(self) -> list[Tensor]:
        """The gradient of each leaf that the layer's vjp states."""
        result = attempt("vjp", self.layer.vjp, self.params, self.x, self.grad_out)
        grad_params, grad_x = checked_vjp("vjp", result, self.params, self.x)
        return [*pytree.leaves(grad_params), grad_x]

    def is_movable(self, index: int) -> bool:
        leaf = self.leaves[index]
        return isinstance(leaf, Tensor) and leaf.is_floating_point() and leaf.numel() > 0

    def assert_gradient(self, index: int, claimed: list[Tensor], number: int = 0) -> bool:
        """`gradients.assert_gradient` for one leaf, in one of the directions that belong to the point."""
        # What an operation inside f rounds may be larger than what comes out, as in 1 + erf(s): it is taken to be of
        # the size of 1, of the leaves and of the output.
        inside = 1 + largest(*self.leaves)

        def lines(direction: Tensor) -> Line:
            def line(t: float) -> tuple[float, float]:
                leaves = self.leaves
                leaves[index] = leaves[index] + t * direction
                y = attempt("apply", self.layer.apply, pytree.unflatten(self.params, leaves[:-1]), leaves[-1])
                assert_like("apply: the output", y, "grad_out", self.grad_out)
                return (self.grad_out * y).sum().item(), (self.grad_out.abs() * (y.abs() + inside)).sum().item()

            return line

        return assert_gradient(self.names[index], claimed[index], lines, self.key.fold_in(index).fold_in(number))
