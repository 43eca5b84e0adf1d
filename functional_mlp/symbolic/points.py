"""Points of the space of some real variables, and what expressions are there."""

import functools
import random
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import mpmath
import sympy

from functional_mlp.symbolic.intervals import can_enclose, enclosed
from functional_mlp.symbolic.nodes import sign_of_number
from functional_mlp.symbolic.reach import at, compiled

Point = Mapping[sympy.Symbol, sympy.Rational]

# Digits that are tried, until they tell the sign of a number.
_DIGITS = (60, 240, 900)


class OnWall(Exception):  # noqa: N818 - such a point says nothing about the pieces beside it
    """A point lies where a condition turns."""


@attrs.frozen
class At:
    """One point, where every condition is decided; see `functional_mlp.symbolic.regions.resolved`."""

    point: Point

    def sign(self, expression: sympy.Expr) -> int:
        """The sign of an expression at the point; raises `OnWall` where it is 0 there, and not everywhere."""
        expression = sympy.expand(expression)
        if expression.is_number:
            return sign_of_number(expression)
        is_exact = _is_exact(expression)
        sign = sign_at(expression, self.point) if is_exact else sign_of_number(at(expression, self.point))
        if sign == 0:
            raise OnWall
        return sign

    def vanishes(self, expression: sympy.Expr) -> bool:
        return self.sign(expression) == 0

    def floor(self, expression: sympy.Expr) -> sympy.Expr:
        """The whole number below an expression; raises `OnWall` where it is one itself."""
        number = at(expression, self.point)
        if number.is_integer:
            raise OnWall
        return sympy.floor(number)


def random_point(
    variables: tuple[sympy.Symbol, ...], source: random.Random, scale: int, *, whole: bool = False
) -> Point:
    parts = 1 if whole else 32
    return {variable: sympy.Rational(source.randint(-parts * scale, parts * scale), parts) for variable in variables}


def sign_at(expression: sympy.Expr, point: Point) -> int:
    """The sign at a point; 0 as well where the expression is no real number.

    >>> s = sympy.Symbol("s", real=True)
    >>> sign_at(s + sympy.log(s * s + 1) - 10**28, {s: sympy.Integer(10**28 + 1)})
    1
    """
    if not _is_exact(expression):
        sign = _certain_sign(expression, point)
        if sign is not None:
            return sign
    try:
        with mpmath.workdps(_DIGITS[0]):
            value = _compiled(expression)(point)
    except ZeroDivisionError:
        return 0
    if isinstance(value, mpmath.mpc):
        value = value.real if value.imag == 0 else mpmath.nan
    if not _is_exact(expression) and not mpmath.isnan(value):  # all its digits may have cancelled
        return sign_of_number(at(expression, point))
    return int(bool(value > 0)) - int(bool(value < 0))


def _certain_sign(expression: sympy.Expr, point: Point) -> int | None:
    """The sign where bounds of the value show it; None where they do not, as at a zero."""
    if not can_enclose(expression):
        return None
    for digits in _DIGITS:
        try:
            value = enclosed(expression, point, digits)
        except (ArithmeticError, ValueError):  # no real number, as far as these digits say
            continue
        if value.is_nonzero:
            return 1 if value.middle > 0 else -1
    return None


@functools.lru_cache(maxsize=4096)
def _compiled(expression: sympy.Expr) -> Callable[[Point], Any]:
    symbols = sorted(expression.free_symbols, key=str)
    function = compiled(expression, *symbols)
    if _is_exact(expression):
        poly = sympy.lambdify(symbols, expression, "sympy")
        return lambda point: poly(*(point[symbol] for symbol in symbols))
    return lambda point: function(*(sympy.N(point[symbol], 60)._to_mpmath(200) for symbol in symbols))


def _is_exact(expression: sympy.Expr) -> bool:
    """Whether an expression is a rational number at each rational point."""
    is_polynomial = expression.is_polynomial(*expression.free_symbols)
    return bool(is_polynomial and all(number.is_Rational for number in expression.atoms(sympy.Number)))
