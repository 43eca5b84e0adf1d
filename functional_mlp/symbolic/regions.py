"""Where which condition of an expression holds: the parts of space in which it is one smooth formula.

`Region.sign` says which sign an expression has throughout a region. Where it has several, `Undecided` comes with the
smaller regions in which it has one: whoever asked looks at each of them by itself. So space is divided at the
conditions that an expression contains, and at no others.
"""

import functools
import random
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any, Protocol

import attrs
import sympy
from sympy.solvers.simplex import linprog

from functional_mlp.symbolic.constants import Constants, exact
from functional_mlp.symbolic.identities import is_zero
from functional_mlp.symbolic.nodes import Largest, Maximum, Minimum, Where, is_smooth, sign_of_number
from functional_mlp.symbolic.points import Point, random_point, sign_at
from functional_mlp.symbolic.roots import real_roots

# Points that are tried before a region is taken to have none.
_FEW_TRIES, _TRIES = 40, 400
_EVERYWHERE = "everywhere"
# What a zero that was searched for leaves of a sum that is 0 there, as a share of its terms.
NEGLIGIBLE = sympy.Float("1e-50")


class Signs(Protocol):
    """What decides conditions."""

    def sign(self, expression: sympy.Expr) -> int: ...


@attrs.frozen
class Condition:
    """An expression is positive, or negative."""

    expression: sympy.Expr
    sign: int

    def holds(self, point: Point) -> bool:
        return self.sign == sign_at(self.expression, point)


@attrs.frozen(repr=False, slots=False)
class Region:
    """An open part of the space of some real variables; `point` lies in it, and is None where none was found.

    `searched` are the expressions whose zeros are only known from a search.
    """

    variables: tuple[sympy.Symbol, ...]
    conditions: tuple[Condition, ...] = ()
    point: Any = attrs.field(default=None, eq=False)
    searched: frozenset[sympy.Expr] = frozenset()

    @classmethod
    def everywhere(cls, variables: tuple[sympy.Symbol, ...]) -> "Region":
        positive = cls(variables, tuple(Condition(variable, 1) for variable in variables if variable.is_positive))
        return attrs.evolve(positive, point=positive.find_point(None))

    def sign(self, expression: sympy.Expr) -> int:
        expression = sympy.expand(expression) if expression.is_polynomial(*self.variables) else expression
        if expression.is_number or is_zero(expression):
            return sign_of_number(expression) if expression.is_number else 0
        if expression.is_positive or expression.is_negative:
            return 1 if expression.is_positive else -1
        symbols = expression.free_symbols
        if len(symbols) == 1:
            (variable,) = symbols
            roots = real_roots(expression, variable)
            if not roots.known and expression not in self.searched:
                raise Undecided([attrs.evolve(self, searched=self.searched | {expression})], ())
            for root in roots.places:
                self._side(sympy.expand(variable - root))
            return sign_at(expression, self._point_on_the_line_of(variable))
        return self._side(expression)

    def _point_on_the_line_of(self, variable: sympy.Symbol) -> Point:
        return self.point or {variable: self._within_bounds({variable: sympy.Integer(1)}, random.Random(0))[variable]}

    def _side(self, expression: sympy.Expr) -> int:
        """The sign of an expression that may be 0 on a surface; that it is 0 nowhere is not known otherwise."""
        expression, flipped = _normal(expression)
        for condition in self.conditions:
            if condition.expression == expression:
                return flipped * condition.sign
        parts = self.divided([Condition(expression, 1)], [Condition(expression, -1)])
        if len(parts) == 1:
            return flipped * parts[0].conditions[-1].sign
        raise Undecided(parts, (expression,))

    def divided(self, *choices: list[Condition]) -> "list[Region]":
        """The regions that are not empty of those where one list of conditions holds."""
        parts = [attrs.evolve(self, conditions=(*self.conditions, *choice), point=None) for choice in choices]
        placed = [attrs.evolve(part, point=part.find_point(self.point)) for part in parts]
        return [part for part in placed if part.point is not None or not part.is_empty()] or [self]

    def contains(self, point: Point) -> bool:
        return all(condition.holds(point) for condition in self.conditions)

    def find_point(self, start: Point | None) -> Point | None:
        """A point of the region, simple if there is one."""
        if start is not None and self.contains(start):
            return start
        if self._has_no_room():
            return None
        found = next(self.points(start, _FEW_TRIES), None)
        if found is None:
            _, inside = self._roomiest
            found = inside if inside is not None and self.contains(inside) else None
        if found is None and not self.is_empty():
            found = next(self.points(start, _TRIES), None)
        return found

    def is_empty(self) -> bool:
        """Whether the linear conditions leave no room, for sure."""
        return self._has_no_room() or self._roomiest[0] <= 0

    def _has_no_room(self) -> bool:
        """Whether the bounds of one variable leave none."""
        for low, high in map(self.bounds, self.variables):
            if low is not None and high is not None and sign_of_number(high - low) <= 0:
                return True
        return False

    @functools.cached_property
    def _roomiest(self) -> tuple[sympy.Expr, Point | None]:
        """How far one can be, up to 1, within the linear conditions, and where; exactly, by linear programming.

        The least r ≥ 0 with a·x + b ≥ 1 − r for each condition, where x is the difference of two vectors ≥ 0.
        """
        linear = [condition for condition in self.conditions if _is_linear(condition.expression)]
        if not linear:
            return sympy.S.One, dict.fromkeys(self.variables, sympy.S.Zero)
        origin = dict.fromkeys(self.variables, sympy.S.Zero)
        rows, bounds = [], []
        for condition in linear:
            slopes = [condition.sign * condition.expression.diff(variable) for variable in self.variables]
            rows.append([*(-slope for slope in slopes), *slopes, -1])
            bounds.append([condition.sign * condition.expression.subs(origin) - 1])
        count = len(self.variables)
        missing, found = linprog([0] * (2 * count) + [1], rows, bounds)
        places = [above - below for above, below in zip(found[:count], found[count : 2 * count], strict=True)]
        return 1 - missing, dict(zip(self.variables, places, strict=True))

    def points(self, start: Point | None, tries: int) -> Iterator[Point]:
        """Points of the region that a number of tries finds: near and far ones, and those right beyond a bound."""
        source = random.Random(0)
        for attempt in range(tries):
            point = random_point(self.variables, source, (1, 4, 16, 64)[attempt % 4], whole=attempt < 16)
            if start is not None and attempt % 8 >= 4:
                point = {variable: (point[variable] / 8 + start[variable]) for variable in self.variables}
            bounded = self._within_bounds(point, source, sympy.S.One if attempt < 16 else sympy.Rational(1, 8))
            if self.contains(bounded):
                start = bounded if start is None or attempt % 3 == 0 else start
                yield bounded

    def _within_bounds(self, point: Point, source: random.Random, step: sympy.Rational = sympy.S.One) -> Point:
        """The point with each variable moved between its bounds, or beyond one of them by a step at least."""
        moved = dict(point)
        for variable, value in point.items():
            low, high = self.bounds(variable)
            if low is not None and high is not None:
                share = sympy.Rational(source.randint(1, 63), 64)
                moved[variable] = _rational(low) + share * (_rational(high) - _rational(low))
            elif low is not None:
                moved[variable] = _rational(low) + abs(value) + step
            elif high is not None:
                moved[variable] = _rational(high) - abs(value) - step
        return moved

    def bounds(self, variable: sympy.Symbol) -> tuple[sympy.Expr | None, sympy.Expr | None]:
        """The largest lower and the smallest upper bound that the conditions put on a variable by itself."""
        low: list[sympy.Expr] = []
        high: list[sympy.Expr] = []
        for condition in self.conditions:
            if condition.expression.free_symbols == {variable} and condition.expression.diff(variable).is_number:
                slope = condition.expression.diff(variable)
                bound = sympy.expand(variable - condition.expression / slope)
                (low if condition.sign * sign_of_number(slope) > 0 else high).append(bound)
        return (max(low, key=sympy.N, default=None), min(high, key=sympy.N, default=None))

    def where(self) -> str:
        """The conditions as words that another sentence begins with; nothing where there are none."""
        return "" if str(self) == _EVERYWHERE else f"where {self}, "

    def __str__(self) -> str:
        """The conditions: bounds of each variable, and those in several.

        >>> s = sympy.Symbol("s", real=True)
        >>> str(Region((s,), (Condition(s, 1), Condition(s - 40, -1))))
        '0 < s < 40'
        """
        texts = []
        for variable in self.variables:
            low, high = self.bounds(variable)
            low = None if low == 0 and variable.is_positive else low  # that goes without saying
            if low is not None and high is not None:
                texts.append(f"{low} < {variable} < {high}")
            elif low is not None or high is not None:
                texts.append(f"{variable} > {low}" if high is None else f"{variable} < {high}")
        for condition in self.conditions:
            if len(condition.expression.free_symbols) > 1:
                texts.append(_inequality(condition))
        return " and ".join(texts) or _EVERYWHERE


class Undecided(Exception):  # noqa: N818 - no error, but a question with its answers
    """An expression has several signs in a region: the regions in which it has one, and the walls between them."""

    parts: list[Region]
    walls: tuple[Any, ...]

    def __init__(self, parts: list[Region], walls: tuple[sympy.Expr, ...]) -> None:
        super().__init__(str(walls))
        self.parts, self.walls = parts, walls


@attrs.frozen
class Wall:
    """The surface variable = place between regions, above a region of the other variables."""

    variable: sympy.Symbol
    place: sympy.Expr
    others: Region

    def sign(self, expression: sympy.Expr) -> int:
        return self.others.sign(self.on(expression))

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
        found = self.wall.sign(expression)
        direction = 1
        while found == 0 and expression.has(self.wall.variable):
            expression, direction = sympy.diff(expression, self.wall.variable), direction * self.side
            found = direction * self.wall.sign(expression)
        return found


def resolved(expression: sympy.Expr, region: Signs, constants: Constants = MappingProxyType({})) -> sympy.Expr:
    """The smooth formula that an expression is in a region; `Undecided` where there are several."""
    if is_smooth(expression):
        return expression

    def sign(inner: sympy.Expr) -> int:
        return region.sign(exact(inner, constants))

    if isinstance(expression, Where):
        left, right, if_true, if_false = (expression.args[i] for i in range(1, 5))
        holds = expression.holds(sign(resolved(left, region, constants) - resolved(right, region, constants)))
        return resolved(if_true if holds else if_false, region, constants)
    arguments = [resolved(argument, region, constants) for argument in expression.args]
    if isinstance(expression, sympy.Abs):
        return sign(arguments[0]) * arguments[0]
    if isinstance(expression, sympy.sign):
        return sympy.Integer(sign(arguments[0]))
    if isinstance(expression, Maximum | Minimum):
        first, second = arguments
        larger = sign(first - second) >= 0
        return first if larger == isinstance(expression, Maximum) else second
    if isinstance(expression, Largest):
        numbers = [exact(argument, constants) for argument in arguments]
        return arguments[numbers.index(_largest(numbers, region))]
    return expression.func(*arguments)


def _largest(arguments: list[sympy.Expr], region: Signs) -> sympy.Expr:
    if isinstance(region, Region):
        for candidate in arguments:
            conditions = [_condition(candidate - other) for other in arguments if other != candidate]
            if all(condition in region.conditions for condition in conditions):
                return candidate
        choices = [[_condition(a - b) for b in arguments if a != b] for a in arguments]
        parts = region.divided(*choices)
        walls = {_normal(a - b)[0] for a in arguments for b in arguments if a != b}
        if len(parts) > 1:
            raise Undecided(parts, tuple(sorted(walls, key=str)))
    largest = arguments[0]
    for other in arguments[1:]:
        largest = other if region.sign(other - largest) > 0 else largest
    return largest


def _is_linear(expression: sympy.Expr) -> bool:
    """Whether an expression is linear, with rational coefficients."""
    if not expression.is_polynomial():
        return False
    polynomial = sympy.Poly(expression, *expression.free_symbols)
    return bool(polynomial.total_degree() == 1 and all(number.is_Rational for number in polynomial.coeffs()))


def _condition(expression: sympy.Expr) -> Condition:
    """That an expression is positive."""
    return Condition(*_normal(expression))


@functools.lru_cache(maxsize=4096)
def _normal(expression: sympy.Expr) -> tuple[sympy.Expr, int]:
    """An expression up to a factor, so that those with the same zeros are equal, and the sign of the factor."""
    content, primitive = sympy.expand(expression).as_content_primitive()
    primitive = sympy.expand(primitive)
    terms = [term.as_coeff_Mul() for term in sympy.Add.make_args(primitive) if term.free_symbols]
    is_negative = bool(min(terms, key=lambda term: str(term[1]))[0].is_negative)
    flipped = is_negative != bool(content.is_negative)
    return (-primitive if is_negative else primitive), -1 if flipped else 1


def _inequality(condition: Condition) -> str:
    """A condition in several variables, for one of them if it is linear in one."""
    above, expression = condition.sign > 0, condition.expression
    for variable in sorted(expression.free_symbols, key=str, reverse=True):
        slope = sympy.diff(expression, variable)
        if slope.is_Rational:
            return f"{variable} {'>' if above == (slope > 0) else '<'} {sympy.expand(variable - expression / slope)}"
    return f"{expression} {'>' if above else '<'} 0"


def _rational(bound: sympy.Expr) -> sympy.Rational:
    """A bound, to the digits that are enough to look beyond it."""
    return bound if bound.is_Rational else sympy.Rational(str(sympy.N(bound, 30)))
