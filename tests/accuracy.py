"""Activations against exact values: the arguments, the values and derivatives, and the distance in ulp."""

import math

import mpmath
import torch
from torch import Tensor

import functional_mlp as fm
from tests.helpers import ACTIVATION_ORACLES, autograd

MOST_ULP, MOST_ULP_OF_DERIVATIVES = 4.0, 8.0

# The linear and the cubic coefficient of the gates of activations that are s σ(a s + b s³), in many digits.
with mpmath.workdps(50):
    _LINEAR = mpmath.sqrt(8 / mpmath.pi)
    GATES = {fm.SiLU(): (mpmath.mpf(1), mpmath.mpf(0)), fm.GELU("tanh"): (_LINEAR, mpmath.mpf("0.044715") * _LINEAR)}

# Where derivatives are 0 and no number in floating point is.
ZEROS = {fm.SiLU(): -1.2784645427610738, fm.GELU(): -0.7517915246935645, fm.GELU("tanh"): -0.7524614220710163}


def every_float32(step: int, smallest: float = 0.0, largest: float = math.inf) -> Tensor:
    """Every `step`-th float32 of either sign, from the `smallest` size to below the `largest`."""
    first, last = torch.tensor([smallest, largest]).view(torch.int32).tolist()
    patterns = torch.arange(first, last, step, dtype=torch.int64)
    return torch.cat([patterns, patterns - 0x80000000]).to(torch.int32).view(torch.float32)


def activation_arguments() -> Tensor:
    """Numbers over the whole range, and close together where an activation is neither linear nor constant."""
    return torch.cat([every_float32(1511), every_float32(149, 2.0**-4, 2.0**7)])


def derivative_arguments(activation: fm.Elementwise) -> Tensor:
    """The same with the extremes, and with the neighbours of the place where the derivative is 0."""
    largest = torch.finfo(torch.float32).max
    extremes = torch.tensor([sign * largest**power for power in (1, 0.5, 0.34) for sign in (1, -1)] + [0.0, -0.0])
    zero = torch.tensor(ZEROS.get(activation, 1.0), dtype=torch.float32).view(torch.int32)
    neighbours = (zero + torch.arange(-2000, 2001, dtype=torch.int32)).view(torch.float32)
    return torch.cat([activation_arguments(), neighbours, extremes])


def every_number(dtype: torch.dtype) -> Tensor:
    """All finite numbers of float16 or bfloat16."""
    numbers = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(dtype)
    return numbers[numbers.isfinite()]


def exact_activation(activation: fm.Elementwise, s: Tensor) -> Tensor:
    """The value in float64, in whose lower tail torch's own GELUs lose every digit."""
    if activation == fm.GELU():
        return s * 0.5 * torch.erfc(-s / math.sqrt(2))
    if activation == fm.GELU("tanh"):
        return s * torch.sigmoid(math.sqrt(8 / math.pi) * (s + 0.044715 * s**3))
    return ACTIVATION_ORACLES[type(activation)](activation, s)


def exact_derivative(activation: fm.Elementwise, s: Tensor) -> Tensor:
    """The derivative in float64, for arguments of narrower dtypes."""
    decay = torch.exp(-s.abs())
    match activation:
        case fm.Tanh():
            return 4 * decay**2 / (1 + decay**2) ** 2
        case fm.Sigmoid():
            return decay / (1 + decay) ** 2
        case fm.GELU(approximate="none"):
            return 0.5 * torch.erfc(-s / math.sqrt(2)) + s * torch.exp(-0.5 * s * s) / math.sqrt(2 * math.pi)
        case fm.SiLU() | fm.GELU():
            a, b = map(float, GATES[activation])
            v = s * (a + b * s * s)
            return torch.sigmoid(v) + s * torch.sigmoid(v) * torch.sigmoid(-v) * (a + 3 * b * s * s)
        case _:
            return autograd(lambda s: ACTIVATION_ORACLES[type(activation)](activation, s).sum(), s)[1][0]


def exact_values(activation: fm.Elementwise, s: mpmath.mpf) -> tuple[mpmath.mpf, mpmath.mpf]:
    """The value and the derivative of SiLU or GELU at one number, to mpmath's digits."""
    if activation == fm.GELU():
        if abs(s) > 1e4:
            return max(s, mpmath.mpf(0)), mpmath.mpf(s > 0)
        lower = mpmath.erfc(-s / mpmath.sqrt(2)) / 2
        return s * lower, lower + s * mpmath.npdf(s)
    a, b = GATES[activation]
    opened, closed = (1 / (1 + mpmath.exp(-sign * (a * s + b * s**3))) for sign in (1, -1))
    return s * opened, opened + s * opened * closed * (a + 3 * b * s * s)


def ulps(actual: Tensor, exact: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """The distance between two float64 tensors in units in the last place of a dtype at the exact value.

    The last place of a denormal number is that of all of them, 2⁻¹⁴⁹ for float32.
    """
    limits = torch.finfo(dtype)
    exponent = torch.floor(torch.log2(exact.abs().clamp(min=limits.tiny)))
    return (actual - exact).abs() / (torch.pow(2.0, exponent) * limits.eps)


def worst_ulp(name: str, actual: Tensor, exact: Tensor, arguments: Tensor) -> float:
    """The largest distance, printed with the argument where it is found."""
    distances = ulps(actual.double(), exact, actual.dtype)
    worst = int(distances.argmax())  # that of NaN, if there is one
    print(f"{name}: at most {distances[worst]:.2f} ulp, at {arguments[worst].item()!r}")
    return distances[worst].item()
