"""Where which condition of an expression holds: the parts of space in which it is one smooth formula.

`Region.sign` says which sign an expression has throughout a region, and `Region.floor` which whole number lies below
it. Where there are several, `Undecided` comes with the smaller regions in which there is one: whoever asked looks at
each of them by itself. So space is divided at the conditions that an expression contains, and at no others.
"""

import functools
import random
from collections.abc import Iterator
from typing import Any, Protocol

import attrs
import sympy
from sympy.solvers.simplex import linprog

from functional_mlp.symbolic.bounds import sign_within, zeros_within
from functional_mlp.symbolic.conditions import Condition, normal
from functional_mlp.symbolic.identities import is_zero
from functional_mlp.symbolic.nodes import sign_of_number
from functional_mlp.symbolic.points import Point, sign_at
from functional_mlp.symbolic.roots import real_roots
from functional_mlp.symbolic.sampling import Sampler
from functional_mlp.symbolic.turning import turning
from functional_mlp.symbolic.words import in_words

# Points that are tried before a region is taken to have none.
_FEW_TRIES, _TRIES = 8, 400
EVERYWHERE = "everywhere"


class Signs(Protocol):
    """What decides conditions."""

    def sign(self, expression: sympy.Expr) -> int: ...

    def vanishes(self, expression: sympy.Expr) -> bool: ...

    def floor(self, expression: sympy.Expr) -> sympy.Expr: ...


@attrs.frozen(repr=False, slots=False)
class Region:
    """An open part of the space of some real variables; `point` lies in it, and is None where none was found.

    `searched` are the expressions whose zeros are only known from a search. `nonzero` are those that are 0 in thinner
    parts alone, surfaces or lines, which are left out. `floors` are expressions, each with the
    symbol of the whole number that lies below it in the region, whichever that is: a variable more.
    """

    variables: tuple[sympy.Symbol, ...]
    conditions: tuple[Condition, ...] = ()
    point: Any = attrs.field(default=None, eq=False)
    searched: frozenset[sympy.Expr] = frozenset()
    nonzero: frozenset[sympy.Expr] = frozenset()
    floors: tuple[tuple[sympy.Expr, sympy.Symbol], ...] = ()

    @classmethod
    def everywhere(cls, variables: tuple[sympy.Symbol, ...], *conditions: Condition) -> "Region":
        """All of space, of variables that have a sign the part with it, or where some conditions hold."""
        signs = ((variable, 1 if variable.is_positive else -1) for variable in variables if variable.is_nonzero)
        whole = cls(variables, (*(Condition(variable, sign) for variable, sign in signs), *conditions))
        return attrs.evolve(whole, point=whole.find_point(None))

    def sign(self, expression: sympy.Expr) -> int:
        if expression.is_number:
            return sign_of_number(expression)
        if expression.is_positive or expression.is_negative:
            return 1 if expression.is_positive else -1
        by_form = self._sign_by_form(expression)
        if by_form:
            return by_form
        if is_zero(expression):
            return 0
        if len(expression.free_symbols) == 1:
            return self._sign_on_a_line(expression, *expression.free_symbols)
        # Where there are bounds for some variables, the sign may be seen by the form.
        parts = sorted(turning(expression), key=lambda part: len(part.free_symbols))
        signs = [self.sign(part) if len(part.free_symbols) == 1 else self._side(part) for part in parts]
        if len(parts) == 1 and normal(expression)[0] == normal(parts[0])[0]:
            return signs[0] * normal(expression)[1] * normal(parts[0])[1]
        if self.point is None:
            raise NoPoint(self)
        return sign_at(expression, self.point)

    def vanishes(self, expression: sympy.Expr) -> bool:
        """Whether an expression is 0 throughout the region; where it is in thinner parts alone, these are left out."""
        if expression.is_number:
            return sign_of_number(expression) == 0
        if expression.is_nonzero or self._sign_by_form(expression):
            return False
        if is_zero(expression):
            return True
        known = {condition.expression for condition in self.conditions}
        if len(expression.free_symbols) == 1:
            (variable,) = expression.free_symbols
            roots = self._known_roots(expression, variable)
            walls = [sympy.expand(variable - root) for root in roots]
        else:
            walls = list(turning(expression))
        self._leave_out(expression, tuple(wall for wall in walls if normal(wall)[0] not in known))
        return False

    def _sign_by_form(self, expression: sympy.Expr) -> int:
        """The sign of what is 0 at most where several variables are; these parts are left out."""
        if len(expression.free_symbols) == 1:
            return 0  # its zeros are points, between which there are pieces
        sign = sign_within(expression, self.bounds)
        if sign and expression not in self.nonzero:
            self._leave_out(expression, zeros_within(expression, self.bounds))
        return sign

    def _leave_out(self, expression: sympy.Expr, walls: tuple[sympy.Expr, ...]) -> None:
        """Go on without the parts in which one of some expressions is 0, and with them another."""
        if walls and expression not in self.nonzero:
            without = attrs.evolve(self, nonzero=self.nonzero | {expression}, point=None)
            raise Undecided([attrs.evolve(without, point=without.find_point(self.point))], walls)

    def _known_roots(self, expression: sympy.Expr, variable: sympy.Symbol) -> tuple[sympy.Expr, ...]:
        roots = real_roots(expression, variable)
        if not roots.known and expression not in self.searched:
            raise Undecided([attrs.evolve(self, searched=self.searched | {expression})], ())
        return roots.places

    def _sign_on_a_line(self, expression: sympy.Expr, variable: sympy.Symbol) -> int:
        for root in self._known_roots(expression, variable):
            self._side(sympy.expand(variable - root))
        return sign_at(expression, self.point or self._on_the_line_of(variable))

    def _on_the_line_of(self, variable: sympy.Symbol) -> Point:
        return {variable: self._sampler.within_bounds({variable: sympy.Integer(1)}, random.Random(0))[variable]}

    def _side(self, expression: sympy.Expr) -> int:
        """The sign of an expression that may be 0 on a surface; that it is 0 nowhere is not known otherwise."""
        expression, flipped = normal(expression)
        for condition in self.conditions:
            if condition.expression == expression:
                return flipped * condition.sign
        parts = self.divided([Condition(expression, 1)], [Condition(expression, -1)])
        if parts == [self]:
            raise NoPoint(self)
        if len(parts) == 1 and not any(condition.is_impossible for condition in _both_sides(expression)):
            return flipped * parts[0].conditions[-1].sign
        raise Undecided(parts, (expression,))

    def floor(self, expression: sympy.Expr) -> sympy.Expr:
        """The whole number below an expression: the same one throughout the region, and a symbol where it is any."""
        if expression.is_number:
            return sympy.floor(expression)
        known = dict(self.floors)
        if expression not in known:
            number = sympy.Symbol(f"n{len(self.floors) + 1}" if self.floors else "n", integer=True)
            with_number = attrs.evolve(
                self, variables=(*self.variables, number), floors=(*self.floors, (expression, number))
            )
            between = [Condition.positive(expression - number), Condition.positive(number + 1 - expression)]
            raise Undecided(with_number.divided(between), (between[0].expression,))
        return known[expression]

    def divided(self, *choices: list[Condition]) -> "list[Region]":
        """The regions that are not empty of those where one list of conditions holds."""
        parts = [attrs.evolve(self, conditions=(*self.conditions, *choice), point=None) for choice in choices]
        placed = [attrs.evolve(part, point=part.find_point(self.point)) for part in parts]
        return [part for part in placed if part.point is not None or not part.is_empty()] or [self]

    @functools.cached_property
    def _sampler(self) -> Sampler:
        return Sampler(self.variables, self.conditions, self.nonzero)

    def points(self, start: Point | None, tries: int) -> Iterator[Point]:
        """Points of the region that a number of tries finds."""
        return self._sampler.points(start, tries)

    def contains(self, point: Point) -> bool:
        return point.keys() >= set(self.variables) and self._sampler.contains(point)

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
        """Whether the conditions leave no room, for sure: linear ones together, others of degree 2 each by itself."""
        return self._has_no_room() or self._roomiest[0] <= 0

    def _has_no_room(self) -> bool:
        """Whether the bounds of one variable leave none, or one condition by itself."""
        for low, high in map(self.bounds, self.variables):
            if low is not None and high is not None and sign_of_number(high - low) <= 0:
                return True
        return any(condition.is_impossible for condition in self.conditions)

    @functools.cached_property
    def _roomiest(self) -> tuple[sympy.Expr, Point | None]:
        """How far one can be, up to 1, within the linear conditions, and where; exactly, by linear programming.

        The least r ≥ 0 with a·x + b ≥ 1 − r for each condition, where x is the difference of two vectors ≥ 0.
        """
        linear = [condition for condition in self.conditions if condition.is_linear]
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
        places = [
            sympy.sympify(above - below) for above, below in zip(found[:count], found[count : 2 * count], strict=True)
        ]
        is_whole = all(place.is_Integer for v, place in zip(self.variables, places, strict=True) if v.is_integer)
        return 1 - missing, dict(zip(self.variables, places, strict=True)) if is_whole else None

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
        words = str(self).removeprefix(EVERYWHERE).strip()
        return words and f"{'' if words.startswith('for') else 'where '}{words}, "

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
            high = None if high == 0 and variable.is_negative else high
            if low is not None and high is not None:
                texts.append(f"{in_words(low)} < {variable} < {in_words(high)}")
            elif low is not None or high is not None:
                texts.append(f"{variable} > {in_words(low)}" if high is None else f"{variable} < {in_words(high)}")
        others = [condition for condition in self.conditions if len(condition.expression.free_symbols) > 1]
        texts += dict.fromkeys(map(str, others))
        whole = [str(variable) for variable in self.variables if variable.is_integer]
        numbers = f" for whole {', '.join(whole)}" if whole else ""
        return (" and ".join(texts) or EVERYWHERE) + numbers


def _both_sides(expression: sympy.Expr) -> tuple[Condition, Condition]:
    return Condition(expression, 1), Condition(expression, -1)


class NoPoint(ValueError):  # noqa: N818 - a region may well have none
    """No point of a region was found, which may be empty."""

    def __init__(self, region: Region) -> None:
        super().__init__(f"no point was found where {region}")
        self.region = region


class Undecided(Exception):  # noqa: N818 - no error, but a question with its answers
    """An expression has several signs in a region: the regions in which it has one, and the walls between them."""

    parts: list[Region]
    walls: tuple[Any, ...]

    def __init__(self, parts: list[Region], walls: tuple[sympy.Expr, ...]) -> None:
        super().__init__(str(walls))
        self.parts, self.walls = parts, walls


def regions_where(
    expression: sympy.Expr, sign: int, variables: tuple[sympy.Symbol, ...], *conditions: Condition
) -> list[Region]:
    """The regions within some conditions in which an expression has a sign.

    >>> s = sympy.Symbol("s", real=True)
    >>> [str(region) for region in regions_where(1 - s**2, 1, (s,))]
    ['-1 < s < 1']
    """
    found, pending = [], [Region.everywhere(variables, *conditions)]
    while pending:
        region = pending.pop()
        try:
            found += [region] if region.sign(expression) == sign else []
        except Undecided as undecided:
            pending += undecided.parts
    return found
