"""Whether two formulas agree at a point: to 50 of 60 digits, or to what the rounding of their constants explains.

Formulas that agree to that number of digits may still differ, by e^(−40000) say. They do where digits of their
difference are known, and are not 0.
"""

import contextlib
import enum

import attrs
import sympy

from functional_mlp.symbolic.constants import FLOAT_TOLERANCE, Constants, exact
from functional_mlp.symbolic.identities import coefficients, is_zero
from functional_mlp.symbolic.intervals import Interval, can_enclose, enclosed, nonzero
from functional_mlp.symbolic.points import Point
from functional_mlp.symbolic.reach import OutOfReach, at

DIGITS, AGREEING = 60, 50
# Digits beyond those that are asked for, and how many there may be where they cancel: to 5000, erf may take seconds.
_MORE, _MANY = 20, (400, 1000)
# What is left of a number of which no digit is known.
_NOTHING = sympy.Float("1e-300")


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


def compared(
    expected: sympy.Expr,
    given: sympy.Expr,
    point: Point,
    constants: Constants,
    difference: sympy.Expr | None = None,
) -> Compared:
    """Two smooth formulas at a point, and what is given less what is expected, where a shorter formula of it is known.

    >>> c = sympy.Symbol("c", positive=True)
    >>> third = sympy.Rational(0.333333333333333314829616256247)
    >>> compared(sympy.Rational(1, 3), c, {}, {c: third}).agreement
    <Agreement.TO_ROUNDING: 1>
    """
    there, given_there = (evaluated(one, point, constants, DIGITS) for one in (expected, given))
    values = there.middle, given_there.middle
    between = _known(given - expected if difference is None else difference, point, constants)
    if between is None:
        if _agree(there, given_there):
            return Compared(*values, Agreement.TO_DIGITS)
        between = abs(values[1] - values[0])
    if constants and between.is_finite and between <= _rounding(given - expected, point, constants):
        return Compared(*values, Agreement.TO_ROUNDING)
    return Compared(*values, Agreement.NONE)


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
        one.free_symbols <= letters
        and abs(evaluated(one, {}, constants, DIGITS).middle) <= _rounding(one, {}, constants)
        for one in coefficients(difference, letters)
    )


def evaluated(expression: sympy.Expr, point: Point, constants: Constants, digits: int) -> Interval:
    """A formula at a point; raises `OutOfReach` where its digits are more than there is time and memory for."""
    expression = _with_fractions(exact(expression, constants), point)
    if not can_enclose(expression):
        number = at(expression, point).evalf(digits, maxn=_MANY[-1])
        return Interval(number, _unknown(number))
    found, wanted = None, sympy.Float(10) ** -digits
    for count in (digits + _MORE, *_MANY):
        with contextlib.suppress(OutOfReach):
            found = enclosed(expression, point, count)
            if found.radius <= wanted * abs(found.middle):
                break
    return enclosed(expression, point, digits) if found is None else found


def _with_fractions(expression: sympy.Expr, point: Point) -> sympy.Expr:
    """The expression with those numbers of a point that are no fractions."""
    others = {symbol: number for symbol, number in point.items() if not sympy.sympify(number).is_Rational}
    return expression.subs(others) if others else expression


def _known(difference: sympy.Expr, point: Point, constants: Constants) -> sympy.Expr | None:
    """How large a difference is, where it is certain that it is not 0.

    >>> s = sympy.Symbol("s", real=True)
    >>> _known(sympy.exp(-s * s), {s: sympy.Integer(2000)}, {}).n(3)
    1.18e-1737178
    >>> zero = sympy.sqrt(2 + s**2 + 2 * sympy.sqrt(1 + s**2)) - 1 - sympy.sqrt(1 + s**2)
    >>> [_known(one, {s: sympy.Integer(2)}, {}) for one in (zero, zero**2, sympy.tanh(zero))]
    [None, None, None]
    """
    difference = _with_fractions(exact(difference, constants), point)
    if difference.has(sympy.Float):  # a place that was searched for has 60 digits
        return None
    found = nonzero(difference, point, (DIGITS, _MANY[0]))
    return None if found is None else abs(found.middle)


def _agree(a: Interval, b: Interval) -> bool:
    """Whether two numbers are the same to 50 digits, or as far as is known; raises `OutOfReach` where nothing is."""
    if not (a.middle.is_finite and b.middle.is_finite):
        return bool(a.middle == b.middle)
    unknown, same = a.radius + b.radius, sympy.Float(f"1e-{AGREEING}") * max(abs(a.middle), abs(b.middle))
    if unknown > max(same, _NOTHING):
        raise OutOfReach("all digits cancel")
    return bool(abs(a.middle - b.middle) <= same + unknown)


def _unknown(number: sympy.Expr) -> sympy.Expr:
    """How much of a number is not known."""
    return sympy.Add(*(abs(part) * sympy.Float(2) ** (2 - part._prec) for part in number.atoms(sympy.Float)))


def _rounding(difference: sympy.Expr, point: Point, constants: Constants) -> sympy.Expr:
    """How much of a difference the rounding of its constants may be: Σ |c · ∂difference/∂c| times that of a float."""
    effects = (
        abs(evaluated(constant * difference.diff(constant), point, constants, 15).middle)
        for constant in sorted(difference.free_symbols & constants.keys(), key=str)
    )
    return sympy.Rational(FLOAT_TOLERANCE.numerator, FLOAT_TOLERANCE.denominator) * sympy.Add(*effects)
