"""Mistakes in float32 alone."""

import torch

import functional_mlp as fm
from functional_mlp.testing import check_layer, check_loss, check_optimizer
from tests.testing.planted.layers import Affine, Square
from tests.testing.planted.losses import Squared
from tests.testing.planted.optimizers import Descent
from tests.testing.planted.table import planted

OTHER_NUMBERS = "other numbers in float32 than in float64"


@planted(check_layer, says=f"apply gives {OTHER_NUMBERS}")
class HalfPrecisionInFloat32(Square):
    def apply(self, params, x):
        return super().apply(params, x.half().float() if x.dtype == torch.float32 else x)


@planted(check_layer, says=f"vjp gives {OTHER_NUMBERS}")
class GradientInBfloat16(Square):
    def vjp(self, params, x, grad_out):
        return (), 2 * x * (grad_out.bfloat16().float() if x.dtype == torch.float32 else grad_out)


@planted(check_layer, 3, 2, says=f"vjp gives {OTHER_NUMBERS}: result.0..'bias'.")
class BiasGradientTwiceInFloat32(Affine):
    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        factor = 1.001 if x.dtype == torch.float32 else 1
        return {**grads, "bias": factor * grads["bias"]}, grad_x


@planted(check_layer, says=f"apply gives {OTHER_NUMBERS}")
class OverflowsAt89InFloat32(fm.Elementwise):
    """Softplus as log(1 + eˢ): e⁸⁹ is infinite in float32."""

    def value(self, xp, s):
        return xp.log1p(xp.exp(s))

    def derivative(self, xp, s, y):
        return 1 / (1 + xp.exp(-s))


@planted(check_layer, says=f"apply gives {OTHER_NUMBERS}")
class CubeRootLosesSmallNumbersInFloat32(Square):
    """s |s| / √(s² + 1e-60): s² is 0 in float32 where s is 1e-30, and so is 1e-60."""

    def apply(self, params, x):
        return x * x.abs() / (x * x + (0 if x.dtype == torch.float32 else 1e-60)).sqrt()

    def vjp(self, params, x, grad_out):
        return (), grad_out * 1


@planted(check_layer, 3, 2, says=f"init gives {OTHER_NUMBERS}: params.'weight'")
class InitDrawsInTheDtype(Affine):
    def init(self, key, *, dtype=torch.float32, device=None):
        params = super().init(key, dtype=dtype, device=device)
        return {**params, "weight": params["weight"] * (2 if dtype == torch.float32 else 1)}


@planted(check_layer, 3, 2, says=f"init gives {OTHER_NUMBERS}: params.'bias'")
class InitDrawsAnotherBiasInFloat32(Affine):
    def init(self, key, *, dtype=torch.float32, device=None):
        params = super().init(key, dtype=dtype, device=device)
        bias = fm.random.normal(key.fold_in(torch.finfo(dtype).bits), (2,), dtype=dtype, device=device)
        return {**params, "bias": bias}


@planted(check_layer, 3, 2, says="init: params.'bias'. must have the dtype asked for, torch.float32, got torch.float64")
class InitInFloat64Alone(Affine):
    def init(self, key, *, dtype=torch.float32, device=None):
        params = super().init(key, dtype=dtype, device=device)
        return {**params, "bias": params["bias"].double()}


@planted(check_loss, says=f"value gives {OTHER_NUMBERS}")
class LossInHalfPrecision(Squared):
    def value(self, predictions, targets):
        narrow = predictions.half().float() if predictions.dtype == torch.float32 else predictions
        return super().value(narrow, targets)


@planted(check_loss, says=f"grad gives {OTHER_NUMBERS}")
class LossGradientOffInFloat32(Squared):
    def grad(self, predictions, targets):
        return super().grad(predictions, targets) * (1.001 if predictions.dtype == torch.float32 else 1)


@planted(check_loss, says=f"value gives {OTHER_NUMBERS}|value is inf")
class LogSumExpWithoutTheMaximum(fm.CrossEntropy):
    def sample_value(self, xp, prediction, target):
        return xp.sum(target * (xp.log(xp.sum(xp.exp(prediction))) - prediction))


@planted(check_optimizer, 0.1, says=f"update gives {OTHER_NUMBERS}")
class UpdateInBfloat16(Descent):
    def step(self, param, grad, state):
        return super().step(param, grad.bfloat16().float() if grad.dtype == torch.float32 else grad, state)


@planted(check_optimizer, 0.1, says=f"update gives {OTHER_NUMBERS}")
class AnotherMomentumInFloat32(fm.Momentum):
    def rule(self, xp, step, learning_rate, param, grad, velocity):
        beta = 0.9 if param.dtype == torch.float64 else 0.901
        velocity = beta * velocity + (1 - beta) * grad
        return param - learning_rate * velocity, velocity
