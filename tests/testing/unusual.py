"""Correct classes as people write them, without a base class, that few checks of gradients are made for."""

import math
from typing import Any

import attrs
import torch
from torch import Tensor

import functional_mlp as fm
from functional_mlp import pytree, trees
from tests.testing.planted import Descent, LogLoss, Square, Squared


class Absolute(Square):
    def apply(self, params: Any, x: Tensor) -> Tensor:
        return x.abs()

    def vjp(self, params: Any, x: Tensor, grad_out: Tensor) -> tuple[Any, Tensor]:
        return (), x.sign() * grad_out


class Clip(Square):
    """ReLU up to 2, by comparisons."""

    def apply(self, params: Any, x: Tensor) -> Tensor:
        return torch.where(x > 2, 2.0, torch.where(x > 0, x, 0.0)).to(x.dtype)

    def vjp(self, params: Any, x: Tensor, grad_out: Tensor) -> tuple[Any, Tensor]:
        return (), torch.where((x > 0) & (x < 2), grad_out, 0.0)


class Quantized(Square):
    """Multiples of 1/4: flat between jumps."""

    def apply(self, params: Any, x: Tensor) -> Tensor:
        return (4 * x).round() / 4

    def vjp(self, params: Any, x: Tensor, grad_out: Tensor) -> tuple[Any, Tensor]:
        return (), torch.zeros_like(grad_out)


@attrs.frozen
class Attention:
    """y = softmax(W x) ⊙ x: which features to look at."""

    in_features: int

    def init(self, key: Any, *, dtype: torch.dtype = torch.float32, device: Any = None) -> Any:
        return fm.random.normal(key, (self.in_features, self.in_features), dtype=dtype, device=device)

    def apply(self, params: Any, x: Tensor) -> Tensor:
        return self.shares(params, x) * x

    def vjp(self, params: Any, x: Tensor, grad_out: Tensor) -> tuple[Any, Tensor]:
        shares, of_shares = self.shares(params, x), grad_out * x
        of_scores = shares * (of_shares - (of_shares * shares).sum(-1, keepdim=True))
        rows = (-1, self.in_features)
        return of_scores.reshape(rows).T @ x.reshape(rows), grad_out * shares + of_scores @ params

    def shares(self, params: Any, x: Tensor) -> Tensor:
        if x.shape[-1] != self.in_features:
            raise ValueError("another width")
        return (x @ params.T).softmax(-1)


@attrs.frozen
class WeightNorm:
    """y = g v · x / ‖v‖, which has no gradient at v = 0."""

    in_features: int

    def init(self, key: Any, *, dtype: torch.dtype = torch.float32, device: Any = None) -> Any:
        direction = fm.random.normal(key, (self.in_features,), dtype=dtype, device=device)
        return {"direction": direction, "length": torch.ones(1, dtype=dtype, device=device)}

    def apply(self, params: Any, x: Tensor) -> Tensor:
        return params["length"] * self.projected(params, x)

    def vjp(self, params: Any, x: Tensor, grad_out: Tensor) -> tuple[Any, Tensor]:
        unit = params["direction"] / params["direction"].norm()
        of_unit = (params["length"] * grad_out * x).reshape(-1, self.in_features).sum(0)
        of_direction = (of_unit - unit * (unit @ of_unit)) / params["direction"].norm()
        of_length = (grad_out * self.projected(params, x)).reshape(-1, 1).sum(0)
        return {"direction": of_direction, "length": of_length}, params["length"] * grad_out * unit

    def projected(self, params: Any, x: Tensor) -> Tensor:
        if x.shape[-1] != self.in_features:
            raise ValueError("another width")
        return (x @ (params["direction"] / params["direction"].norm())).unsqueeze(-1)


@attrs.frozen
class Shifted:
    """y = x + w + b for a frozen b, a buffer, whose gradient is 0: it is a table of int64 for that."""

    in_features: int

    def init(self, key: Any, *, dtype: torch.dtype = torch.float32, device: Any = None) -> Any:
        weight = fm.random.normal(key, (self.in_features,), dtype=dtype, device=device)
        return {"weight": weight, "frozen": torch.arange(self.in_features, device=device)}

    def apply(self, params: Any, x: Tensor) -> Tensor:
        if x.shape[-1] != self.in_features:
            raise ValueError("another width")
        return x + params["weight"] + params["frozen"].to(x.dtype)

    def vjp(self, params: Any, x: Tensor, grad_out: Tensor) -> tuple[Any, Tensor]:
        weight = grad_out.reshape(-1, self.in_features).sum(0)
        return {"weight": weight, "frozen": torch.zeros_like(params["frozen"])}, 1 * grad_out


@pytree.node
@attrs.frozen(eq=False)
class TwoSlots:
    params: Any
    first: Any
    second: Any
    learning_rate: float = attrs.field(metadata=pytree.STRUCTURE)


class TwoMomenta(Descent):
    """A fast and a slow velocity; the base of rules with two slots."""

    def init(self, params: Any) -> Any:
        zeros = pytree.map(torch.zeros_like, params)
        return TwoSlots(params, zeros, zeros, self.learning_rate)

    def update(self, state: Any, grads: Any) -> Any:
        trees.like("grads", grads, "params", state.params)
        first = pytree.map(self.first, state.first, grads)
        second = pytree.map(self.second, state.second, grads)
        rate = state.learning_rate
        params = pytree.map(lambda w, *slots: w - rate * self.moved(*slots), state.params, first, second, grads)
        return attrs.evolve(state, params=params, first=first, second=second)

    def first(self, slot: Tensor, grad: Tensor) -> Tensor:
        return 0.5 * slot + 0.5 * grad

    def second(self, slot: Tensor, grad: Tensor) -> Tensor:
        return 0.95 * slot + 0.05 * grad

    def moved(self, first: Tensor, second: Tensor, grad: Tensor) -> Tensor:
        return first + second


class CentredRMSprop(TwoMomenta):
    """g / (√(mean square − square of the mean) + ε)."""

    def first(self, slot: Tensor, grad: Tensor) -> Tensor:
        return 0.95 * slot + 0.05 * grad * grad

    def moved(self, first: Tensor, second: Tensor, grad: Tensor) -> Tensor:
        return grad / ((first - second * second).clamp_min(0).sqrt() + 1e-8)


class SignOfTheGradient(Descent):
    def step(self, param: Tensor, grad: Tensor, state: Any) -> Tensor:
        return param - state.learning_rate * grad.sign()


class SoftThreshold(Descent):
    """A step, and then towards 0 by η/20: weights that do not matter are exactly 0."""

    def step(self, param: Tensor, grad: Tensor, state: Any) -> Tensor:
        moved = super().step(param, grad, state)
        return moved.sign() * (moved.abs() - state.learning_rate / 20).clamp_min(0)


class HeavyBall(TwoMomenta):
    """V ← 0.9 V + η g, w ← w − V: the rate is in the velocity."""

    def update(self, state: Any, grads: Any) -> Any:
        trees.like("grads", grads, "params", state.params)
        velocity = pytree.map(lambda v, g: 0.9 * v + state.learning_rate * g, state.first, grads)
        return attrs.evolve(state, params=pytree.map(torch.sub, state.params, velocity), first=velocity)


class Margin(LogLoss):
    """max(0, 1 + the largest other output − the right one), with its kink at ties of the others."""

    def value(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return self.margins(predictions, targets).clamp_min(0).mean()

    def grad(self, predictions: Tensor, targets: Tensor) -> Tensor:
        right = self.right(predictions, targets)
        other = torch.nn.functional.one_hot(self.others(predictions, targets).argmax(1), predictions.shape[1])
        inside = (self.margins(predictions, targets) > 0).unsqueeze(1)
        return (inside * (other - right) * (predictions.shape[1] > 1)).to(predictions.dtype) / len(predictions)

    def margins(self, predictions: Tensor, targets: Tensor) -> Tensor:
        others = self.others(predictions, targets).amax(1)
        if predictions.shape[1] == 1:
            return 0 * predictions[:, 0]
        return 1 + others - predictions.gather(1, targets.unsqueeze(1))[:, 0]

    def others(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return predictions.masked_fill(self.right(predictions, targets).bool(), -math.inf)

    def right(self, predictions: Tensor, targets: Tensor) -> Tensor:
        self.check(predictions, targets)
        return torch.nn.functional.one_hot(targets, predictions.shape[1])


class LogCosh(Squared):
    def value(self, predictions: Tensor, targets: Tensor) -> Tensor:
        self.check(predictions, targets)
        error = (predictions - targets).abs()
        return (error + torch.nn.functional.softplus(-2 * error) - math.log(2)).mean()

    def grad(self, predictions: Tensor, targets: Tensor) -> Tensor:
        self.check(predictions, targets)
        return (predictions - targets).tanh() / predictions.numel()


class Quartic(Squared):
    def value(self, predictions: Tensor, targets: Tensor) -> Tensor:
        self.check(predictions, targets)
        return (predictions - targets).pow(4).mean()

    def grad(self, predictions: Tensor, targets: Tensor) -> Tensor:
        self.check(predictions, targets)
        return 4 * (predictions - targets).pow(3) / predictions.numel()


LAYERS = [Absolute(), Clip(), Quantized(), Attention(3), WeightNorm(3), Shifted(3)]
OPTIMIZERS = [TwoMomenta(0.1), CentredRMSprop(0.01), SignOfTheGradient(0.1), SoftThreshold(0.1), HeavyBall(0.05)]
LOSSES = [Margin(), LogLoss(), LogCosh(), Quartic()]
