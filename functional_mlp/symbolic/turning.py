"""Conditions made simpler: the sign of an expression from the signs of others that have a formula for their zeros.

tanh(s − 45)² − 1/100 can change its sign only where s is 45 ± artanh(1/10), and (ŷ − t)² − 4 where ŷ is t ± 2. A
product turns where a factor does, a fraction where its denominator does as well, and a formula that has its variables
in one function alone where that function comes to a zero of the formula.
"""

import functools
from collections.abc import Iterable

import sympy

from functional_mlp.symbolic.nodes import sign_of_number

# The functions that have an inverse: it, and the bounds of what they come to.
_INVERSES = {
    sympy.exp: (sympy.log, (0, None)),
    sympy.log: (sympy.exp, (None, None)),
    sympy.tanh: (sympy.atanh, (-1, 1)),
    sympy.erf: (sympy.erfinv, (-1, 1)),
}


@functools.lru_cache(maxsize=4096)
def turning(expression: sympy.Expr) -> tuple[sympy.Expr, ...]:
    """Expressions of which one is 0 wherever an expression changes its sign, is 0, or begins to be a real number.

    >>> s, t = sympy.symbols("s t", real=True)
    >>> turning(sympy.tanh(s - 45) ** 2 - sympy.Rational(1, 100)), turning((s - t) ** 2 + 1)
    ((s - 45 + atanh(1/10), s - 45 - atanh(1/10)), ())
    """
    if not expression.free_symbols or expression.is_positive or expression.is_negative:
        return ()
    if expression.is_polynomial(*expression.free_symbols):
        return _of_polynomial(sympy.expand(expression))
    above, below = sympy.fraction(sympy.together(expression))
    turning_below = turning(below)
    if turning_below or above.is_polynomial(*above.free_symbols):
        return _all([above, *turning_below])
    factors = [factor.as_base_exp() for factor in sympy.Mul.make_args(sympy.factor_terms(above))]
    if len(factors) > 1 or factors[0][1] != 1:
        return _all(base for base, _ in factors)
    within = _within(above)
    if within is None:
        return (expression if _is_power_of_e(below) else above,)
    return _all(within)


def zeros_of_polynomial(expression: sympy.Expr, variable: sympy.Symbol) -> list[sympy.Expr] | None:
    """Its real zeros; None where there is no formula for them."""
    first, *others = sympy.Poly(expression, variable).all_coeffs()
    others = [sympy.cancel(coefficient / first) for coefficient in others]
    if all(coefficient.is_Rational for coefficient in others):
        roots = sympy.real_roots(sympy.Poly([1, *others], variable), multiple=False)
        return [sympy.N(root, 60) if root.has(sympy.CRootOf) else root for root, _ in roots]
    if not all(coefficient.is_number for coefficient in others) or len(others) > 2:
        return None
    if len(others) == 1:
        return [-others[0]]
    middle, square = -others[0] / 2, others[0] ** 2 / 4 - others[1]
    return [] if sign_of_number(square) < 0 else [middle - sympy.sqrt(square), middle + sympy.sqrt(square)]


def _all(expressions: Iterable[sympy.Expr]) -> tuple[sympy.Expr, ...]:
    return tuple(dict.fromkeys(one for expression in expressions for one in turning(expression)))


def _of_polynomial(polynomial: sympy.Expr) -> tuple[sympy.Expr, ...]:
    """Its factors, of those in several variables, without those that are positive everywhere."""
    if len(polynomial.free_symbols) == 1 or not all(number.is_Rational for number in polynomial.atoms(sympy.Number)):
        return (polynomial,)
    factors = [factor for factor, _ in sympy.factor_list(polynomial)[1]]
    return tuple(factor for factor in factors if not sign_of_form(factor, or_zero=False))


def sign_of_form(polynomial: sympy.Expr, *, or_zero: bool = True) -> int:
    """The sign that a polynomial of degree 2 has everywhere, or else that or 0; 0 where it has none.

    >>> s, t = sympy.symbols("s t", real=True)
    >>> sign_of_form(s**2 + t**2), sign_of_form(s**2 + t**2, or_zero=False), sign_of_form(s * t)
    (1, 0, 0)
    """
    poly = sympy.Poly(polynomial, *sorted(polynomial.free_symbols, key=str))
    if poly.total_degree() != 2 or not all(number.is_Rational for number in poly.coeffs()):
        return 0
    one = sympy.Dummy("one")
    form = sympy.hessian(poly.homogenize(one).as_expr(), (*poly.gens, one))
    for sign in (1, -1):
        if (sign * form).is_positive_semidefinite:
            return sign if or_zero or not _has_zero(poly) else 0
    return 0


def _has_zero(poly: sympy.Poly) -> bool:
    """Whether a polynomial of degree 2 that has no two signs is 0 somewhere: where its slopes are 0, it is."""
    expression = poly.as_expr()
    lowest = sympy.solve([expression.diff(variable) for variable in poly.gens], poly.gens, dict=True)
    return any(sympy.expand(expression.subs(place)) == 0 for place in lowest)


def _within(expression: sympy.Expr) -> list[sympy.Expr] | None:
    """What turns where an expression of one function of the variables does; None where it is none."""
    inner = _as_polynomial(expression)
    if inner is None:
        return None
    function, unknown, polynomial = inner
    zeros = zeros_of_polynomial(polynomial, unknown)
    if zeros is None:
        return None
    if function.is_Pow:
        base, exponent = function.args
        return [base, *(base - zero ** (1 / exponent) for zero in zeros if sign_of_number(zero) > 0)]
    (argument,) = function.args
    inverse, bounds = _INVERSES[type(function)]
    edges = [argument] if isinstance(function, sympy.log) else []
    return edges + [argument - inverse(zero) for zero in zeros if _is_within(bounds, zero)]


def inverted(expression: sympy.Expr, variable: sympy.Symbol) -> tuple[sympy.Expr, sympy.Expr] | None:
    """Where an expression is 0 that has a variable in one function, as a formula, and what is positive where it is.

    >>> s, t = sympy.symbols("s t", real=True)
    >>> inverted(sympy.exp(2 * s) - t, s), inverted(sympy.tanh(s) - t, s)
    ((log(t)/2, t), (atanh(t), 1 - t**2))
    """
    functions = {function for function in _outermost(expression) if function.has(variable)}
    if len(functions) != 1 or type(function := functions.pop()) not in _INVERSES:
        return None
    unknown = sympy.Dummy("u", real=True)
    slope = sympy.diff(in_unknown := expression.xreplace({function: unknown}), unknown)
    turn = sympy.diff(function.args[0], variable)
    if not (slope.is_number and turn.is_number) or in_unknown.has(variable):
        return None
    inverse, (low, high) = _INVERSES[type(function)]
    height = sympy.expand(-in_unknown.subs(unknown, 0) / slope)
    place = sympy.expand((inverse(height) - function.args[0].subs(variable, 0)) / turn)
    above = sympy.S.One if low is None else height - low
    below = sympy.S.One if high is None else high - height
    return place, sympy.expand(above * below)


def _is_power_of_e(expression: sympy.Expr) -> bool:
    """Whether a number times powers of e: a derivative is simpler beside them than times them."""
    factors = sympy.Mul.make_args(expression)
    return all(isinstance(factor, sympy.exp) or not factor.free_symbols for factor in factors)


def _is_within(bounds: tuple[int | None, int | None], number: sympy.Expr) -> bool:
    low, high = bounds
    return (low is None or sign_of_number(number - low) > 0) and (high is None or sign_of_number(high - number) > 0)


def _as_polynomial(expression: sympy.Expr) -> tuple[sympy.Expr, sympy.Symbol, sympy.Expr] | None:
    """The function that all variables of an expression are in, a symbol for it, and the polynomial in that."""
    functions = list(dict.fromkeys(_outermost(expression)))
    unknown = sympy.Dummy("u", real=True)
    if len(functions) == 1 and not functions[0].is_Symbol:
        function, meanings = functions[0], {functions[0]: unknown}
    elif all(isinstance(function, sympy.exp | sympy.tanh) for function in functions):
        power = _common_power(functions)
        if power is None:
            return None
        function, meanings = power, {one: _in_powers(one, power, unknown) for one in functions}
    else:
        return None
    if not (function.is_Pow and function.exp.is_Rational) and type(function) not in _INVERSES:
        return None
    polynomial = sympy.fraction(sympy.together(expression.xreplace(meanings)))[0]
    if polynomial.free_symbols != {unknown} or not polynomial.is_polynomial(unknown):
        return None
    return function, unknown, polynomial


def _outermost(expression: sympy.Expr) -> list[sympy.Expr]:
    """The variables and functions of variables that an expression is a polynomial of, or a fraction."""
    if not expression.free_symbols:
        return []
    if expression.is_Add or expression.is_Mul:
        return [one for argument in expression.args for one in _outermost(argument)]
    if expression.is_Pow and expression.exp.is_Integer:
        return _outermost(expression.base)
    return [expression]


def _common_power(functions: list[sympy.Expr]) -> sympy.Expr | None:
    """The power of e that others are whole powers of, and tanh a fraction of such."""
    if not functions:
        return None
    argument = functions[0].args[0]
    ratios = [sympy.cancel(function.args[0] / argument) for function in functions]
    if not all(ratio.is_Rational for ratio in ratios):
        return None
    return sympy.exp(sympy.expand(argument / sympy.ilcm(1, *(ratio.q for ratio in ratios))))


def _in_powers(function: sympy.Expr, power: sympy.Expr, unknown: sympy.Symbol) -> sympy.Expr:
    factor = sympy.cancel(function.args[0] / power.args[0])
    if isinstance(function, sympy.exp):
        return unknown**factor
    return (unknown ** (2 * factor) - 1) / (unknown ** (2 * factor) + 1)
