"""Slopes by differences: right within their stated error, undecided at kinks, and never for a smooth function."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from functional_mlp.testing.derivatives import Line, slope, slopes


def line(function: Callable[[float], float]) -> Line:
    def at(t: float) -> tuple[float, float]:
        value = function(t)
        return value, abs(value) + 1

    return at


SMOOTH: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "exp": (math.exp, math.exp),
    "sin": (lambda t: math.sin(8 * t), lambda t: 8 * math.cos(8 * t)),
    "tanh": (lambda t: math.tanh(20 * t), lambda t: 20 / math.cosh(20 * t) ** 2),
    "erf": (math.erf, lambda t: 2 / math.sqrt(math.pi) * math.exp(-t * t)),
    "polynomial": (lambda t: t**7 - 3 * t**2 + 5, lambda t: 7 * t**6 - 6 * t),
    "steep": (lambda t: 1 / (1 + math.exp(-300 * t)), lambda t: 75 / math.cosh(150 * t) ** 2),
    "constant": (lambda t: 3.0, lambda t: 0.0),
}


@pytest.mark.parametrize("name", SMOOTH)
@settings(max_examples=100)
@given(st.floats(-1, 1))
def test_the_slope_of_a_smooth_function_is_decided_and_right(name: str, at: float) -> None:
    function, derivative = SMOOTH[name]
    measured = slope(line(lambda t: function(at + t)))
    assert measured is not None
    assert abs(measured.value - derivative(at)) <= measured.error < 1e-6 * (1 + abs(derivative(at)))


@settings(max_examples=200)
@given(st.floats(-0.1, 0.1), st.floats(0.01, 2))
def test_near_a_kink_a_slope_is_right_or_undecided(distance: float, jump: float) -> None:
    measured = slope(line(lambda t: math.sin(t) + (jump * (t - distance) if t > distance else 0.0)))
    expected = 1 + (jump if distance < 0 else 0.0)
    if measured is None:
        assert abs(distance) < 2**-14
    else:
        assert abs(measured.value - expected) <= measured.error < 1e-5


@pytest.mark.parametrize(
    "function",
    [abs, lambda t: max(t, 0.0), lambda t: t if t > 0 else 1.5 * math.expm1(t), lambda t: math.floor(t), math.copysign],
    ids=["abs", "relu", "elu of 1.5", "step", "sign"],
)
def test_a_kink_is_not_decided(function: Callable[..., float]) -> None:
    at_zero = function if function is not math.copysign else lambda t: math.copysign(1.0, t)
    assert slope(line(at_zero)) is None


def test_a_kink_of_the_derivative_is_not_decided_wrongly() -> None:
    """ELU has one at 0: differences converge there, to something else than it seems from their corrections."""
    assert slope(line(lambda t: t if t > 0 else math.expm1(t))) is None


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.floats(-0.1, 0.1))
def test_near_a_kink_of_the_derivative_a_slope_is_right_or_undecided(distance: float) -> None:
    measured = slope(line(lambda t: t + max(t - distance, 0.0) ** 2))
    if measured is not None:
        assert abs(measured.value - (1 + 2 * max(-distance, 0.0))) <= measured.error < 1e-5


def test_slopes_of_several_functions_are_those_of_each() -> None:
    at = torch.linspace(-1, 1, 5, dtype=torch.float64)
    together = slopes(lambda t: ((8 * (at + t)).sin().abs(), torch.ones_like(at)))
    for i, place in enumerate(at.tolist()):
        alone = slope(lambda t, place=place: (abs(math.sin(8 * (place + t))), 1.0))
        assert (alone is not None) == together.decided[i]
        if alone is not None:
            assert abs(alone.value - together.values[i]) <= alone.error + together.errors[i] < 1e-6


def test_nan_is_not_decided() -> None:
    assert slope(line(lambda t: math.nan)) is None
