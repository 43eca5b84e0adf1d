"""Activations: functions of one number, each its value and its derivative in the array algebra."""

import math
from typing import Literal

from attrs import field, frozen

from functional_mlp import checks
from functional_mlp.algebra import Array, Namespace
from functional_mlp.layers.elementwise import Elementwise


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


def _gated(xp: Namespace, s: Array, exponent: Array, rest: Array | None = None) -> Array:
    """s σ(v), from exponent + rest = −|v| for a v with the sign of s.

    On the left that is s eᵛ / (1 + eᵛ), whose numerator keeps its digits where eᵛ is too small to.
    """
    return xp.where(s < 0, xp.exp(exponent, rest, s), s) / (1 + xp.exp(exponent, rest))


class SiLU(Elementwise):
    """s σ(s), with σ the sigmoid: the swish. Elfwing et al., "Sigmoid-weighted linear units", 2017."""

    def value(self, xp: Namespace, s: Array) -> Array:
        return _gated(xp, s, -xp.abs(s))

    def derivative(self, xp: Namespace, s: Array, y: Array) -> Array:
        sigmoid = _sigmoid(xp, s)
        return sigmoid * (1 + s * (1 - sigmoid))


# √(8/π) and 0.044715 √(8/π), each as a number of few digits and the rest.
_LINEAR = (817 / 512, 6.599660573071176e-05)
_CUBIC = (1169 / 16384, 4.718616350248776e-06)


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
        return xp.ndtr(s, s) if self.approximate == "none" else _gated(xp, s, *self._exponent(xp, s))

    def derivative(self, xp: Namespace, s: Array, y: Array) -> Array:
        if self.approximate == "none":
            return xp.ndtr(s) + s * (xp.exp(-0.5 * s * s) / math.sqrt(2 * math.pi))
        v = s * (math.sqrt(8 / math.pi) + 0.044715 * math.sqrt(8 / math.pi) * s * s)
        decay = xp.exp(-xp.abs(v))
        weight = 1 / (1 + decay)  # σ = weight on the right and decay · weight on the left, and σ' = decay · weight²
        density = decay * weight * weight * math.sqrt(8 / math.pi) * (1 + 3 * 0.044715 * s * s)
        return xp.where(v >= 0, 1, decay) * weight + s * density

    def _exponent(self, xp: Namespace, s: Array) -> tuple[Array, Array]:
        """−|v| as the sum of two numbers, the second small, for eᵛ magnifies the rounding error of a large v.

        With u = −|s| and r = v/s it is u r = h k + (u − h) k + u (r − k), where h and k are the leading digits of u and
        r: h k is exact, and the other terms are small. So is r − k, which is found in the same way, from the leading
        digits of u² and of the coefficients of r = √(8/π) + 0.044715 √(8/π) u².
        """
        u = xp.maximum(-xp.abs(s), -64)  # eᵛ is 0 there in every dtype, and u² is finite
        square = u * u
        h = xp.leading_digits(u)
        q = xp.leading_digits(h * h)
        k = xp.leading_digits(sum(_LINEAR) + sum(_CUBIC) * square)
        square_rest = (h * h - q) + (u - h) * (u + h)
        ratio_rest = (_LINEAR[0] - k + _CUBIC[0] * q) + (_LINEAR[1] + _CUBIC[1] * square + _CUBIC[0] * square_rest)
        return h * k, (u - h) * k + u * ratio_rest


class Identity(Elementwise):
    """s itself."""

    def value(self, xp: Namespace, s: Array) -> Array:
        return s

    def derivative(self, xp: Namespace, s: Array, y: Array) -> Array:
        return 1
