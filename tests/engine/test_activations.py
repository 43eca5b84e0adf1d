"""The activations in the engine against exact values, over the whole range of their arguments."""

import math

import pytest
import torch
from llvmlite import ir
from torch import Tensor

import functional_mlp as fm
from functional_mlp.engine.emitter import Emitter
from functional_mlp.engine.vector import Scalars, VectorNamespace
from tests.accuracy import MOST_ULP, every_float32, ulps
from tests.engine.native import run_vectors
from tests.helpers import ACTIVATION_ORACLES
from tests.tables import ACTIVATIONS

every_activation = pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)


def in_engine(activation: fm.Elementwise, s: Tensor) -> Tensor:
    """What the engine's vectors give; denormal numbers are kept, which training takes as zero."""

    def emit(e: Emitter, vector: ir.Value) -> ir.Value:
        xp = VectorNamespace(e, Scalars(e))
        return xp.vectors(activation.value(xp, xp.array(vector)))[0]

    return run_vectors(emit, s)


def gelu_cubic(s: Tensor) -> Tensor:
    return math.sqrt(8 / math.pi) * (s + 0.044715 * s**3)


def exact(activation: fm.Elementwise, s: Tensor) -> Tensor:
    """The value in float64, in whose lower tail torch's own GELUs lose every digit."""
    if activation == fm.GELU():
        return s * 0.5 * torch.erfc(-s / math.sqrt(2))
    if activation == fm.GELU("tanh"):
        return s * torch.sigmoid(gelu_cubic(s))
    return ACTIVATION_ORACLES[type(activation)](activation, s)


def most_ulp(activation: fm.Elementwise, s: Tensor) -> Tensor:
    """How far a value may be from the exact one.

    The gate of s Φ(s) and s σ(s) is a denormal number before the product is, and s magnifies its last place. Of the
    exponent v of the cubic GELU five roundings, each of 2⁻²⁴ |v| at most, are relative errors of the result, where an
    ulp is 2⁻²⁴ at least.
    """
    most = torch.full_like(s, MOST_ULP)
    if activation == fm.GELU("tanh"):
        most += 5 * gelu_cubic(s).abs()
    if isinstance(activation, fm.SiLU | fm.GELU):
        most += torch.where(exact(activation, s) / s < torch.finfo(torch.float32).tiny, s.abs(), 0.0)
    return most


@every_activation
def test_a_value_is_within_four_ulp_over_the_whole_range(activation: fm.Elementwise) -> None:
    s = every_float32(1511)
    expected, actual = exact(activation, s.double()), in_engine(activation, s)
    distances = ulps(actual.double(), expected)
    worst = int(distances.argmax())
    print(f"{activation}: at most {distances[worst]:.2f} ulp, at {s[worst].item()!r}")
    assert (distances <= most_ulp(activation, s.double())).all()


@every_activation
def test_special_values_and_saturation_are_exact(activation: fm.Elementwise) -> None:
    s = torch.tensor([0.0, -0.0, math.inf, -math.inf, math.nan, 2.0**10, -(2.0**10), 2.0**100, -(2.0**100)])
    expected, actual = exact(activation, s.double()).float(), in_engine(activation, s)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(actual[:2].signbit(), expected[:2].signbit())
