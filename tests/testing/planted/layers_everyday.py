"""What people get wrong in layers: batches of one, no bias, wrong axes, noise, dtypes, a weight that is used twice."""

import functools

import attrs
import torch

import functional_mlp as fm
from functional_mlp.testing import check_layer
from tests.testing.planted.layers import Affine, Square
from tests.testing.planted.magnitudes import Slope
from tests.testing.planted.table import planted


@planted(
    check_layer, 3, 2, says="grad_params.'bias'. is not the sum of the rows'|the gradient of params.'bias'. is wrong"
)
class NoBiasGradientForABatchOfOne(Affine):
    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        return {**grads, "bias": grads["bias"] * (0 if x.ndim == 2 and len(x) == 1 else 1)}, grad_x


@planted(check_layer, 3, 2, says="must have the shape of an output for x")
class SqueezesABatchOfOne(Affine):
    def apply(self, params, x):
        return super().apply(params, x).squeeze(0) if x.ndim == 2 else super().apply(params, x)


@planted(check_layer, 3, 2, says="grad_x must have the shape of x|vjp raised")
class SqueezesTheGradientOfABatchOfOne(Affine):
    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        return grads, grad_x.squeeze(0) if x.ndim == 2 else grad_x


@attrs.frozen
class Projection:
    """y = W x, with no bias unless it is asked for."""

    in_features: int
    out_features: int
    bias: bool = False

    def init(self, key, *, dtype=torch.float32, device=None):
        params = Affine(self.in_features, self.out_features).init(key, dtype=dtype, device=device)
        return params if self.bias else {"weight": params["weight"]}

    def apply(self, params, x):
        if x.shape[-1] != self.in_features:
            raise ValueError("another width")
        return x @ params["weight"].T + params.get("bias", 0)

    def vjp(self, params, x, grad_out):
        grads, grad_x = Affine(self.in_features, self.out_features).vjp(params, x, grad_out)
        return (grads if self.bias else {"weight": grads["weight"]}), grad_x


@planted(check_layer, 3, 2, says="grad_params with the structure of params")
class BiasGradientWithoutABias(Projection):
    def vjp(self, params, x, grad_out):
        return Affine(self.in_features, self.out_features).vjp(params, x, grad_out)


@planted(check_layer, 3, says="the gradient of x is wrong|row . of grad_x differs")
class NormalizedByTheDeviationOfAllRows(Square):
    """y = x / √(1 + mean x²), the mean of the batch on the way back."""

    def apply(self, params, x):
        return x / (1 + x.square().mean(-1, keepdim=True)).sqrt()

    def vjp(self, params, x, grad_out):
        square = (1 + (x.square().mean() if x.numel() else x.sum())).sqrt()
        inner = (grad_out * x).mean(-1, keepdim=True)
        return (), grad_out / square - x * inner / square**3

    def __init__(self, width=None):
        pass


@planted(check_layer, says="row 0 of a batch differs from that row alone|the gradient of x is wrong")
class SoftmaxOverTheRows(Square):
    def apply(self, params, x):
        return x.softmax(0) if x.ndim > 1 else x.softmax(-1)

    def vjp(self, params, x, grad_out):
        y = self.apply(params, x)
        axis = 0 if x.ndim > 1 else -1
        return (), y * (grad_out - (grad_out * y).sum(axis, keepdim=True))


@planted(check_layer, says="differs from that row alone")
class SoftmaxOverTheSecondDimension(Square):
    """dim=1, which are the features of a batch alone."""

    def apply(self, params, x):
        return x.softmax(1 if x.ndim > 1 else 0)

    def vjp(self, params, x, grad_out):
        y = self.apply(params, x)
        return (), y * (grad_out - (grad_out * y).sum(1 if x.ndim > 1 else 0, keepdim=True))


@planted(check_layer, says="of a batch differs from that row alone|the gradient of x is wrong")
class DividedByTheLargestOfTheBatch(Square):
    def apply(self, params, x):
        return x / x.abs().max().clamp_min(1) if x.numel() else x * 1

    def vjp(self, params, x, grad_out):
        return (), grad_out / x.abs().max().clamp_min(1) if x.numel() else grad_out * 1


@planted(check_layer, 3, says="grad_params must have the shape of params|the gradient of params is wrong")
class SlopesSummedOverTheFeatures(Slope):
    def vjp(self, params, x, grad_out):
        _, grad_x = super().vjp(params, x, grad_out)
        return torch.where(x > 0, 0, x * grad_out).sum(-1, keepdim=True).expand(x.shape)[..., : len(params)], grad_x


@planted(check_layer, 3, says="the gradient of params is wrong")
class SlopesSharedOnTheWayBack(Slope):
    """The sum over rows and features, broadcast to each slope."""

    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        return grads.sum().expand(grads.shape).clone(), grad_x


@planted(check_layer, says="vjp gives numbers for cotangents that are nan")
class NanCotangentsReplaced(Square):
    def vjp(self, params, x, grad_out):
        return (), 2 * x * grad_out.nan_to_num()


@planted(check_layer, says="must have the dtype of")
class PromotedByAConstant(Square):
    def apply(self, params, x):
        return x * x * torch.ones(x.shape[-1], dtype=torch.float64)


@functools.cache
def _positions(rows: int) -> torch.Tensor:
    return torch.arange(rows, dtype=torch.float64).unsqueeze(1) / 16


@planted(check_layer, says="of a batch differs from that row alone")
class PositionsOfRows(Square):
    def apply(self, params, x):
        return x * x + (_positions(len(x)).to(x.dtype) if x.ndim == 2 else 0)


@planted(check_layer, says="of a batch differs from that row alone|the gradient of x is wrong")
class DropoutByTheShape(Square):
    """The same mask for every call with a shape."""

    def mask(self, x):
        draws = fm.random.uniform(fm.random.key(x.shape.numel()), tuple(x.shape), 0.0, 1.0, dtype=torch.float64)
        return (draws > 0.2).to(x.dtype) / 0.8

    def apply(self, params, x):
        return x * self.mask(x)

    def vjp(self, params, x, grad_out):
        return (), grad_out * self.mask(x)


@planted(check_layer, says="reads global state")
class TrainingWhereGradientsAreOn(Square):
    """Noise "in training only", that is where autograd is on."""

    def apply(self, params, x):
        return x * x * (1.25 if torch.is_grad_enabled() else 1)


@planted(check_layer, 3, 3, says="the gradient of params.'weight'. is wrong")
class WeightUsedTwiceCountedOnce(Affine):
    """y = W (W x + b), with the gradient of one W."""

    def apply(self, params, x):
        return super().apply(params, x) @ params["weight"].T

    def vjp(self, params, x, grad_out):
        hidden = grad_out @ params["weight"]
        return super().vjp(params, x, hidden)


@planted(check_layer, 3, 2, says="vjp (changed|wrote to) its argument grad_out|vjp raised RuntimeError")
class CotangentScaledInPlace(Affine):
    def vjp(self, params, x, grad_out):
        grad_out *= 1.0
        return super().vjp(params, x, grad_out)


@planted(check_layer, says="apply gives nan|is nan where|the gradient of x is wrong")
class LengthOfZero(Square):
    """x ‖x‖, with x / ‖x‖ in the gradient."""

    def apply(self, params, x):
        return x * x.norm(dim=-1, keepdim=True)

    def vjp(self, params, x, grad_out):
        length = x.norm(dim=-1, keepdim=True)
        return (), grad_out * length + (grad_out * x).sum(-1, keepdim=True) * x / length


@planted(check_layer, 4, 4, says="grad_params.'bias'. is not the sum of|the gradient of params.'bias'. is wrong")
class BiasAlongTheRowsOfASquareBatch(Affine):
    """The sum over the features where there are as many rows as features."""

    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        if x.ndim == 2 and len(x) == self.out_features:
            grads = {**grads, "bias": grad_out.sum(1)}
        return grads, grad_x
