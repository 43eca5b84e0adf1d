"""Mistakes in expressions that only a proof finds: too small for numbers, or where no test looks."""

import functional_mlp as fm
from functional_mlp.testing import check_layer, check_loss, check_penalty
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


@planted(check_layer, says="the derivative is wrong: at s = ")
class BumpBetweenThePoints(fm.Tanh):
    def derivative(self, xp, s, y):
        return 1 - y * y + xp.exp(-100 * (s - 200) ** 2)


@planted(check_layer, says="the derivative is wrong: at s = 200 it is ")
class BumpBesideWhatAlgebraDoesNotSee(fm.Identity):
    def derivative(self, xp, s, y):
        root = xp.sqrt(1 + s * s)
        nothing = xp.sqrt(2 + s * s + 2 * root) - 1 - root
        return 1 + nothing + xp.exp(-100 * (s - 200) ** 2)


@planted(check_loss, says=r"the gradient by ŷ is wrong: where ŷ > t \+ 1000000, at ")
class GradientCutFarAway(fm.MeanSquaredError):
    def sample_grad(self, xp, prediction, target):
        return xp.where(prediction - target > 1e6, 0, super().sample_grad(xp, prediction, target))


@planted(check_loss, says="the gradient by ŷ is wrong: at ")
class GradientOffByABillionth(fm.MeanSquaredError):
    def sample_grad(self, xp, prediction, target):
        return (1 + 1e-9) * super().sample_grad(xp, prediction, target)


@planted(check_layer, says="the derivative is wrong: where 18 < s < 20, at s = ")
class SoftplusStraightTooSoon(fm.Elementwise):
    def value(self, xp, s):
        return xp.where(s > 20, s, xp.log1p(xp.exp(s)))

    def derivative(self, xp, s, y):
        return xp.where(s > 18, 1, 1 / (1 + xp.exp(-s)))


@planted(check_layer, says=r"the derivative is wrong: where s > 3, at s = \S+ it is 1, and 1\.000000001 is given")
class HardSwishOffByABillionthOnOneSide(fm.Elementwise):
    def value(self, xp, s):
        return s * xp.minimum(xp.maximum(s + 3, 0), 6) / 6

    def derivative(self, xp, s, y):
        return xp.where(s <= -3, 0, xp.where(s >= 3, 1 + 1e-9, s / 3 + 1 / 2))


@planted(check_layer, says="the derivative is wrong: where s < -60, at s = ")
class MishWithoutItsTail(fm.Elementwise):
    def value(self, xp, s):
        return s * xp.tanh(xp.log1p(xp.exp(s)))

    def derivative(self, xp, s, y):
        gate = xp.tanh(xp.log1p(xp.exp(s)))
        return xp.where(s < -60, 0, gate + s * (1 - gate * gate) / (1 + xp.exp(-s)))


@planted(check_layer, says="the derivative is wrong: where s < -1000000000, at s = ")
class RootTakenForItsArgumentFarAway(fm.Elementwise):
    def value(self, xp, s):
        return s / xp.sqrt(1 + s * s)

    def derivative(self, xp, s, y):
        return xp.where(s * s > 1e18, 1 / xp.abs(s) ** 3, (1 / xp.sqrt(1 + s * s)) ** 3)


@planted(check_layer, says=r"the derivative is wrong: where s = 1000\*n \+ 7, at s = ")
class WrongAtOneOfAThousand(fm.Tanh):
    def derivative(self, xp, s, y):
        return xp.where(s % 1000 == 7, 0, 1 - y * y)


@planted(check_loss, says=r"the gradient by ŷ is wrong: where ŷ = log\(t\), at ")
class GradientWrongAtTheMinimum(fm.Loss):
    def sample_value(self, xp, prediction, target):
        return xp.sum((xp.exp(prediction) - target) ** 2)

    def sample_grad(self, xp, prediction, target):
        power = xp.exp(prediction)
        return xp.where(power == target, 1, 2 * (power - target) * power)


@planted(check_penalty, says="the derivative is wrong: where w > 1000000, at w = ")
class ElasticNetWithoutItsCornerFarAway(fm.penalties.Penalty):
    def value(self, xp, w):
        return 0.1 * xp.abs(w) + w * w / 2

    def derivative(self, xp, w):
        return xp.where(w > 1e6, w, 0.1 * xp.sign(w) + w)
