"""Mistakes for some sizes of numbers only: rates, gradients, parameters, cotangents, targets and weights of samples."""

import attrs
import torch

import functional_mlp as fm
from functional_mlp.testing import check_layer, check_loss, check_optimizer, check_penalty
from tests.testing.planted.layers import Affine, Square, Unproved
from tests.testing.planted.losses import Squared
from tests.testing.planted.optimizers import Descent, adam, momentum
from tests.testing.planted.penalties import Shrink
from tests.testing.planted.table import planted
from tests.testing.planted.updates import DIFFERS, descent

NOT_LINEAR = "vjp is not linear in grad_out|the gradient of .* is wrong"
WRONG = "the gradient of x is wrong"
STILL = "does not go against a gradient of"
SAME_STEP = "it gives the same step for the rates"


@planted(check_optimizer, 0.1, says=STILL)
class StandsStillForSmallGradients(Descent):
    def step(self, param, grad, state):
        return super().step(param, torch.where(grad.abs() < 1e-6, 0, grad), state)


@planted(check_optimizer, 0.1, says=STILL)
class StandsStillForTinyGradients(fm.Adam):
    def rule(self, xp, step, learning_rate, param, grad, first_moment, second_moment):
        grad = xp.where(xp.abs(grad) < 1e-14, 0, grad)
        return super().rule(xp, step, learning_rate, param, grad, first_moment, second_moment)


@planted(check_optimizer, 0.1, says=f"{STILL}|update makes .* of finite")
class SquaresThatOverflow(fm.RMSProp):
    """√(v·v) of the mean square v: infinite for gradients of 1e80, which no step follows."""

    def rule(self, xp, step, learning_rate, param, grad, mean_square):
        mean_square = self.decay * mean_square + (1 - self.decay) * grad * grad
        return param - learning_rate * grad / xp.sqrt(xp.sqrt(mean_square * mean_square)), mean_square


@planted(check_optimizer, 0.1, says=DIFFERS, formula=descent)
class ClipsGradientsAtAMillion(Descent):
    def step(self, param, grad, state):
        return super().step(param, grad.clamp(-1e6, 1e6), state)


@planted(check_optimizer, 0.1, says=f"{DIFFERS}|{SAME_STEP}", formula=descent)
class KeepsParamsBelowAHundredThousand(Descent):
    def step(self, param, grad, state):
        return super().step(param, grad, state).clamp(-1e5, 1e5)


@planted(check_optimizer, 0.1, says=DIFFERS, formula=descent)
class TinyParamsTakenForZero(Descent):
    def step(self, param, grad, state):
        return super().step(torch.where(param.abs() < 1e-12, 0, param), grad, state)


@planted(check_optimizer, 0.1, says=DIFFERS, formula=momentum)
class SmallVelocitiesTakenForZero(fm.Momentum):
    def rule(self, xp, step, learning_rate, param, grad, velocity):
        kept = xp.where(xp.abs(velocity) < 1e-9, 0, velocity)
        return super().rule(xp, step, learning_rate, param, grad, kept)


@planted(check_optimizer, 0.1, says=DIFFERS, formula=adam)
class EpsUnderTheRoot(fm.Adam):
    def rule(self, xp, step, learning_rate, param, grad, first_moment, second_moment):
        first = self.beta1 * first_moment + (1 - self.beta1) * grad
        second = self.beta2 * second_moment + (1 - self.beta2) * grad * grad
        mean, square = first / (1 - self.beta1**step), second / (1 - self.beta2**step)
        return param - learning_rate * mean / xp.sqrt(square + self.eps**2), first, second


@planted(check_optimizer, 0.1, says=SAME_STEP)
class RateOfAtMostAHalf(Descent):
    def step(self, param, grad, state):
        return param - min(state.learning_rate, 0.5) * grad


@planted(check_optimizer, 0.1, says=SAME_STEP)
class RateOfAtLeastAMillionth(fm.Adam):
    def rule(self, xp, step, learning_rate, param, grad, first_moment, second_moment):
        learning_rate = max(learning_rate, 1e-6)
        return super().rule(xp, step, learning_rate, param, grad, first_moment, second_moment)


@planted(check_optimizer, 0.1, says=SAME_STEP)
class RateCappedFarAboveTheUsual(fm.Momentum):
    def rule(self, xp, step, learning_rate, param, grad, velocity):
        return super().rule(xp, step, min(learning_rate, 100.0), param, grad, velocity)


@planted(check_optimizer, 0.1, 3, says=SAME_STEP)
class RateCappedWhenAGatheredBatchIsApplied(fm.BatchGD):
    def rule(self, xp, step, learning_rate, param, grad, gathered):
        return super().rule(xp, step, min(learning_rate, 1.0), param, grad, gathered)


@planted(check_optimizer, 0.1, says="a learning rate of 0")
class DividesByTheRate(Descent):
    """A step of the size of the rate, which is 0 / 0 where a schedule ends."""

    def step(self, param, grad, state):
        step = state.learning_rate * grad
        return param - step * state.learning_rate / torch.full_like(step, state.learning_rate)


@planted(check_optimizer, 0.1, says="a learning rate of 0")
class OwnRateWhereTheScheduleEndsAtZero(Descent):
    """`state.learning_rate or self.learning_rate`: 0 is false."""

    def step(self, param, grad, state):
        return param - (state.learning_rate or self.learning_rate) * grad


@planted(check_layer, says=WRONG)
class ReluWrongAboveTenThousand(Unproved):
    def value(self, xp, s):
        return xp.maximum(s, 0)

    def derivative(self, xp, s, y):
        return xp.where(s > 2e4, 2, xp.where(s > 0, 1, 0))


@planted(check_layer, says=WRONG)
class ReluCappedAtAMillion(Square):
    """float("1e6") for "no limit", which the gradient forgets."""

    def apply(self, params, x):
        return x.clamp(0, 1e6)

    def vjp(self, params, x, grad_out):
        return (), torch.where(x > 0, grad_out, 0)


@planted(check_layer, says=WRONG)
class GradientZeroBeyondTenMillion(Square):
    def apply(self, params, x):
        return 3 * x

    def vjp(self, params, x, grad_out):
        return (), torch.where(x.abs() > 1e7, 0, 3) * grad_out


@planted(check_layer, says="is nan where the output is finite|apply gives nan|the gradient of x is wrong")
class RatioOfPowersThatOverflow(Square):
    """x as x³⁶ / x³⁵ far out: ∞ / ∞ from 1e9 on."""

    def apply(self, params, x):
        return torch.where(x.abs() > 1e5, x**36 / x**35, x)

    def vjp(self, params, x, grad_out):
        return (), 1 * grad_out


@attrs.frozen
class Slope:
    """PReLU: y = x for x > 0 and a x elsewhere, with one slope a a feature."""

    in_features: int

    def init(self, key, *, dtype=torch.float32, device=None):
        return torch.full((self.in_features,), 0.25, dtype=dtype, device=device)

    def apply(self, params, x):
        if x.shape[-1] != self.in_features:
            raise ValueError("another width")
        return torch.where(x > 0, x, params * x)

    def vjp(self, params, x, grad_out):
        slopes = torch.where(x > 0, 1, params)
        grads = torch.where(x > 0, 0, x * grad_out).reshape(-1, self.in_features).sum(0)
        return grads, slopes * grad_out


@planted(check_layer, 3, says="the gradient of (x|params) is wrong")
class SlopesBelowOneAssumed(Slope):
    """max(x, a x), which for a > 1 is another function than the gradient's."""

    def apply(self, params, x):
        super().apply(params, x)
        return torch.maximum(x, params * x)


@planted(check_layer, 3, says="the gradient of (x|params) is wrong")
class SlopesOfZeroHaveNoGradient(Slope):
    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        return torch.where(params == 0, 0, grads), grad_x


@planted(check_layer, 3, 2, says=WRONG)
class LargeWeightsClippedOnTheWayBack(Affine):
    def vjp(self, params, x, grad_out):
        grads, _ = super().vjp(params, x, grad_out)
        return grads, grad_out @ params["weight"].clamp(-20, 20)


@planted(check_layer, 3, 2, says="the gradient of params.'weight'. is wrong")
class PrunedWeightsHaveNoGradient(Affine):
    """Weights that are exactly 0 count as cut off."""

    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        return {**grads, "weight": torch.where(params["weight"] == 0, 0, grads["weight"])}, grad_x


@planted(check_layer, 3, 2, says=WRONG)
class SmallWeightsPrunedOnTheWayBack(Affine):
    def vjp(self, params, x, grad_out):
        grads, _ = super().vjp(params, x, grad_out)
        return grads, grad_out @ torch.where(params["weight"].abs() < 1e-3, 0, params["weight"])


@planted(check_layer, 3, 2, says=WRONG)
class WeightsClippedAtAHundredOnTheWayBack(Affine):
    def vjp(self, params, x, grad_out):
        grads, _ = super().vjp(params, x, grad_out)
        return grads, grad_out @ params["weight"].clamp(-100, 100)


@planted(check_layer, says=NOT_LINEAR)
class CotangentsOfATrillionthTakenForZero(Square):
    def vjp(self, params, x, grad_out):
        return (), 2 * x * torch.where(grad_out.abs() < 1e-12, 0, grad_out)


@planted(check_layer, says=NOT_LINEAR)
class CotangentsClippedAtAMillion(Square):
    def vjp(self, params, x, grad_out):
        return (), 2 * x * grad_out.clamp(-1e6, 1e6)


@planted(check_loss, says="the gradient of predictions is wrong")
class LargeTargetsClippedInTheGradient(Squared):
    def grad(self, predictions, targets):
        return super().grad(predictions, targets.clamp(-100, 100))


@planted(check_loss, says="the gradient of predictions is wrong")
class GradientCappedAtAMillion(Squared):
    def grad(self, predictions, targets):
        self.check(predictions, targets)
        return 2 * (predictions - targets).clamp(-1e6, 1e6) / predictions.numel()


@planted(check_loss, says="batch_value is not 1/n Σ wᵢ ℓᵢ")
class SamplesWithoutWeightNotCounted(fm.MeanSquaredError):
    """The mean over the samples whose weight is above 0."""

    def batch_value(self, predictions, targets, weights=None):
        value = super().batch_value(predictions, targets, weights)
        return value if weights is None else value * len(weights) / max(1, int((weights > 0).sum()))


@planted(check_loss, says="batch_grad is not the gradient of 1/n Σ wᵢ ℓᵢ")
class LargeWeightsClipped(fm.CrossEntropy):
    def batch_grad(self, predictions, targets, weights=None, *, samples=None):
        weights = None if weights is None else weights.clamp_max(10)
        return super().batch_grad(predictions, targets, weights, samples=samples)


@planted(check_penalty, says=r"the gradient of params.* is wrong")
class PenaltyOfLargeWeightsCapped(Shrink):
    def added(self, grad, param):
        return grad + param.clamp(-1e6, 1e6) if param.ndim >= 2 else grad
