"""The fully connected layer."""

from typing import Any

import attrs
import torch
from attrs import field, frozen
from torch import Tensor

from functional_mlp import checks, markup, pytree
from functional_mlp.initializers import Initializer, xavier_uniform, zeros
from functional_mlp.layers.arguments import check_init_arguments
from functional_mlp.layers.base import Layer
from functional_mlp.random import Key


@pytree.node
@frozen(eq=False)
class LinearParams:
    """The parameters of `Linear`: `weight` is (out_features, in_features), `bias` (out_features,) or None."""

    weight: Tensor = field(repr=pytree.outline)
    bias: Tensor | None = field(repr=pytree.outline)

    def _repr_html_(self) -> str:
        return markup.tree("LinearParams", self)


def _check_initializer(owner: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    name = checks.field_name(owner, attribute)
    checks.not_a_class(name, value)
    if not callable(value):
        raise TypeError(
            f"{name} must be an initializer, got {checks.describe(value)}: take one from functional_mlp.initializers"
        )


@frozen(repr=False)
class Linear(Layer):
    """The linear map s = w x + b, for inputs (..., in_features) and outputs (..., out_features).

    The paper's summation s⁽ˡ⁾ = w⁽ˡ⁾ x⁽ˡ⁻¹⁾ + b⁽ˡ⁾ (section III-B). With δ = ∂ℓ/∂s, its gradients are

        (2) ∂ℓ/∂x = wᵀ δ        (4) ∂ℓ/∂w = δ xᵀ        (5) ∂ℓ/∂b = δ

    where (4) and (5) are summed over the leading dimensions. Raises `ValueError` for inputs of another width.

    >>> layer = Linear(2, 1)
    >>> params = LinearParams(weight=torch.tensor([[2.0, 3.0]]), bias=torch.tensor([1.0]))
    >>> layer.apply(params, torch.tensor([10.0, 100.0]))
    tensor([321.])
    >>> grad_params, grad_x = layer.vjp(params, torch.tensor([10.0, 100.0]), torch.tensor([1.0]))
    >>> grad_params.weight, grad_params.bias, grad_x
    (tensor([[ 10., 100.]]), tensor([1.]), tensor([2., 3.]))
    """

    in_features: int = field(converter=checks.plain_integer, validator=checks.positive_integer)
    out_features: int = field(converter=checks.plain_integer, validator=checks.positive_integer)
    bias: bool = field(default=True, kw_only=True, validator=checks.boolean)
    weight_init: Initializer = field(default=xavier_uniform(), kw_only=True, validator=_check_initializer)
    bias_init: Initializer = field(default=zeros(), kw_only=True, validator=_check_initializer)

    def init(
        self, key: Key, *, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> LinearParams:
        check_init_arguments(key, dtype, device)

        def draw(name: str, initializer: Initializer, key: Key, shape: tuple[int, ...]) -> Tensor:
            sizes = {"fan_in": self.in_features, "fan_out": self.out_features}
            drawn = initializer(key, shape, **sizes, dtype=dtype, device=device)
            if not isinstance(drawn, Tensor) or drawn.shape != shape or drawn.dtype != dtype:
                wanted = f"must return a {dtype} tensor of shape {shape}"
                raise ValueError(f"Linear: {name}, {initializer!r}, {wanted}, got {checks.describe(drawn)}")
            return drawn

        weight_key, bias_key = key.split()
        weight = draw("weight_init", self.weight_init, weight_key, (self.out_features, self.in_features))
        bias = draw("bias_init", self.bias_init, bias_key, (self.out_features,)) if self.bias else None
        return LinearParams(weight, bias)

    def forward(self, params: LinearParams, x: Tensor) -> tuple[Tensor, Tensor]:
        shape = x.shape
        if shape[-1] != self.in_features:
            raise ValueError(
                f"Linear(in_features={self.in_features}, out_features={self.out_features}) got inputs of shape "
                f"{tuple(shape)}: the last dimension must be {self.in_features}"
            )
        if params.bias is None:
            return x @ params.weight.T, x
        if len(shape) == 1:
            return torch.addmv(params.bias, params.weight, x), x
        if len(shape) == 2:
            return torch.addmm(params.bias, x, params.weight.T), x
        return x @ params.weight.T + params.bias, x

    def backward(self, params: LinearParams, tape: Tensor, grad_out: Tensor) -> tuple[LinearParams, Tensor]:
        # Of this class: a subclass may have made its `backward_params` from a `backward` that calls this one.
        grad_params = Linear.backward_params(self, params, tape, grad_out)
        if grad_out.ndim == 2:
            return grad_params, torch.mm(grad_out, params.weight)  # (2), for δ in a row
        return grad_params, grad_out @ params.weight

    def backward_params(self, params: LinearParams, tape: Tensor, grad_out: Tensor) -> LinearParams:
        x, delta = tape, grad_out
        if x.ndim == 1:
            grad_weight, grad_bias = torch.outer(delta, x), delta  # (4), (5)
        else:  # the same, summed over the samples
            if x.ndim > 2:
                x, delta = x.reshape(-1, self.in_features), delta.reshape(-1, self.out_features)
            grad_weight, grad_bias = torch.mm(delta.T, x), delta[0] if delta.shape[0] == 1 else delta.sum(0)
        return LinearParams(grad_weight, None if params.bias is None else grad_bias)
