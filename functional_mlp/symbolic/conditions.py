"""Conditions: that an expression is positive, or negative."""

import functools
from collections.abc import Iterable

import attrs
import sympy

from functional_mlp.symbolic.nodes import sign_of_number
from functional_mlp.symbolic.points import Point, sign_at
from functional_mlp.symbolic.turning import sign_of_form
from functional_mlp.symbolic.words import in_words


@attrs.frozen(slots=False)
class Condition:
    """An expression is positive, or negative."""

    expression: sympy.Expr
    sign: int

    @classmethod
    def positive(cls, expression: sympy.Expr) -> "Condition":
        """That an expression is positive, as a condition that is equal to those with the same zeros and sides."""
        return cls(*normal(expression))

    def holds(self, point: Point) -> bool:
        return self.sign == sign_at(self.expression, point)

    @functools.cached_property
    def is_impossible(self) -> bool:
        """Whether no numbers meet it, as far as is known for polynomials of degree 2."""
        return self.expression.is_polynomial() and self.sign * sign_of_form(self.expression) < 0

    @property
    def is_linear(self) -> bool:
        """Whether the expression is linear, with rational coefficients."""
        if not self.expression.is_polynomial():
            return False
        polynomial = sympy.Poly(self.expression, *self.expression.free_symbols)
        return bool(polynomial.total_degree() == 1 and all(number.is_Rational for number in polynomial.coeffs()))

    def __str__(self) -> str:
        """The condition in several variables, for one of them if it is linear in one."""
        above, expression = self.sign > 0, self.expression
        for variable in sorted(expression.free_symbols, key=str, reverse=True):
            slope = sympy.diff(expression, variable)
            if slope.is_Rational and not variable.is_integer:
                side = in_words(sympy.expand(variable - expression / slope))
                return f"{variable} {'>' if above == (slope > 0) else '<'} {side}"
        return f"{in_words(expression)} {'>' if above else '<'} 0"


@functools.lru_cache(maxsize=4096)
def normal(expression: sympy.Expr) -> tuple[sympy.Expr, int]:
    """An expression up to a factor, so that those with the same zeros are equal, and the sign of the factor.

    >>> s, t = sympy.symbols("s t", real=True)
    >>> normal(6 - 2 * s * t)
    (s*t - 3, -1)
    """
    content, primitive = sympy.expand(expression).as_content_primitive()
    primitive = sympy.expand(primitive)
    terms = [term.as_coeff_Mul() for term in sympy.Add.make_args(primitive) if term.free_symbols]
    is_negative = bool(min(terms, key=lambda term: str(term[1]))[0].is_negative)
    flipped = is_negative != bool(content.is_negative)
    return (-primitive if is_negative else primitive), -1 if flipped else 1


def conditions_where(
    variable: sympy.Symbol, place: sympy.Expr, conditions: Iterable[Condition]
) -> tuple[Condition, ...] | None:
    """What conditions say where a variable is a formula of the others; None where one does not hold.

    >>> s, t = sympy.symbols("s t", real=True)
    >>> [str(condition) for condition in conditions_where(s, 2 * t, [Condition(s - 1, 1)])]
    ['t > 1/2']
    >>> conditions_where(s, t, [Condition(s - t, 1)]) is None
    True
    """
    found = []
    for condition in conditions:
        there = condition.sign * sympy.expand(condition.expression.subs(variable, place))
        if not there.is_number:
            found.append(Condition.positive(there))
        elif sign_of_number(there) <= 0:
            return None
    return tuple(found)
