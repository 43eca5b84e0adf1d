"""Mistakes in some shapes only, large batches, wide rows and several leading dimensions, or for some cotangents."""

import torch

from functional_mlp.testing import check_layer
from tests.testing.planted.layers import Affine, Square
from tests.testing.planted.table import planted

NOT_LINEAR = "vjp is not linear in grad_out|the gradient of .* is wrong"


@planted(check_layer, says="row . of (a batch|grad_x) differs from that row alone|the gradient of x is wrong")
class WrongFromTheSixthRowOn(Square):
    def vjp(self, params, x, grad_out):
        rows = torch.arange(x[..., 0].numel()).reshape(*x.shape[:-1], 1)
        return (), torch.where(rows < 5, 2, 3) * x * grad_out


@planted(check_layer, 3, 2, says="grad_params.'weight'. is not the sum|the gradient of params.'weight'. is wrong")
class SumsSixteenRowsAtMost(Affine):
    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        rows, delta = x.reshape(-1, 3)[:16], grad_out.reshape(-1, 2)[:16]
        return {**grads, "weight": delta.T @ rows}, grad_x


@planted(check_layer, 3, 2, says="the gradient of params.'bias'. is wrong")
class MeanBeyondAHundredRows(Affine):
    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        rows = x[..., 0].numel()
        return {**grads, "bias": grads["bias"] / (rows if rows > 100 else 1)}, grad_x


@planted(check_layer, says="row 0 of a batch differs from that row alone")
class NormalizesBatchesAboveFive(Square):
    def apply(self, params, x):
        return x * x + (x.mean(0, keepdim=True) if x.ndim > 1 and len(x) > 5 else 0)

    def vjp(self, params, x, grad_out):
        mean = grad_out.mean(0, keepdim=True) if x.ndim > 1 and len(x) > 5 else 0
        return (), 2 * x * grad_out + mean


@planted(check_layer, says="the gradient of x is wrong")
class WrongFromTheSixthFeatureOn(Square):
    def vjp(self, params, x, grad_out):
        return (), torch.where(torch.arange(x.shape[-1]) < 5, 2, 3) * x * grad_out


@planted(check_layer, says="the gradient of x is wrong")
class WrongForWideRowsAlone(Square):
    def vjp(self, params, x, grad_out):
        return (), (2 if x.shape[-1] < 8 else 1) * x * grad_out


@planted(check_layer, 9, 2, says=r"the gradient of params.'weight'. is wrong at \[\d, 8\]")
class ForgetsTheNinthColumn(Affine):
    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        return {**grads, "weight": torch.nn.functional.pad(grads["weight"][:, :8], (0, 1))}, grad_x


@planted(check_layer, 3, 2, says="vjp raised RuntimeError|grad_params.'bias'. must have the shape")
class TwoLeadingDimensionsAtMost(Affine):
    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        bias = grad_out.sum(tuple(range(min(2, grad_out.ndim - 1)))) if grad_out.ndim > 1 else grad_out
        return {**grads, "bias": bias}, grad_x


@planted(check_layer, says="row . of (a batch|grad_x) differs from that row alone|the gradient of x is wrong")
class MixesUpTwoLeadingDimensions(Square):
    def vjp(self, params, x, grad_out):
        if grad_out.ndim == 3 and len(set(grad_out.shape[:2])) == 2:
            grad_out = grad_out.transpose(0, 1).reshape(grad_out.shape)
        return (), 2 * x * grad_out


@planted(check_layer, says="must have the shape of an output for x")
class SqueezesDimensionsOfOne(Square):
    def apply(self, params, x):
        return (x * x).squeeze(1) if x.ndim == 4 else x * x


@planted(check_layer, says=NOT_LINEAR)
class DropsSmallCotangents(Square):
    def vjp(self, params, x, grad_out):
        return (), 2 * x * torch.where(grad_out.abs() < 1e-2, 0, grad_out)


@planted(check_layer, says=NOT_LINEAR)
class DropsTinyCotangents(Square):
    def vjp(self, params, x, grad_out):
        return (), 2 * x * torch.where(grad_out.abs() < 1e-3, 0, grad_out)


@planted(check_layer, says=NOT_LINEAR)
class ClipsCotangentsAtAHundred(Square):
    def vjp(self, params, x, grad_out):
        return (), 2 * x * grad_out.clamp(-100, 100)


@planted(check_layer, 3, 2, says=NOT_LINEAR)
class ClipsTheNormOfTheWeightGradient(Affine):
    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        weight = grads["weight"]
        return {**grads, "weight": weight * (1e4 / weight.norm().clamp_min(1e4))}, grad_x
