"""Mistakes in expressions that only a proof finds: too small for numbers, or where no test looks."""

import functional_mlp as fm
from functional_mlp.testing import check_layer, check_loss
from tests.testing.planted.table import planted


@planted(check_layer, says=r"the derivative is wrong: at s = \S+ it is .* comes to exp\(2\*s\)/\(250000000\*")
class DerivativeOffByABillionth(fm.Tanh):
    def derivative(self, xp, s, y):
        return (1 + 1e-9) * (1 - y * y)


@planted(check_layer, says="the derivative is wrong: where s < -40, at s = ")
class WrongBeyond40(fm.Tanh):
    def derivative(self, xp, s, y):
        return xp.where(xp.abs(s) > 40, 0, 1 - y * y)


@planted(check_layer, says="the derivative is wrong: where s > 0, at s = .* comes to ")
class WrongOnOneSideByATrillionth(fm.Softplus):
    def derivative(self, xp, s, y):
        return xp.where(s > 0, 1 + 1e-12, 1) * super().derivative(xp, s, y)


@planted(check_layer, says="the derivative is wrong: at s = 3 it is ")
class WrongAtThree(fm.Tanh):
    def derivative(self, xp, s, y):
        return xp.where(s == 3, 0, 1 - y * y)


@planted(check_layer, says=r"the derivative is wrong: at s = \S+ it is ")
class RootOfPiToTenDigits(fm.Elementwise):
    def value(self, xp, s):
        return xp.erf(s)

    def derivative(self, xp, s, y):
        return 1.1283791670 * xp.exp(-s * s)


@planted(check_loss, says=r"the gradient by ŷ is wrong: where ŷ > t \+ 1000000, at ")
class GradientCutFarAway(fm.MeanSquaredError):
    def sample_grad(self, xp, prediction, target):
        return xp.where(prediction - target > 1e6, 0, super().sample_grad(xp, prediction, target))


@planted(check_loss, says="the gradient by ŷ is wrong: at ")
class GradientOffByABillionth(fm.MeanSquaredError):
    def sample_grad(self, xp, prediction, target):
        return (1 + 1e-9) * super().sample_grad(xp, prediction, target)
