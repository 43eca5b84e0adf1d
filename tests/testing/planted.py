"""A correct layer, loss and optimizer that use nothing of the library, and mistakes planted in them.

Every mistake is a subclass that differs from the correct class in one place, with the check that must find it
and what its message must say.
"""

import random as stdlib_random
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

import functional_mlp as fm
from functional_mlp import checks
from functional_mlp.testing import check_layer, check_loss, check_optimizer

Check = Callable[[], None]
MISTAKES: list[tuple[str, Check, str]] = []


def planted(check: Callable[..., None], *arguments: Any, says: str, **options: Any) -> Callable[[type], type]:
    """Add a mistaken class, made with these arguments, to the table, with what the message must match."""

    def add(cls: type) -> type:
        MISTAKES.append((cls.__name__, lambda: check(cls(*arguments), **options), says))
        return cls

    return add


@attrs.frozen
class Affine:
    """y = W x + b; a layer without a base class."""

    in_features: int
    out_features: int

    def init(self, key: fm.random.Key, *, dtype: torch.dtype = torch.float32, device: Any = None) -> Any:
        weight_key, bias_key = key.split()
        shape = (self.out_features, self.in_features)
        return {
            "weight": fm.random.normal(weight_key, shape, dtype=dtype, device=device),
            "bias": fm.random.normal(bias_key, shape[:1], dtype=dtype, device=device),
        }

    def apply(self, params: Any, x: Tensor) -> Tensor:
        if x.shape[-1] != self.in_features:
            raise ValueError(f"x must be {self.in_features} wide")
        return x @ params["weight"].T + params["bias"]

    def vjp(self, params: Any, x: Tensor, grad_out: Tensor) -> tuple[Any, Tensor]:
        delta, rows = grad_out.reshape(-1, self.out_features), x.reshape(-1, self.in_features)
        return {"weight": delta.T @ rows, "bias": delta.sum(0)}, grad_out @ params["weight"]


@attrs.frozen
class Square:
    """y = x², for any width."""

    def init(self, key: fm.random.Key, *, dtype: torch.dtype = torch.float32, device: Any = None) -> Any:
        return ()

    def apply(self, params: Any, x: Tensor) -> Tensor:
        return x * x

    def vjp(self, params: Any, x: Tensor, grad_out: Tensor) -> tuple[Any, Tensor]:
        return (), 2 * x * grad_out


# --- gradients of layers -----------------------------------------------------------------------------------


@planted(check_layer, 3, 2, says=r"the gradient of params\['bias'\] is wrong at \[\d\]")
class BiasGradientOffByATenthOfAPercent(Affine):
    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        return {**grads, "bias": grads["bias"] * 1.001}, grad_x


@planted(check_layer, 3, 4, says=r"the gradient of params\['bias'\] is wrong at \[3\]")
class OneNumberOfTheBiasGradientOffByATenthOfAPercent(Affine):
    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        return {**grads, "bias": grads["bias"] * torch.tensor([1, 1, 1, 1.001], dtype=x.dtype)}, grad_x


@planted(check_layer, 3, 2, says=r"the gradient of params\['weight'\] is wrong")
class WeightGradientOffByOnePartInAMillion(Affine):
    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        return {**grads, "weight": grads["weight"] * (1 + 1e-6)}, grad_x


@planted(check_layer, says="the gradient of x is wrong")
class MissingFactor(Square):
    def vjp(self, params, x, grad_out):
        return (), x * grad_out


@planted(check_layer, 3, 2, says="the gradient of x is wrong")
class WrongSign(Affine):
    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        return grads, -grad_x


@planted(check_layer, 3, 3, says=r"the gradient of params\['weight'\] is wrong")
class TransposedWeightGradient(Affine):
    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        return {**grads, "weight": grads["weight"].T}, grad_x


@planted(check_layer, 3, 3, says="the gradient of x is wrong")
class WeightNotTransposed(Affine):
    def vjp(self, params, x, grad_out):
        return super().vjp(params, x, grad_out)[0], grad_out @ params["weight"].T


@planted(check_layer, 3, 2, says=r"grad_params\['bias'\] must have the shape of params\['bias'\], \(2,\)")
class SumOverTheWrongDimension(Affine):
    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        return {**grads, "bias": grad_out.reshape(-1, self.out_features).sum(1)}, grad_x


@planted(check_layer, 3, 2, says=r"grad_params\['bias'\] is not the sum of the rows' gradients")
class MeanOverTheBatch(Affine):
    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        return fm.pytree.map(lambda grad: grad / max(1, grad_out[..., 0].numel()), grads), grad_x


@planted(check_layer, says="the gradient of x is wrong")
class DerivativeAtTheOutput(fm.Elementwise):
    def value(self, xp, s):
        return xp.tanh(s)

    def derivative(self, xp, s, y):
        return 1 - xp.tanh(y) ** 2


@planted(check_layer, says="the gradient of x is wrong")
class DerivativeWrongFarFromZero(fm.Elementwise):
    """As softplus: 1 for s > 2, where it is not yet."""

    def value(self, xp, s):
        return xp.log1p(xp.exp(s))

    def derivative(self, xp, s, y):
        return xp.where(s > 2, 1, 1 / (1 + xp.exp(-s)))


@planted(check_layer, says="the gradient of x is wrong")
class WrongBranchOfTheKink(fm.Elementwise):
    def value(self, xp, s):
        return xp.where(s > 0, s, 0.1 * s)

    def derivative(self, xp, s, y):
        return xp.where(s > 0, 1, 0.2)


@planted(check_layer, says="differs from the formula", formula=lambda params, x: torch.nn.functional.gelu(x))
class AnotherFunctionThanWasMeant(fm.Elementwise):
    """GELU's approximation: right for itself, within 5e-4 of what was meant."""

    def value(self, xp, s):
        return fm.GELU("tanh").value(xp, s)

    def derivative(self, xp, s, y):
        return fm.GELU("tanh").derivative(xp, s, y)


@planted(check_layer, 3, 2, says="vjp is not linear in grad_out")
class ClippedGradient(Affine):
    def vjp(self, params, x, grad_out):
        return super().vjp(params, x, grad_out.clamp(-1, 1))


@planted(check_layer, says="computes in a lower precision")
class ComputesInFloat32(Square):
    def apply(self, params, x):
        return (x.float() * x.float() * 0.1).to(x.dtype)

    def vjp(self, params, x, grad_out):
        return (), 0.2 * x * grad_out


class SkipsALayer(fm.Sequential):
    """Leaves out its middle layer."""

    def forward(self, params, x):
        first, _, last = self.layers
        x, first_tape = first.forward(params[0], x)
        x, last_tape = last.forward(params[2], x)
        return x, (first_tape, last_tape)

    def backward(self, params, tape, grad_out):
        first, _, last = self.layers
        last_grads, grad_out = last.backward(params[2], tape[1], grad_out)
        first_grads, grad_x = first.backward(params[0], tape[0], grad_out)
        return (first_grads, fm.pytree.map(torch.zeros_like, params[1]), last_grads), grad_x


planted(
    check_layer, fm.Linear(3, 2), fm.Linear(2, 2), fm.Linear(2, 1), says=r"params\[1\].bias has no influence"
)(SkipsALayer)  # fmt: skip


@planted(check_layer, fm.Linear(3, 2), fm.Tanh(), fm.Linear(2, 1), says=r"the gradient of (params\[0\]|x)")
class SkipsALayerOnTheWayBack(fm.Sequential):
    def backward(self, params, tape, grad_out):
        last_grads, grad_out = self.layers[2].backward(params[2], tape[2], grad_out)
        first_grads, grad_x = self.layers[0].backward(params[0], tape[0], grad_out)
        return (first_grads, (), last_grads), grad_x


@planted(check_layer, fm.Linear(3, 3), says="the gradient of x is wrong")
class ResidualWithoutItsShortcutOnTheWayBack(fm.Residual):
    def backward(self, params, tape, grad_out):
        return self.layer.backward(params, tape, grad_out)


@planted(check_layer, 3, 2, says="backward after forward and vjp differ")
class ForwardAndBackwardOfTheirOwn(Affine):
    def forward(self, params, x):
        return self.apply(params, x), x

    def backward(self, params, tape, grad_out):
        return self.vjp(params, tape, 2 * grad_out)


# --- shapes, dtypes and structures of layers ---------------------------------------------------------------


@planted(check_layer, 3, 2, says="vjp must return grad_params with the structure of params")
class ParamsOfAnotherStructure(Affine):
    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        return tuple(grads.values()), grad_x


@planted(check_layer, 3, 2, says="vjp must return the pair")
class ReturnsGradXAlone(Affine):
    def vjp(self, params, x, grad_out):
        return super().vjp(params, x, grad_out)[1]


@planted(check_layer, 3, 2, says="apply: the output must have the dtype")
class DtypeChanged(Affine):
    def apply(self, params, x):
        return super().apply(params, x).to(torch.float64)


@planted(check_layer, 3, 2, says="init: params.'bias'. must have the dtype asked for")
class DtypeIgnoredByInit(Affine):
    def init(self, key, *, dtype=torch.float32, device=None):
        return super().init(key, device=device)


@planted(check_layer, 3, 2, says=r"(apply|vjp) raised (IndexError|RuntimeError)")
class LeadingDimensionsNotHandled(Affine):
    def vjp(self, params, x, grad_out):
        return {"weight": grad_out.mT @ x, "bias": grad_out.sum(0)}, grad_out @ params["weight"]


@planted(check_layer, says="apply raised RuntimeError")
class NoEmptyBatch(Square):
    def apply(self, params, x):
        largest = x.max()
        return x * x + largest - largest


@planted(check_layer, says="row 0 of a batch differs from that row alone")
class RowsAffectEachOther(Square):
    """Centred over the batch instead of the features."""

    def apply(self, params, x):
        return x - x.mean(0, keepdim=True) if x.ndim > 1 and len(x) else x * 1

    def vjp(self, params, x, grad_out):
        return (), self.apply(params, grad_out)


@planted(check_layer, 3, says=r"in_features is 3, but apply takes x of shape \(2, 1\)")
@attrs.frozen
class Broadcasts:
    """y = a ⊙ x: one feature is broadcast to three."""

    in_features: int

    def init(self, key, *, dtype=torch.float32, device=None):
        return fm.random.normal(key, (self.in_features,), dtype=dtype, device=device)

    def apply(self, params, x):
        return params * x

    def vjp(self, params, x, grad_out):
        return (grad_out * x).reshape(-1, self.in_features).sum(0), grad_out * params


@planted(check_layer, 3, 2, says="out_features is 2, but apply returned 1")
class SaysAnotherSize(Affine):
    def apply(self, params, x):
        return super().apply(params, x)[..., :1]


@planted(check_layer, 3, 2, says="apply depends on how tensors lie in memory|apply raised RuntimeError")
class ReadsMemoryAsContiguous(Affine):
    def apply(self, params, x):
        return super().apply(params, torch.as_strided(x, x.shape, torch.empty(x.shape).stride()))


# --- init --------------------------------------------------------------------------------------------------


@planted(check_layer, 3, 2, says="init ignores its key: params.'weight'. has the same numbers for two keys")
class IgnoresTheKey(Affine):
    def init(self, key, *, dtype=torch.float32, device=None):
        return super().init(fm.random.key(0), dtype=dtype, device=device)


@planted(check_layer, 3, 3, says="init gives params.* and params.* the same numbers: split the key")
class OneKeyForTwoLeaves(fm.Sequential):
    def __init__(self, in_features, out_features):
        super().__init__(fm.Linear(in_features, out_features), fm.Linear(out_features, out_features))

    def init(self, key, *, dtype=torch.float32, device=None):
        return tuple(layer.init(key, dtype=dtype, device=device) for layer in self.layers)

    def __repr__(self):
        return "OneKeyForTwoLeaves(3, 3)"


@planted(check_layer, 3, 2, says="init changed torch's global generator")
class GlobalGenerator(Affine):
    def init(self, key, *, dtype=torch.float32, device=None):
        return {"weight": torch.randn(2, 3, dtype=dtype, device=device), "bias": torch.zeros(2, dtype=dtype)}


@planted(check_layer, 3, 2, says="init changed Python's global generator")
class PythonsGlobalGenerator(Affine):
    def init(self, key, *, dtype=torch.float32, device=None):
        params = super().init(key, dtype=dtype, device=device)
        return {**params, "bias": torch.full((2,), stdlib_random.random(), dtype=dtype, device=device)}


@planted(check_layer, 3, 2, says="init reads global state")
class GlobalGeneratorPutBack(Affine):
    def init(self, key, *, dtype=torch.float32, device=None):
        params = super().init(key, dtype=dtype, device=device)
        with torch.random.fork_rng(devices=[]):
            return {**params, "bias": torch.randn(2, dtype=dtype)}


@planted(check_layer, 3, 2, says="init changed torch's global generator")
class SeedsTheGlobalGenerator(Affine):
    def init(self, key, *, dtype=torch.float32, device=None):
        torch.manual_seed(int.from_bytes(key.digest[:4], "little"))
        return {"weight": torch.randn(2, 3, dtype=dtype, device=device), "bias": torch.zeros(2, dtype=dtype)}


@planted(check_layer, 3, 2, says="init with device='meta' gives")
class OtherShapesOnMeta(Affine):
    def init(self, key, *, dtype=torch.float32, device=None):
        params = super().init(key, dtype=dtype, device=device)
        return params if device != "meta" else {**params, "bias": params["bias"].unsqueeze(0)}


@planted(check_layer, 3, 2, says="init returned a result.* connected to an autograd graph")
class GraphAttachedByInit(Affine):
    def init(self, key, *, dtype=torch.float32, device=None):
        return fm.pytree.map(torch.nn.Parameter, super().init(key, dtype=dtype, device=device))


# --- purity of layers --------------------------------------------------------------------------------------


@planted(check_layer, says="apply changed its argument x|apply raised RuntimeError")
class ArgumentMutated(Square):
    def apply(self, params, x):
        return x.mul_(x)


@planted(check_layer, 3, 2, says="vjp changed its argument params")
class ParamsMutated(Affine):
    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        params["weight"] -= 0.01 * grads["weight"]
        return grads, grad_x


@planted(check_layer, says="vjp wrote to its argument|vjp raised RuntimeError")
class ArgumentMutatedForAWhile(Square):
    def vjp(self, params, x, grad_out):
        x.mul_(2)
        grad_x = x * grad_out
        x.div_(2)
        return (), grad_x


@planted(check_layer, says="made it ask for a gradient|vjp raised RuntimeError")
class GradientByAutograd(Square):
    def vjp(self, params, x, grad_out):
        with torch.enable_grad():
            y = self.apply(params, x.requires_grad_())
        return (), torch.autograd.grad(y, x, grad_out)[0]


@planted(check_layer, says="returned a result that is connected to an autograd graph")
class GraphAttached(Square):
    def apply(self, params, x):
        return x * x.detach().requires_grad_()


@planted(check_layer, says="apply changed the grad mode")
class GradModeChanged(Square):
    def apply(self, params, x):
        torch.set_grad_enabled(not torch.is_grad_enabled())
        return x * x


@planted(check_layer, says="apply changed the default dtype")
class DefaultDtypeChanged(Square):
    def apply(self, params, x):
        torch.set_default_dtype(torch.float16)
        return x * x


@planted(check_layer, says="apply changed the number of threads")
class ThreadsChanged(Square):
    def apply(self, params, x):
        torch.set_num_threads(torch.get_num_threads() + 1)
        return x * x


@planted(check_layer, says="apply changed numpy's global generator")
class NumpysGlobalGenerator(Square):
    def apply(self, params, x):
        return x * x + 0 * np.random.random()


@planted(check_layer, says="apply reads global state")
class DefaultDtypeRead(Square):
    def apply(self, params, x):
        return x * torch.tensor(0.1) * x


@planted(check_layer, says="remembers an earlier call|gives another result when it is called again")
class HiddenState(Square):
    cache: dict[str, Tensor] = {}

    def apply(self, params, x):
        self.cache["x"] = x.clone()
        return x * x

    def vjp(self, params, x, grad_out):
        kept = self.cache.get("x", x)
        return (), 2 * (kept if kept.shape == x.shape and kept.dtype == x.dtype else x) * grad_out


@planted(check_layer, says="gives another result when it is called again")
class CountsItsCalls(Square):
    calls = [0]

    def apply(self, params, x):
        self.calls[0] += 1
        return x * x + self.calls[0]


@planted(check_layer, says="where x and grad_out are one tensor")
class ArgumentsThatAreOneTensor(Square):
    def vjp(self, params, x, grad_out):
        return (), (0 if x is grad_out else 2) * x * grad_out


# --- layers as values --------------------------------------------------------------------------------------


@planted(check_layer, says="cannot be hashed")
class Unhashable(Square):
    __hash__ = None


@planted(check_layer, lambda x: x, says="cannot be pickled|repr must be the code")
@attrs.frozen
class Unpicklable(Square):
    function: Any


@planted(check_layer, says="repr must be the code that makes the value")
class ReprDoesNotEvaluate(Square):
    def __repr__(self):
        return "<a square>"


@planted(check_layer, 2.0, says="does not equal")
@attrs.frozen(repr=False)
class ReprLosesAField(Square):
    factor: float = 1.0

    def __repr__(self):
        return "ReprLosesAField()"


@planted(check_layer, says="does not equal its pickled copy")
class EqualByIdentity(Square):
    __eq__ = object.__eq__
    __hash__ = object.__hash__


# --- losses ------------------------------------------------------------------------------------------------


@attrs.frozen
class Squared:
    """The mean over samples and outputs; a loss without a base class."""

    def value(self, predictions: Tensor, targets: Tensor) -> Tensor:
        self.check(predictions, targets)
        return (predictions - targets).square().mean()

    def grad(self, predictions: Tensor, targets: Tensor) -> Tensor:
        self.check(predictions, targets)
        return 2 * (predictions - targets) / predictions.numel()

    def check(self, predictions: Tensor, targets: Tensor) -> None:
        if predictions.shape != targets.shape or predictions.numel() == 0:
            raise ValueError("predictions and targets must have one shape, and not be empty")


@planted(check_loss, says=r"the gradient of predictions is wrong at \[0, 0\]")
class LossGradientWithoutTheTwo(Squared):
    def grad(self, predictions, targets):
        return super().grad(predictions, targets) / 2


@planted(check_loss, says="the gradient of predictions is wrong")
class LossGradientOffByATenthOfAPercent(Squared):
    def grad(self, predictions, targets):
        return super().grad(predictions, targets) * 1.001


@planted(check_loss, says="the gradient of predictions is wrong")
class LossGradientOfWrongSign(Squared):
    def grad(self, predictions, targets):
        return -super().grad(predictions, targets)


@planted(check_loss, says="grad is not that of the mean over the samples")
class LossGradientNotDividedByTheBatch(Squared):
    def grad(self, predictions, targets):
        return super().grad(predictions, targets) * len(predictions)


@planted(check_loss, says="value is not the mean of the samples' values")
class SumOverTheBatch(Squared):
    def value(self, predictions, targets):
        return super().value(predictions, targets) * len(predictions)

    def grad(self, predictions, targets):
        return super().grad(predictions, targets) * len(predictions)


@planted(check_loss, says="takes targets of shape .*: raise a ValueError, nothing must be broadcast")
class LossBroadcasts(Squared):
    def check(self, predictions, targets):
        if predictions.numel() == 0:
            raise ValueError("empty")


@planted(check_loss, says="takes an empty batch")
class LossOfNothing(Squared):
    def check(self, predictions, targets):
        if predictions.shape != targets.shape:
            raise ValueError("one shape")


@planted(check_loss, says="value is not the mean|the gradient of predictions|value is nan")
class SoftmaxOverTheBatch(fm.CrossEntropy):
    def batch_value(self, predictions, targets):
        return -(targets * predictions.log_softmax(0)).sum(-1).mean()


@planted(check_loss, says="value changed its argument predictions|value raised RuntimeError")
class LossMutatesPredictions(Squared):
    def value(self, predictions, targets):
        self.check(predictions, targets)
        return predictions.sub_(targets).square().mean()


@planted(check_loss, says="value: the loss must have the shape of a 0-d tensor")
class LossOfOneNumber(Squared):
    def value(self, predictions, targets):
        return super().value(predictions, targets).reshape(1)


@planted(check_loss, says="value: the loss must have the dtype")
class LossInFloat64(Squared):
    def value(self, predictions, targets):
        return super().value(predictions.double(), targets.double())


@planted(check_loss, says="value returned a result that is connected to an autograd graph")
class LossKeepsTheGraph(fm.MeanSquaredError):
    """The base class promises to detach."""

    def batch_value(self, predictions, targets):
        return super().batch_value(predictions, targets).requires_grad_()


@planted(
    check_loss,
    says="value differs from the formula",
    formula=lambda prediction, target: (prediction - target).square().sum(),
)
class MeanOverOutputs(Squared):
    pass


# --- optimizers --------------------------------------------------------------------------------------------


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
        checks.tree_like("grads", grads, "params", state.params)
        return attrs.evolve(state, params=fm.pytree.map(lambda w, g: self.step(w, g, state), state.params, grads))

    def step(self, param: Tensor, grad: Tensor, state: Any) -> Tensor:
        return param - state.learning_rate * grad


@planted(check_optimizer, 0.1, says="update changed its argument state.params|update raised RuntimeError")
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
        checks.tree_like("grads", grads, "params", state.params)
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
