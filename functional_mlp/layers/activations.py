"""Activations: functions of one number, each its value and its derivative in the array algebra."""

import math
from typing import Literal

from attrs import field, frozen

from functional_mlp import checks
from functional_mlp.algebra import Array, Namespace
from functional_mlp.layers.base import Elementwise


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
        return s * _sigmoid(xp, s)

    def derivative(self, xp: Namespace, s: Array, y: Array) -> Array:
        sigmoid = _sigmoid(xp, s)
        return sigmoid * (1 + s * (1 - sigmoid))


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
        return s * (xp.ndtr(s) if self.approximate == "none" else _sigmoid(xp, self._cubic(s)))

    def derivative(self, xp: Namespace, s: Array, y: Array) -> Array:
        if self.approximate == "none":
            return xp.ndtr(s) + s * (xp.exp(-0.5 * s * s) / math.sqrt(2 * math.pi))
        v = self._cubic(s)
        decay = xp.exp(-xp.abs(v))
        weight = 1 / (1 + decay)  # σ = weight on the right and decay · weight on the left, and σ' = decay · weight²
        density = decay * weight * weight * math.sqrt(8 / math.pi) * (1 + 3 * 0.044715 * s * s)
        return xp.where(v >= 0, 1, decay) * weight + s * density

    def _cubic(self, s: Array) -> Array:
        scale = math.sqrt(8 / math.pi)
        return s * (scale + 0.044715 * scale * s * s)


class Identity(Elementwise):
    """s itself."""

    def value(self, xp: Namespace, s: Array) -> Array:
        return s

    def derivative(self, xp: Namespace, s: Array, y: Array) -> Array:
        return 1
