"""A correct optimizer without a base class, and mistakes planted in optimizers."""

from typing import Any

import attrs
import torch
from torch import Tensor

import functional_mlp as fm
from functional_mlp import trees
from functional_mlp.testing import check_optimizer
from tests.testing.planted.table import planted


def momentum(param: float, grads: list[float]) -> float:
    """The paper's rule, with η = 0.1 and β = 0.9."""
    velocity = 0.0
    for grad in grads:
        velocity = 0.9 * velocity + 0.1 * grad
        param -= 0.1 * velocity
    return param


def adam(param: float, grads: list[float]) -> float:
    """Adam with η = 0.1 and its usual constants."""
    mean = square = 0.0
    for step, grad in enumerate(grads, 1):
        mean, square = 0.9 * mean + 0.1 * grad, 0.999 * square + 0.001 * grad**2
        param -= 0.1 * mean / (1 - 0.9**step) / ((square / (1 - 0.999**step)) ** 0.5 + 1e-8)
    return param


@planted(check_optimizer, 0.1, says=r"params.* differs from the formula after gradients", formula=momentum)
class MomentumWithoutOneMinusBeta(fm.Momentum):
    def rule(self, xp, step, learning_rate, param, grad, velocity):
        velocity = self.beta * velocity + grad
        return param - learning_rate * velocity, velocity


@planted(check_optimizer, 0.1, says=r"params.* differs from the formula after gradients", formula=adam)
class AdamWithoutBiasCorrection(fm.Adam):
    def rule(self, xp, step, learning_rate, param, grad, first_moment, second_moment):
        return super().rule(xp, 1, learning_rate, param, grad, first_moment, second_moment)


@planted(check_optimizer, 0.1, says="the first step on a quadratic must descend")
class Ascends(fm.SGD):
    def rule(self, xp, step, learning_rate, param, grad):
        return (param + learning_rate * grad,)


@planted(check_optimizer, 0.1, says="update never changes the params")
class StandsStill(fm.SGD):
    def rule(self, xp, step, learning_rate, param, grad):
        return (param + 0 * grad,)


@planted(check_optimizer, 0.1, says="update ignores state.learning_rate")
class IgnoresTheSchedule(fm.SGD):
    def rule(self, xp, step, learning_rate, param, grad):
        return (param - self.learning_rate * grad,)


@fm.pytree.node
@attrs.frozen(eq=False)
class PlainState:
    params: Any
    learning_rate: float = attrs.field(metadata=fm.pytree.STRUCTURE)


@attrs.frozen
class Descent:
    """w ← w − ηg; an optimizer without a base class."""

    learning_rate: float

    def init(self, params: Any) -> Any:
        return PlainState(params, self.learning_rate)

    def update(self, state: Any, grads: Any) -> Any:
        trees.like("grads", grads, "params", state.params)
        return attrs.evolve(state, params=fm.pytree.map(lambda w, g: self.step(w, g, state), state.params, grads))

    def step(self, param: Tensor, grad: Tensor, state: Any) -> Tensor:
        return param - state.learning_rate * grad


@planted(check_optimizer, 0.1, says="update (changed|wrote to) its argument state.params|update raised RuntimeError")
class UpdatesInPlace(Descent):
    def step(self, param, grad, state):
        return param.sub_(state.learning_rate * grad)


@planted(check_optimizer, 0.1, says="update takes grads.*: raise a ValueError, broadcast nothing")
class BroadcastsGradients(Descent):
    def update(self, state, grads):
        return attrs.evolve(state, params=fm.pytree.map(lambda w, g: self.step(w, g, state), state.params, grads))

    def step(self, param, grad, state):
        return param - state.learning_rate * grad.expand(param.shape) if param.ndim >= grad.ndim else param - grad[0]


@planted(check_optimizer, 0.1, says="update must raise a ValueError that names")
class ErrorWithoutThePath(Descent):
    def update(self, state, grads):
        try:
            return super().update(state, grads)
        except ValueError:
            raise ValueError("grads do not fit") from None


@fm.pytree.node
@attrs.define(eq=False)
class MutableState:
    params: Any
    learning_rate: float = attrs.field(metadata=fm.pytree.STRUCTURE)


@planted(check_optimizer, 0.1, says="init returns a state that can be changed")
class StateThatCanBeChanged(Descent):
    def init(self, params):
        return MutableState(params, self.learning_rate)


@attrs.frozen(eq=False)
class UnregisteredState:
    params: Any
    learning_rate: float


@planted(check_optimizer, 0.1, says="init must return a pytree of tensors")
class StateThatIsNoTree(Descent):
    def init(self, params):
        return UnregisteredState(params, self.learning_rate)


@planted(check_optimizer, 0.1, says=r"update: state.params.* must have the dtype of state.params.* before")
class OptimizerChangesDtype(Descent):
    def step(self, param, grad, state):
        return super().step(param.double(), grad, state)


@planted(check_optimizer, 0.1, says="is updated in another way beside other numbers than on its own")
class NormalizesByTheLeaf(Descent):
    def step(self, param, grad, state):
        return super().step(param, grad / grad.norm().clamp_min(1e-12), state)


@planted(check_optimizer, 0.1, says="is updated in another way beside other numbers|update: state.params")
class MixesUpTheLeaves(Descent):
    def update(self, state, grads):
        trees.like("grads", grads, "params", state.params)
        leaves = fm.pytree.leaves(grads)
        same_shape = {leaf.shape: leaf for leaf in leaves}
        mixed = fm.pytree.unflatten(grads, [same_shape[leaf.shape] for leaf in leaves])
        return super().update(state, mixed)


@planted(check_optimizer, 0.1, says="update changes the learning rate, from 0.1 to 0.09")
class DecaysTheLearningRateItself(Descent):
    def update(self, state, grads):
        return attrs.evolve(super().update(state, grads), learning_rate=0.9 * state.learning_rate)


@planted(check_optimizer, 0.1, says="update returned a result.params.* connected to an autograd graph")
class OptimizerKeepsTheGraph(Descent):
    def step(self, param, grad, state):
        return super().step(param, grad, state).requires_grad_()


@planted(check_optimizer, 0.1, says="update changed torch's global generator")
class NoisyDescent(Descent):
    def step(self, param, grad, state):
        return super().step(param, grad + 1e-3 * torch.randn(grad.shape, dtype=grad.dtype), state)


@planted(check_optimizer, 0.1, says="init: state.params differs from params")
class StartsElsewhere(Descent):
    def init(self, params):
        return PlainState(fm.pytree.map(torch.zeros_like, params), self.learning_rate)
