"""The activations in the engine against exact values, over the whole range of their arguments."""

import math

import mpmath
import pytest
import torch
from llvmlite import ir
from torch import Tensor

import functional_mlp as fm
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.vector import Scalars, VectorNamespace
from tests.accuracy import MOST_ULP, activation_arguments, exact_activation, worst_ulp
from tests.engine.llvm.native import run_vectors
from tests.tables import ACTIVATIONS

every_activation = pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)

# The activations that are products of s, in many digits.
GATED = {
    fm.SiLU(): lambda s: s / (1 + mpmath.exp(-s)),
    fm.GELU(): lambda s: s * mpmath.erfc(-s / mpmath.sqrt(2)) / 2,
    fm.GELU("tanh"): lambda s: s / (1 + mpmath.exp(-mpmath.sqrt(8 / mpmath.pi) * (s + mpmath.mpf("0.044715") * s**3))),
}


def in_engine(activation: fm.Elementwise, s: Tensor) -> Tensor:
    """What the engine's vectors give; denormal numbers are kept, which training takes as zero."""

    def emit(e: Emitter, vector: ir.Value) -> ir.Value:
        xp = VectorNamespace(e, Scalars(e))
        return xp.vectors(activation.value(xp, xp.array(vector)))[0]

    return run_vectors(emit, s)


@every_activation
def test_a_value_is_within_four_ulp_over_the_whole_range(activation: fm.Elementwise) -> None:
    s = activation_arguments()
    exact = exact_activation(activation, s.double())
    assert worst_ulp(repr(activation), in_engine(activation, s), exact, s) <= MOST_ULP


@pytest.mark.parametrize("activation", GATED, ids=repr)
def test_a_float64_value_is_within_four_ulp(activation: fm.Elementwise) -> None:
    ends = [-760.0, -745.5, -722.0, -710.0, -40.0, -38.0, -37.6, -37.0, -22.5, -22.0, -21.8]  # where gates are denormal
    s = torch.cat([torch.linspace(-40, 8, 10001, dtype=torch.float64), torch.tensor(ends, dtype=torch.float64)])
    largest, worst = 0.0, 0.0
    with mpmath.workdps(40):
        for argument, result in zip(s.tolist(), in_engine(activation, s).tolist(), strict=True):
            exact = GATED[activation](mpmath.mpf(argument))
            unit = math.ulp(max(abs(float(exact)), torch.finfo(torch.float64).tiny))
            distance = float(abs(mpmath.mpf(result) - exact)) / unit
            largest, worst = max((largest, worst), (distance, argument))
    print(f"{activation}: at most {largest:.2f} ulp, at {worst!r}")
    assert largest <= MOST_ULP


@every_activation
def test_special_values_and_saturation_are_exact(activation: fm.Elementwise) -> None:
    s = torch.tensor([0.0, -0.0, math.inf, -math.inf, math.nan, 2.0**10, -(2.0**10), 2.0**100, -(2.0**100)])
    expected, actual = exact_activation(activation, s.double()).float(), in_engine(activation, s)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(actual[:2].signbit(), expected[:2].signbit())
