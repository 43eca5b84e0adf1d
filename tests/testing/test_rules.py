"""Optimizers' rules are proved against the formulas of the papers, and rules that are wrong are found."""

import attrs
import pytest
import sympy

import functional_mlp as fm
from functional_mlp.testing import prove
from tests.tables import OPTIMIZERS

# What the papers say, in their words: a recursion over all gradients so far, from zero.


def sgd(w, gradients, learning_rate):
    return w - learning_rate * gradients[-1]


def batch_gd(w, gradients, learning_rate):
    return w - learning_rate * sum(gradients[-3:]) / 3 if len(gradients) % 3 == 0 else w


def momentum(w, gradients, learning_rate, beta):
    velocity = 0
    for gradient in gradients:
        velocity = beta * velocity + (1 - beta) * gradient
    return w - learning_rate * velocity


def nesterov(w, gradients, learning_rate, momentum):
    velocity = sum(momentum ** (len(gradients) - t) * gradient for t, gradient in enumerate(gradients, 1))
    return w - learning_rate * (gradients[-1] + momentum * velocity)


def algorithm_1(w, gradients, learning_rate, beta1, beta2, eps):
    m = v = 0
    for t, g in enumerate(gradients, 1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
    return w - learning_rate * m_hat / (sympy.sqrt(v_hat) + eps)


def decoupled(w, gradients, learning_rate, beta1, beta2, eps, weight_decay):
    return algorithm_1(w - learning_rate * weight_decay * w, gradients, learning_rate, beta1, beta2, eps)


def rmsprop(w, gradients, learning_rate, decay, eps):
    count = len(gradients)
    mean = (1 - decay) * sum(decay ** (count - t) * g**2 for t, g in enumerate(gradients, 1))
    return w - learning_rate * gradients[-1] / (sympy.sqrt(mean) + eps)


def algorithm_2(w, gradients, learning_rate, beta1, beta2, weight_decay):
    m = 0
    for g in gradients:
        c = beta1 * m + (1 - beta1) * g
        m = beta2 * m + (1 - beta2) * g
    return w - learning_rate * (sympy.sign(c) + weight_decay * w)


FORMULAS = {
    fm.SGD: sgd,
    fm.BatchGD: batch_gd,
    fm.Momentum: momentum,
    fm.Nesterov: nesterov,
    fm.Adam: algorithm_1,
    fm.AdamW: decoupled,
    fm.RMSProp: rmsprop,
    fm.Lion: algorithm_2,
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_a_rule_is_its_formula(optimizer):
    proof = prove(optimizer, formula=FORMULAS[type(optimizer)])
    assert proof.method == "by algebra"
    assert "5 steps from zero state" in proof.statement


def test_a_rule_that_is_wrong_in_one_step_is_found():
    @attrs.frozen(repr=False)
    class LateBias(fm.Adam):
        def rule(self, xp, step, learning_rate, param, grad, first_moment, second_moment):
            step = step - 1 if step == 3 else step
            return super().rule(xp, step, learning_rate, param, grad, first_moment, second_moment)

    assert prove(LateBias(0.1), formula=algorithm_1, steps=2).method == "by algebra"
    with pytest.raises(
        AssertionError, match=r"the parameter after step 3 is wrong: where β2 < 1, at g1 = .*: what is given"
    ):
        prove(LateBias(0.1), formula=algorithm_1)


def test_floats_in_a_formula_are_the_numbers_that_they_stand_for():
    def with_floats(w, gradients, learning_rate, beta):
        velocity = 0.0
        for gradient in gradients:
            velocity = beta * velocity + (1.0 - beta) * gradient
        return w - learning_rate * velocity

    assert prove(fm.Momentum(0.1), formula=with_floats).method == "by algebra"
    with pytest.raises(AssertionError, match="the parameter after step 1 is wrong"):
        prove(fm.SGD(0.1), formula=lambda w, gradients, learning_rate: w - 1.000001 * learning_rate * gradients[-1])


def test_a_rule_that_takes_no_schedule_is_found():
    class Deaf(fm.SGD):
        def rule(self, xp, step, learning_rate, param, grad):
            return (param - self.learning_rate * grad,)

    with pytest.raises(AssertionError, match=r"self\.learning_rate"):
        prove(Deaf(0.1), formula=sgd)


@attrs.frozen(repr=False)
class AdaBelief(fm.Adam):
    def rule(self, xp, step, learning_rate, param, grad, first_moment, second_moment):
        first = self.beta1 * first_moment + (1 - self.beta1) * grad
        second = self.beta2 * second_moment + (1 - self.beta2) * (grad - first) ** 2 + self.eps
        size = xp.sqrt(second / (1 - self.beta2**step)) + self.eps
        return param - learning_rate * first / (1 - self.beta1**step) / size, first, second


def adabelief(w, gradients, learning_rate, beta1, beta2, eps):
    m, s, t = 0, 0, len(gradients)
    for g in gradients:
        m = beta1 * m + (1 - beta1) * g
        s = beta2 * s + (1 - beta2) * (g - m) ** 2 + eps
    return w - learning_rate * m / (1 - beta1**t) / (sympy.sqrt(s / (1 - beta2**t)) + eps)


class AMSGrad(fm.Adam):
    """One step of it, in which the largest second moment so far is the second moment, or 0."""

    def rule(self, xp, step, learning_rate, param, grad, first_moment, second_moment):
        first = self.beta1 * first_moment + (1 - self.beta1) * grad
        second = self.beta2 * second_moment + (1 - self.beta2) * grad**2
        largest = xp.maximum(second_moment, second)
        return param - learning_rate * first / (xp.sqrt(largest) + self.eps), first, second


def amsgrad(w, gradients, learning_rate, beta1, beta2, eps):
    (g,) = gradients
    return w - learning_rate * (1 - beta1) * g / (sympy.sqrt(1 - beta2) * sympy.Abs(g) + eps)


@pytest.mark.parametrize(("rule", "formula", "steps"), [(AdaBelief, adabelief, 2), (AMSGrad, amsgrad, 1)])
def test_roots_of_sums_of_squares_are_proved_by_algebra(rule, formula, steps):
    proof = prove(rule(0.1), formula=formula, steps=steps)
    assert (proof.method, proof.conditions) == ("by algebra", ())


class Clipped(fm.SGD):
    def rule(self, xp, step, learning_rate, param, grad):
        return (param - learning_rate * xp.maximum(xp.minimum(grad, 1000), -1000),)


def clipped_at(bound):
    return lambda w, gradients, learning_rate: w - learning_rate * sympy.Max(sympy.Min(gradients[-1], bound), -1000)


def in_pieces(w, gradients, learning_rate):
    g = gradients[-1]
    return w - learning_rate * sympy.Piecewise((g, (g < 1000) & (g > -1000)), (1000, g > 0), (-1000, True))


def test_conditions_in_a_formula_divide_space():
    for formula in (clipped_at(1000), in_pieces):
        assert prove(Clipped(0.1), formula=formula, steps=1).method == "by algebra"
    with pytest.raises(AssertionError, match=r"wrong: where 1000 < g1 < 5000, at g1 = "):
        prove(Clipped(0.1), formula=clipped_at(5000), steps=1)


@attrs.frozen(repr=False)
class _Turning(fm.Momentum):
    def rule(self, xp, step, learning_rate, params, grads, *slots):
        params, *slots = super().rule(xp, step, learning_rate, params, grads, *slots)
        return (params + xp.where(self.beta > 0.9, 0, 1), *slots)


def test_a_number_of_an_optimizer_is_on_the_side_of_a_condition_that_it_is_written_on():
    assert _Turning(0.1).beta == 0.9
    with pytest.raises(AssertionError, match="_Turning"):
        prove(_Turning(0.1), formula=momentum)
