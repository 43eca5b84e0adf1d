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
from tests.accuracy import (
    MOST_ULP,
    MOST_ULP_OF_DERIVATIVES,
    ZEROS,
    activation_arguments,
    derivative_arguments,
    exact_activation,
    exact_derivative,
    exact_values,
    worst_ulp,
)
from tests.engine.llvm.native import run_vectors
from tests.tables import ACTIVATIONS, ACTIVATIONS_OF_EXACT_DERIVATIVES

every_activation = pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
every_exact_derivative = pytest.mark.parametrize("activation", ACTIVATIONS_OF_EXACT_DERIVATIVES, ids=repr)

FUNCTIONS = ["value", "derivative"]


def in_engine(activation: fm.Elementwise, s: Tensor, function: str = "value") -> Tensor:
    """What the engine's vectors give; denormal numbers are kept, which training takes as zero."""

    def emit(e: Emitter, vector: ir.Value) -> ir.Value:
        xp = VectorNamespace(e, Scalars(e))
        operand = xp.array(vector)
        y = activation.value(xp, operand)
        return xp.vectors(y if function == "value" else activation.derivative(xp, operand, y))[0]

    return run_vectors(emit, s)


@every_activation
def test_a_value_is_within_four_ulp_over_the_whole_range(activation: fm.Elementwise) -> None:
    s = activation_arguments()
    exact = exact_activation(activation, s.double())
    assert worst_ulp(repr(activation), in_engine(activation, s), exact, s) <= MOST_ULP


@every_exact_derivative
def test_a_derivative_is_within_eight_ulp_over_the_whole_range(activation: fm.Elementwise) -> None:
    s = derivative_arguments(activation)
    exact, derivative = exact_derivative(activation, s.double()), in_engine(activation, s, "derivative")
    assert worst_ulp(repr(activation), derivative, exact, s) <= MOST_ULP_OF_DERIVATIVES


def float64_arguments(zero: float) -> Tensor:
    """Numbers near and far, where gates are denormal, around the zero of a derivative, and the extremes."""
    ends = [-760.0, -745.5, -722.0, -710.0, -40.0, -38.0, -37.6, -37.0, -22.5, -22.0, -21.8, 1e103, -1e103, -1.7e308]
    neighbours = [zero]
    for _ in range(50):
        neighbours += [math.nextafter(neighbours[-1], 0), zero - len(neighbours) * 1e-4]
    return torch.cat([torch.linspace(-40, 8, 10001).double(), torch.tensor(ends + neighbours, dtype=torch.float64)])


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("activation", ZEROS, ids=repr)
def test_a_float64_is_within_a_few_ulp(activation: fm.Elementwise, function: str) -> None:
    s = float64_arguments(ZEROS[activation])
    largest, worst = 0.0, 0.0
    with mpmath.workdps(40):
        for argument, result in zip(s.tolist(), in_engine(activation, s, function).tolist(), strict=True):
            exact = exact_values(activation, mpmath.mpf(argument))[FUNCTIONS.index(function)]
            unit = math.ulp(max(abs(float(exact)), torch.finfo(torch.float64).tiny))
            distance = float(abs(mpmath.mpf(result) - exact)) / unit
            largest, worst = max((largest, worst), (distance, argument))
    print(f"{function} of {activation}: at most {largest:.2f} ulp, at {worst!r}")
    assert largest <= (MOST_ULP if function == "value" else MOST_ULP_OF_DERIVATIVES)


@pytest.mark.parametrize("activation", ZEROS, ids=repr)
def test_derivatives_at_infinity_and_nan_are_nan_as_torchs_are(activation: fm.Elementwise) -> None:
    s = torch.tensor([math.inf, -math.inf, math.nan])
    assert in_engine(activation, s, "derivative").isnan().all()
    assert activation.vjp((), s, torch.ones_like(s))[1].isnan().all()


@every_activation
def test_special_values_and_saturation_are_exact(activation: fm.Elementwise) -> None:
    s = torch.tensor([0.0, -0.0, math.inf, -math.inf, math.nan, 2.0**10, -(2.0**10), 2.0**100, -(2.0**100)])
    expected, actual = exact_activation(activation, s.double()).float(), in_engine(activation, s)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(actual[:2].signbit(), expected[:2].signbit())
