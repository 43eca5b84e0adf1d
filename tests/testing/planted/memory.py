"""Functions that remember: buffers that are used again, caches by identity, and state of one thread."""

import threading
from typing import Any

import attrs
import torch
from torch import Tensor

import functional_mlp as fm
from functional_mlp.testing import check_layer, check_loss, check_optimizer
from tests.testing.planted.layers import Affine, Square
from tests.testing.planted.losses import Squared
from tests.testing.planted.optimizers import Descent
from tests.testing.planted.table import planted

OVERWRITES = "returns memory that a later call overwrites"
BY_IDENTITY = "remembers its arguments by identity"
BUFFERS: dict[Any, Tensor] = {}


def buffer(name: object, like: Tensor) -> Tensor:
    """One tensor for all calls with a name, a shape and a dtype."""
    key = (name, like.shape, like.dtype)
    if key not in BUFFERS:
        BUFFERS[key] = torch.empty_like(like, memory_format=torch.contiguous_format).detach()
    return BUFFERS[key]


@planted(check_layer, says=f"apply {OVERWRITES}")
class OutputInABuffer(Square):
    def apply(self, params, x):
        with torch.no_grad():
            return torch.mul(x, x, out=buffer("output", x)).detach()


@planted(check_layer, says=f"vjp {OVERWRITES}")
class GradientInABuffer(Square):
    def vjp(self, params, x, grad_out):
        with torch.no_grad():
            return (), torch.mul(2 * x, grad_out, out=buffer("gradient", x)).detach()


@planted(check_layer, 3, 2, says=f"vjp {OVERWRITES}")
class BiasGradientInABuffer(Affine):
    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        bias = buffer("bias", grads["bias"])
        bias.copy_(grads["bias"].detach())
        return {**grads, "bias": bias}, grad_x


@planted(check_layer, says="where another thread calls it with other arguments in the meantime")
class WorkspaceThatThreadsShare(Square):
    def apply(self, params, x):
        with torch.no_grad():
            square = torch.mul(x, x, out=buffer("workspace", x))
            return square.clone().detach()


@planted(check_layer, says=f"apply {BY_IDENTITY}")
class CachesByIdOfTheInputs(Square):
    def apply(self, params, x):
        if CACHE.get("key") != (id(x), x.dtype):
            CACHE.update(key=(id(x), x.dtype), inputs=x, value=(x * x).detach())
        return CACHE["value"].clone()


CACHE: dict[str, Any] = {}


@planted(check_layer, 3, 2, says=f"(apply|vjp) {BY_IDENTITY}")
class CachesByIdOfTheParams(Affine):
    """Keeps the transposed weight for as long as it sees the same tensor."""

    def vjp(self, params, x, grad_out):
        weight = params["weight"]
        if TRANSPOSED.get("of") is not weight:
            TRANSPOSED.update(of=weight, value=weight.detach().clone())
        grads, _ = super().vjp(params, x, grad_out)
        return grads, grad_out @ TRANSPOSED["value"]


TRANSPOSED: dict[str, Any] = {}


@planted(check_layer, says=f"apply {BY_IDENTITY}")
class CachesByAddress(Square):
    """By where the numbers are, and torch's count of changes."""

    def apply(self, params, x):
        key = (x.data_ptr(), x._version, x.shape, x.dtype)
        if ADDRESSES.get("key") != key:
            ADDRESSES.update(key=key, inputs=x, value=(x * x).detach())
        return ADDRESSES["value"].clone()


ADDRESSES: dict[str, Any] = {}


class _Local(threading.local):
    """What the main thread has, and no other."""


LOCAL = _Local()
LOCAL.two = 2


@planted(check_layer, says="in another thread, vjp raised AttributeError")
class StateOfTheMainThread(Square):
    def vjp(self, params, x, grad_out):
        return (), LOCAL.two * x * grad_out


@planted(check_layer, says="apply gives another result in another thread")
class AnotherResultInAnotherThread(Square):
    def apply(self, params, x):
        return x * x if threading.current_thread() is threading.main_thread() else x.abs() * 2


@planted(check_layer, says="remembers an earlier call|gives another result|give other results")
class NormalizesByTheFirstInputs(Square):
    scales: dict[Any, Tensor] = {}

    def apply(self, params, x):
        scale = self.scales.setdefault("largest", x.detach().abs().sum())
        self.scales["largest"] = x.detach().abs().sum()
        return x * x + 0 * scale + (1 if scale < x.abs().sum() else 0)


@planted(check_loss, says=f"grad {OVERWRITES}")
class LossGradientInABuffer(Squared):
    def grad(self, predictions, targets):
        grad = super().grad(predictions, targets).detach()
        return buffer("loss", grad).copy_(grad)


@planted(check_loss, says=f"value {BY_IDENTITY}")
class LossCachesByIdOfTheTargets(Squared):
    def value(self, predictions, targets):
        self.check(predictions, targets)
        if TARGETS.get("of") is not targets:
            TARGETS.update(of=targets, value=targets.detach().clone())
        return (predictions - TARGETS["value"]).square().mean()


TARGETS: dict[str, Any] = {}


@planted(check_loss, says="in another thread, value raised AttributeError")
class LossOfTheMainThread(Squared):
    def value(self, predictions, targets):
        return super().value(predictions, targets) * LOCAL.two / 2


@planted(
    check_optimizer,
    0.1,
    says="is changed by later ones|returns memory|wrote to its argument",
)
class ParamsInTwoBuffers(Descent):
    """Writes to one of two buffers in turn, so that no update changes its own argument."""

    def step(self, param, grad, state):
        new = super().step(param, grad, state).detach()
        first, second = (buffer(("params", i), new) for i in range(2))
        return (second if param.data_ptr() == first.data_ptr() else first).copy_(new)


@planted(check_optimizer, 0.1, says="depends on those of another run|gives another result")
class VelocityInTheOptimizer(Descent):
    """Remembers the last gradient of each shape in the optimizer, and not in the state."""

    def update(self, state, grads):
        last = VELOCITY.get("grads")
        VELOCITY["grads"] = grads
        if last is None or fm.pytree.structure(last) != fm.pytree.structure(grads):
            return super().update(state, grads)
        pairs = zip(fm.pytree.leaves(last), fm.pytree.leaves(grads), strict=True)
        if any((a.shape, a.dtype) != (b.shape, b.dtype) for a, b in pairs):
            return super().update(state, grads)
        return super().update(state, fm.pytree.map(lambda a, b: a / 2 + b / 2, last, grads))


VELOCITY: dict[str, Any] = {}


@planted(check_optimizer, 0.1, says=f"update {BY_IDENTITY}")
class UpdateCachedByIdOfTheGradients(Descent):
    def update(self, state, grads):
        leaves = [*fm.pytree.leaves(grads), *fm.pytree.leaves(state)]
        key = [state.learning_rate, *map(id, leaves)]
        if UPDATES.get("key") != key:
            UPDATES.update(key=key, kept=leaves, value=super().update(state, grads))
        value = UPDATES["value"]
        return attrs.evolve(value, params=fm.pytree.map(torch.clone, value.params))


UPDATES: dict[str, Any] = {}
