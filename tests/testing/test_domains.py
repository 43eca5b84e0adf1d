"""What is no number somewhere is looked at as the code computes it, before a formula is made simpler."""

import math

import pytest

import functional_mlp as fm
from functional_mlp.testing import prove
from tests.testing.expressions import activation, loss


@pytest.mark.parametrize(
    ("slope", "where"),
    [
        (lambda xp, s: 2 * xp.exp(xp.log(s)), "where s < 0, at s = -1 it is -2"),
        (lambda xp, s: 2 * xp.sqrt(s) ** 2, "where s < 0, at s = -1 it is -2"),
        (lambda xp, s: 2 * (s**0.5) ** 2, "where s < 0, at s = -1 it is -2"),
        (lambda xp, s: 2 * s + 0 * xp.log(s), "where s < 0, at s = -1 it is -2"),
        (lambda xp, s: 2 * s + xp.log(s) - xp.log(s), "where s < 0, at s = -1 it is -2"),
        (lambda xp, s: 2 * s * s / s, "at s = 0 it is 0"),
        (lambda xp, s: 2 * s / s * s, "at s = 0 it is 0"),
        (lambda xp, s: 2 * s + s * s**-1 - 1, "at s = 0 it is 0"),
        (lambda xp, s: 2 * s + 0 / s, "at s = 0 it is 0"),
        (lambda xp, s: 2 * s * (s - 3) / (s - 3), "at s = 3 it is 6"),
        (lambda xp, s: 2 * s + math.inf - math.inf, "at s = 0 it is 0"),
        (lambda xp, s: 2 * s + 0 * math.inf, "at s = 0 it is 0"),
    ],
)
def test_a_derivative_that_is_no_number_somewhere_is_wrong(slope, where):
    with pytest.raises(AssertionError, match=rf"the derivative is wrong: {where}, and no number is given"):
        prove(activation(lambda xp, s: s * s, lambda xp, s, y: slope(xp, s)))


def test_a_quotient_that_is_finite_at_infinity_is_right():
    shrunk = activation(lambda xp, s: xp.exp(-1 / (s * s)), lambda xp, s, y: xp.where(s == 0, 0, 2 / s**3 * y))
    assert prove(shrunk).method == "by algebra"
    assert prove(activation(lambda xp, s: s * xp.abs(s), lambda xp, s, y: 2 / (1 / xp.abs(s)))).method == "by algebra"


def test_a_value_with_a_number_that_is_none_is_nowhere_one():
    with pytest.raises(ValueError, match="the value is nowhere a real number"):
        prove(activation(lambda xp, s: s * s + math.nan, lambda xp, s, y: 2 * s))


def test_a_value_that_is_no_number_where_it_simplifies_is_said():
    proof = prove(activation(lambda xp, s: xp.sqrt(s) ** 2, lambda xp, s, y: 1))
    assert proof.statement.endswith("where the value is a real number")
    assert proof.pieces == ("s < 0 (the value is no real number)", "s > 0")
    hole = prove(activation(lambda xp, s: s * s / s, lambda xp, s, y: 1))
    assert hole.kinks == (
        "derivative: at s = 0 it is 1 from both sides, and 1 is given; the value is not finite there",
    )


def test_a_value_is_no_number_where_its_targets_give_none():
    by_log = prove(loss(lambda xp, p, t: xp.sum(p * p + 0 * xp.log(t)), lambda xp, p, t: 2 * p))
    assert by_log.statement.endswith("all real targets where the value is a real number")
    assert by_log.pieces[0] == "t > 0: 1 output"
    assert by_log.pieces[-1] == "the value is no real number in 10 other pieces"
    by_root = prove(loss(lambda xp, p, t: xp.sum(p * xp.sqrt(t - 5)), lambda xp, p, t: xp.sqrt(t - 5)))
    assert by_root.pieces[0] == "t > 5: 1 output"


def test_a_gradient_is_looked_at_where_its_targets_and_outputs_give_no_number():
    with pytest.raises(AssertionError, match=r"where t < 0, at .* and no number is given"):
        prove(loss(lambda xp, p, t: xp.sum(p * t), lambda xp, p, t: xp.sqrt(t) ** 2))
    with pytest.raises(AssertionError, match=r"where ŷ < -t, at .* and no number is given"):
        prove(loss(lambda xp, p, t: xp.sum(p * p / 2), lambda xp, p, t: p + 0 * xp.log(p + t)))
    with pytest.raises(AssertionError, match=r"where ŷ = -t, at .* and no number is given"):
        prove(loss(lambda xp, p, t: xp.sum(p * p / 2), lambda xp, p, t: p * (p + t) / (p + t)))


def test_a_root_and_a_quotient_in_a_rule_are_numbers_by_the_signs_of_its_own():
    def formula(w, gradients, learning_rate, decay, eps):
        mean = sum((1 - decay) * decay ** (len(gradients) - i) * g**2 for i, g in enumerate(gradients, 1))
        return w - learning_rate * gradients[-1] / (mean**0.5 + eps)

    proof = prove(fm.RMSProp(0.1), formula=formula, steps=2)
    assert proof.statement.endswith("for all positive η, ρ, ε with ρ < 1")
    assert proof.method == "by algebra"
