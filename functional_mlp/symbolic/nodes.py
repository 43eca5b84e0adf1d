"""The functions of the array algebra that have conditions in them, as functions of sympy's that stay as they are.

sympy's own (`Max`, `Piecewise`) rewrite themselves, which takes long, and differentiate as one may not: here an
expression is differentiated where its conditions are decided, and no sooner. See `functional_mlp.symbolic.regions`.
"""

from collections.abc import Callable
from typing import Any

import sympy
from sympy.polys.polyerrors import BasePolynomialError

from functional_mlp.symbolic.partial import PARTIAL

# What sympy raises where it gives up, and mpmath where a number takes all memory.
GIVES_UP = (ArithmeticError, BasePolynomialError, MemoryError, NotImplementedError, RecursionError)
COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")


class Where(sympy.Function):  # type: ignore[misc] # sympy's functions have no types
    """`a` where the comparison of `left` with `right` holds, `b` elsewhere: Where(number of it, left, right, a, b)."""

    is_real = True

    @property
    def comparison(self) -> str:
        return COMPARISONS[int(self.args[0])]

    def holds(self, sign: int) -> bool:
        """Whether the comparison holds where left − right has a sign."""
        return bool(
            {"<": sign < 0, "<=": sign <= 0, ">": sign > 0, ">=": sign >= 0, "==": sign == 0, "!=": sign != 0}[
                self.comparison
            ]
        )


class Maximum(sympy.Function):  # type: ignore[misc]
    """The larger of two."""

    is_real = True


class Minimum(sympy.Function):  # type: ignore[misc]
    """The smaller of two."""

    is_real = True


class Largest(sympy.Function):  # type: ignore[misc]
    """The largest of one sample's features."""

    is_real = True


CONDITIONAL = (Where, Maximum, Minimum, Largest, sympy.Abs, sympy.sign, sympy.Mod, *PARTIAL)


def is_smooth(expression: Any) -> bool:
    """Whether an expression has no conditions in it."""
    return not expression.has(*CONDITIONAL)


def where(comparison: str, left: sympy.Expr, right: sympy.Expr, a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    """`Where`, or the one case that there is.

    What is said for equality alone, and is what the other case comes to there, says nothing: 0 where t = 0, and t log t
    elsewhere, is t log t for a function that is finite at 0.
    """
    difference = left - right
    if difference.is_number:
        return a if Where(COMPARISONS.index(comparison), left, right, a, b).holds(sign_of_number(difference)) else b
    if comparison in ("==", "!=") and not (a.has(*PARTIAL) or b.has(*PARTIAL)):
        special, general = (a, b) if comparison == "==" else (b, a)
        if sympy.expand((general - special).xreplace({difference: sympy.S.Zero})) == 0:
            return general
        for symbol in sorted(difference.free_symbols, key=str):
            slope = sympy.diff(difference, symbol)
            if slope.is_number and slope != 0:
                root = sympy.expand(symbol - difference / slope)
                if sympy.expand((general - special).subs(symbol, root)) == 0:
                    return general
    return Where(COMPARISONS.index(comparison), left, right, a, b)


class NoRealNumber(ValueError):  # noqa: N818 - a formula is none at a point, which may be as it should
    """What a condition compares is no real number."""


# Digits within which a number is taken to be 0: of those that a search gave, and of exact ones.
_SEARCHED, _MOST_DIGITS = sympy.Float("1e-55"), 3000


def sign_of_number(number: sympy.Expr) -> int:
    """The sign of a number that is given by a formula; 0 where thousands of digits are 0.

    >>> sign_of_number(sympy.sqrt(2) * sympy.sqrt(3) - sympy.sqrt(6)), sign_of_number(sympy.tanh(1001) - 1)
    (0, -1)
    """
    if number in (0, sympy.oo, -sympy.oo):
        return 0 if number == 0 else (1 if number == sympy.oo else -1)
    digits = sympy.N(number, 60, maxn=400)
    if not number.has(sympy.Float) and not digits.is_comparable:
        digits = sympy.N(number, 60, maxn=_MOST_DIGITS)
    if number.has(sympy.nan, sympy.zoo) or digits.is_extended_real is False:
        raise NoRealNumber(f"{number} is no real number")
    if not digits.is_comparable or (number.has(sympy.Float) and abs(digits) < _SEARCHED):
        return 0
    return 1 if digits > 0 else -1


def without_shifts(expression: sympy.Expr, is_zero: Callable[[sympy.Expr], bool]) -> sympy.Expr:
    """The expression with 0 for each `Largest` that it does not depend on, as softmax(z − max z) does not."""
    for largest in expression.atoms(Largest):
        shift = sympy.Dummy("shift", real=True)
        shifted = expression.xreplace({largest: shift})
        if is_smooth(shifted) and is_zero(sympy.diff(shifted, shift)):
            expression = shifted.subs(shift, 0)
    return expression
