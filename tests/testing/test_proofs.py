"""Gradients are proved, and mistakes that no test with numbers sees are found."""

import attrs
import pytest

import functional_mlp as fm
from functional_mlp.testing import Proof, prove
from tests.tables import ACTIVATIONS, LOSSES, PENALTIES
from tests.testing.expressions import OffByATrillionth, Tanh, WrongBeyond40, WrongOnTheRight, loss


@pytest.mark.parametrize("layer", ACTIVATIONS, ids=repr)
def test_every_activation_is_proved(layer):
    assert prove(layer).method == "by algebra"


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_every_loss_is_proved(loss):
    proof = prove(loss)
    assert proof.method == "by algebra"
    assert "for 1 to 4 outputs, all real, and all real targets" in proof.statement


@pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
def test_every_penalty_is_proved(penalty):
    assert prove(penalty).method == "by algebra"


class OffByABillionth(Tanh):
    def derivative(self, xp, s, y):
        return (1 + 1e-9) * (1 - y * y)


class WrongAtOnePoint(Tanh):
    def derivative(self, xp, s, y):
        return xp.where(s == 3, 0, 1 - y * y)


class BeyondBothSides(fm.ReLU):
    def derivative(self, xp, s, y):
        return xp.where(s == 0, 2, super().derivative(xp, s, y))


class WrongPullback(Tanh):
    def pullback(self, xp, s, y, grad):
        return xp.where(grad > 100, 1 - y, grad * (1 - y * y))


class WrongConstant(fm.Elementwise):
    def value(self, xp, s):
        return xp.erf(s)

    def derivative(self, xp, s, y):
        return 1.1283791670 * xp.exp(-s * s)  # 2/√π = 1.12837916709…


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        (
            OffByABillionth(),
            r"the derivative is wrong: at s = 0 it is 1, and 1\.000000001 is given: .*/\(250000000\*",
        ),
        (OffByATrillionth(), r"the derivative is wrong"),
        (WrongBeyond40(), r"wrong: where s < -40, at s = -\d+/?\d* it is \d\.\d+e-\d\d, and 0 is given"),
        (
            WrongOnTheRight(),
            r"where s > 0, at s = \S+ it is .* is given: what is given less what it is comes to s/\(s \+ 1\)",
        ),
        (WrongAtOnePoint(), r"wrong: at s = 3 it is 0\.009\d+, and 0 is given"),
        (BeyondBothSides(), r"wrong: at s = 0 it is 0, and 2 is given"),
        (WrongPullback(), r"the pullback is wrong: where g > 100, at g = \S+, s = \S+ it is"),
        (WrongConstant(), r"the derivative is wrong: at s = \S+ it is"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_wrong_derivative_is_found(layer, says):
    with pytest.raises(AssertionError, match=says):
        prove(layer)


def test_what_is_right_for_one_number_alone_is_proved_for_that():
    @attrs.frozen(repr=False)
    class Scaled(fm.Elementwise):
        factor: float = 1.0

        def value(self, xp, s):
            return self.factor * s

        def derivative(self, xp, s, y):
            return 2 - self.factor

    assert prove(Scaled()).statement == "Scaled(): the derivative is that of the value for all real s"
    with pytest.raises(AssertionError, match=r"it is 2, and 0 is given: .* comes to -2"):
        prove(Scaled(2.0))


class ForProbabilities(fm.CrossEntropy):
    def sample_grad(self, xp, prediction, target):
        weights = xp.exp(prediction - xp.max(prediction))
        return weights / xp.sum(weights) - target


class WrongForProbabilities(fm.CrossEntropy):
    """It takes them, and is right for classes alone."""

    def sample_grad(self, xp, prediction, target):
        weights = xp.exp(prediction - xp.max(prediction))
        return weights / xp.sum(weights) - target * target


class ForClasses(WrongForProbabilities):
    def encode(self, targets, predictions):
        if targets.is_floating_point():
            raise ValueError("targets must be classes")
        return super().encode(targets, predictions)


class ForNothing(fm.CrossEntropy):
    def sample_grad(self, xp, prediction, target):
        weights = xp.exp(prediction - xp.max(prediction))
        return weights / xp.sum(weights) - 0.5 * target


class WrongFarAway(fm.MeanSquaredError):
    def sample_grad(self, xp, prediction, target):
        return xp.where(prediction - target > 1e6, 0, super().sample_grad(xp, prediction, target))


class WrongForFourOutputs(fm.MeanSquaredError):
    def sample_grad(self, xp, prediction, target):
        return (2 / min(prediction.shape[-1], 3)) * (prediction - target)


def test_the_proof_says_for_which_targets_a_gradient_is_right():
    proof = prove(ForProbabilities(), targets=["probabilities", "classes"])
    assert proof.statement.endswith("targets that are probabilities above 0, or classes")
    assert prove(ForClasses()).statement.endswith("classes as targets")


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        (ForNothing(), "the gradient by ŷ is wrong"),
        (ForProbabilities(), "the gradient by ŷ is wrong: at t = 0, ŷ = 0 it is 0, and 1 is given"),
        (WrongForProbabilities(), "the gradient by ŷ is wrong"),
        (WrongFarAway(), r"the gradient by ŷ is wrong: where ŷ > t \+ 1000000, at t = \S+, ŷ = \S+ it is"),
        (WrongForFourOutputs(), r"the gradient by ŷ1 is wrong: at t1 = .* comes to -\(t1 - ŷ1\)/6"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_wrong_gradient_is_found(loss, says):
    with pytest.raises(AssertionError, match=says):
        prove(loss)


class Quartic:
    """What a penalty looks like."""

    def value(self, xp, w):
        return w**4 + xp.abs(w)

    def derivative(self, xp, w):
        return 4 * w**3 + xp.sign(w)

    def __repr__(self):
        return "Quartic()"


def test_any_value_with_a_derivative_is_proved():
    proof = prove(Quartic())
    assert str(proof) == (
        "Quartic(): the derivative is that of the value for all real w, by algebra\n"
        "  w < 0\n"
        "  w > 0\n"
        "  derivative: at w = 0 it is -1 from the left and 1 from the right, and 0 is given"
    )
    assert proof == prove(Quartic())
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        proof.method = "by hope"


def test_a_proof_is_a_value():
    assert isinstance(prove(fm.Tanh()), Proof)
    assert hash(prove(fm.Tanh())) == hash(prove(fm.Tanh()))


def test_a_network_is_proved_by_its_activations():
    network = fm.Sequential(fm.Linear(2, 2), fm.ReLU(), fm.Residual(fm.Tanh()), fm.ReLU())
    proof = prove(network)
    assert proof.statement.endswith("the derivative of each activation is that of its value, of ReLU(), Tanh()")
    assert proof.pieces == ("ReLU(): s < 0", "ReLU(): s > 0", "Tanh(): everywhere")
    assert proof.method == "by algebra"
    with pytest.raises(AssertionError, match=r"prove\(Sequential.*: the derivative is wrong: where s < -40"):
        prove(fm.Sequential(fm.Linear(2, 2), WrongBeyond40()))


class Hinge(fm.Loss):
    def sample_value(self, xp, prediction, target):
        return xp.sum(xp.maximum(0, 1 - prediction * target))

    def sample_grad(self, xp, prediction, target):
        return xp.where(1 - prediction * target > 0, -target, 0)


def test_a_condition_in_products_is_the_same_with_the_other_sign():
    assert prove(Hinge()).method == "by algebra"


BIWEIGHT = 4.685


def biweight(xp, p, t):
    r = (p - t) / BIWEIGHT
    return xp.sum(xp.where(xp.abs(r) < 1, BIWEIGHT**2 / 6 * (1 - (1 - r * r) ** 3), BIWEIGHT**2 / 6))


def slope_of_biweight(xp, p, t):
    r = (p - t) / BIWEIGHT
    return xp.where(xp.abs(r) < 1, (p - t) * (1 - r * r) ** 2, 0)


@pytest.mark.parametrize(
    ("value", "gradient"),
    [
        (biweight, slope_of_biweight),
        (lambda xp, p, t: xp.sum(xp.abs((p - t) / t)), lambda xp, p, t: xp.sign(p - t) / xp.abs(t)),
    ],
    ids=["Tukey's biweight", "mean absolute percentage error"],
)
def test_losses_in_pieces_are_proved_by_algebra(value, gradient):
    proof = prove(loss(value, gradient))
    assert not proof.conditions
    assert "points" not in str(proof)


@attrs.frozen(repr=False)
class Turned(fm.Elementwise):
    """It computes with numbers alone before it computes with an array."""

    factor: float = -0.25

    def value(self, xp, s):
        return xp.exp(0.5) * xp.abs(self.factor) * s

    def derivative(self, xp, s, y):
        return xp.exp(0.5) * xp.abs(self.factor)


def test_functions_of_numbers_are_numbers():
    assert "by algebra" in prove(Turned()).method
