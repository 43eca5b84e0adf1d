"""Values of float32 against exact ones: the arguments, the exact values, and the distance in ulp."""

import math

import torch
from torch import Tensor

import functional_mlp as fm
from tests.helpers import ACTIVATION_ORACLES

MOST_ULP = 4.0


def every_float32(step: int, smallest: float = 0.0, largest: float = math.inf) -> Tensor:
    """Every `step`-th float32 of either sign, from the `smallest` size to below the `largest`."""
    first, last = torch.tensor([smallest, largest]).view(torch.int32).tolist()
    patterns = torch.arange(first, last, step, dtype=torch.int64)
    return torch.cat([patterns, patterns - 0x80000000]).to(torch.int32).view(torch.float32)


def activation_arguments() -> Tensor:
    """Numbers over the whole range, and close together where an activation is neither linear nor constant."""
    return torch.cat([every_float32(1511), every_float32(149, 2.0**-4, 2.0**7)])


def exact_activation(activation: fm.Elementwise, s: Tensor) -> Tensor:
    """The value in float64, in whose lower tail torch's own GELUs lose every digit."""
    if activation == fm.GELU():
        return s * 0.5 * torch.erfc(-s / math.sqrt(2))
    if activation == fm.GELU("tanh"):
        return s * torch.sigmoid(math.sqrt(8 / math.pi) * (s + 0.044715 * s**3))
    return ACTIVATION_ORACLES[type(activation)](activation, s)


def ulps(actual: Tensor, exact: Tensor) -> Tensor:
    """The distance between two float64 tensors in units in the last place of float32 at the exact value.

    The last place of a denormal number is that of all of them, 2⁻¹⁴⁹.
    """
    smallest = torch.finfo(torch.float32).tiny
    exponent = torch.floor(torch.log2(exact.abs().clamp(min=smallest)))
    return (actual - exact).abs() / torch.pow(2.0, exponent - 23)


def worst_ulp(name: str, actual: Tensor, exact: Tensor, arguments: Tensor) -> float:
    """The largest distance, printed with the argument where it is found."""
    distances = ulps(actual.double(), exact)
    worst = int(distances.argmax())  # that of NaN, if there is one
    print(f"{name}: at most {distances[worst]:.2f} ulp, at {arguments[worst].item()!r}")
    return distances[worst].item()
