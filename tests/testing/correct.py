"""Correct layers, losses and optimizers at which a check could take alarm: kinks, jumps, ties, tables, long waits."""

from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import torch
from torch import Tensor

import functional_mlp as fm
from functional_mlp.testing import check_layer, check_loss, check_optimizer, check_penalty
from tests.properties.layer_norm import LayerNorm
from tests.tables import LAYERS, LOSSES, OPTIMIZERS, PENALTIES
from tests.testing import unusual
from tests.testing.planted import Affine, Descent, Square, Squared
from tests.testing.planted.penalties import Shrink


class ByRows(Square):
    """A layer without params, from its value and its derivative along a cotangent, row by row."""

    def apply(self, params: Any, x: Tensor) -> Tensor:
        return self.value(x) if x.numel() else x * 1

    def vjp(self, params: Any, x: Tensor, grad_out: Tensor) -> tuple[Any, Tensor]:
        return (), self.pullback(x, grad_out) if x.numel() else grad_out * 1

    def value(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def pullback(self, x: Tensor, grad_out: Tensor) -> Tensor:
        raise NotImplementedError


class MaxPool(ByRows):
    """y = max over the features, in each of their places."""

    def value(self, x):
        return x.amax(-1, keepdim=True).expand(x.shape).clone()

    def pullback(self, x, grad_out):
        chosen = torch.nn.functional.one_hot(x.argmax(-1), x.shape[-1]).to(x.dtype)
        return chosen * grad_out.sum(-1, keepdim=True)


class Sort(ByRows):
    def value(self, x):
        return x.sort(dim=-1, stable=True).values

    def pullback(self, x, grad_out):
        order = x.sort(dim=-1, stable=True).indices
        return torch.zeros_like(x).scatter(-1, order, grad_out)


class Softmax(ByRows):
    def value(self, x):
        return x.softmax(-1)

    def pullback(self, x, grad_out):
        y = x.softmax(-1)
        return y * (grad_out - (grad_out * y).sum(-1, keepdim=True))


class LogSoftmax(ByRows):
    def value(self, x):
        return x.log_softmax(-1)

    def pullback(self, x, grad_out):
        return grad_out - x.softmax(-1) * grad_out.sum(-1, keepdim=True)


class GrowingCosine(ByRows):
    """y = x cos x: the farther out, the more it bends."""

    def value(self, x):
        return x * x.cos()

    def pullback(self, x, grad_out):
        return (x.cos() - x * x.sin()) * grad_out


class UnitLength(ByRows):
    """y = x / √(‖x‖² + 1e-12): as steep at 0 as a jump."""

    def value(self, x):
        return x / self.length(x)

    def pullback(self, x, grad_out):
        y, length = self.value(x), self.length(x)
        return (grad_out - y * (grad_out * y).sum(-1, keepdim=True)) / length

    def length(self, x):
        return (x.square().sum(-1, keepdim=True) + 1e-12).sqrt()


class KinkAtASixteenth(fm.Elementwise):
    def value(self, xp, s):
        return xp.maximum(s - 1 / 16, 0)

    def derivative(self, xp, s, y):
        return xp.where(s > 1 / 16, 1, 0)


class Steps(fm.Elementwise):
    """y = s + ⌊10 s⌋ / 10: jumps that rounding steps over."""

    def value(self, xp, s):
        return s + torch.floor(10 * s) / 10

    def derivative(self, xp, s, y):
        return 1 + 0 * s


class HardTanh(fm.Elementwise):
    def value(self, xp, s):
        return xp.maximum(xp.minimum(s, 1), -1)

    def derivative(self, xp, s, y):
        return xp.where(xp.abs(s) < 1, 1, 0)


class Cube(fm.Elementwise):
    def value(self, xp, s):
        return s * s * s

    def derivative(self, xp, s, y):
        return 3 * s * s


class Bell(fm.Elementwise):
    def value(self, xp, s):
        return xp.exp(-s * s)

    def derivative(self, xp, s, y):
        return -2 * s * y


class Exp(fm.Elementwise):
    """Infinite far out."""

    def value(self, xp, s):
        return xp.exp(s)

    def derivative(self, xp, s, y):
        return y


class CurvatureJumps(fm.Elementwise):
    """s² for s > 0, 0 elsewhere: smooth once."""

    def value(self, xp, s):
        return xp.where(s > 0, s * s, 0)

    def derivative(self, xp, s, y):
        return xp.where(s > 0, 2 * s, 0)


@attrs.frozen
class Lookup:
    """y = table[order[⌊x⌋ mod n]] · x, an embedding with a constant int64 table beside its weights."""

    rows: int

    def init(self, key: Any, *, dtype: torch.dtype = torch.float32, device: Any = None) -> Any:
        table = fm.random.normal(key, (self.rows,), dtype=dtype, device=device)
        return {"order": torch.arange(self.rows, device=device).flip(0), "table": table}

    def apply(self, params: Any, x: Tensor) -> Tensor:
        return params["table"][self.places(params, x)] * x

    def vjp(self, params: Any, x: Tensor, grad_out: Tensor) -> tuple[Any, Tensor]:
        places = self.places(params, x)
        products = (grad_out * x).flatten()
        table = torch.zeros_like(params["table"]).index_add(0, places.flatten(), products)
        return {"order": torch.zeros_like(params["order"]), "table": table}, grad_out * params["table"][places]

    def places(self, params: Any, x: Tensor) -> Tensor:
        return params["order"][x.floor().long() % self.rows]


@attrs.frozen
class Masked:
    """y = (mask ⊙ w) ⊙ x with a constant bool mask."""

    in_features: int

    def init(self, key: Any, *, dtype: torch.dtype = torch.float32, device: Any = None) -> Any:
        weight = fm.random.normal(key, (self.in_features,), dtype=dtype, device=device)
        return weight, torch.ones(self.in_features, dtype=torch.bool, device=device)

    def apply(self, params: Any, x: Tensor) -> Tensor:
        if x.shape[-1] != self.in_features:
            raise ValueError("another width")
        weight, mask = params
        return torch.where(mask, weight, 0.0) * x

    def vjp(self, params: Any, x: Tensor, grad_out: Tensor) -> tuple[Any, Tensor]:
        weight, mask = params
        grad = torch.where(mask, (grad_out * x).reshape(-1, self.in_features).sum(0), 0.0)
        return (grad, torch.zeros_like(mask)), torch.where(mask, weight, 0.0) * grad_out


class Hinge(Squared):
    """max(0, 1 − ŷ t), with its kink at ŷ t = 1."""

    def value(self, predictions, targets):
        self.check(predictions, targets)
        return (1 - predictions * targets).clamp_min(0).mean()

    def grad(self, predictions, targets):
        self.check(predictions, targets)
        return torch.where(predictions * targets < 1, -targets, 0) / predictions.numel()


class Absolute(Squared):
    def value(self, predictions, targets):
        self.check(predictions, targets)
        return (predictions - targets).abs().mean()

    def grad(self, predictions, targets):
        self.check(predictions, targets)
        return (predictions - targets).sign() / predictions.numel()


class Largest(Squared):
    """The largest error of a sample: a kink at ties."""

    def value(self, predictions, targets):
        self.check(predictions, targets)
        return (predictions - targets).abs().amax(1).mean()

    def grad(self, predictions, targets):
        self.check(predictions, targets)
        error = predictions - targets
        worst = torch.nn.functional.one_hot(error.abs().argmax(1), error.shape[1]).to(error.dtype)
        return worst * error.sign() / len(error)


class Poisson(Squared):
    """exp(ŷ) − t ŷ: infinite far out."""

    def value(self, predictions, targets):
        self.check(predictions, targets)
        return (predictions.exp() - targets * predictions).mean()

    def grad(self, predictions, targets):
        self.check(predictions, targets)
        return (predictions.exp() - targets) / predictions.numel()


class Logistic(Squared):
    """Binary cross-entropy of logits."""

    def value(self, predictions, targets):
        self.check(predictions, targets)
        return torch.nn.functional.binary_cross_entropy_with_logits(predictions, targets)

    def grad(self, predictions, targets):
        self.check(predictions, targets)
        return (predictions.sigmoid() - targets) / predictions.numel()


class SignDescent(fm.SGD):
    def rule(self, xp, step, learning_rate, param, grad):
        return (param - learning_rate * xp.sign(grad),)


@attrs.frozen(repr=False)
class Elastic(fm.penalties.Penalty):
    """|w| up to 1, and (w² + 1) / 2 beyond: a kink at 0, and a jump of the curvature at ±1."""

    share: float

    def value(self, xp, w):
        size = xp.abs(w)
        return self.share * xp.where(size > 1, (w * w + 1) / 2, size)

    def derivative(self, xp, w):
        return self.share * xp.where(xp.abs(w) > 1, w, xp.sign(w))


class SumOfMagnitudes(Shrink):
    """Σ|w|, whose derivative torch takes for 0 at NaN."""

    def part(self, leaf: Tensor) -> Tensor:
        return leaf.abs().sum() if leaf.ndim >= 2 else leaf.new_zeros(())

    def added(self, grad: Tensor, param: Tensor) -> Tensor:
        return grad + param.sign() if param.ndim >= 2 else grad


AWKWARD_LAYERS = [
    Affine(3, 2),
    Square(),
    LayerNorm(4),
    LayerNorm(2),
    MaxPool(),
    Sort(),
    Softmax(),
    LogSoftmax(),
    GrowingCosine(),
    UnitLength(),
    KinkAtASixteenth(),
    Steps(),
    HardTanh(),
    Cube(),
    Bell(),
    Exp(),
    CurvatureJumps(),
    Lookup(5),
    Masked(3),
    fm.Sequential(fm.Linear(3, 4), HardTanh(), fm.Linear(4, 2)),
    fm.Sequential(fm.Linear(3, 4), LayerNorm(4), fm.ReLU(), fm.Linear(4, 3), Softmax()),
    fm.Sequential(fm.Linear(2, 3), Sort(), fm.Residual(MaxPool())),
    fm.Sequential(fm.Linear(2, 3), Steps(), fm.Linear(3, 1)),
    fm.Linear(2, 300),
    fm.Linear(300, 2),
    *unusual.LAYERS,
]  # fmt: skip
AWKWARD_LOSSES = [Squared(), Hinge(), Absolute(), Largest(), Poisson(), Logistic(), *unusual.LOSSES]
AWKWARD_PENALTIES = [Shrink(), SumOfMagnitudes(), fm.penalties.l1(0.0), fm.penalties.l2(1e3), Elastic(0.5)]
AWKWARD_OPTIMIZERS = [
    Descent(0.1),
    SignDescent(0.1),
    fm.BatchGD(0.1, batch_size=2000),
    fm.SGD(1e-6),
    fm.SGD(100.0),
    fm.Adam(1e-4),
    fm.Momentum(0.1, beta=0.0),
    *unusual.OPTIMIZERS,
]  # fmt: skip


def _subject(check: Callable[..., None], value: Any) -> tuple[str, Callable[..., None]]:
    return repr(value), lambda seed, **options: check(value, seed=seed, **options)


Subjects = list[tuple[str, Callable[..., None]]]

AWKWARD: Subjects = [
    *map(partial(_subject, check_layer), AWKWARD_LAYERS),
    *map(partial(_subject, check_loss), AWKWARD_LOSSES),
    *map(partial(_subject, check_optimizer), AWKWARD_OPTIMIZERS),
    *map(partial(_subject, check_penalty), AWKWARD_PENALTIES),
]

# The library's own as well, which tests/properties/ goes through.
SUBJECTS: Subjects = [
    *AWKWARD,
    *map(partial(_subject, check_layer), LAYERS),
    *map(partial(_subject, check_loss), LOSSES),
    *map(partial(_subject, check_optimizer), OPTIMIZERS),
    *map(partial(_subject, check_penalty), PENALTIES),
]
