"""A point at which a layer is examined: params, inputs and a cotangent of the output."""

import math
from collections.abc import Iterator
from typing import Any

import attrs
from torch import Tensor

from functional_mlp import pytree, random
from functional_mlp.layers.base import Layer
from functional_mlp.testing.assignments import assignments
from functional_mlp.testing.calls import Call, is_floating, reflected, stretched
from functional_mlp.testing.purity import attempt, inherits
from functional_mlp.testing.trees import largest

# How far a point is moved off a kink: further than the smallest step of a difference, and not far.
JITTER = 2.0**-6


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
    def names(self) -> list[str]:
        return [*(f"params{path}" for path in pytree.paths(self.params)), "x"]

    @property
    def rows(self) -> int:
        return math.prod(self.x.shape[:-1])

    @property
    def output_size(self) -> float:
        """The size of the numbers that outputs are computed from."""
        return 1 + largest(self.x)

    @property
    def gradient_size(self) -> float:
        """The size of the products that gradients are sums of."""
        return largest(self.grad_out) * self.output_size

    def is_movable(self, index: int) -> bool:
        leaf = self.leaves[index]
        return is_floating(leaf) and leaf.numel() > 0

    def flat(self) -> "Point":
        """The point with all its rows along one dimension."""
        return attrs.evolve(self, x=_rows(self.x), grad_out=_rows(self.grad_out))

    def chosen(self, rows: Tensor) -> "Point":
        """Some rows of a flat point."""
        return attrs.evolve(self, x=self.x[rows], grad_out=self.grad_out[rows])

    def parts(self) -> Iterator["Point"]:
        """Each row alone, the one of the smallest numbers first."""
        flat = self.flat()
        if flat.rows > 1 and len(flat.grad_out) == flat.rows:
            for row in flat.x.abs().sum(-1).argsort(stable=True).tolist():
                yield attrs.evolve(flat, x=flat.x[row].clone(), grad_out=flat.grad_out[row].clone())

    def jittered(self) -> "Point":
        """A point nearby, off the kinks that numbers with few digits meet."""

        def moved(leaf: Any, key: random.Key) -> Any:
            if not is_floating(leaf):
                return leaf
            return leaf + random.uniform(key, tuple(leaf.shape), -JITTER, JITTER, dtype=leaf.dtype)

        *params, x = (moved(leaf, self.key.fold_in(i)) for i, leaf in enumerate(self.leaves))
        return attrs.evolve(self, params=pytree.unflatten(self.params, params), x=x)

    def scaled(self, factor: float) -> "Point":
        """The point with a cotangent of another size."""
        return attrs.evolve(self, grad_out=factor * self.grad_out)

    def calls(self) -> list[Call]:
        """apply, vjp, and where the layer has them of its own, backward after forward."""
        layer = self.layer
        detached = ("params", "x", "grad_out") if inherits(layer, Layer, "apply", "vjp") else ()
        forth = {"params": self.params, "x": self.x}
        back = {**forth, "grad_out": self.grad_out}
        changes = {"params": stretched, "x": reflected}
        vjp_changes = {**changes, "grad_out": reflected}
        calls = [
            Call("apply", layer.apply, forth, self.output_size, changes, detached[:2]),
            Call("vjp", layer.vjp, back, self.gradient_size, vjp_changes, detached),
        ]
        if has_two_passes(layer) and not detached:
            calls.append(Call("backward", self._backward_after_forward, back, self.gradient_size, vjp_changes))
        return calls

    def _backward_after_forward(self, params: Any, x: Tensor, grad_out: Tensor) -> Any:
        _, tape = self.layer.forward(params, x)
        return self.layer.backward(params, tape, grad_out)

    def outputs(self, index: int, leaf: Tensor) -> Tensor:
        """What apply gives with another leaf."""
        leaves = self.leaves
        leaves[index] = leaf
        params = pytree.unflatten(self.params, leaves[:-1])
        y: Tensor = attempt("apply", self.layer.apply, params, leaves[-1])
        return y


def has_two_passes(layer: Any) -> bool:
    return hasattr(layer, "forward") and hasattr(layer, "backward")


def _rows(tensor: Tensor) -> Tensor:
    return tensor.reshape(math.prod(tensor.shape[:-1]), tensor.shape[-1])
