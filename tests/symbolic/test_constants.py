"""Numbers are recognized, and nothing else is taken for them."""

import math
from fractions import Fraction

import pytest
import sympy

from functional_mlp.symbolic.constants import exactly

LINEAR = Fraction("1.59576912160573071175978423973752747390")


@pytest.mark.parametrize(
    ("number", "meant"),
    [
        (0, 0),
        (-3, -3),
        (0.5, sympy.Rational(1, 2)),
        (0.1, sympy.Rational(1, 10)),
        (1 - 0.9, sympy.Rational(1, 10)),
        (1 - 0.999, sympy.Rational(1, 1000)),
        (1 - 0.99999, sympy.Rational(1, 10**5)),
        (1e-13 * math.pi, sympy.pi / 10**13),
        (1e-8, sympy.Rational(1, 10**8)),
        (2 / 3, sympy.Rational(2, 3)),
        (-1 / 7, sympy.Rational(-1, 7)),
        (0.044715, sympy.Rational(44715, 10**6)),
        (1 / math.sqrt(2 * math.pi), 1 / sympy.sqrt(2 * sympy.pi)),
        (math.sqrt(8 / math.pi), sympy.sqrt(8 / sympy.pi)),
        (0.044715 * math.sqrt(8 / math.pi), sympy.Rational(44715, 10**6) * sympy.sqrt(8 / sympy.pi)),
        (2 / math.sqrt(math.pi), 2 / sympy.sqrt(sympy.pi)),
        (math.log(2), sympy.log(2)),
        (-math.sqrt(2), -sympy.sqrt(2)),
        (math.pi, sympy.pi),
        (LINEAR, sympy.sqrt(8 / sympy.pi)),
        (Fraction("0.044715") * LINEAR, sympy.Rational(44715, 10**6) * sympy.sqrt(8 / sympy.pi)),
        (Fraction(1, 3), sympy.Rational(1, 3)),
        (math.inf, sympy.oo),
        (-math.inf, -sympy.oo),
        (math.nan, sympy.nan),
    ],
)
def test_a_number_is_recognized(number: float | Fraction, meant: sympy.Expr) -> None:
    assert exactly(number) == meant


@pytest.mark.parametrize(
    "number", [1 + 1e-12, 0.79788456080, 0.1 * (1 + 1e-13), 1.0000000000001, 1e-16 / 3, 9.1e12 / 7.3]
)
def test_a_number_that_is_none_is_taken_to_the_bit_or_as_it_is_written(number: float) -> None:
    assert float(exactly(number)) == number
    assert exactly(number) in (sympy.Rational(*number.as_integer_ratio()), sympy.Rational(repr(number)))


def test_a_fraction_is_not_recognized_by_its_first_digits() -> None:
    near = LINEAR + Fraction(1, 10**20)
    assert exactly(near) == sympy.Rational(near.numerator, near.denominator)
