"""The elementary functions against exact values, over the whole range of their arguments."""

import math

import mpmath
import pytest
import torch
from torch import Tensor

from functional_mlp.engine.llvm import functions
from tests.accuracy import MOST_ULP, every_float32, worst_ulp
from tests.engine.llvm.native import run_vectors
from tests.helpers import draw

NAMES = ["exp", "expm1", "log", "log1p", "tanh", "erf", "ndtr"]
SPECIAL = [0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, -1.0, 1000.0, -1000.0, 1e-45, -1e-45, 1e30, -1e30]


def oracle(name: str, x: Tensor) -> Tensor:
    """The function in torch; its own ndtr loses every digit in the lower tail."""
    return 0.5 * torch.erfc(-x / math.sqrt(2)) if name == "ndtr" else getattr(torch, name)(x)


def exact_oracle(name: str, x: mpmath.mpf) -> mpmath.mpf:
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2 if name == "ndtr" else getattr(mpmath, name)(x)


@pytest.mark.parametrize("name", NAMES)
def test_float32_is_within_four_ulp_over_the_whole_range(name: str) -> None:
    x = every_float32(1511)
    exact = oracle(name, x.double())
    actual = run_vectors(getattr(functions, name), x)
    finite = exact.isfinite() & (exact.abs() <= torch.finfo(torch.float32).max)
    assert worst_ulp(name, actual[finite], exact[finite], x[finite]) <= MOST_ULP
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


@pytest.mark.parametrize(("dtype", "digits"), [(torch.float32, 8), (torch.float64, 17)])
def test_leading_digits_are_what_a_cut_leaves(dtype: torch.dtype, digits: int) -> None:
    x = draw(1000, dtype=dtype)
    head = run_vectors(lambda e, v: functions.leading_digits(e, v, digits), x)
    for number, short in zip(x.tolist(), head.tolist(), strict=True):
        mantissa, exponent = math.frexp(number)
        assert short == math.ldexp(math.trunc(math.ldexp(mantissa, digits)), exponent - digits)
