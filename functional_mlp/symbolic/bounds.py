"""The sign that a formula has for its form, where its variables have bounds: β g₁² + (1 − β) g₂² for 0 < β < 1."""

import itertools
import math
from collections.abc import Callable

import sympy

# The lower and the upper bound of a variable, None where it has none.
Bounds = Callable[[sympy.Symbol], tuple[sympy.Expr | None, sympy.Expr | None]]
# Formulas of more operations are not looked at: the polynomials grow with each variable that has two bounds.
_MOST_OPERATIONS = 150


def sign_within(expression: sympy.Expr, bounds: Bounds) -> int:
    """The sign that a formula has within bounds, but where it is 0 by `zeros_within`; 0 where none is seen.

    >>> g, h = sympy.symbols("g h", real=True)
    >>> b = sympy.Symbol("b", positive=True)
    >>> within = lambda variable: (0, 1) if variable == b else (None, None)
    >>> sign_within(b * (1 - b) * g**2 + (1 - b) * h**2, within), sign_within(b - sympy.Rational(1, 2), within)
    (1, 0)
    """
    if expression.is_number or expression.is_positive or expression.is_negative:
        return _of_number(expression)
    if expression.is_Mul:
        return math.prod(sign_within(factor, bounds) for factor in expression.args)
    if expression.is_Pow:
        return _of_power(expression, bounds)
    of_terms = _of_terms(expression, bounds) if expression.is_Add else 0
    if of_terms or not expression.is_rational_function():
        return of_terms
    return _of_fraction(expression, bounds)


def zeros_within(expression: sympy.Expr, bounds: Bounds) -> tuple[sympy.Expr, ...]:
    """Formulas, or sums of squares, of which one is 0 wherever one of one sign is, or where that is no number.

    >>> g, h, m = sympy.symbols("g h m", real=True)
    >>> b = sympy.Symbol("b", positive=True)
    >>> within = lambda variable: (0, 1) if variable == b else (None, None)
    >>> zeros_within(b * g**2 * m**2 + (1 - b) * h**2, within), zeros_within(b + g**2, within)
    ((g**2 + h**2, h**2 + m**2), ())
    >>> zeros_within((1 - b) * (g - h) ** 2, within)
    (g - h,)
    """
    found = dict.fromkeys(frozenset(one) for one in _zeros(expression, bounds))
    least = [one for one in found if not any(other < one for other in found)]
    walls = (next(iter(one)) if len(one) == 1 else sympy.Add(*(formula**2 for formula in one)) for one in least)
    return tuple(sorted(walls, key=str))


def _zeros(expression: sympy.Expr, bounds: Bounds) -> list[set[sympy.Expr]]:
    """Sets of formulas; one is 0 where all of a set are."""
    if expression.is_number or expression.is_nonzero:
        return []
    if expression.is_Mul:
        return [one for factor in expression.args for one in _zeros(factor, bounds)]
    if expression.is_Pow:
        return _zeros(expression.base, bounds) if sign_within(expression.base, bounds) else [{expression.base}]
    if expression.is_Add and _of_terms(expression, bounds):
        return _together([_zeros(term, bounds) for term in expression.args])
    return [one for side in sympy.fraction(sympy.together(expression)) for one in _zeros_of_polynomial(side, bounds)]


def _zeros_of_polynomial(polynomial: sympy.Expr, bounds: Bounds) -> list[set[sympy.Expr]]:
    shifted, positive = _beyond_bounds(polynomial, bounds)
    gens = sorted(shifted.free_symbols, key=sympy.default_sort_key)
    monomials = sympy.Poly(shifted, *gens).monoms() if gens else [()]
    free = [
        {gen for gen, power in zip(gens, monomial, strict=True) if power and gen not in positive}
        for monomial in monomials
    ]
    return _together([[{variable} for variable in some] for some in free])


def _together(ways: list[list[set[sympy.Expr]]]) -> list[set[sympy.Expr]]:
    """The ways in which all of several are 0, from those of each."""
    return [set().union(*one) for one in itertools.product(*ways)]


def _of_terms(sum_: sympy.Expr, bounds: Bounds) -> int:
    """The sign that all terms of a sum have."""
    first, *others = sum_.args
    sign = sign_within(first, bounds)
    return sign if sign and all(sign_within(term, bounds) == sign for term in others) else 0


def _of_power(power: sympy.Expr, bounds: Bounds) -> int:
    if power.exp.is_even:
        return 1
    sign = sign_within(power.base, bounds)
    return sign if power.exp.is_Integer else max(sign, 0)


def _of_fraction(expression: sympy.Expr, bounds: Bounds) -> int:
    if expression.count_ops() > _MOST_OPERATIONS:
        return 0
    above, below = sympy.fraction(sympy.together(expression))
    return _of_polynomial(above, bounds) * _of_polynomial(below, bounds)


def _of_polynomial(polynomial: sympy.Expr, bounds: Bounds) -> int:
    """The sign of all coefficients, of bounded variables as what they are beyond their bounds, which is positive.

    A variable without bounds may have even powers, and may not be in all terms, for these are 0 where it is.
    """
    shifted, positive = _beyond_bounds(polynomial, bounds)
    gens = sorted(shifted.free_symbols, key=sympy.default_sort_key)
    if not gens:
        return _of_number(shifted)
    if not shifted.is_polynomial(*gens):
        return 0
    terms = sympy.Poly(shifted, *gens).terms()
    signs = {_of_number(number) for _, number in terms}
    for place, gen in enumerate(gens):
        powers = [monomial[place] for monomial, _ in terms]
        if gen not in positive and (any(power % 2 for power in powers) or min(powers) > 0):
            return 0
    return signs.pop() if len(signs) == 1 else 0


def _beyond_bounds(polynomial: sympy.Expr, bounds: Bounds) -> tuple[sympy.Expr, set[sympy.Symbol]]:
    """A polynomial with positive numbers for its bounded variables, times a denominator, and these numbers."""
    positive, meanings = set(), {}
    for variable in polynomial.free_symbols:
        low, high = bounds(variable)
        if low is not None or high is not None:
            beyond = sympy.Dummy("beyond", positive=True)
            positive.add(beyond)
            meanings[variable] = _beyond(low, high, beyond)
    return sympy.fraction(sympy.together(polynomial.xreplace(meanings)))[0], positive


def _of_number(number: sympy.Expr) -> int:
    return int(bool(number.is_positive)) - int(bool(number.is_negative))


def _beyond(low: sympy.Expr | None, high: sympy.Expr | None, beyond: sympy.Symbol) -> sympy.Expr:
    """A variable by a positive number, which goes over all that lie between its bounds."""
    if low is None:
        return high - beyond
    return low + beyond if high is None else (low + high * beyond) / (1 + beyond)
