"""Layers that apply one function to every number, written as expressions in the array algebra."""

from typing import ClassVar

import torch
from attrs import frozen
from torch import Tensor

from functional_mlp import checks
from functional_mlp.algebra import Array, Namespace, narrowed, torch_namespace, widened, working_dtype
from functional_mlp.layers.base import Layer, Params, Tape
from functional_mlp.random import Key


@frozen(repr=False)
class Elementwise(Layer):
    """The base class of layers that apply one function σ to every number: x = σ(s).

    A subclass gives two expressions in the array algebra (see `functional_mlp.algebra`), and that is all:

        value(xp, s)         σ(s)
        derivative(xp, s, y) σ'(s), from the input s, the output y, or both

    The gradient is equation (3) of the paper: ∂ℓ/∂s = ∂ℓ/∂x ⊙ σ'(s). Where that product can be formed better
    than by a multiplication, a subclass overrides `pullback` as well.
    """

    keeps_features: ClassVar[bool] = True

    DERIVED: ClassVar = ("init", "apply", "vjp", "forward", "backward")
    """What this class makes of a subclass's expressions: a subclass that has its own is more than its expressions."""

    def init(self, key: Key, *, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None) -> Params:
        """`()`; raises `ValueError` where a number of the layer is beyond the dtype."""
        params = Layer.init(self, key, dtype=dtype, device=device)
        checks.numbers_in_range(self, working_dtype(dtype))
        return params

    def value(self, xp: Namespace, s: Array) -> Array:
        raise NotImplementedError(f"{type(self).__name__} must define value(self, xp, s)")

    def derivative(self, xp: Namespace, s: Array, y: Array) -> Array:
        raise NotImplementedError(f"{type(self).__name__} must define derivative(self, xp, s, y)")

    def pullback(self, xp: Namespace, s: Array, y: Array, grad: Array) -> Array:
        return grad * self.derivative(xp, s, y)

    def forward(self, params: Params, x: Tensor) -> tuple[Tensor, Tape]:
        s = widened(x)
        xp = torch_namespace(s.dtype, s.device)
        y = self.value(xp, s)
        return narrowed(y, x.dtype), (xp, s, y)

    def backward(self, params: Params, tape: Tape, grad_out: Tensor) -> tuple[Params, Tensor]:
        xp, s, y = tape
        return (), narrowed(self.pullback(xp, s, y, widened(grad_out)), grad_out.dtype)
