"""Whether a smooth formula is 0 for all real numbers, by algebra.

Each transcendental function in it is taken for an unknown of its own: powers e^(c u) of one u as powers of one positive
unknown, a root as an unknown with an equation. What is left is a rational function, and that is 0 if its numerator is.
A formula that is found to be 0 is: one that is not found to be may be 0 for a reason that is not seen here.
"""

import contextlib
import functools
import math
from collections.abc import Set

import sympy
from sympy.polys.polyerrors import PolynomialError

# Expressions of more operations are left as they are: a bound on the work and not on the time, for the same answer
# everywhere.
MOST_OPERATIONS = 4000
# Degree of polynomials that are factored: e^(100 s) is the hundredth power of an unknown.
_MOST_FACTORED = 100
_NO_NUMBERS = (sympy.nan, sympy.zoo, sympy.oo, -sympy.oo)


@functools.lru_cache(maxsize=4096)
def is_zero(expression: sympy.Expr) -> bool:
    """Whether a formula is found to be 0.

    >>> s = sympy.Symbol("s", real=True)
    >>> is_zero(sympy.tanh(s).diff(s) - 4 * sympy.exp(-2 * s) / (1 + sympy.exp(-2 * s)) ** 2)
    True
    >>> is_zero(sympy.log(1 + sympy.exp(s)) - s - sympy.log(1 + sympy.exp(-s)))
    True
    >>> is_zero((s**sympy.Symbol("p")).diff(s) - sympy.Symbol("p") * s ** (sympy.Symbol("p") - 1))
    True
    """
    if expression.is_number and expression.is_Rational:
        return bool(expression == 0)
    if expression == 0 or expression.has(*_NO_NUMBERS) or expression.count_ops() > MOST_OPERATIONS:
        return bool(expression == 0)
    return bool(_numerator(_Unknowns(expression))[0] == 0)


def remainder(expression: sympy.Expr) -> sympy.Expr:
    """The formula in its lowest terms: 0 where it is found to be 0, and itself where it is too long to tell."""
    if expression.is_Rational or expression.has(*_NO_NUMBERS) or expression.count_ops() > MOST_OPERATIONS:
        return expression
    unknowns = _Unknowns(expression)
    numerator, denominator = _numerator(unknowns)
    if numerator == 0:
        return sympy.Integer(0)
    lowest = numerator / denominator
    with contextlib.suppress(PolynomialError):  # it is only longer than it need be
        if max(_degree(numerator), _degree(denominator)) <= _MOST_FACTORED:
            lowest = sympy.factor(sympy.cancel(lowest))
    return unknowns.restored(lowest)


def coefficients(expression: sympy.Expr, letters: Set[sympy.Symbol]) -> list[sympy.Expr]:
    """What a formula's numerator has before its powers of variables and functions: formulas of some letters.

    >>> s, c, d = sympy.symbols("s c d", real=True)
    >>> coefficients(c * sympy.exp(s) - d * sympy.exp(s) + c * s, {c, d})
    [c - d, c]
    """
    if expression.has(*_NO_NUMBERS) or expression.count_ops() > MOST_OPERATIONS:
        return [expression]
    unknowns = _Unknowns(expression)
    numerator, _ = _numerator(unknowns)
    of_letters = {symbol for symbol in numerator.free_symbols if unknowns.restored(symbol).free_symbols <= letters}
    powers = sorted(numerator.free_symbols - of_letters, key=str)
    if not powers or not numerator.is_polynomial(*powers):
        return [unknowns.restored(numerator)]
    parts: dict[sympy.Expr, sympy.Expr] = {}  # a polynomial of sympy's has room for each power below its degree
    for term in sympy.Add.make_args(numerator):
        coefficient, monomial = term.as_independent(*powers, as_Add=False)
        parts[monomial] = parts.get(monomial, 0) + coefficient
    return [unknowns.restored(parts[monomial]) for monomial in sorted(parts, key=sympy.default_sort_key)]


def _degree(polynomial: sympy.Expr) -> int:
    """The degree in all symbols, or more where terms cancel."""
    if polynomial.is_Pow:
        return int(polynomial.exp) * _degree(polynomial.base)
    if not polynomial.args:
        return int(polynomial.is_Symbol)
    return (max if polynomial.is_Add else sum)(map(_degree, polynomial.args))


def _numerator(unknowns: "_Unknowns") -> tuple[sympy.Expr, sympy.Expr]:
    """The numerator, expanded and with what is known of roots put in, and the denominator."""
    numerator, denominator = sympy.fraction(sympy.together(unknowns.expression))
    numerator = sympy.expand(numerator)
    for unknown, (degree, radicand) in unknowns.equations.items():
        numerator = _reduced(numerator, unknown, degree, radicand)
    return numerator, denominator


def _reduced(numerator: sympy.Expr, unknown: sympy.Symbol, degree: int, radicand: sympy.Expr) -> sympy.Expr:
    """The numerator with unknownᵈᵉᵍʳᵉᵉ replaced by what it is, times a power of its denominator."""
    if not numerator.has(unknown):
        return numerator
    above, below = sympy.fraction(sympy.together(radicand))
    polynomial, relation = sympy.Poly(numerator, unknown), sympy.Poly(below * unknown**degree - above, unknown)
    return sympy.expand(sympy.prem(polynomial, relation).as_expr()) if polynomial.degree() >= degree else numerator


class _Unknowns:
    """An expression as a rational function of unknowns, what each stands for, and the equations between them."""

    def __init__(self, expression: sympy.Expr) -> None:
        self.meanings: dict[sympy.Symbol, sympy.Expr] = {}
        self.equations: dict[sympy.Symbol, tuple[int, sympy.Expr]] = {}
        self._known: dict[sympy.Expr, sympy.Symbol] = {}
        self._denominators: dict[sympy.Expr, int] = {}
        self._memory: dict[sympy.Expr, sympy.Expr] = {}
        for power in expression.atoms(sympy.exp, sympy.tanh):
            self._note_exponent((2 if isinstance(power, sympy.tanh) else 1) * power.args[0])
        self.expression = self.rational(expression)

    def restored(self, expression: sympy.Expr) -> sympy.Expr:
        for unknown, meaning in reversed(self.meanings.items()):
            expression = expression.subs(unknown, meaning)
        return expression

    def rational(self, expression: sympy.Expr) -> sympy.Expr:
        found = self._memory.get(expression)
        if found is None:
            found = self._memory[expression] = self._rational(expression)
        return found

    def _rational(self, e: sympy.Expr) -> sympy.Expr:
        if e.is_Rational or (e.is_Symbol and e not in (sympy.pi, sympy.E)):
            return e
        if e.is_Add or e.is_Mul:
            return e.func(*map(self.rational, e.args))
        if isinstance(e, sympy.exp):
            return self._power_of_e(e.args[0])
        if isinstance(e, sympy.tanh):
            power = self._power_of_e(2 * e.args[0])
            return (power - 1) / (power + 1)
        if isinstance(e, sympy.log):
            return self._logarithm(e.args[0])
        if e.is_Pow and e.exp.is_Integer:
            return self.rational(e.base) ** e.exp
        if e.is_Pow and e.exp.is_Rational:
            return self._root(e.base, e.exp)
        if e.is_Pow:
            return math.prod(self._power(e.base, term) for term in sympy.Add.make_args(sympy.expand(e.exp)))
        return self._unknown(e.func(*map(self._canonical, e.args)) if e.args else e)

    def _power(self, base: sympy.Expr, exponent: sympy.Expr) -> sympy.Expr:
        """A power with a formula of one term for an exponent: a whole power of an unknown, where that is a multiple."""
        if exponent.is_Rational:
            return self.rational(base**exponent)
        coefficient = exponent.as_coeff_Mul()[0]
        whole = coefficient if coefficient.is_Integer else sympy.S.One
        return self._unknown(self._canonical(base) ** (exponent / whole)) ** whole

    def _canonical(self, e: sympy.Expr) -> sympy.Expr:
        """What two arguments share that are equal, for functions of which nothing else is known."""
        return remainder(e) if e.free_symbols else e

    def _unknown(self, meaning: sympy.Expr, *, positive: bool = False) -> sympy.Symbol:
        if meaning not in self._known:
            unknown = sympy.Dummy(f"u{len(self.meanings)}", positive=True if positive else None, real=True)
            self._known[meaning] = unknown
            self.meanings[unknown] = meaning
        return self._known[meaning]

    def _note_exponent(self, exponent: sympy.Expr) -> None:
        for term in sympy.Add.make_args(sympy.expand(exponent)):
            coefficient, rest = term.as_coeff_Mul()
            if coefficient.is_Rational:
                self._denominators[rest] = sympy.ilcm(self._denominators.get(rest, 1), coefficient.q)

    def _power_of_e(self, exponent: sympy.Expr) -> sympy.Expr:
        product = sympy.Integer(1)
        for term in sympy.Add.make_args(sympy.expand(exponent)):
            coefficient, rest = term.as_coeff_Mul()
            denominator = self._denominators.get(rest, 1)
            unknown = self._unknown(sympy.exp(rest / denominator), positive=True)
            product *= unknown ** (coefficient * denominator)
        return product

    def _logarithm(self, argument: sympy.Expr) -> sympy.Expr:
        """Σ k log f over the factors fᵏ that are positive for sure; of a power of e it is the exponent."""
        factored = sympy.factor(sympy.cancel(self.rational(argument)))
        total, rest = sympy.Integer(0), sympy.Integer(1)
        for factor in sympy.Mul.make_args(factored):
            base, exponent = factor.as_base_exp()
            if not base.is_positive:
                rest *= factor
            elif isinstance(self.meanings.get(base), sympy.exp):
                total += exponent * self.rational(self.meanings[base].args[0])
            else:
                total += exponent * self._unknown(sympy.log(self.restored(base)))
        if rest != 1:
            total += self._unknown(sympy.log(self.restored(rest)))
        return total

    def _root(self, base: sympy.Expr, exponent: sympy.Rational) -> sympy.Expr:
        radicand = base if base.is_number else remainder(base)
        root = radicand ** sympy.Rational(1, exponent.q)
        if root.is_Mul and not base.is_number:  # a root of a product that sympy divides
            return self.rational(root) ** exponent.p
        unknown = self._unknown(root, positive=bool(radicand.is_positive))
        self.equations.setdefault(unknown, (exponent.q, self.rational(radicand)))
        return unknown**exponent.p
