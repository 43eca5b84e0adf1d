"""The surfaces between regions: what expressions are on them, and right beside them."""

import math

import attrs
import sympy

from functional_mlp.symbolic.nodes import NoRealNumber, sign_of_number
from functional_mlp.symbolic.partial import INFINITE
from functional_mlp.symbolic.regions import Region

# What a zero that was searched for leaves of a sum that is 0 there, as a share of its terms.
NEGLIGIBLE = sympy.Float("1e-50")
# Derivatives that are taken to find the sign right beside a zero.
_MOST_DERIVATIVES = 20


@attrs.frozen
class Wall:
    """The surface variable = place between regions, above a region of the other variables."""

    variable: sympy.Symbol
    place: sympy.Expr
    others: Region

    def sign(self, expression: sympy.Expr) -> int:
        there = self.on(expression)
        if not there.has(sympy.nan, *INFINITE):
            return self.others.sign(there)
        sides = {Side(self, side).sign(expression) for side in (-1, 1)}
        if len(sides) > 1:
            raise NoRealNumber(f"{expression} is no real number where {self.variable} = {self.place}")
        return sides.pop()

    def vanishes(self, expression: sympy.Expr) -> bool:
        there = self.on(expression)
        return self.sign(expression) == 0 if there.has(sympy.nan, *INFINITE) else self.others.vanishes(there)

    def floor(self, expression: sympy.Expr) -> sympy.Expr:
        number = sympy.floor(self.on(expression))
        return self.others.floor(self.on(expression)) if number.has(sympy.floor) else number

    def on(self, expression: sympy.Expr) -> sympy.Expr:
        """The expression on the wall; 0 for a sum of which the digits of a place that was searched for leave none."""
        if not self.place.is_Float:
            return expression.subs(self.variable, self.place)
        terms = [term.subs(self.variable, self.place) for term in sympy.Add.make_args(expression)]
        size = sympy.N(sum(map(abs, terms)), 60)
        is_negligible = size.is_Float and abs(sympy.N(sympy.Add(*terms), 60)) <= NEGLIGIBLE * size
        return sympy.S.Zero if is_negligible else sympy.Add(*terms)


@attrs.frozen
class Side:
    """What lies right beside a wall: above it (1) or below it (−1)."""

    wall: Wall
    side: int

    def sign(self, expression: sympy.Expr) -> int:
        if expression.is_Mul:
            return math.prod(map(self.sign, expression.args))
        if expression.is_Pow and expression.exp.is_Rational:
            sign = self.sign(expression.base)
            return sign if expression.exp.is_odd or not expression.exp.is_Integer else abs(sign)
        direction = 1
        for _ in range(_MOST_DERIVATIVES):
            there = self.wall.on(expression)
            if there.has(sympy.nan, *INFINITE):
                return direction * self._sign_of_limit(expression)
            found = direction * self.wall.others.sign(there)
            if found != 0 or not expression.has(self.wall.variable):
                return found
            expression, direction = sympy.diff(expression, self.wall.variable), direction * self.side
        raise NoRealNumber(f"{expression} has no sign beside {self.wall.variable} = {self.wall.place}")

    def vanishes(self, expression: sympy.Expr) -> bool:
        return self.sign(expression) == 0

    def _sign_of_limit(self, expression: sympy.Expr) -> int:
        above, below = sympy.fraction(sympy.together(expression))
        if below.has(self.wall.variable):
            return self.sign(above) * self.sign(below)
        return sign_of_number(self.limit(expression))

    def floor(self, expression: sympy.Expr) -> sympy.Expr:
        there = self.wall.floor(expression)
        is_whole = self.wall.on(expression) == there
        return there - 1 if is_whole and self.sign(expression - there) < 0 else there

    def limit(self, expression: sympy.Expr) -> sympy.Expr:
        """What an expression comes to as the wall is neared: s^1.5 / s is 0 at 0; no number where it is unknown."""
        there = self.wall.on(expression)
        if not there.has(sympy.nan, *INFINITE) or not expression.has(self.wall.variable):
            return there
        try:
            return sympy.limit(expression, self.wall.variable, self.wall.place, "+" if self.side > 0 else "-")
        except (ArithmeticError, NotImplementedError, ValueError):  # sympy knows of no limit
            return there
