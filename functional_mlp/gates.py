"""s σ(v) and s Φ(s), and their derivatives, of tensors: computed in float64 and rounded once.

In the lower tail the rounding error of an exponent costs up to 10 of the 53 binary digits of a float64, which narrower
dtypes do not notice. Values of float64 (and of float32 where the device has no float64) are compensated for it.

Derivatives of float64 are not compensated. In the lower tail they may lose these digits, and are 0 below 1e-304. Near
their zeros, at s = −1.28 for SiLU and −0.75 for GELU, they are sums of numbers of size 1 and have the absolute error
of these, about 1e-16: all relative digits may be lost there. The engine's derivatives of float64 keep their digits in
both places.
"""

import math

import torch
from torch import Tensor

from functional_mlp.compensation import Coefficient, cubic


def ndtr(x: Tensor) -> Tensor:
    """Φ(x)."""
    return _ndtr(_wide(x), x.dtype).to(x.dtype)


def gelu(s: Tensor) -> Tensor:
    """s Φ(s)."""
    wide = _wide(s)
    value = wide * _ndtr(wide, s.dtype)
    if wide.dtype != s.dtype:
        return value.to(s.dtype)
    return torch.where((s < -37.5) & (s > -64), _gelu_tail(s.clamp(-64, -37)), value)


def gelu_slope(s: Tensor) -> Tensor:
    """Φ(s) + s Φ'(s)."""
    wide = _wide(s)
    density = torch.exp(-0.5 * wide * wide) / math.sqrt(2 * math.pi)
    return (_ndtr(wide, s.dtype) + wide * density).to(s.dtype)


def gated(s: Tensor, a: Coefficient, b: Coefficient) -> Tensor:
    """s σ(v) with v = a s + b s³."""
    wide = _wide(s)
    if wide.dtype != s.dtype:
        return (wide * torch.sigmoid(_gate(wide, a, b))).to(s.dtype)
    head, rest = cubic(_bounded(s), a, b, _shorten, _third_of_digits(s.dtype))
    v = head + rest
    lost = (head - v) + rest
    root = torch.exp(-0.5 * v.abs())  # e^(−|v|) may be out of range where its product with s is not
    return torch.where(v < 0, s * root * (root + root * lost), s) / (1 + torch.exp(-v.abs()))


def gated_slope(s: Tensor, a: Coefficient, b: Coefficient) -> Tensor:
    """σ(v) + s σ(v) σ(−v) (a + 3 b s²)."""
    wide = _wide(s)
    v = _gate(wide, a, b)
    opened = torch.sigmoid(v)
    density = wide * opened * torch.sigmoid(-v)
    growth = float(a) if b == 0 else float(a) + 3 * float(b) * _bounded(wide) ** 2
    return (opened + density * growth).to(s.dtype)


def _gate(s: Tensor, a: Coefficient, b: Coefficient) -> Tensor:
    """v, which may overflow where the gate is open or closed."""
    return float(a) * s if b == 0 else s * (float(a) + float(b) * s * s)


def _bounded(s: Tensor) -> Tensor:
    """s, as far as its cube is in range."""
    bound = torch.finfo(s.dtype).max ** 0.25
    return s.clamp(-bound, bound)


def _ndtr(x: Tensor, dtype: torch.dtype) -> Tensor:
    value = 0.5 * torch.erfc(x / -math.sqrt(2))  # torch.special.ndtr is 0 in the lower tail
    if x.dtype != dtype:
        return value
    x = x.clamp(-64, 0)
    z = x / -math.sqrt(2)
    (z_square, z_rest), (x_square, x_rest) = _square(z), _square(x)
    return value * torch.exp((z_square - 0.5 * x_square) + (z_rest - 0.5 * x_rest))  # e^(z² − x²/2), for z is rounded


def _gelu_tail(s: Tensor) -> Tensor:
    """s Φ(s) where Φ(s) is denormal and the product is not: −Φ'(s) (1 − 1/s² + 3/s⁴ − 15/s⁶ + …)."""
    square, rest = _square(s)
    t = 1 / (s * s)
    series = 10395 * t - 945
    for coefficient in (105, -15, 3, -1, 1):
        series = series * t + coefficient
    return torch.exp(-0.5 * square) * torch.exp(-0.5 * rest) * (series / -math.sqrt(2 * math.pi))


def _square(x: Tensor) -> tuple[Tensor, Tensor]:
    """x² as the sum of two tensors, the second small."""
    short = _shorten(x)
    return short * short, (x - short) * (x + short)


def _wide(x: Tensor) -> Tensor:
    """The tensor in float64, or in float32 where the device has nothing wider."""
    return x.float() if x.device.type == "mps" else x.double()


def _third_of_digits(dtype: torch.dtype) -> int:
    return (1 - round(math.log2(torch.finfo(dtype).eps))) // 3


def _shorten(x: Tensor) -> Tensor:
    """A float32 or float64 tensor cut to a third of its digits."""
    integers, digits = (torch.int32, 24) if x.dtype == torch.float32 else (torch.int64, 53)
    return (x.view(integers) & -(1 << (digits - digits // 3))).view(x.dtype)
