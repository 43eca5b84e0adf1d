"""The real zeros of an expression of one variable."""

import functools
from collections.abc import Callable

import attrs
import mpmath
import sympy

# Where zeros are looked for that no formula gives, and how often.
FARTHEST, _STEPS = 1e4, 400


@attrs.frozen
class Roots:
    """The zeros in order; `known` says that there are no others, which a search for changes of sign does not."""

    places: tuple[sympy.Expr, ...]
    known: bool


@functools.lru_cache(maxsize=1024)
def real_roots(expression: sympy.Expr, variable: sympy.Symbol) -> Roots:
    """The zeros, by formulas where the factors of an expression have one, else found to 60 digits by a search.

    >>> x = sympy.Symbol("x", real=True)
    >>> real_roots(x**3 - x, x), real_roots(sympy.exp(x) - 1, x)
    (Roots(places=(-1, 0, 1), known=True), Roots(places=(0,), known=False))
    """
    found: set[sympy.Expr] = set()
    known = True
    for factor in sympy.Mul.make_args(sympy.factor_terms(expression)):
        base = factor.as_base_exp()[0]
        if base.has(variable) and not base.is_positive:
            by_formula = _by_formula(base, variable)
            known &= by_formula is not None
            found |= set(_by_search(base, variable) if by_formula is None else by_formula)
    return Roots(tuple(sorted(found, key=sympy.N)), known)


def _by_formula(factor: sympy.Expr, variable: sympy.Symbol) -> list[sympy.Expr] | None:
    if factor.is_polynomial(variable):
        polynomial = sympy.Poly(factor, variable)
        if all(coefficient.is_Rational for coefficient in polynomial.all_coeffs()):
            return [sympy.N(root, 60) if root.has(sympy.CRootOf) else root for root in sympy.real_roots(polynomial)]
        if polynomial.degree() <= 2:
            return [root for root in sympy.roots(polynomial) if root.is_real]
    return None


def _recognized(root: mpmath.mpf) -> sympy.Expr:
    """A root as a whole number where it is one to all digits."""
    nearest = round(root)
    return sympy.Integer(nearest) if abs(root - nearest) < mpmath.mpf("1e-50") else sympy.Float(root, 60)


def _by_search(factor: sympy.Expr, variable: sympy.Symbol) -> list[sympy.Expr]:
    with mpmath.workdps(70):
        compiled = sympy.lambdify([variable], factor, "mpmath")

        def function(place: mpmath.mpf) -> mpmath.mpf:
            return mpmath.re(compiled(place))

        step = mpmath.mpf(FARTHEST) ** (mpmath.mpf(1) / _STEPS)
        sizes = [step**k - 1 + mpmath.mpf(1) / 997 for k in range(_STEPS + 1)]
        places = [-size for size in reversed(sizes)] + sizes
        values = [function(place) for place in places]
        return [
            _recognized(_between(function, a, b, abs(left) + abs(right)))
            for a, b, left, right in zip(places, places[1:], values, values[1:], strict=False)
            if mpmath.sign(left) * mpmath.sign(right) < 0
        ]


def _between(
    function: Callable[[mpmath.mpf], mpmath.mpf], a: mpmath.mpf, b: mpmath.mpf, size: mpmath.mpf
) -> mpmath.mpf:
    """The zero between two places, to digits of a function of that size there; or where it jumps from sign to sign."""
    tolerance = mpmath.mpf(10) ** -130
    try:
        return mpmath.findroot(lambda x: function(x) / size, (a, b), solver="anderson", tol=tolerance)
    except ValueError:
        return _bisected(function, a, b)


def _bisected(function: Callable[[mpmath.mpf], mpmath.mpf], a: mpmath.mpf, b: mpmath.mpf) -> mpmath.mpf:
    left = mpmath.sign(function(a))
    for _ in range(mpmath.mp.prec):
        middle = (a + b) / 2
        a, b = (middle, b) if mpmath.sign(function(middle)) == left else (a, middle)
    return b
