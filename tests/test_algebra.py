import math

import pytest
import torch

from functional_mlp.algebra import TorchNamespace, torch_namespace
from tests.helpers import assert_same_bits, autograd, draw

XP = torch_namespace(torch.float64, torch.device("cpu"))
SPECIAL = torch.tensor([0.0, -0.0, 1.0, -1.0, 0.5, math.inf, -math.inf, math.nan], dtype=torch.float64)
UNARY = ["abs", "sign", "sqrt", "exp", "expm1", "log", "log1p", "tanh", "erf", "ndtr"]


@pytest.mark.parametrize("name", UNARY)
def test_a_function_of_an_array_is_torchs(name: str) -> None:
    x = torch.cat([draw(50), SPECIAL[:-1]])
    expected, rtol = (torch.special.ndtr(x), 1e-12) if name == "ndtr" else (getattr(torch, name)(x), 0)
    torch.testing.assert_close(getattr(XP, name)(x), expected, rtol=rtol, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_normal_distribution_function_keeps_its_lower_tail(dtype: torch.dtype) -> None:
    x = torch.tensor([-4.5, -1.5, 0.0, 1.5], dtype=dtype)
    expected = torch.tensor([3.3976731247300535e-06, 0.06680720126885807, 0.5, 0.9331927987311419], dtype=dtype)
    xp = torch_namespace(dtype, torch.device("cpu"))
    torch.testing.assert_close(xp.ndtr(x), expected, rtol=25 * torch.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize(("a", "b"), [(1, 0), (1.702, 0), (0.5, 0.2), (-1.0, -0.3), (1.0, -0.25), (0, 0)])
def test_gated_and_its_slope_are_what_they_say(a: float, b: float, dtype: torch.dtype) -> None:
    s, xp = (3 * draw(200)).to(dtype), torch_namespace(dtype, torch.device("cpu"))
    _, (slope,) = autograd(lambda s: (s * torch.sigmoid(a * s + b * s**3)).sum(), s.double())
    tolerance = {"rtol": 1e-12 if dtype == torch.float64 else 2 * torch.finfo(dtype).eps, "atol": 0}
    expected = s.double() * torch.sigmoid(a * s.double() + b * s.double() ** 3)
    torch.testing.assert_close(xp.gated(s, a, b), expected.to(dtype), **tolerance)
    torch.testing.assert_close(xp.gated_slope(s, a, b), slope.to(dtype), **tolerance)
    assert xp.gated(0.5, a, b) == pytest.approx(0.5 / (1 + math.exp(-0.5 * a - 0.125 * b)), rel=1e-15)


@pytest.mark.parametrize("name", UNARY)
def test_every_function_propagates_nan(name: str) -> None:
    assert getattr(XP, name)(SPECIAL)[-1].isnan()


@pytest.mark.parametrize("name", UNARY)
def test_a_function_of_a_number_is_that_of_the_array(name: str) -> None:
    for number in SPECIAL.tolist():
        expected = getattr(XP, name)(torch.tensor(number, dtype=torch.float64))
        assert getattr(XP, name)(number) == pytest.approx(expected.item(), rel=0, abs=0, nan_ok=True)


@pytest.mark.parametrize("name", ["maximum", "minimum"])
@pytest.mark.parametrize("second", [0.0, 1.0, math.nan, -math.inf])
def test_maximum_and_minimum_propagate_nan_from_either_side(name: str, second: float) -> None:
    function = getattr(XP, name)
    expected = getattr(torch, name)(SPECIAL, torch.full_like(SPECIAL, second))
    torch.testing.assert_close(function(SPECIAL, torch.full_like(SPECIAL, second)), expected, equal_nan=True)
    torch.testing.assert_close(function(SPECIAL, second), expected, equal_nan=True)
    torch.testing.assert_close(function(second, SPECIAL), expected, equal_nan=True)
    numbers = [function(first, second) for first in SPECIAL.tolist()]
    torch.testing.assert_close(torch.tensor(numbers, dtype=torch.float64), expected, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_a_number_takes_the_dtype_of_the_array_beside_it(dtype: torch.dtype) -> None:
    xp, x = TorchNamespace(dtype, torch.device("cpu")), torch.ones(3, dtype=dtype)
    results = [
        xp.where(x > 0, x, 0.1),
        xp.where(x > 0, 0, 1),
        xp.maximum(x, 2),
        xp.minimum(0.1, x),
        xp.where(True, 0, x),
    ]
    assert {result.dtype for result in results} == {dtype}


def test_where_takes_a_condition_that_is_known_before() -> None:
    x, y = draw(3), draw(3, seed=1)
    assert XP.where(True, x, y) is x
    assert XP.where(False, x, y) is y
    assert_same_bits(XP.where(False, x, 2.0), torch.full_like(x, 2.0))
    assert XP.where(True, 1, 2) == 1


def test_sum_and_max_run_over_the_features_and_keep_one() -> None:
    x = torch.tensor([[1.0, math.nan, 3.0], [-1.0, -2.0, -5.0]])
    torch.testing.assert_close(XP.sum(x), torch.tensor([[math.nan], [-8.0]]), equal_nan=True)
    torch.testing.assert_close(XP.max(x), torch.tensor([[math.nan], [-1.0]]), equal_nan=True)


def test_namespaces_are_values_and_made_once() -> None:
    assert torch_namespace(torch.float32, torch.device("cpu")) is torch_namespace(torch.float32, torch.device("cpu"))
    assert TorchNamespace(torch.float32, torch.device("cpu")) == torch_namespace(torch.float32, torch.device("cpu"))


def test_a_function_that_the_algebra_has_not_is_refused_with_those_that_it_has() -> None:
    with pytest.raises(AttributeError, match=r"no function 'sin': it has operators, abs, erf, .*, tanh and where"):
        torch_namespace(torch.float32, torch.device("cpu")).sin(torch.ones(2))
