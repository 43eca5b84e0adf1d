"""Quotients and powers as they are written, where sympy would leave less of them, and say more than the code does.

What sympy makes of s² / s is s, and so it makes s of exp(log s): the code gives no number for s = 0, or for s < 0.
"""

import sympy

from functional_mlp.symbolic.printing import Raised, Ratio


def written_ratio(a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    """a / b, with b below the line if it may be 0.

    >>> s, t = sympy.symbols("s t", real=True)
    >>> written_ratio(s**2, s), written_ratio(s, 2 * t), written_ratio(s * t, 1 + t**2)
    (Ratio(s**2, s), s/(2*t), s*t/(t**2 + 1))
    """
    return a / b if _has_below(a / b, b) else Ratio(a, b)


def written_product(a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    """a b, with what is below the line in either if it may be 0.

    >>> s = sympy.Symbol("s", real=True)
    >>> written_product(1 / s, s)
    Ratio(s, s)
    """
    (a_above, a_below), (b_above, b_below) = sympy.fraction(a), sympy.fraction(b)
    below = a_below * b_below
    return a * b if _has_below(a * b, below) else Ratio(a_above * b_above, below)


def written_power(base: sympy.Expr, exponent: sympy.Expr) -> sympy.Expr:
    """A power, with the logarithm in its exponent, or the root below it, if that may be no number.

    >>> s = sympy.Symbol("s", real=True)
    >>> written_power(sympy.E, sympy.log(s)), written_power(sympy.sqrt(s), sympy.Integer(2))
    (Raised(E, log(s)), Raised(sqrt(s), 2))
    """
    result = sympy.Pow(base, exponent)
    logs = {log for log in exponent.atoms(sympy.log) if not log.args[0].is_positive}
    is_of_root = base.is_Pow and not base.exp.is_Integer and not base.base.is_nonnegative
    has_root = result.is_Pow and not result.exp.is_Integer
    return result if all(map(result.has, logs)) and (has_root or not is_of_root) else Raised(base, exponent)


def _has_below(result: sympy.Expr, below: sympy.Expr) -> bool:
    """Whether what is below the line of a result has all factors of a formula that may be 0."""
    powers = sympy.fraction(result)[1].as_powers_dict()
    factors = (factor.as_base_exp() for factor in sympy.Mul.make_args(below) if not factor.is_nonzero)
    return all(powers[base] == exponent or base.is_nonzero for base, exponent in factors)
