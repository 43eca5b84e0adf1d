"""What people get wrong in losses, penalties and optimizers: labels at the ends, NaN, wrong axes, one step off."""

import attrs
import torch

import functional_mlp as fm
from functional_mlp.testing import check_loss, check_optimizer, check_penalty
from tests.testing.planted.losses import LogLoss, Squared
from tests.testing.planted.optimizers import Descent, PlainState
from tests.testing.planted.penalties import Shrink
from tests.testing.planted.table import planted


@planted(check_loss, says="takes the label")
class LabelsFromTheEnd(LogLoss):
    """Indexing takes −1 for the last class."""

    def value(self, predictions, targets):
        self.check(predictions, targets)
        rows = torch.arange(len(targets))
        return -predictions.log_softmax(1)[rows, targets].mean()

    def grad(self, predictions, targets):
        self.check(predictions, targets)
        right = torch.zeros_like(predictions)
        right[torch.arange(len(targets)), targets] = 1
        return (predictions.softmax(1) - right) / len(predictions)


@planted(check_loss, says="takes the label")
class LabelsCapped(LogLoss):
    def value(self, predictions, targets):
        return super().value(predictions, targets.clamp(0, predictions.shape[1] - 1))

    def grad(self, predictions, targets):
        return super().grad(predictions, targets.clamp(0, predictions.shape[1] - 1))


@planted(check_loss, says="the gradient must have the shape of predictions|grad raised")
class AsManyClassesAsLabels(LogLoss):
    def grad(self, predictions, targets):
        self.check(predictions, targets)
        right = torch.nn.functional.one_hot(targets)
        return (predictions.softmax(1)[:, : right.shape[1]] - right) / len(predictions)


@planted(check_loss, says="the gradient of predictions is wrong")
class LastClassLeftOut(LogLoss):
    def grad(self, predictions, targets):
        grad = super().grad(predictions, targets)
        last = (targets == predictions.shape[1] - 1).unsqueeze(1) & (predictions.shape[1] > 1)
        return torch.where(last, 0, grad)


@planted(check_loss, says="the gradient of predictions is wrong")
class ClassZeroTakenForPadding(LogLoss):
    def grad(self, predictions, targets):
        return super().grad(predictions, targets) * (targets != 0).unsqueeze(1)


@planted(check_loss, says="value gives the number .* for predictions of which a row is nan")
class MeanWithoutNan(Squared):
    def value(self, predictions, targets):
        self.check(predictions, targets)
        return (predictions - targets).square().nanmean().nan_to_num()


@planted(check_loss, says="value (changed|wrote to) its argument targets")
class TargetsSmoothedInPlace(Squared):
    def value(self, predictions, targets):
        self.check(predictions, targets)
        return (predictions - targets.mul_(0.9).add_(0.05)).square().mean()


@attrs.frozen
class Surprise:
    """−t log p − (1 − t) log(1 − p) of probabilities."""

    def value(self, predictions, targets):
        Squared().check(predictions, targets)
        return -(targets.xlogy(predictions) + (1 - targets).xlogy(1 - predictions)).mean()

    def grad(self, predictions, targets):
        Squared().check(predictions, targets)
        return (predictions - targets) / (predictions * (1 - predictions)) / predictions.numel()


PROBABILITIES = {"predictions": (1e-9, 1 - 1e-9), "targets": ["fractions", "one_hot"]}


@planted(check_loss, says="the gradient of predictions is wrong", **PROBABILITIES)
class ProbabilitiesCappedInTheValue(Surprise):
    def value(self, predictions, targets):
        return super().value(predictions.clamp(1e-7, 1 - 1e-7), targets)


@planted(check_loss, says="the gradient of predictions is wrong", **PROBABILITIES)
class EpsInTheGradientAlone(Surprise):
    def grad(self, predictions, targets):
        grad = super().grad(predictions, targets)
        spread = predictions * (1 - predictions)
        return grad * spread / (spread + 1e-6)


@planted(check_loss, says="batch_value is not 1/n Σ wᵢ ℓᵢ|batch_value raised")
class WeightsAlongTheWrongAxis(fm.MeanSquaredError):
    def batch_value(self, predictions, targets, weights=None):
        errors = (predictions - targets).square().mean(1)
        return errors.mean() if weights is None else (errors * weights).mean()


def _decayed(param: float, grads: list[float]) -> float:
    for grad in grads:
        param = param - 0.1 * 0.5 * param - 0.1 * grad
    return param


@planted(check_optimizer, 0.1, 0.5, says="differs from the formula", formula=_decayed)
@attrs.frozen
class DecayOfTheNewParams(Descent):
    decay: float = 0.5

    def step(self, param, grad, state):
        moved = super().step(param, grad, state)
        return moved - state.learning_rate * self.decay * moved


@planted(check_optimizer, 0.1, says="is updated in another way beside other numbers")
class BiasesLeftOut(Descent):
    def step(self, param, grad, state):
        return super().step(param, grad if grad.ndim > 1 else 0.5 * grad, state)


@fm.pytree.node
@attrs.frozen(eq=False)
class CountingState(PlainState):
    steps: int = attrs.field(default=0, metadata=fm.pytree.STRUCTURE)


def _warmed_up(param: float, grads: list[float]) -> float:
    for step, grad in enumerate(grads, 1):
        param -= 0.1 * min(1.0, step / 5) * grad
    return param


@planted(check_optimizer, 0.1, says="differs from the formula", formula=_warmed_up)
class WarmUpCountedFromZero(Descent):
    def init(self, params):
        return CountingState(params, self.learning_rate)

    def update(self, state, grads):
        return attrs.evolve(super().update(state, grads), steps=state.steps + 1)

    def step(self, param, grad, state):
        return param - state.learning_rate * min(1.0, (state.steps + 0.001) / 5) * grad


@planted(check_optimizer, 0.1, says="is changed by later ones|wrote to its argument|changed its argument|depends on")
class VelocityThatAllStatesShare(fm.Momentum):
    def rule(self, xp, step, learning_rate, param, grad, velocity):
        velocity.copy_(self.beta * velocity + (1 - self.beta) * grad)
        return param - learning_rate * velocity, velocity


@planted(check_optimizer, 0.1, says="must have the dtype of state.params")
class RateAsATensorOfFloat64(Descent):
    def step(self, param, grad, state):
        return param - torch.tensor(state.learning_rate, dtype=torch.float64) * grad


@planted(check_penalty, says="what is added to the gradient depends on other numbers|total is not the sum")
class MatricesAlone(Shrink):
    def part(self, leaf):
        return super().part(leaf) if leaf.ndim == 2 else leaf.new_zeros(())

    def added(self, grad, param):
        return super().added(grad, param) if param.ndim == 2 else grad


@planted(check_penalty, says="what is added to the gradient|the gradient of params")
class GradientReplacedByThePenaltys(Shrink):
    def added(self, grad, param):
        return param if param.ndim >= 2 else grad


@planted(check_penalty, says="depends on other numbers|total is not the sum over the numbers of the weights")
class MeanOverTheWeights(Shrink):
    def part(self, leaf):
        return super().part(leaf) / max(1, leaf.numel())

    def added(self, grad, param):
        return grad + param / max(1, param.numel()) if param.ndim >= 2 else grad
