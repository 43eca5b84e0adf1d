"""Points of the space of some real variables, and what expressions are there."""

import functools
import random
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import sympy

from functional_mlp.symbolic.intervals import nonzero
from functional_mlp.symbolic.nodes import NoRealNumber, sign_of_number
from functional_mlp.symbolic.reach import at

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
    if _is_exact(expression):
        value = _compiled(expression)(point)
        return int(bool(value > 0)) - int(bool(value < 0))
    found = nonzero(expression, point, _DIGITS)
    if found is not None:
        return 1 if found.middle > 0 else -1
    try:
        return sign_of_number(at(expression, point))
    except NoRealNumber:
        return 0


@functools.lru_cache(maxsize=4096)
def _compiled(polynomial: sympy.Expr) -> Callable[[Point], Any]:
    symbols = sorted(polynomial.free_symbols, key=str)
    function = sympy.lambdify(symbols, polynomial, "sympy")
    return lambda point: function(*(point[symbol] for symbol in symbols))


def _is_exact(expression: sympy.Expr) -> bool:
    """Whether an expression is a rational number at each rational point."""
    is_polynomial = expression.is_polynomial(*expression.free_symbols)
    return bool(is_polynomial and all(number.is_Rational for number in expression.atoms(sympy.Number)))
