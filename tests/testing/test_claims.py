"""What a proof takes for granted about numbers, targets, and what lies between pieces."""

import attrs
import pytest

import functional_mlp as fm
from functional_mlp.symbolic import claims
from functional_mlp.testing import prove
from tests.testing.expressions import activation, loss


@attrs.frozen(repr=False)
class Scaled(fm.Elementwise):
    """A number by the name of the gradient."""

    g: float = 2.0

    def value(self, xp, s):
        return self.g * s

    def derivative(self, xp, s, y):
        return self.g


class WrongByItsNumber(Scaled):
    def pullback(self, xp, s, y, grad):
        return self.g * self.g


class RightByItsNumber(Scaled):
    def pullback(self, xp, s, y, grad):
        return grad * self.g


def test_numbers_by_the_names_of_what_a_layer_is_given_are_others():
    with pytest.raises(AssertionError, match=r"the pullback is wrong: at g = "):
        prove(WrongByItsNumber())
    assert prove(RightByItsNumber()).statement.endswith("for all real s, self.g")


@attrs.frozen(repr=False)
class ByItsNumber(fm.Elementwise):
    s: float = 2.0

    def value(self, xp, s):
        return self.s * s

    def derivative(self, xp, s, y):
        return 2 * s


@attrs.frozen(repr=False)
class TwoOfOneLetter(fm.Elementwise):
    alpha: float = 1.0
    negative_slope: float = 2.0

    def value(self, xp, s):
        return self.alpha * s

    def derivative(self, xp, s, y):
        return self.negative_slope


@pytest.mark.parametrize("layer", [ByItsNumber(), TwoOfOneLetter()], ids=lambda layer: type(layer).__name__)
def test_numbers_of_one_name_are_not_the_same(layer):
    with pytest.raises(AssertionError, match="the derivative is wrong"):
        prove(layer)


def test_a_number_beside_whole_numbers_has_a_name_of_its_own():
    @attrs.frozen(repr=False)
    class Sawtooth(fm.Elementwise):
        n: float = 2.0

        def value(self, xp, s):
            return s % self.n

        def derivative(self, xp, s, y):
            return 1

    assert prove(Sawtooth()).method == "by algebra"


@attrs.frozen(repr=False)
class Rescaled(fm.SGD):
    factor: float = 1.0

    def rule(self, xp, step, learning_rate, param, grad):
        return (param - learning_rate * abs(self.factor) * grad,)


def rescaled(w, gradients, learning_rate, factor):
    return w - learning_rate * factor * gradients[-1]


def test_numbers_of_rules_have_the_signs_of_their_own():
    assert prove(Rescaled(0.1), formula=rescaled).statement.endswith("for all positive η, factor")
    with pytest.raises(AssertionError, match=r"wrong: at factor = -\S+, g1 = "):
        prove(Rescaled(0.1, factor=-1.0), formula=rescaled)

    class Divided(Rescaled):
        def rule(self, xp, step, learning_rate, param, grad):
            return (param - learning_rate * self.factor / self.factor * grad,)

    with pytest.raises(AssertionError, match="and no number is given"):
        prove(Divided(0.1, factor=0.0), formula=lambda w, gradients, learning_rate, factor: w)


def test_a_layer_that_is_right_for_one_sign_of_a_number_is_proved_for_that():
    @attrs.frozen(repr=False)
    class BySize(fm.Elementwise):
        alpha: float = 1.0

        def value(self, xp, s):
            return xp.abs(self.alpha) * s

        def derivative(self, xp, s, y):
            return self.alpha

    assert prove(BySize()).statement.endswith("for all real s, positive α")
    with pytest.raises(AssertionError, match="the derivative is wrong: at s = 0 it is 1, and -1 is given"):
        prove(BySize(-1.0))


def test_a_wall_where_a_function_has_a_value_is_looked_at():
    def value(xp, p, t):
        return xp.sum((xp.exp(p) - t) ** 2)

    def gradient(xp, p, t):
        return 2 * (xp.exp(p) - t) * xp.exp(p)

    assert not prove(loss(value, lambda xp, p, t: xp.where(xp.exp(p) >= t, 1, 1) * gradient(xp, p, t))).conditions
    with pytest.raises(
        AssertionError, match=r"the gradient by ŷ is wrong: where ŷ = log\(t\), at ŷ = 0, t = 1 it is 0"
    ):
        prove(loss(value, lambda xp, p, t: xp.where(xp.exp(p) == t, 1, gradient(xp, p, t))))


def test_what_is_not_looked_at_is_a_condition_of_the_proof():
    hidden = prove(
        loss(lambda xp, p, t: xp.sum(p * p), lambda xp, p, t: xp.where(p * xp.exp(p) + p * t == t * t * t, 7, 2 * p))
    )
    assert "it holds where" in hidden.conditions[0]


def test_a_loss_is_one_number():
    with pytest.raises(AssertionError, match=r"sample_value must return one number .* xp.sum \(in .*line \d+ of"):
        prove(loss(lambda xp, p, t: (p - t) ** 2, lambda xp, p, t: 2 * (p - t)))


class BySize(fm.CrossEntropy):
    """Right for probabilities, and not for numbers below 0."""

    def sample_value(self, xp, prediction, target):
        return xp.sum(xp.abs(target) * prediction)

    def sample_grad(self, xp, prediction, target):
        return target


def test_probabilities_are_not_negative():
    proof = prove(BySize(), targets=["probabilities"])
    assert proof.statement.endswith("targets that are probabilities above 0, or classes")
    assert "0 < t1 < 1: 2 outputs" in proof.pieces


def test_a_formula_that_is_zero_for_a_hidden_reason_is_zero(monkeypatch):
    def value(xp, s):
        root = xp.sqrt(1 + s * s)
        return xp.sqrt(2 + s * s + 2 * root) - root

    monkeypatch.setattr("functional_mlp.symbolic.comparing.POINTS", 30)
    assert prove(activation(value, lambda xp, s, y: 0 * s)).pieces == ("everywhere (to 1e-50 at 30 points)",)
    with pytest.raises(AssertionError, match="and 1e-100 is given"):
        prove(activation(value, lambda xp, s, y: 0 * s + 1e-100))


def test_the_rest_of_the_time_goes_to_points(monkeypatch):
    monkeypatch.setattr("functional_mlp.symbolic.identities.MOST_OPERATIONS", 1)
    monkeypatch.setattr("functional_mlp.symbolic.derivatives._SHARE", 1e-3)
    monkeypatch.setattr("functional_mlp.symbolic.comparing.POINTS", 30)
    half = activation(lambda xp, s: xp.tanh(s / 2), lambda xp, s, y: 2 / (xp.exp(s / 2) + xp.exp(-s / 2)) ** 2)
    assert prove(half).pieces == ("everywhere (to 1e-50 at 30 points)",)


@pytest.mark.parametrize(
    ("value", "gradient", "says"),
    [
        (lambda xp, p, t: xp.sum(p - t) ** 2 / 2, lambda xp, p, t: xp.sum(p - t), "output, 2 here, got an array of 1"),
        (lambda xp, p, t: xp.sum(p - t), lambda xp, p, t: 1.0, "sample_grad must return .* output, 1 here, got 1.0"),
        (lambda xp, p, t: 2.5, lambda xp, p, t: 0 * p, "sample_value must return an array .* got 2.5"),
    ],
    ids=["one for all outputs", "a number", "a number as value"],
)
def test_a_loss_whose_value_or_gradient_has_another_width_is_wrong(value, gradient, says):
    with pytest.raises(AssertionError, match=rf"{says}.* \(in sample_"):
        prove(loss(value, gradient))
    assert prove(loss(lambda xp, p, t: xp.sum(p - t), lambda xp, p, t: 1 + 0 * p))


def test_a_mistake_within_a_period_is_found():
    wrong = activation(lambda xp, s: xp.abs(s % 2 - 1), lambda xp, s, y: xp.where(s % 2 >= 1.001, 1, -1))
    with pytest.raises(AssertionError, match="it is 1, and -1 is given"):
        prove(wrong)


def test_a_slope_at_a_kink_may_be_rounded():
    def rounded(given):
        return activation(lambda xp, s: xp.where(s >= 0, s / 1.569, 0), lambda xp, s, y: xp.where(s >= 0, given, 0))

    assert len(prove(rounded(1 / 1.569)).kinks) == 1
    with pytest.raises(AssertionError, match="the derivative is wrong: at s = 0 it is 0, and 1 is given"):
        prove(
            activation(
                lambda xp, s: xp.where(s > 0, s / 1.569, 0),
                lambda xp, s, y: xp.where(s > 0, 1 / 1.569, xp.where(s < 0, 0, 1)),
            )
        )


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize(("place", "steepness"), [(200, 3), (50_000, 1)])
def test_a_mistake_far_out_is_found(side, place, steepness):
    wrong = activation(lambda xp, s: s + xp.exp(steepness * (side * s - place)), lambda xp, s, y: 1.0)
    with pytest.raises(AssertionError, match=r"the derivative is wrong: at s = -?\d+"):
        prove(wrong)


def test_outputs_that_can_be_exchanged_are_proved_once_and_others_each():
    def outputs(targets):
        squares = loss(lambda xp, p, t: xp.sum((p - t) ** 2), lambda xp, p, t: 2 * (p - t))
        return [named.claim.variable.name for named in claims.of_loss(squares, 3, targets)]

    assert outputs(lambda t: claims.Targets(t, t)) == ["ŷ1"]
    assert outputs(lambda t: claims.Targets((*t[:-1], 1 - sum(t[:-1])))) == ["ŷ1", "ŷ3"]
    assert outputs(lambda t: claims.Targets(t, t[:1])) == ["ŷ1", "ŷ2"]
