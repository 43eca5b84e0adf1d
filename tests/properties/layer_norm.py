"""A layer that is not elementwise and has parameters, written by hand and without a base class."""

from typing import Any

import attrs
import torch
from torch import Tensor

import functional_mlp as fm


@attrs.frozen
class LayerNorm:
    """y = γ ⊙ z + β with z = (x − mean(x)) / √(var(x) + ε), over the features.

    Ba, Kiros and Hinton, "Layer normalization", 2016. With v = ∂ℓ/∂z = γ ⊙ ∂ℓ/∂y and σ = √(var(x) + ε),

        ∂ℓ/∂x = (v − mean(v) − z · mean(v ⊙ z)) / σ

    since moving x moves its mean and its variance too.
    """

    in_features: int
    eps: float = 1e-5

    @property
    def out_features(self) -> int:
        return self.in_features

    def init(
        self, key: fm.random.Key, *, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> dict[str, Tensor]:
        size = (self.in_features,)
        return {
            "scale": torch.ones(size, dtype=dtype, device=device),
            "shift": torch.zeros(size, dtype=dtype, device=device),
        }

    def apply(self, params: dict[str, Tensor], x: Tensor) -> Tensor:
        z, _ = self.standardized(x)
        return params["scale"] * z + params["shift"]

    def vjp(self, params: dict[str, Tensor], x: Tensor, grad_out: Tensor) -> tuple[Any, Tensor]:
        z, deviation = self.standardized(x)
        v = grad_out * params["scale"]
        grad_x = (v - v.mean(-1, keepdim=True) - z * (v * z).mean(-1, keepdim=True)) / deviation
        rows = (-1, self.in_features)
        return {"scale": (grad_out * z).reshape(rows).sum(0), "shift": grad_out.reshape(rows).sum(0)}, grad_x

    def standardized(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.shape[-1] != self.in_features:
            raise ValueError(f"{self!r} got inputs of shape {tuple(x.shape)}: the last must be {self.in_features}")
        centred = x - x.mean(-1, keepdim=True)
        # x.var() warns of an empty batch.
        deviation = (centred.square().mean(-1, keepdim=True) + self.eps).sqrt()
        return centred / deviation, deviation


@attrs.frozen
class LayerNormWithAFixedDeviation(LayerNorm):
    """Forgets that moving x moves the deviation."""

    def vjp(self, params: dict[str, Tensor], x: Tensor, grad_out: Tensor) -> tuple[Any, Tensor]:
        grads, _ = super().vjp(params, x, grad_out)
        _, deviation = self.standardized(x)
        v = grad_out * params["scale"]
        return grads, (v - v.mean(-1, keepdim=True)) / deviation
