"""The numbers of an expression, as what they stand for: 0.3989422804014327 is 1/√(2π), and 0.1 is 1/10.

A number is recognized where chance is out of the question: it is looked for among some ten million simple numbers, and
a float64 agrees with one of them to 15 digits by chance once in a million times.
"""

import functools
import itertools
import math
from collections.abc import Mapping
from fractions import Fraction
from numbers import Rational

import mpmath
import sympy

# A float64 that is computed in a few steps is that near to what is meant.
FLOAT_TOLERANCE = Fraction(5, 2**53)
# A Fraction that is no simple number is written with this precision at least.
_FRACTION_TOLERANCE = Fraction(1, 10**30)
# Numerator times denominator of a simple fraction, and the digits of a simple decimal number.
_SIMPLE, _SIMPLE_DIGITS = 10**6, 7

# What letters for the constants of expressions stand for: floats of Python that are no simple number.
Constants = Mapping[sympy.Symbol, sympy.Rational]


def exact(expression: sympy.Expr, constants: Constants) -> sympy.Expr:
    """The expression with the numbers that its constants are."""
    return expression.xreplace(dict(constants)) if constants else expression


def exactly(number: float | Fraction) -> sympy.Expr:
    """The real number that a number of Python stands for; where it is none that is known, its own binary digits.

    >>> exactly(0.3989422804014327), exactly(1 - 0.9), exactly(2.5), exactly(1 / 3)
    (sqrt(2)/(2*sqrt(pi)), 1/10, 5/2, 1/3)
    >>> exactly(1 + 1e-12) == 1
    False
    """
    if isinstance(number, float) and not math.isfinite(number):
        return sympy.nan if math.isnan(number) else sympy.oo * int(math.copysign(1, number))
    if isinstance(number, bool | int):
        return sympy.Integer(int(number))
    known = recognized(Fraction(number) if isinstance(number, Rational) else number)
    return sympy.Rational(Fraction(number)) if known is None else known


@functools.lru_cache(maxsize=1024)
def recognized(number: float | Fraction) -> sympy.Expr | None:
    """The real number that a finite one of Python stands for; None where none is known, and it may be rounded."""
    given = Fraction(number)
    if given == 0:
        return sympy.Integer(0)
    tolerance = FLOAT_TOLERANCE if isinstance(number, float) else _FRACTION_TOLERANCE
    if isinstance(number, Fraction) and given.denominator < 10**20:
        return sympy.Rational(given.numerator, given.denominator)
    for constant, digits in _constants():
        factor = _simple(given / digits, tolerance, exact=constant == 1)
        if factor is not None:
            return factor * constant
    return None if isinstance(number, float) else sympy.Rational(given)


def _simple(ratio: Fraction, tolerance: Fraction, *, exact: bool) -> sympy.Rational | None:
    """The fraction or decimal number of few digits that a ratio is within the tolerance.

    By itself, and not as a factor, it may have as many digits as are written, and be what 1 − x or x − 1 leaves of a
    number x of up to five places, to the last bit.
    """
    near = ratio.limit_denominator(1000)
    if abs(near.numerator) * near.denominator > _SIMPLE:
        near = ratio.limit_denominator(30)
    candidates = [_rounded(ratio, _SIMPLE_DIGITS)]
    if abs(near.numerator) * near.denominator <= _SIMPLE:  # some fraction is near any large number
        candidates.insert(0, near)
    found = next((one for one in candidates if one and abs(ratio - one) <= tolerance * abs(one)), None)
    if found is None and exact:
        written, short = _rounded(ratio, 14), round(ratio, 5)
        is_float = tolerance == FLOAT_TOLERANCE
        left = (1.0 - float(1 - short), float(1 + short) - 1.0) if is_float and abs(ratio) < 1 else ()
        if ratio in (written, float(written) if is_float else written):
            found = written
        elif short and ratio in left:
            found = short
    return None if found is None else sympy.Rational(found.numerator, found.denominator)


def _rounded(ratio: Fraction, digits: int) -> Fraction:
    return Fraction(mpmath.nstr(mpmath.mpf(ratio.numerator) / ratio.denominator, digits))


@functools.cache
def _constants() -> tuple[tuple[sympy.Expr, Fraction], ...]:
    """1, roots of whole numbers and powers of √π in products, and logarithms; each with its first 60 digits."""
    roots = [sympy.sqrt(n) for n in (1, 2, 3, 5, 6)]
    powers = [sympy.pi ** sympy.Rational(k, 2) for k in (0, -1, 1, -2, 2)]
    found = [root * power for power, root in itertools.product(powers, roots)]
    found += [sympy.log(2), 1 / sympy.log(2), sympy.log(10), 1 / sympy.log(10), sympy.E, 1 / sympy.E]
    return tuple((constant, Fraction(str(sympy.N(constant, 60)))) for constant in found)
