"""Expressions evaluated at points, but for numbers that are beyond a machine.

e to the power of e to the power of e¹⁰⁰ takes more memory than there is, and on the way there Python multiplies whole
numbers of millions of digits, each in one step that nothing can interrupt. Such a number is refused before it is begun.
"""

import contextlib
import functools
from collections.abc import Callable, Mapping
from typing import Any

import mpmath
import sympy
from sympy.printing.pycode import MpmathPrinter

# Digits before the point, in bits, that the argument of a function may have: log 2 has to be known to as many.
_MOST_BITS = 1000
# A power from which on numbers are looked at, and from which on there are too many digits of fractions.
_LARGE, _TOO_LARGE = 100, 100_000
_TOO_MANY = "a number has more digits than there is memory for"


class OutOfReach(ArithmeticError):  # noqa: N818 - it may well be a number
    """A number takes more memory, or time, than there is."""


class Printer(MpmathPrinter):  # type: ignore[misc] # sympy has no types
    """Code in which powers are functions, so that they can be refused too."""

    def _print_Pow(self, expr: sympy.Pow, rational: bool = False) -> str:  # noqa: N802 - the name that sympy calls
        return f"power({self._print(expr.base)}, {self._print(expr.exp)})"


def _power(base: Any, exponent: Any) -> Any:
    if base != 0 and mpmath.isfinite(base) and mpmath.isfinite(exponent):
        require_moderate(exponent * (1 + abs(mpmath.mag(base))))
    return base**exponent


def require_moderate(x: Any) -> Any:
    """A number, if a function may be taken of it."""
    if mpmath.mag(x) > _MOST_BITS:
        raise OutOfReach(_TOO_MANY)
    return x


def _guarded(function: Callable[[Any], Any], at_ends: Callable[[Any], Any] | None = None) -> Callable[[Any], Any]:
    def guarded(x: Any) -> Any:
        try:
            require_moderate(x)
        except OutOfReach:
            if at_ends is None:
                raise
            return at_ends(x)
        return function(x)

    return guarded


_REFUSING = {name: _guarded(getattr(mpmath, name)) for name in ("exp", "tanh", "erf")} | {"power": _power}
_AT_ENDS = {"exp": lambda x: mpmath.inf if mpmath.re(x) > 0 else mpmath.mpf(0), "tanh": mpmath.sign, "erf": mpmath.sign}
_ENDING = _REFUSING | {name: _guarded(getattr(mpmath, name), at_ends) for name, at_ends in _AT_ENDS.items()}


@functools.lru_cache(maxsize=4096)
def compiled(expression: sympy.Expr, *symbols: sympy.Symbol, at_ends: bool = False) -> Callable[..., Any]:
    """A function of mpmath's numbers, to the digits that mpmath is set to.

    It raises `OutOfReach`, or, with `at_ends`, takes functions of too large numbers for what they come to far out.

    >>> s = sympy.Symbol("s", real=True)
    >>> print(compiled(sympy.exp(-sympy.exp(s)), s)(mpmath.mpf(0)))
    0.367879441171442
    >>> compiled(sympy.exp(sympy.exp(sympy.exp(s))), s)(mpmath.mpf(10))
    Traceback (most recent call last):
    ...
    functional_mlp.symbolic.reach.OutOfReach: a number has more digits than there is memory for
    >>> print(compiled(sympy.exp(-sympy.exp(sympy.exp(s))), s, at_ends=True)(mpmath.mpf(10)))
    0.0
    """
    printer = Printer({"fully_qualified_modules": False, "inline": True, "allow_unknown_functions": True})
    function: Callable[..., Any] = sympy.lambdify(
        symbols, expression, [_ENDING if at_ends else _REFUSING, "mpmath"], printer=printer
    )
    return function


def at(expression: sympy.Expr, point: Mapping[sympy.Symbol, sympy.Expr]) -> sympy.Expr:
    """The number that an expression is at a point, as a formula; raises `OutOfReach` where that has no digits here."""
    if _may_be_large(expression):
        if any(abs(power.exp) > _TOO_LARGE for power in expression.atoms(sympy.Pow) if _is_exact(power)):
            raise OutOfReach(_TOO_MANY)
        symbols = sorted(expression.free_symbols, key=str)
        with contextlib.suppress(ZeroDivisionError):  # it is no number, which is seen without digits
            compiled(expression, *symbols)(*(sympy.N(point[symbol], 15)._to_mpmath(53) for symbol in symbols))
    return expression.subs(point)


@functools.lru_cache(maxsize=4096)
def _may_be_large(expression: sympy.Expr) -> bool:
    """Whether a power is in an exponent, or a large one in an expression."""
    functions = expression.atoms(sympy.exp, sympy.tanh, sympy.erf)
    powers = expression.atoms(sympy.Pow)
    grown = [function.args[0] for function in functions] + [power.exp for power in powers]
    return any(
        argument.has(sympy.exp) or any(not power.exp.is_number for power in argument.atoms(sympy.Pow))
        for argument in grown
    ) or any(power.exp.is_number and abs(power.exp) > _LARGE for power in powers)


def _is_exact(power: sympy.Pow) -> bool:
    """Whether a power is a fraction at each point."""
    return bool(power.exp.is_Integer and power.base.is_rational_function())
