"""Mistakes in the shapes, dtypes and structures of layers, and in how they read memory."""

import attrs
import torch

import functional_mlp as fm
from functional_mlp.testing import check_layer
from tests.testing.planted.layers import Affine, Square
from tests.testing.planted.table import planted


@planted(check_layer, 3, 2, says="vjp must return grad_params with the structure of params")
class ParamsOfAnotherStructure(Affine):
    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        return tuple(grads.values()), grad_x


@planted(check_layer, 3, 2, says="vjp must return the pair")
class ReturnsGradXAlone(Affine):
    def vjp(self, params, x, grad_out):
        return super().vjp(params, x, grad_out)[1]


@planted(check_layer, 3, 2, says="apply: the output must have the dtype")
class DtypeChanged(Affine):
    def apply(self, params, x):
        return super().apply(params, x).to(torch.float64)


@planted(check_layer, 3, 2, says="init: params.'bias'. must have the dtype asked for")
class DtypeIgnoredByInit(Affine):
    def init(self, key, *, dtype=torch.float32, device=None):
        return super().init(key, device=device)


@planted(check_layer, 3, 2, says=r"(apply|vjp) raised (IndexError|RuntimeError)")
class LeadingDimensionsNotHandled(Affine):
    def vjp(self, params, x, grad_out):
        return {"weight": grad_out.mT @ x, "bias": grad_out.sum(0)}, grad_out @ params["weight"]


@planted(check_layer, says="apply raised RuntimeError")
class NoEmptyBatch(Square):
    def apply(self, params, x):
        largest = x.max()
        return x * x + largest - largest


@planted(check_layer, says="row 0 of a batch differs from that row alone")
class RowsAffectEachOther(Square):
    """Centred over the batch instead of the features."""

    def apply(self, params, x):
        return x - x.mean(0, keepdim=True) if x.ndim > 1 and len(x) else x * 1

    def vjp(self, params, x, grad_out):
        return (), self.apply(params, grad_out)


@planted(check_layer, 3, says=r"in_features is 3, but apply takes x of shape \(2, 1\)")
@attrs.frozen
class Broadcasts:
    """y = a ⊙ x: one feature is broadcast to three."""

    in_features: int

    def init(self, key, *, dtype=torch.float32, device=None):
        return fm.random.normal(key, (self.in_features,), dtype=dtype, device=device)

    def apply(self, params, x):
        return params * x

    def vjp(self, params, x, grad_out):
        return (grad_out * x).reshape(-1, self.in_features).sum(0), grad_out * params


@planted(check_layer, 3, 2, says="out_features is 2, but apply returned 1")
class SaysAnotherSize(Affine):
    def apply(self, params, x):
        return super().apply(params, x)[..., :1]


@planted(check_layer, 3, 2, says="apply depends on how tensors lie in memory|apply raised RuntimeError")
class ReadsMemoryAsContiguous(Affine):
    def apply(self, params, x):
        return super().apply(params, torch.as_strided(x, x.shape, torch.empty(x.shape).stride()))
