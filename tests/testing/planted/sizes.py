"""Mistakes at inputs of some sizes only: exactly 0, almost 0, and far out."""

import torch

import functional_mlp as fm
from functional_mlp.testing import check_layer
from tests.testing.planted.layers import Affine, Square, Unproved
from tests.testing.planted.table import planted

WRONG = "the gradient of x is wrong"


@planted(check_layer, says=WRONG)
class NoGradientAtZero(Unproved):
    def value(self, xp, s):
        return xp.tanh(s)

    def derivative(self, xp, s, y):
        return xp.where(s == 0, 0, 1 - y * y)


@planted(check_layer, says=f"is nan where the output is finite|{WRONG}")
class GradientIsNanAtZero(Unproved):
    """|s|, with s / |s| for its derivative."""

    def value(self, xp, s):
        return xp.abs(s)

    def derivative(self, xp, s, y):
        return s / y


@planted(check_layer, says="apply gives nan for finite inputs")
class NanAtZero(fm.Elementwise):
    """sinh(s) / s without its limit at 0."""

    def value(self, xp, s):
        return xp.tanh(s) / s

    def derivative(self, xp, s, y):
        return ((1 - xp.tanh(s) ** 2) - y) / s


@planted(check_layer, says=WRONG)
class SlopeTakenForZeroWhereSmall(Unproved):
    def value(self, xp, s):
        return s + s * s

    def derivative(self, xp, s, y):
        return xp.where(xp.abs(s) < 1e-5, 0, 1 + 2 * s)


@planted(check_layer, says=WRONG)
class SlopeWrongForTinyNumbers(Square):
    def apply(self, params, x):
        return 3 * x

    def vjp(self, params, x, grad_out):
        return (), torch.where((x != 0) & (x.abs() < 1e-25), 2, 3) * grad_out


@planted(check_layer, says=WRONG)
class ForgetsTheCapAtSix(Unproved):
    def value(self, xp, s):
        return xp.minimum(xp.maximum(s, 0), 6)

    def derivative(self, xp, s, y):
        return xp.where(s <= 0, 0, 1)


@planted(check_layer, says=WRONG)
class BendsAtFive(Unproved):
    def value(self, xp, s):
        return xp.where(s > 5, s * s / 10 + 2.5, s)

    def derivative(self, xp, s, y):
        return 1 + 0 * s


@planted(check_layer, says=WRONG)
class ForgetsTheCapAtTwenty(Unproved):
    def value(self, xp, s):
        return xp.minimum(s, 20)

    def derivative(self, xp, s, y):
        return 1 + 0 * s


@planted(check_layer, says=WRONG)
class ForgetsTheCapAtMinusAHundred(Unproved):
    def value(self, xp, s):
        return xp.maximum(s, -100)

    def derivative(self, xp, s, y):
        return 1 + 0 * s


@planted(check_layer, says=WRONG)
class ForgetsTheCapAtAThousand(Unproved):
    def value(self, xp, s):
        return xp.minimum(s, 2000)

    def derivative(self, xp, s, y):
        return 1 + 0 * s


@planted(check_layer, says=WRONG)
class GradientCappedFarOut(Square):
    def vjp(self, params, x, grad_out):
        return (), 2 * x.clamp(-50, 50) * grad_out


@planted(check_layer, says=WRONG)
class WrongBetweenTwoAndTwoAndAQuarter(Unproved):
    def value(self, xp, s):
        return xp.tanh(s)

    def derivative(self, xp, s, y):
        return xp.where(xp.abs(s - 2.125) < 0.125, 1.01, 1) * (1 - y * y)


@planted(check_layer, says="apply gives nan for finite inputs|is nan instead of")
class SigmoidOverflows(fm.Elementwise):
    """eˢ / (1 + eˢ): ∞ / ∞ from 710 on."""

    def value(self, xp, s):
        return xp.exp(s) / (1 + xp.exp(s))

    def derivative(self, xp, s, y):
        return y * (1 - y)


@planted(check_layer, says="apply gives nan for finite inputs|is nan instead of")
class SoftmaxOverflows(Square):
    def apply(self, params, x):
        return x.exp() / x.exp().sum(-1, keepdim=True)

    def vjp(self, params, x, grad_out):
        y = self.apply(params, x)
        return (), y * (grad_out - (grad_out * y).sum(-1, keepdim=True))


@planted(check_layer, says="is nan where the output is finite|is nan instead of")
class GradientOverflows(fm.Elementwise):
    """SiLU, with a derivative from powers that overflow."""

    def value(self, xp, s):
        return s / (1 + xp.exp(-s))

    def derivative(self, xp, s, y):
        power = xp.exp(s)
        return power * (1 + power + s) / (1 + power) ** 2


@planted(check_layer, 3, 2, says=r"the gradient of params\['weight'\] is wrong")
class WeightGradientOfCappedInputs(Affine):
    def vjp(self, params, x, grad_out):
        _, grad_x = super().vjp(params, x, grad_out)
        grads, _ = super().vjp(params, x.clamp(-200, 200), grad_out)
        return grads, grad_x


@planted(check_layer, says=WRONG)
class StraightFromSeventeen(Unproved):
    """Softplus, whose derivative is 1 − 4e-8 at 17, and rounded to 1 from there on."""

    def value(self, xp, s):
        return xp.maximum(s, 0) + xp.log1p(xp.exp(-xp.abs(s)))

    def derivative(self, xp, s, y):
        return xp.where(s > 17, 1, 1 / (1 + xp.exp(-s)))


def half_between(low, high, x):
    return torch.where((x.abs() > low) & (x.abs() < high), 0.5, 1).to(x.dtype)


@planted(check_layer, says=WRONG)
class GradientHalvedAboutTwentyFour(Square):
    def vjp(self, params, x, grad_out):
        return (), 2 * x * grad_out * half_between(17, 31, x)


@planted(check_layer, says=WRONG)
class GradientHalvedAboutTwoHundred(Square):
    def vjp(self, params, x, grad_out):
        return (), 2 * x * grad_out * half_between(130, 490, x)


@planted(check_layer, says=WRONG)
class GradientHalvedAboutThreeThousand(Square):
    def vjp(self, params, x, grad_out):
        return (), 2 * x * grad_out * half_between(1100, 4900, x)


@planted(check_layer, says=WRONG)
class GradientHalvedAboutThirtyThousand(Square):
    def vjp(self, params, x, grad_out):
        return (), 2 * x * grad_out * half_between(17_000, 49_000, x)


@planted(check_layer, says=WRONG)
class SlopeHalvedBelowAFiftieth(Square):
    """3 x, with another slope for small numbers that are not tiny."""

    def apply(self, params, x):
        return 3 * x

    def vjp(self, params, x, grad_out):
        return (), 3 * grad_out * half_between(2e-4, 2e-2, x)
