"""The elementary functions against exact values, over the whole range of their arguments."""

import math

import mpmath
import pytest
import torch
from torch import Tensor

from functional_mlp.engine import functions
from tests.engine.native import run_vectors

NAMES = ["exp", "expm1", "log", "log1p", "tanh", "erf", "ndtr"]
MOST_ULP = 4.0
SPECIAL = [0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, -1.0, 1000.0, -1000.0, 1e-45, -1e-45, 1e30, -1e30]


def oracle(name: str, x: Tensor) -> Tensor:
    """The function in torch; its own ndtr loses every digit in the lower tail."""
    return 0.5 * torch.erfc(-x / math.sqrt(2)) if name == "ndtr" else getattr(torch, name)(x)


def exact_oracle(name: str, x: mpmath.mpf) -> mpmath.mpf:
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2 if name == "ndtr" else getattr(mpmath, name)(x)


def every_float32(step: int) -> Tensor:
    """Every `step`-th bit pattern of the finite float32 numbers."""
    patterns = torch.arange(0, 0x7F800000, step, dtype=torch.int64)
    return torch.cat([patterns, patterns - 0x80000000]).to(torch.int32).view(torch.float32)


def ulps(actual: Tensor, exact: Tensor) -> Tensor:
    """The distance between two float64 tensors in units in the last place of float32 at the exact value."""
    smallest = torch.finfo(torch.float32).tiny
    exponent = torch.floor(torch.log2(exact.abs().clamp(min=smallest)))
    return (actual - exact).abs() / torch.pow(2.0, exponent - 23)


@pytest.mark.parametrize("name", NAMES)
def test_float32_is_within_four_ulp_over_the_whole_range(name: str) -> None:
    x = every_float32(1511)
    exact = oracle(name, x.double())
    actual = run_vectors(getattr(functions, name), x)
    finite = exact.isfinite() & (exact.abs() <= torch.finfo(torch.float32).max)
    distances = ulps(actual.double(), exact).where(finite, 0.0)
    worst = int(distances.argmax())
    print(f"{name}: at most {distances[worst]:.2f} ulp, at {x[worst].item()!r}")
    assert distances[worst] <= MOST_ULP
    rest = ~finite
    assert torch.equal(actual[rest].isnan(), exact[rest].isnan())
    assert torch.equal(actual[rest].nan_to_num(0), exact[rest].float().nan_to_num(0))


@pytest.mark.parametrize("name", NAMES)
def test_float64_is_within_four_ulp(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    sizes = torch.exp(torch.empty(1500, dtype=torch.float64).uniform_(-40, 6.6, generator=generator))
    x = torch.cat([sizes, -sizes, torch.linspace(-39, 6.5, 2001, dtype=torch.float64)])
    if name == "log":
        x = x.abs()
    if name == "log1p":
        x = x[x > -1]
    actual = run_vectors(getattr(functions, name), x)
    largest, worst = 0.0, 0.0
    with mpmath.workdps(40):
        for argument, result in zip(x.tolist(), actual.tolist(), strict=True):
            exact = exact_oracle(name, mpmath.mpf(argument))
            if abs(exact) > torch.finfo(torch.float64).max:
                assert result == math.copysign(math.inf, exact)
                continue
            unit = math.ulp(max(abs(float(exact)), torch.finfo(torch.float64).tiny))
            distance = float(abs(mpmath.mpf(result) - exact)) / unit
            if distance > largest:
                largest, worst = distance, argument
    print(f"{name}: at most {largest:.2f} ulp, at {worst!r}")
    assert largest <= MOST_ULP


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", NAMES)
def test_special_values_are_exact(name: str, dtype: torch.dtype) -> None:
    x = torch.tensor(SPECIAL, dtype=dtype)
    actual, expected = run_vectors(getattr(functions, name), x), oracle(name, x)
    chosen = (x == 0) | ~x.isfinite() | ((x.abs() >= 1000) & torch.tensor(name not in ("log", "log1p")))
    assert torch.equal(actual[chosen].isnan(), expected[chosen].isnan())
    assert torch.equal(actual[chosen].nan_to_num(7), expected[chosen].nan_to_num(7))
    if name in ("expm1", "log1p", "tanh", "erf"):
        zero = x == 0
        assert torch.equal(torch.signbit(actual[zero]), torch.signbit(x[zero]))
