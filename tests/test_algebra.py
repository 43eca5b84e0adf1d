import itertools
import math
from fractions import Fraction

import mpmath
import pytest
import torch

from functional_mlp.algebra import TorchNamespace, torch_namespace
from tests.helpers import assert_same_bits, draw

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
def test_products_of_leading_digits_are_exact(dtype: torch.dtype) -> None:
    x, xp = draw(200).to(dtype), torch_namespace(dtype, torch.device("cpu"))
    head = xp.leading_digits(x)
    assert ((x - head).abs() <= 2 * torch.finfo(dtype).eps ** 0.5 * x.abs()).all()
    numbers = [Fraction(number) for number in head.tolist()]
    assert (head[1:] * head[:-1]).tolist() == [a * b for a, b in itertools.pairwise(numbers)]
    special = torch.tensor([0.0, -0.0, math.inf, -math.inf, math.nan], dtype=dtype)
    assert_same_bits(xp.leading_digits(special), special)
    assert xp.leading_digits(0.5) == 0.5


@pytest.mark.parametrize(("name", "x"), [("exp", [-95.0, -103.0]), ("ndtr", [-13.5, -14.2])])
def test_a_product_with_a_scale_keeps_its_digits_where_the_function_leaves_the_range(name: str, x: list[float]) -> None:
    arguments, scale = torch.tensor(x), torch.tensor([-1e6, 3.0])
    expected = (scale * getattr(XP, name)(arguments.double())).float()
    xp = torch_namespace(torch.float32, arguments.device)
    torch.testing.assert_close(getattr(xp, name)(arguments, scale=scale), expected, rtol=5e-7, atol=0)


def test_a_product_with_the_exponential_of_a_float64_keeps_its_digits_too() -> None:
    x, scale = torch.tensor([-740.0, 720.0], dtype=torch.float64), torch.tensor([1e12, -1e-12], dtype=torch.float64)
    products = [mpmath.mpf(s) * mpmath.exp(e) for s, e in zip(scale.tolist(), x.tolist(), strict=True)]
    expected = torch.tensor([float(product) for product in products], dtype=torch.float64)
    torch.testing.assert_close(XP.exp(x, scale=scale), expected, rtol=1e-15, atol=0)


def test_an_exponent_of_two_numbers_is_their_sum() -> None:
    x, rest = draw(50) * 10, draw(50, seed=1) / 10
    torch.testing.assert_close(XP.exp(x, rest), torch.exp(x + rest), rtol=1e-14, atol=0)
    torch.testing.assert_close(XP.exp(x, 0.1, 2.0), 2 * torch.exp(x + 0.1), rtol=1e-14, atol=0)
    assert XP.exp(1.0, 0.5) == pytest.approx(math.exp(1.5))


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
