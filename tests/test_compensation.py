import math
from fractions import Fraction

import pytest
import torch

from functional_mlp.compensation import cubic, split
from functional_mlp.gates import _shorten
from tests.helpers import draw


@pytest.mark.parametrize("number", [1.0, -0.1, math.pi * 1e30, 1e-300, Fraction(2, 3), Fraction(-1, 10**40)])
def test_a_split_number_has_the_digits_and_the_rest(number: float | Fraction) -> None:
    short, rest = split(number, 17)
    assert math.ldexp(math.frexp(short)[0], 17).is_integer()
    assert abs(Fraction(number) - Fraction(short)) <= abs(Fraction(short)) / 2**17
    assert abs(Fraction(number) - Fraction(short) - Fraction(rest)) <= abs(Fraction(rest)) / 2**52


@pytest.mark.parametrize(("a", "b"), [(1.0, 0.3), (0.0, 1.0), (Fraction(8, 5), Fraction(1, 14))])
@pytest.mark.parametrize(("dtype", "digits"), [(torch.float32, 8), (torch.float64, 17)])
def test_a_cubic_has_more_digits_than_its_numbers(a: float, b: float, dtype: torch.dtype, digits: int) -> None:
    s = 5 * draw(500, dtype=dtype)
    head, rest = cubic(s, a, b, _shorten, digits)
    for number, *parts in zip(s.tolist(), head.tolist(), rest.tolist(), strict=True):
        exact = Fraction(a) * Fraction(number) + Fraction(b) * Fraction(number) ** 3
        error = sum(map(Fraction, parts)) - exact
        assert abs(error) <= abs(exact) * torch.finfo(dtype).eps / 2 ** (digits - 4)
