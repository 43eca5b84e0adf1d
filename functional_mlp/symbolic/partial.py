"""Functions that are no real number for some of their arguments, as functions of sympy's that stay as they are.

sympy makes x of exp(log(x)), and 1 of x / x, where the code that runs gives no number for x ≤ 0, and for x = 0. Here a
quotient, a logarithm, and a power are kept until the signs of what they are of are known, and what sympy would drop of
a sum or a product is kept beside it. See `functional_mlp.symbolic.resolving`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import sympy

INFINITE = (sympy.zoo, sympy.oo, -sympy.oo)


class Quotient(sympy.Function):  # type: ignore[misc] # sympy's functions have no types
    """a / b: infinite for b = 0, and no number for a = b = 0."""

    is_real = True


class Logarithm(sympy.Function):  # type: ignore[misc]
    """log x: −∞ for x = 0, and no number for x < 0."""

    is_real = True


class Power(sympy.Function):  # type: ignore[misc]
    """xᵃ for an a that is no whole number: no number for x < 0."""

    is_real = True


class Absent(sympy.Function):  # type: ignore[misc]
    """0 for what sympy has dropped, as x of 0 x: no number where that is none, or is infinite."""

    is_real = True


PARTIAL = (Quotient, Logarithm, Power, Absent)
# What is not finite where one argument is not.
_PASSED_ON = (sympy.Add, sympy.Mul, sympy.Abs)


def absent(expression: sympy.Expr) -> sympy.Expr:
    """`Absent`, of as little as says the same.

    >>> s, t = sympy.symbols("s t", real=True)
    >>> absent(2 + sympy.Abs(Quotient(s - t, t)))
    Absent(Quotient(1, t))
    """
    if not expression.has(*PARTIAL, *INFINITE, sympy.nan):
        return sympy.S.Zero
    if isinstance(expression, _PASSED_ON):
        return sympy.Add(*map(absent, expression.args))
    if isinstance(expression, Quotient) and not expression.args[1].has(*PARTIAL):
        return Absent(Quotient(sympy.S.One, expression.args[1])) + absent(expression.args[0])
    return expression if isinstance(expression, Absent) else Absent(expression)


def is_nowhere(expression: sympy.Expr) -> bool:
    """Whether it is seen that an expression is no finite number anywhere, for it divides by 0.

    >>> s = sympy.Symbol("s", real=True)
    >>> is_nowhere(s + sympy.Abs(Quotient(s, 0))), is_nowhere(sympy.exp(Quotient(s, 0)))
    (True, False)
    """
    if isinstance(expression, Quotient):
        return bool(expression.args[1].is_zero) or is_nowhere(expression.args[0])
    return isinstance(expression, (*_PASSED_ON, Absent)) and any(map(is_nowhere, expression.args))


def quotient(a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    """a / b.

    >>> s = sympy.Symbol("s", real=True)
    >>> quotient(s, 1 + s**2), quotient(s, s)
    (s/(s**2 + 1), Quotient(s, s))
    """
    return with_all(a / b, a, b) if b.is_zero is False and b.is_finite is not False else Quotient(a, b)


def logarithm(x: sympy.Expr) -> sympy.Expr:
    return sympy.log(x) if x.is_positive else Logarithm(x)


def power(base: sympy.Expr, exponent: sympy.Expr) -> sympy.Expr:
    if base.is_positive or (exponent.is_Integer and exponent >= 0) or (base.is_nonnegative and exponent.is_positive):
        return sympy.Pow(base, exponent)
    if exponent.is_Integer:
        return quotient(sympy.S.One, base**-exponent)
    return Power(base, exponent)


def with_all(result: sympy.Expr, *operands: sympy.Expr) -> sympy.Expr:
    """What sympy makes of operands, with what it has dropped of them.

    >>> s = sympy.Symbol("s", real=True)
    >>> with_all(0 * Logarithm(s), Logarithm(s))
    Absent(Logarithm(s))
    """
    kept = result.atoms(*PARTIAL)
    dropped = [operand for operand in operands if operand.has(*PARTIAL) and not operand.atoms(*PARTIAL) <= kept]
    return result + sympy.Add(*map(absent, dropped)) if dropped else result


def substituted(expression: sympy.Expr, variable: sympy.Symbol, place: sympy.Expr) -> sympy.Expr:
    """An expression with a formula for a variable, and what sympy drops of it then.

    >>> t = sympy.Symbol("t", real=True)
    >>> substituted(t * Logarithm(t), t, sympy.S.Zero)
    Absent(Logarithm(0))
    """
    if expression == variable:
        return place
    if not expression.has(variable):
        return expression
    arguments = [substituted(argument, variable, place) for argument in expression.args]
    return with_all(expression.func(*arguments), *arguments)


def decided(
    node: sympy.Expr,
    arguments: Sequence[sympy.Expr],
    sign: Callable[[sympy.Expr], int],
    vanishes: Callable[[sympy.Expr], bool],
) -> Any:
    """What a node is of arguments that are numbers, or infinite, where signs of formulas are known, and which are 0.

    >>> s = sympy.Symbol("s", real=True)
    >>> [decided(Logarithm(s), [s], lambda expression, sign=sign: sign, lambda expression: False) for sign in (1, -1)]
    [log(s), nan]
    """
    if isinstance(node, Absent):
        return sympy.nan if _is_infinite(arguments[0]) else sympy.S.Zero
    if isinstance(node, Quotient):
        a, b = arguments
        if _is_infinite(a) or _is_infinite(b) or not vanishes(b):
            return a / b
        side = sympy.oo * sign(a) if b.is_nonnegative else sympy.zoo
        return sympy.nan if sign(a) == 0 else side
    base = arguments[0]
    positive = 1 if base == sympy.oo else sign(base)
    if positive < 0:
        return sympy.nan
    if isinstance(node, Logarithm):
        return sympy.log(base) if positive else -sympy.oo
    return sympy.Pow(base, arguments[1]) if positive else _at_zero(sign(arguments[1]))


def _at_zero(sign_of_exponent: int) -> sympy.Expr:
    """A power of 0."""
    return {1: sympy.S.Zero, 0: sympy.S.One, -1: sympy.oo}[sign_of_exponent]


def _is_infinite(expression: sympy.Expr) -> bool:
    return bool(expression.has(*INFINITE))
