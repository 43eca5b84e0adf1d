"""Mistakes of optimizers that a few ordinary updates do not show."""

import attrs
import torch

import functional_mlp as fm
from functional_mlp import trees
from functional_mlp.testing import check_optimizer
from tests.testing.planted.optimizers import Descent, adam, momentum
from tests.testing.planted.table import planted

DIFFERS = r"params.* differs from the formula after gradients"
OWN_RATE = "takes the optimizer's learning rate instead of state.learning_rate"


def descent(param: float, grads: list[float]) -> float:
    return param - 0.1 * sum(grads)


@planted(check_optimizer, 0.1, says=DIFFERS, formula=momentum)
class VelocityForgottenAfterFiveUpdates(fm.Momentum):
    def rule(self, xp, step, learning_rate, param, grad, velocity):
        return super().rule(xp, step, learning_rate, param, grad, velocity if step != 6 else 0 * velocity)


@planted(check_optimizer, 0.1, says=DIFFERS, formula=adam)
class BiasCorrectionEndsAtStepTen(fm.Adam):
    def rule(self, xp, step, learning_rate, param, grad, first_moment, second_moment):
        return super().rule(xp, min(step, 9), learning_rate, param, grad, first_moment, second_moment)


@planted(check_optimizer, 0.1, says=DIFFERS, formula=adam)
class BiasCorrectionOneStepOff(fm.Adam):
    def rule(self, xp, step, learning_rate, param, grad, first_moment, second_moment):
        return super().rule(xp, step + (step > 4), learning_rate, param, grad, first_moment, second_moment)


@planted(check_optimizer, 0.1, says=DIFFERS, formula=descent)
class StandsStillAtTheTwelfthStep(fm.SGD):
    def rule(self, xp, step, learning_rate, param, grad):
        return (param - (0 if step == 12 else learning_rate) * grad,)


@planted(check_optimizer, 0.1, says="must be finite|other numbers in float32|differs from the formula", formula=adam)
class NanForAZeroGradient(fm.Adam):
    def rule(self, xp, step, learning_rate, param, grad, first_moment, second_moment):
        param, first, second = super().rule(xp, step, learning_rate, param, grad, first_moment, second_moment)
        return param + 0 * grad / grad, first, second


@planted(check_optimizer, 0.1, says=DIFFERS, formula=momentum)
class StandsStillForAZeroGradient(fm.Momentum):
    """As if nothing were to be done; but the velocity goes on."""

    def rule(self, xp, step, learning_rate, param, grad, velocity):
        moved, faster = super().rule(xp, step, learning_rate, param, grad, velocity)
        return xp.where(grad == 0, param, moved), xp.where(grad == 0, velocity, faster)


@planted(check_optimizer, 0.1, says=DIFFERS, formula=descent)
class ClipsGradientsAtFive(fm.SGD):
    def rule(self, xp, step, learning_rate, param, grad):
        return (param - learning_rate * xp.minimum(xp.maximum(grad, -5), 5),)


@planted(check_optimizer, 0.1, says=DIFFERS, formula=descent)
class ClipsGradientsAtAHundred(fm.SGD):
    def rule(self, xp, step, learning_rate, param, grad):
        return (param - learning_rate * xp.minimum(xp.maximum(grad, -100), 100),)


@planted(check_optimizer, 0.1, says=f"{DIFFERS}|does not go against a gradient of", formula=descent)
class DropsSmallGradients(fm.SGD):
    def rule(self, xp, step, learning_rate, param, grad):
        return (param - learning_rate * xp.where(xp.abs(grad) < 1e-3, 0, grad),)


@planted(check_optimizer, 0.1, says="is updated in another way beside other numbers|differs from the formula")
class ForgetsTheFourthLeaf(Descent):
    def update(self, state, grads):
        following = super().update(state, grads)
        leaves = fm.pytree.leaves(following.params)
        leaves[3:] = fm.pytree.leaves(state.params)[3:]
        return attrs.evolve(following, params=fm.pytree.unflatten(state.params, leaves))


@planted(check_optimizer, 0.1, says="is updated in another way beside other numbers|does not go against a gradient of")
class ClipsByTheWholeNorm(Descent):
    def update(self, state, grads):
        trees.like("grads", grads, "params", state.params)
        norm = sum(leaf.square().sum() for leaf in fm.pytree.leaves(grads)).sqrt()
        return super().update(state, fm.pytree.map(lambda grad: grad / max(1.0, float(norm) / 20), grads))


@planted(check_optimizer, 0.1, says=OWN_RATE)
class OwnRateAfterTheFirstStep(fm.SGD):
    def rule(self, xp, step, learning_rate, param, grad):
        return (param - (learning_rate if step == 1 else self.learning_rate) * grad,)


@planted(check_optimizer, 0.1, says=OWN_RATE)
class OwnRateForTheDecay(fm.AdamW):
    def rule(self, xp, step, learning_rate, param, grad, first_moment, second_moment):
        decayed = param - self.learning_rate * self.weight_decay * param
        return fm.Adam.rule(self, xp, step, learning_rate, decayed, grad, first_moment, second_moment)


@planted(check_optimizer, 0.1, says=f"{OWN_RATE}|a learning rate of 0")
class OwnRateForLargeGradients(Descent):
    def step(self, param, grad, state):
        return torch.where(grad.abs() > 20, param - self.learning_rate * grad, super().step(param, grad, state))


@planted(check_optimizer, 0.1, says="update raised RuntimeError|update (changed|wrote to) its argument state.velocity")
class VelocityInPlaceFromTheSecondStepOn(fm.Momentum):
    def rule(self, xp, step, learning_rate, param, grad, velocity):
        if step > 1:
            velocity.mul_(self.beta).add_((1 - self.beta) * grad)
        else:
            velocity = (1 - self.beta) * grad
        return param - learning_rate * velocity, velocity


@planted(check_optimizer, 0.1, says="update (changed|wrote to) its argument state|is changed by later ones")
class ParamsInPlaceAfterFiveSteps(fm.SGD):
    def rule(self, xp, step, learning_rate, param, grad):
        moved = param - learning_rate * grad
        return (param.copy_(moved) if step > 5 else moved,)


@planted(check_optimizer, 0.1, says="update hides a gradient that is nan")
class NanGradientsTakenForZero(Descent):
    def step(self, param, grad, state):
        return super().step(param, torch.where(grad.isnan(), 0, grad), state)


@planted(check_optimizer, 0.1, says="update hides a gradient that is nan")
class ParamsOfNanGradientsKept(fm.Adam):
    def rule(self, xp, step, learning_rate, param, grad, first_moment, second_moment):
        following = super().rule(xp, step, learning_rate, param, grad, first_moment, second_moment)
        return tuple(
            xp.where(grad == grad, new, old)
            for new, old in zip(following, (param, first_moment, second_moment), strict=True)
        )


@planted(check_optimizer, 0.1, says="update takes a gradient of -?inf for 0")
class InfiniteGradientsTakenForZero(Descent):
    def step(self, param, grad, state):
        return super().step(param, torch.where(grad.isinf(), 0, grad), state)


ALONE = "is updated in another way beside other numbers|depends on how tensors lie in memory"


@planted(check_optimizer, 0.1, says=f"{ALONE}|{DIFFERS}", formula=descent)
class HalfASpeedForLargeLeaves(Descent):
    def step(self, param, grad, state):
        return super().step(param, grad if grad.numel() <= 6 else grad / 2, state)


@planted(check_optimizer, 0.1, says=ALONE)
class LeavesOfThreeDimensionsLeftOut(Descent):
    def step(self, param, grad, state):
        return super().step(param, grad, state) if grad.ndim < 3 else param


@planted(check_optimizer, 0.1, says=ALONE)
class TreesOfManyLeavesLeftOut(Descent):
    def update(self, state, grads):
        following = super().update(state, grads)
        return following if len(fm.pytree.leaves(grads)) <= 7 else state


@planted(check_optimizer, 0.1, says=ALONE)
class TreesOfTwoDtypesLeftOut(Descent):
    def update(self, state, grads):
        following = super().update(state, grads)
        return following if len({leaf.dtype for leaf in fm.pytree.leaves(grads)}) == 1 else state


class StepsKeptByLeaf(Descent):
    """Each tensor's step is computed once in an update."""

    def update(self, state, grads):
        trees.like("grads", grads, "params", state.params)
        steps = {}

        def moved(param, grad):
            key = self.key(param, grad)
            if key not in steps:
                steps[key] = self.step(param, grad, state)
            return steps[key]

        return attrs.evolve(state, params=fm.pytree.map(moved, state.params, grads))


@planted(check_optimizer, 0.1, says=ALONE)
class StepsKeptByGradient(StepsKeptByLeaf):
    def key(self, param, grad):
        return id(grad)


@planted(check_optimizer, 0.1, says=ALONE)
class StepsKeptByParam(StepsKeptByLeaf):
    def key(self, param, grad):
        return id(param)


@planted(check_optimizer, 0.1, says=ALONE)
class GradientsThatAreParamsLeftOut(Descent):
    def update(self, state, grads):
        following = super().update(state, grads)
        pairs = zip(fm.pytree.leaves(grads), fm.pytree.leaves(state.params), strict=True)
        return state if any(grad is param for grad, param in pairs) else following


@planted(check_optimizer, 0.1, says="update must count itself in state.step, but goes from 0 to 0")
class UpdatesNotCounted(fm.SGD):
    def rebuild(self, state, step, structure, leaves):
        return super().rebuild(state, 0, structure, leaves)
