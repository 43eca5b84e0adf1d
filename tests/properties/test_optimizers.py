"""What holds for every optimizer, each compared with its rule in plain floats."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings

import functional_mlp as fm
from functional_mlp.testing import check_optimizer, optimizers
from tests.tables import OPTIMIZERS

Formula = Callable[[float, list[float]], float]


def sgd(optimizer: fm.SGD, param: float, grads: list[float]) -> float:
    return param - optimizer.learning_rate * sum(grads)


def batch_gd(optimizer: fm.BatchGD, param: float, grads: list[float]) -> float:
    size = optimizer.batch_size
    for start in range(0, len(grads) - size + 1, size):
        param -= optimizer.learning_rate * sum(grads[start : start + size]) / size
    return param


def momentum(optimizer: fm.Momentum, param: float, grads: list[float]) -> float:
    velocity = 0.0
    for grad in grads:
        velocity = optimizer.beta * velocity + (1 - optimizer.beta) * grad
        param -= optimizer.learning_rate * velocity
    return param


def nesterov(optimizer: fm.Nesterov, param: float, grads: list[float]) -> float:
    velocity = 0.0
    for grad in grads:
        velocity = optimizer.momentum * velocity + grad
        param -= optimizer.learning_rate * (grad + optimizer.momentum * velocity)
    return param


def adam(optimizer: fm.Adam, param: float, grads: list[float]) -> float:
    decay = optimizer.weight_decay if isinstance(optimizer, fm.AdamW) else 0.0
    mean = square = 0.0
    for step, grad in enumerate(grads, start=1):
        mean = optimizer.beta1 * mean + (1 - optimizer.beta1) * grad
        square = optimizer.beta2 * square + (1 - optimizer.beta2) * grad**2
        corrected = square / (1 - optimizer.beta2**step)
        param -= optimizer.learning_rate * decay * param
        param -= optimizer.learning_rate * mean / (1 - optimizer.beta1**step) / (math.sqrt(corrected) + optimizer.eps)
    return param


def rmsprop(optimizer: fm.RMSProp, param: float, grads: list[float]) -> float:
    square = 0.0
    for grad in grads:
        square = optimizer.decay * square + (1 - optimizer.decay) * grad**2
        param -= optimizer.learning_rate * grad / (math.sqrt(square) + optimizer.eps)
    return param


def lion(optimizer: fm.Lion, param: float, grads: list[float]) -> float:
    mean = 0.0
    for grad in grads:
        direction = optimizer.beta1 * mean + (1 - optimizer.beta1) * grad
        sign = math.copysign(1.0, direction) if direction else 0.0
        param -= optimizer.learning_rate * (sign + optimizer.weight_decay * param)
        mean = optimizer.beta2 * mean + (1 - optimizer.beta2) * grad
    return param


FORMULAS = {
    fm.SGD: sgd, fm.BatchGD: batch_gd, fm.Momentum: momentum, fm.Nesterov: nesterov, fm.Adam: adam, fm.AdamW: adam,
    fm.RMSProp: rmsprop, fm.Lion: lion,
}  # fmt: skip


def formula_of(optimizer: fm.Optimizer) -> Formula:
    return lambda param, grads: FORMULAS[type(optimizer)](optimizer, param, grads)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_an_optimizer_keeps_its_contract(optimizer: fm.Optimizer) -> None:
    check_optimizer(optimizer, formula=formula_of(optimizer))


@settings(max_examples=10, suppress_health_check=[HealthCheck.nested_given])
@given(optimizers())
def test_drawn_optimizers_keep_their_contract(optimizer: fm.Optimizer) -> None:
    check_optimizer(optimizer, formula=formula_of(optimizer), examples=5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_the_state_of_another_rule_is_refused(optimizer: fm.Optimizer) -> None:
    """Though it has the same slots: what they hold means something else there."""
    params = (torch.ones(2),)
    for other in OPTIMIZERS:
        if type(other) is not type(optimizer):
            with pytest.raises(TypeError, match=f"takes a state of the type {optimizer.State.__name__}"):
                optimizer.update(other.init(params), params)
