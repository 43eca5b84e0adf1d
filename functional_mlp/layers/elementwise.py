"""Activations: layers that apply one function to every number, each its value and its derivative in the algebra."""

from fractions import Fraction
from typing import ClassVar, Literal

import torch
from attrs import field, frozen
from torch import Tensor

from functional_mlp import checks
from functional_mlp.algebra import Array, Namespace, TorchNamespace, narrowed, widened, working_dtype
from functional_mlp.forks import cached_property
from functional_mlp.layers.base import Layer, Params, Tape
from functional_mlp.random import Key
from functional_mlp.straight import Reading, Readings, readings, straight


def _as_array(result: Array, s: Tensor) -> Tensor:
    """What an expression has made of an array: an array as well where it is one number for all."""
    return result if isinstance(result, Tensor) else torch.full_like(s, result)


@frozen(repr=False)
class Elementwise(Layer):
    """The base class of layers that apply one function σ to every number: x = σ(s).

    A subclass gives two expressions in the array algebra (see `functional_mlp.algebra`), and that is all:

        value(xp, s)         σ(s)
        derivative(xp, s, y) σ'(s), from the input s, the output y, or both

    The gradient is equation (3) of the paper: ∂ℓ/∂s = ∂ℓ/∂x ⊙ σ'(s). Where that product can be formed better
    than by a multiplication, a subclass overrides `pullback` as well.
    """

    keeps_features: ClassVar[bool] = True

    DERIVED: ClassVar[tuple[str, ...]] = ("init", "apply", "vjp", "forward", "backward")
    """What this class makes of a subclass's expressions: a subclass that has its own is more than its expressions."""

    def init(self, key: Key, *, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None) -> Params:
        """`()`; raises `ValueError` where a number of the layer is beyond the dtype."""
        params = Layer.init(self, key, dtype=dtype, device=device)
        checks.numbers_in_range(self, working_dtype(dtype))
        return params

    def value(self, xp: Namespace, s: Array) -> Array:
        raise NotImplementedError(f"{type(self).__name__} must define value(self, xp, s)")

    def derivative(self, xp: Namespace, s: Array, y: Array) -> Array:
        raise NotImplementedError(f"{type(self).__name__} must define derivative(self, xp, s, y)")

    def pullback(self, xp: Namespace, s: Array, y: Array, grad: Array) -> Array:
        return grad * self.derivative(xp, s, y)

    def forward(self, params: Params, x: Tensor) -> tuple[Tensor, Tape]:
        s, cls = widened(x), type(self)
        value, pullback = self._readings(s.dtype, s.device, (cls.value, cls.derivative, cls.pullback))
        y = _as_array(value(s), s)
        return narrowed(y, x.dtype), (pullback, s, y)

    def backward(self, params: Params, tape: Tape, grad_out: Tensor) -> tuple[Params, Tensor]:
        pullback, s, y = tape
        return (), narrowed(_as_array(pullback(s, y, widened(grad_out)), s), grad_out.dtype)

    @cached_property
    def _readings(self) -> Readings:
        """The value and the pullback as functions of tensors of a dtype and device."""

        def of(xp: TorchNamespace, features: int | None) -> tuple[Reading, ...]:
            value = straight(self, lambda xp, s: self.value(xp, s), 1, xp)
            return value, straight(self, lambda xp, s, y, grad: self.pullback(xp, s, y, grad), 3, xp)

        return readings(of)


class ReLU(Elementwise):
    """max(s, 0); the derivative at 0 is 0.

    >>> import torch
    >>> ReLU().apply((), torch.tensor([-2.0, 0.0, 3.0]))
    tensor([0., 0., 3.])
    """

    def value(self, xp: Namespace, s: Array) -> Array:
        return xp.maximum(s, 0)

    def derivative(self, xp: Namespace, s: Array, y: Array) -> Array:
        return xp.where(y <= 0, 0, 1)

    def pullback(self, xp: Namespace, s: Array, y: Array, grad: Array) -> Array:
        return xp.where(y <= 0, 0, grad)  # 0 also where grad is infinite


class Tanh(Elementwise):
    """tanh(s), with tanh' = 1 − tanh²."""

    def value(self, xp: Namespace, s: Array) -> Array:
        return xp.tanh(s)

    def derivative(self, xp: Namespace, s: Array, y: Array) -> Array:
        return 1 - y * y


def _sigmoid(xp: Namespace, s: Array) -> Array:
    """1 / (1 + e⁻ˢ) for s ≥ 0 and eˢ / (1 + eˢ) elsewhere: no power overflows, and no digit is lost."""
    decay = xp.exp(-xp.abs(s))
    return xp.where(s >= 0, 1, decay) / (1 + decay)


class Sigmoid(Elementwise):
    """σ(s) = 1 / (1 + e⁻ˢ), with σ' = σ (1 − σ)."""

    def value(self, xp: Namespace, s: Array) -> Array:
        return _sigmoid(xp, s)

    def derivative(self, xp: Namespace, s: Array, y: Array) -> Array:
        return y * (1 - y)


@frozen(repr=False)
class LeakyReLU(Elementwise):
    """s where s > 0, negative_slope · s elsewhere.

    >>> import torch
    >>> LeakyReLU(0.1).apply((), torch.tensor([-2.0, 3.0]))
    tensor([-0.2000,  3.0000])
    """

    negative_slope: float = field(default=0.01, validator=checks.finite_number)

    def value(self, xp: Namespace, s: Array) -> Array:
        return xp.where(s > 0, s, self.negative_slope * s)

    def derivative(self, xp: Namespace, s: Array, y: Array) -> Array:
        return xp.where(s > 0, 1, self.negative_slope)


@frozen(repr=False)
class ELU(Elementwise):
    """s where s > 0, α (eˢ − 1) elsewhere. Clevert et al., "Fast and accurate deep network learning", 2015."""

    alpha: float = field(default=1.0, validator=checks.finite_number)

    def value(self, xp: Namespace, s: Array) -> Array:
        return xp.where(s <= 0, self.alpha * xp.expm1(s), s)

    def derivative(self, xp: Namespace, s: Array, y: Array) -> Array:
        return xp.where(s <= 0, self.alpha * xp.exp(s), 1)


class Softplus(Elementwise):
    """log(1 + eˢ), computed as max(s, 0) + log(1 + e^(−|s|)), which cannot overflow."""

    def value(self, xp: Namespace, s: Array) -> Array:
        return xp.maximum(s, 0) + xp.log1p(xp.exp(-xp.abs(s)))

    def derivative(self, xp: Namespace, s: Array, y: Array) -> Array:
        return _sigmoid(xp, s)


class SiLU(Elementwise):
    """s σ(s), with σ the sigmoid: the swish. Elfwing et al., "Sigmoid-weighted linear units", 2017."""

    def value(self, xp: Namespace, s: Array) -> Array:
        return xp.gated(s, 1, 0)

    def derivative(self, xp: Namespace, s: Array, y: Array) -> Array:
        return xp.gated_slope(s, 1, 0)


@frozen(repr=False)
class GELU(Elementwise):
    """s Φ(s), with Φ the normal distribution function. Hendrycks and Gimpel, "Gaussian error linear units", 2016.

    `approximate="none"` takes Φ itself; `"tanh"` takes Φ(s) ≈ (1 + tanh(v/2)) / 2 = σ(v), with
    v = √(8/π) (s + 0.044715 s³) and σ the sigmoid. Both are torch's.
    """

    approximate: Literal["none", "tanh"] = "none"

    def __attrs_post_init__(self) -> None:
        if self.approximate not in ("none", "tanh"):
            raise ValueError(f"GELU: approximate must be 'none' or 'tanh', got {checks.describe(self.approximate)}")

    def value(self, xp: Namespace, s: Array) -> Array:
        return xp.gelu(s) if self.approximate == "none" else xp.gated(s, *_TANH_GATE)

    def derivative(self, xp: Namespace, s: Array, y: Array) -> Array:
        return xp.gelu_slope(s) if self.approximate == "none" else xp.gated_slope(s, *_TANH_GATE)


# √(8/π), to twice the digits of a float64, and 0.044715 √(8/π).
_LINEAR = Fraction("1.59576912160573071175978423973752747390")
_TANH_GATE = (_LINEAR, Fraction("0.044715") * _LINEAR)


class Identity(Elementwise):
    """s itself."""

    def value(self, xp: Namespace, s: Array) -> Array:
        return s

    def derivative(self, xp: Namespace, s: Array, y: Array) -> Array:
        return 1
