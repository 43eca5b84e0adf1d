"""Correct layers that use nothing of the library, which mistakes are planted in, and a base for expressions."""

from typing import Any

import attrs
import torch
from torch import Tensor

import functional_mlp as fm


@attrs.frozen
class Affine:
    """y = W x + b; a layer without a base class."""

    in_features: int
    out_features: int

    def init(self, key: fm.random.Key, *, dtype: torch.dtype = torch.float32, device: Any = None) -> Any:
        weight_key, bias_key = key.split()
        shape = (self.out_features, self.in_features)
        return {
            "weight": fm.random.normal(weight_key, shape, dtype=dtype, device=device),
            "bias": fm.random.normal(bias_key, shape[:1], dtype=dtype, device=device),
        }

    def apply(self, params: Any, x: Tensor) -> Tensor:
        if x.shape[-1] != self.in_features:
            raise ValueError(f"x must be {self.in_features} wide")
        return x @ params["weight"].T + params["bias"]

    def vjp(self, params: Any, x: Tensor, grad_out: Tensor) -> tuple[Any, Tensor]:
        delta, rows = grad_out.reshape(-1, self.out_features), x.reshape(-1, self.in_features)
        return {"weight": delta.T @ rows, "bias": delta.sum(0)}, grad_out @ params["weight"]


@attrs.frozen
class Square:
    """y = x², for any width."""

    def init(self, key: fm.random.Key, *, dtype: torch.dtype = torch.float32, device: Any = None) -> Any:
        return ()

    def apply(self, params: Any, x: Tensor) -> Tensor:
        return x * x

    def vjp(self, params: Any, x: Tensor, grad_out: Tensor) -> tuple[Any, Tensor]:
        return (), 2 * x * grad_out


class Unproved(fm.Elementwise):
    """The base of activations whose expressions are not all that they are: they are not proved, but tested."""

    def init(self, key: fm.random.Key, *, dtype: torch.dtype = torch.float32, device: Any = None) -> Any:
        return super().init(key, dtype=dtype, device=device)
