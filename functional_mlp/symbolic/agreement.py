"""Whether two formulas agree at a point: to 50 of 60 digits, or to what the rounding of their constants explains."""

import enum

import attrs
import sympy

from functional_mlp.symbolic.constants import FLOAT_TOLERANCE, Constants, exact
from functional_mlp.symbolic.identities import coefficients, is_zero
from functional_mlp.symbolic.points import Point

DIGITS, AGREEING = 60, 50
_MOST_DIGITS = 5000
_CANCELLED = sympy.Float("1e-4000")


class Agreement(enum.IntEnum):
    """How well two numbers agree."""

    NONE = 0
    TO_ROUNDING = 1
    TO_DIGITS = 2


@attrs.frozen
class Compared:
    """What is expected at a point, what is given, and how well the two agree."""

    expected: sympy.Expr
    given: sympy.Expr
    agreement: Agreement


def compared(expected: sympy.Expr, given: sympy.Expr, point: Point, constants: Constants) -> Compared:
    """Two smooth formulas at a point.

    >>> c = sympy.Symbol("c", positive=True)
    >>> third = sympy.Rational(0.333333333333333314829616256247)
    >>> compared(sympy.Rational(1, 3), c, {}, {c: third}).agreement
    <Agreement.TO_ROUNDING: 1>
    """
    there, given_there = (evaluated(expression, point, constants, DIGITS) for expression in (expected, given))
    if _agree(there, given_there):
        return Compared(there, given_there, Agreement.TO_DIGITS)
    difference = abs(there - given_there)
    if constants and difference.is_finite and difference <= _rounding(given - expected, point, constants):
        return Compared(there, given_there, Agreement.TO_ROUNDING)
    return Compared(there, given_there, Agreement.NONE)


def by_algebra(expected: sympy.Expr, given: sympy.Expr, constants: Constants) -> Agreement:
    """How well algebra finds that two smooth formulas agree everywhere."""
    if is_zero(exact(given - expected, constants)):
        return Agreement.TO_DIGITS
    return Agreement.TO_ROUNDING if is_rounding(given - expected, constants) else Agreement.NONE


def is_rounding(difference: sympy.Expr, constants: Constants) -> bool:
    """Whether the rounding of its constants explains each term of a difference.

    >>> s, c = sympy.Symbol("s", real=True), sympy.Symbol("c", positive=True)
    >>> rounded = {c: sympy.Rational(0.333333333333333314829616256247)}
    >>> is_rounding((3 * c - 1) * s**2, rounded), is_rounding((3 * c - 1) * s**2 + s / 10**20, rounded)
    (True, False)
    """
    letters = difference.free_symbols & constants.keys()
    if not letters:
        return False
    return all(
        one.free_symbols <= letters and abs(evaluated(one, {}, constants, DIGITS)) <= _rounding(one, {}, constants)
        for one in coefficients(difference, letters)
    )


def evaluated(expression: sympy.Expr, point: Point, constants: Constants, digits: int) -> sympy.Expr:
    return exact(expression, constants).subs(point).evalf(digits, maxn=_MOST_DIGITS)


def _agree(a: sympy.Expr, b: sympy.Expr) -> bool:
    if not (a.is_finite and b.is_finite):
        return bool(a == b)
    unknown = sum(map(_unknown, (a, b)), sympy.S.Zero)
    return bool(abs(a - b) <= sympy.Float(f"1e-{AGREEING}") * max(abs(a), abs(b)) + unknown)


def _unknown(number: sympy.Expr) -> sympy.Expr:
    """How much of a number is not known: all of one that is left where thousands of digits have cancelled.

    >>> s = sympy.Symbol("s", real=True)
    >>> zero = sympy.sqrt(2 + s**2 + 2 * sympy.sqrt(1 + s**2)) - 1 - sympy.sqrt(1 + s**2)
    >>> left = evaluated(zero, {s: sympy.Integer(2)}, {}, DIGITS)
    >>> left == 0, _agree(left, sympy.S.Zero), _agree(left, sympy.Float("1e-100"))
    (False, True, False)
    """
    cancelled = (part for part in number.atoms(sympy.Float) if abs(part) < _CANCELLED)
    return sympy.Add(*(abs(part) * sympy.Float(2) ** (2 - part._prec) for part in cancelled))


def _rounding(difference: sympy.Expr, point: Point, constants: Constants) -> sympy.Expr:
    """How much of a difference the rounding of its constants may be: Σ |c · ∂difference/∂c| times that of a float."""
    effects = (
        abs(evaluated(constant * difference.diff(constant), point, constants, 15))
        for constant in sorted(difference.free_symbols & constants.keys(), key=str)
    )
    return sympy.Rational(FLOAT_TOLERANCE.numerator, FLOAT_TOLERANCE.denominator) * sympy.Add(*effects)
