"""Whatever is used as a layer, as a `Layer`."""

from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from functional_mlp import checks
from functional_mlp.layers.base import Layer, Params
from functional_mlp.layers.nesting import check_depth
from functional_mlp.random import Key


@frozen(repr=False)
class Adapted(Layer):
    """An object that is no `Layer` but has the functions `init`, `apply` and `vjp`, as one."""

    layer: Any

    def __repr__(self) -> str:
        return repr(self.layer)

    @property
    def in_features(self) -> int | None:
        return getattr(self.layer, "in_features", None)

    @property
    def out_features(self) -> int | None:
        return getattr(self.layer, "out_features", None)

    def init(self, key: Key, *, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None) -> Params:
        return self.layer.init(key, dtype=dtype, device=device)

    def apply(self, params: Params, x: Tensor) -> Tensor:
        y: Tensor = self.layer.apply(params, x)
        return y

    def vjp(self, params: Params, x: Tensor, grad_out: Tensor) -> tuple[Params, Tensor]:
        gradients: tuple[Params, Tensor] = self.layer.vjp(params, x, grad_out)
        return gradients


def as_layer(name: str, layer: Any) -> Layer:
    """`layer` as a `Layer`; `TypeError` where it is none and has not its functions."""
    if isinstance(layer, Layer):
        check_depth(name, layer.nesting_depth)
        checks.hashable(name, layer)
        return layer
    if isinstance(layer, type):
        raise TypeError(f"{name} must be a layer, got the class {layer.__name__}: call it to make a layer")
    if not all(callable(getattr(layer, function, None)) for function in ("init", "apply", "vjp")):
        raise TypeError(
            f"{name} must be a layer, got {checks.describe(layer)}: subclass functional_mlp.Layer, "
            "or give it the functions init, apply and vjp"
        )
    checks.hashable(name, layer)
    return Adapted(layer)
