"""Rules that remember parameters are proved for what these were, and not as if each step began at the same one."""

from typing import Any, ClassVar

import attrs
import pytest

import functional_mlp as fm
from functional_mlp.testing import prove
from functional_mlp.testing.optimizer.cases import long_case
from functional_mlp.testing.optimizer.properties import agrees_with_formula


@fm.pytree.node
@attrs.frozen(eq=False)
class Velocity(fm.OptimizerState):
    velocity: Any


@attrs.frozen(repr=False)
class Coupled(fm.Optimizer):
    """Weight decay that goes through the velocity: v ← μ v + g + λ w, w ← w − η v."""

    mu: float = 0.9
    decay: float = 0.5
    State: ClassVar[type] = Velocity

    def rule(self, xp, step, learning_rate, param, grad, velocity):
        velocity = self.mu * velocity + grad + self.decay * param
        return param - learning_rate * velocity, velocity


def of_each_parameter(w, gradients, params, learning_rate, mu, decay):
    velocity = 0
    for param, gradient in zip(params, gradients, strict=True):
        velocity = mu * velocity + gradient + decay * param
    return w - learning_rate * velocity


def of_the_last_parameter(w, gradients, learning_rate, mu, decay):
    return of_each_parameter(w, gradients, [w] * len(gradients), learning_rate, mu, decay)


@fm.pytree.node
@attrs.frozen(eq=False)
class Before(fm.OptimizerState):
    before: Any
    is_later: Any


@attrs.frozen(repr=False)
class HeavyBall(fm.Optimizer):
    """w ← w − η g + β (w − w before)."""

    beta: float = 0.9
    State: ClassVar[type] = Before

    def rule(self, xp, step, learning_rate, param, grad, before, is_later):
        moved = self.beta * (param - before) * is_later
        return param - learning_rate * grad + moved, param, 0 * is_later + 1


def ball(w, gradients, params, learning_rate, beta):
    moved = beta * (w - params[-2]) if len(params) > 1 else 0
    return w - learning_rate * gradients[-1] + moved


def ball_by_velocity(w, gradients, learning_rate, beta):
    velocity = 0
    for gradient in gradients:
        velocity = beta * velocity - learning_rate * gradient
    return w + velocity


def sgd(w, gradients, learning_rate, beta):
    return w - learning_rate * gradients[-1]


@pytest.mark.parametrize(
    ("optimizer", "formula"), [(Coupled, of_each_parameter), (HeavyBall, ball), (HeavyBall, ball_by_velocity)]
)
def test_a_rule_that_remembers_parameters_is_its_formula(optimizer, formula):
    assert prove(optimizer(0.1), formula=formula, steps=4).method == "by algebra"


@pytest.mark.parametrize(("optimizer", "formula"), [(Coupled, of_the_last_parameter), (HeavyBall, sgd)])
def test_a_formula_that_forgets_them_is_refuted(optimizer, formula):
    assert prove(optimizer(0.1), formula=formula, steps=1).method == "by algebra"
    with pytest.raises(AssertionError, match=r"the parameter after step 2 is wrong: at .*w1 = "):
        prove(optimizer(0.1), formula=formula)


def test_a_second_definition_is_given_them_as_well():
    def last(param, grads, params):
        assert params[0] == param
        return of_each_parameter(params[-1], grads, params, 0.1, 0.9, 0.5)

    case = long_case(Coupled(0.1), fm.random.key(0))
    agrees_with_formula(case, last)
    with pytest.raises(AssertionError, match="differs from the formula"):
        agrees_with_formula(case, lambda param, grads, params: last(param, grads, [param] * len(params)))
