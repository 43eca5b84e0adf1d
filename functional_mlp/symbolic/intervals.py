"""Numbers between bounds: what a formula is at a point, for certain.

Digits that cancel, in a sum or in the argument of a function, make an interval wide: nothing has to be known about how
many there are. It takes as many digits as are asked for, and not as many as it would need.
"""

import contextlib
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
import mpmath
import sympy
from mpmath.ctx_iv import MPIntervalContext

from functional_mlp.symbolic.reach import OutOfReach, Printer, require_moderate

# One of our own: nobody else's digits are changed.
_IV = MPIntervalContext()
# Bits more than those of an interval, for bounds that functions are rounded to.
_GUARD = 10
# What is known of a place that was searched for.
_SEARCHED = "1e-58"


@attrs.frozen
class Interval:
    """All numbers that are at most `radius` from the middle."""

    middle: sympy.Expr
    radius: sympy.Float

    @property
    def is_nonzero(self) -> bool:
        return bool(abs(self.middle) > self.radius)


def can_enclose(expression: sympy.Expr) -> bool:
    """Whether all functions of a formula are known here."""
    return not expression.has(sympy.nan, sympy.zoo, sympy.oo, -sympy.oo, sympy.I) and all(
        isinstance(function, _KNOWN) for function in expression.atoms(sympy.Function)
    )


def enclosed(expression: sympy.Expr, point: Mapping[sympy.Symbol, sympy.Expr], digits: int) -> Interval:
    """A formula at a point of rational numbers, with a number of digits.

    Raises `OutOfReach` where that is no finite number, as far as these digits say.

    >>> s = sympy.Symbol("s", real=True)
    >>> enclosed(sympy.exp(-s * s), {s: sympy.Integer(2000)}, 60).middle.n(3)
    1.18e-1737178
    >>> zero = sympy.log(1 + sympy.exp(-s))
    >>> [enclosed(zero, {s: sympy.Integer(1000)}, digits).is_nonzero for digits in (60, 600)]
    [False, True]
    """
    symbols = sorted(expression.free_symbols, key=str)
    _IV.dps = digits
    number = _compiled(expression, *symbols)(*(_fraction(point[symbol]) for symbol in symbols))
    low, high = _ends(_IV.convert(number))
    if not (mpmath.isfinite(low) and mpmath.isfinite(high)):
        raise OutOfReach("it is not known that it is finite")
    with mpmath.workdps(digits):
        middle, radius = (mpmath.mpf(0), max(-low, high)) if low <= 0 <= high else ((low + high) / 2, high - low)
    return Interval(sympy.Float(middle, digits), sympy.Float(radius, 15))


def nonzero(expression: sympy.Expr, point: Mapping[sympy.Symbol, sympy.Expr], digits: Iterable[int]) -> Interval | None:
    """A formula at a point, with the first of some numbers of digits that show that it is not 0.

    `None` where none of them does, or not all of its functions are known here.
    """
    if not can_enclose(expression):
        return None
    for count in digits:
        with contextlib.suppress(OutOfReach):
            found = enclosed(expression, point, count)
            if found.is_nonzero:
                return found
    return None


@functools.lru_cache(maxsize=1024)
def _compiled(expression: sympy.Expr, *symbols: sympy.Symbol) -> Callable[..., Any]:
    printer = Printer({"fully_qualified_modules": False, "inline": True, "allow_unknown_functions": True})
    function: Callable[..., Any] = sympy.lambdify(symbols, expression, [_FUNCTIONS], printer=printer)
    return function


def _fraction(number: sympy.Expr) -> Any:
    return _IV.mpf(int(number.p)) / int(number.q)


def _ends(x: Any) -> tuple[Any, Any]:
    return tuple(mpmath.mp.make_mpf(end) for end in x._mpi_)


def _between(low: Any, high: Any) -> Any:
    return _IV.mpf([low, high])


def _number(number: Any) -> Any:
    """A whole number, or the sign, digits and exponent of one that was searched for."""
    if not isinstance(number, tuple):
        return _IV.mpf(number)
    return _IV.mpf(mpmath.mp.make_mpf(number)) * (1 + _between(-1, 1) * _IV.mpf(_SEARCHED))


def _rising(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function that only rises, between its values at both ends."""

    def between_ends(x: Any) -> Any:
        with mpmath.workprec(_IV.prec + _GUARD):
            ends = [function(require_moderate(end)) for end in _ends(_IV.convert(x))]
        return _between(*ends) * (1 + _between(-1, 1) * _IV.mpf(2) ** -_IV.prec)

    return between_ends


def _exp(x: Any) -> Any:
    x = _IV.convert(x)
    for end in _ends(x):
        require_moderate(end)
    return _IV.exp(x)


def _log(x: Any) -> Any:
    low, high = _ends(_IV.convert(x))
    if high <= 0:
        raise OutOfReach("it is not known that it is real")
    return _IV.log(x) if low > 0 else _between(-mpmath.inf, _ends(_IV.log(_between(high, high)))[1])


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(exponent, int):
        return _IV.convert(base) ** exponent
    (low, high), exponent = _ends(_IV.convert(base)), _IV.convert(exponent)
    if low > 0:
        return _exp(exponent * _IV.log(base))
    if high < 0 or _ends(exponent)[0] <= 0:
        raise OutOfReach("it is not known that it is real, and finite")
    return _between(0, _ends(_exp(exponent * _IV.log(_between(high, high))))[1]) if high > 0 else _IV.mpf(0)


_KNOWN = (sympy.exp, sympy.log, sympy.tanh, sympy.atanh, sympy.erf)
_FUNCTIONS = {
    **{name: _rising(getattr(mpmath, name)) for name in ("tanh", "erf")},
    "atanh": lambda x: _log((1 + x) / (1 - x)) / 2,
    "exp": _exp,
    "log": _log,
    "power": _power,
    "sqrt": lambda x: _power(x, _IV.mpf(1) / 2),
    "mpf": _number,
    "pi": _IV.pi,
    "e": _IV.e,
}
