"""What is wrong where several variables vanish together, where surfaces meet, and for one number, is found."""

import attrs
import pytest

import functional_mlp as fm
from functional_mlp.testing import prove
from tests.testing.expressions import activation, loss


def squares(xp, p, t):
    return xp.sum((p - t) ** 2)


def wrong_where(condition):
    """The gradient of `squares`, with 1 more where a formula is 0 for two outputs and more."""

    def gradient(xp, p, t):
        slope = 2 * (p - t)
        return slope if p.shape[-1] == 1 else slope + xp.where(condition(xp, p, t) == 0, 1, 0)

    return loss(squares, gradient)


@pytest.mark.parametrize(
    ("condition", "where"),
    [
        (squares, "where t2 = ŷ2 and ŷ1 = t1, at "),
        (lambda xp, p, t: xp.sum(xp.abs(p - t)), "where t2 = ŷ2 and ŷ1 = t1, at "),
        (lambda xp, p, t: xp.sum(p**4), "where ŷ2 = 0, at ŷ2 = 0, ŷ1 = 0, t1 = 0 it is 0, and 1 is given"),
        (lambda xp, p, t: xp.max(xp.abs(p)), "where ŷ2 = 0, at "),
        (lambda xp, p, t: xp.sum((p - 1) ** 2), "where ŷ2 = 1, at ŷ2 = 1, ŷ1 = 1, "),
        (lambda xp, p, t: (xp.exp(p) - 2) ** 2 + (t - 3) ** 2, "where t1 = 3, at t1 = 3, ŷ1 = log\\(2\\) "),
    ],
    ids=["squares", "sizes", "fourth powers", "the largest", "another point", "several functions"],
)
def test_a_gradient_that_is_wrong_where_several_variables_vanish_is_found(condition, where):
    with pytest.raises(AssertionError, match=rf"the gradient by ŷ1 is wrong: {where}"):
        prove(wrong_where(condition))


def test_a_gradient_that_is_wrong_where_two_surfaces_meet_is_found():
    nested = loss(squares, lambda xp, p, t: 2 * (p - t) + xp.where(p == t, xp.where(t == 7, 1, 0), 0))
    with pytest.raises(AssertionError, match="where t = 7, at t = 7, ŷ = 7 it is 0, and 1 is given"):
        prove(nested)


def norm(xp, p, t):
    return xp.sqrt(squares(xp, p, t))


def test_a_norm_is_proved_with_its_kink_and_no_number_there_is_wrong():
    def gradient(xp, p, t):
        return xp.where(norm(xp, p, t) == 0, 0, (p - t) / norm(xp, p, t))

    proof = prove(loss(norm, gradient))
    assert not proof.conditions
    assert "3 outputs: where t2 = ŷ2 and t3 = ŷ3, at ŷ1 = t1 it is -1 from the left and 1 from the right" in str(proof)
    without = loss(
        lambda xp, p, t: (squares if p.shape[-1] == 1 else norm)(xp, p, t),
        lambda xp, p, t: 2 * (p - t) if p.shape[-1] == 1 else (p - t) / norm(xp, p, t),
    )
    with pytest.raises(AssertionError, match=r"where t2 = ŷ2 and ŷ1 = t1, at .* it is -1, and no number is given"):
        prove(without)


def test_a_rule_that_is_wrong_where_gradient_and_velocity_vanish_is_found():
    @attrs.frozen(repr=False)
    class Restarted(fm.Momentum):
        def rule(self, xp, step, learning_rate, param, grad, velocity):
            param, velocity = super().rule(xp, step, learning_rate, param, grad, velocity)
            return xp.where(grad * grad + velocity * velocity == 0, param + 1, param), velocity

    def momentum(w, gradients, learning_rate, beta):
        velocity = 0
        for gradient in gradients:
            velocity = beta * velocity + (1 - beta) * gradient
        return w - learning_rate * velocity

    with pytest.raises(AssertionError, match="the parameter after step 1 is wrong: where g1 = 0, at g1 = 0, "):
        prove(Restarted(0.1), formula=momentum, steps=2)


def test_a_slope_of_a_piece_around_is_right_where_kinks_meet():
    """Along the line ŷ2 = 0 the slope by ŷ1 is 1, and in the pieces around ŷ = 0 it is 0, 1 or 2."""

    def value(xp, p, t):
        total = xp.sum(p)
        return xp.maximum(total, 0) - xp.maximum(xp.max(p) - total, 0) if p.shape[-1] == 2 else total

    def gradient(at_zero):
        def slope(xp, p, t):
            is_least = xp.where(p < xp.max(p), 1, 0)
            both = xp.where(xp.sum(p) > 0, 1, 0) + xp.where(xp.max(p) > xp.sum(p), is_least, 0)
            return xp.where(xp.sum(p * p) == 0, at_zero, both) if p.shape[-1] == 2 else 1 + 0 * p

        return slope

    kink = "2 outputs: where ŷ2 = 0, at ŷ1 = 0 it is 1 from both sides, and 2 is given"
    assert kink in prove(loss(value, gradient(2))).kinks
    with pytest.raises(AssertionError, match=r"where ŷ2 = 0, at ŷ2 = 0, ŷ1 = 0 it is 1, and 3 is given"):
        prove(loss(value, gradient(3)))


@attrs.frozen(repr=False)
class Power(fm.Elementwise):
    p: float = 1.5

    def value(self, xp, s):
        return xp.abs(s) ** self.p

    def derivative(self, xp, s, y):
        return self.p * xp.sign(s) * xp.abs(s) ** (self.p - 1)


def test_what_is_open_for_all_numbers_is_looked_at_for_the_own():
    proof = prove(Power())
    assert proof.statement == "Power(): the derivative is that of the value for all real s"
    assert not proof.conditions
    with pytest.raises(AssertionError, match="at s = 0 it is -∞, and no number is given"):
        prove(Power(0.5))


@pytest.mark.parametrize(
    ("value", "slope"),
    [(lambda xp, s: xp.exp(xp.log(s)), lambda xp, s: s / s), (lambda xp, s: s**1.5, lambda xp, s: 1.5 * s**1.5 / s)],
    ids=["exp log", "power"],
)
def test_no_number_at_the_edge_of_a_domain_is_wrong(value, slope):
    with pytest.raises(AssertionError, match=r"at s = 0 it is [01], and no number is given"):
        prove(activation(value, lambda xp, s, y: slope(xp, s)))


class OfAllNumbers(fm.Loss):
    """Right for numbers from 0 on alone, and its encode takes any."""

    def encode(self, targets, predictions):
        return super().encode(targets, predictions)

    def sample_value(self, xp, prediction, target):
        return xp.sum(xp.abs(target) * prediction)

    def sample_grad(self, xp, prediction, target):
        return target


class FromZero(OfAllNumbers):
    def encode(self, targets, predictions):
        if (targets < 0).any():
            raise ValueError("targets must not be negative")
        return targets


class WrongBeyondOne(FromZero):
    def sample_grad(self, xp, prediction, target):
        return xp.where(target > 1, 0, target)


def test_a_loss_must_be_right_for_all_targets_that_it_takes():
    for wrong in (OfAllNumbers(), WrongBeyondOne()):
        with pytest.raises(AssertionError, match="the gradient by ŷ is wrong"):
            prove(wrong)
        assert prove(wrong, targets=["fractions"]).statement.endswith(
            "targets that are all between 0 and 1, or all 0 or 1"
        )
    assert prove(FromZero()).statement.endswith("all targets that are not negative")
    with pytest.raises(ValueError, match=r"prove: targets must be kinds out of .*, got \['logits'\]"):
        prove(FromZero(), targets=["logits"])
    with pytest.raises(TypeError, match="targets is for losses"):
        prove(fm.Tanh(), targets=["values"])


@pytest.mark.parametrize("size", [1e-300, 1e-12, 2e-5, 0.123456789, 1.0, 1e8])
@pytest.mark.parametrize("error", [1.1e-12, -5e-12])
def test_a_relative_error_of_a_coefficient_of_any_size_is_found(size, error):
    def of(coefficient):
        return activation(
            lambda xp, s: size * s * s / 2 + xp.tanh(s), lambda xp, s, y: coefficient * s + 1 - xp.tanh(s) ** 2
        )

    assert prove(of(size)).method == "by algebra"
    with pytest.raises(AssertionError, match="the derivative is wrong"):
        prove(of(size * (1 + error)))


def test_what_one_less_a_short_number_leaves_is_that_to_the_last_bit():
    rest = 1 - 0.99998
    assert prove(activation(lambda xp, s: 2e-5 * s, lambda xp, s, y: 0 * s + rest)).method == "by algebra"
