"""Points at which conditions hold."""

import functools
import random
from collections.abc import Iterator

import attrs
import sympy

from functional_mlp.symbolic.conditions import Condition
from functional_mlp.symbolic.points import Point, random_point, sign_at
from functional_mlp.symbolic.reach import OutOfReach

# How often each variable of a point is moved to where the conditions want it, given the others.
_SWEEPS = 3

# From which attempt on, and how far out, two of 16 points may lie: what is wrong for large numbers alone is seen there.
# The farthest come late: exp(exp(s)) takes seconds there, to a million digits.
_FAR = {2: (16, 2**10), 11: (256, 2**20)}

_Range = tuple[sympy.Rational | None, sympy.Rational | None]


@attrs.frozen
class _Bound:
    """What a condition says about a variable given the others: it lies above or below −rest / slope."""

    slope: sympy.Expr
    rest: sympy.Expr
    sign: int

    @property
    def is_fixed(self) -> bool:
        """Whether the others do not matter."""
        return bool(self.slope.is_number and self.rest.is_number)

    def at(self, point: Point) -> tuple[sympy.Rational, bool] | None:
        """The bound, and whether the variable lies above it; None where the condition says nothing."""
        slope, rest = _rational(self.slope.xreplace(dict(point))), _rational(self.rest.xreplace(dict(point)))
        return None if slope is None or rest is None or slope == 0 else (-rest / slope, (slope > 0) == (self.sign > 0))


@attrs.frozen(slots=False)
class Sampler:
    """Points of the space of some variables at which conditions hold, and some expressions are not 0."""

    variables: tuple[sympy.Symbol, ...]
    conditions: tuple[Condition, ...]
    nonzero: frozenset[sympy.Expr] = frozenset()

    def contains(self, point: Point) -> bool:
        try:
            meets_all = all(condition.holds(point) for condition in self.conditions)
            return meets_all and all(sign_at(expression, point) for expression in self.nonzero)
        except OutOfReach:
            return False

    def points(self, start: Point | None, tries: int) -> Iterator[Point]:
        """The points that a number of tries finds: near and far ones, and those right beyond a bound."""
        source = random.Random(0)
        for attempt in range(tries):
            point = random_point(self.variables, source, _scale(attempt), whole=attempt < 16)
            if start is not None and attempt % 8 >= 4:
                point = {v: point[v] if v.is_integer else point[v] / 8 + start[v] for v in self.variables}
            bounded = self.within_bounds(point, source, sympy.S.One if attempt < 16 else sympy.Rational(1, 8))
            if self.contains(bounded):
                start = bounded if start is None or attempt % 3 == 0 else start
                yield bounded

    def within_bounds(self, point: Point, source: random.Random, step: sympy.Rational = sympy.S.One) -> Point:
        """The point with each variable moved between its bounds, or beyond one of them by a step at least."""
        moved = dict(point)
        for _ in range(_SWEEPS):
            for variable, value in point.items():
                low, high = self._range(variable, moved)
                if variable.is_integer:
                    moved[variable] = _whole_between(low, high, moved[variable], source)
                elif low is not None and high is not None:
                    share = sympy.Rational(source.randint(1, 63), 64)
                    moved[variable] = low + share * (high - low)
                elif low is not None:
                    moved[variable] = low + abs(value) + step
                elif high is not None:
                    moved[variable] = high - abs(value) - step
            if self._has_only_fixed_bounds:
                break
        return moved

    def _range(self, variable: sympy.Symbol, point: Point) -> _Range:
        """The largest lower and the smallest upper bound of a variable, given the others."""
        fixed, moving = self._bounds.get(variable, ((None, None), []))
        found = [place for bound in moving if (place := bound.at(point)) is not None]
        low, high = _narrowed(fixed, found)
        return fixed if low is not None and high is not None and low >= high else (low, high)

    @functools.cached_property
    def _has_only_fixed_bounds(self) -> bool:
        return not any(moving for _, moving in self._bounds.values())

    @functools.cached_property
    def _bounds(self) -> dict[sympy.Symbol, tuple[_Range, list[_Bound]]]:
        """For each variable the range in which it is whatever the others are, and the bounds that depend on those."""
        bounds: dict[sympy.Symbol, list[_Bound]] = {}
        for condition in self.conditions:
            for variable in sorted(condition.expression.free_symbols, key=str):
                slope = sympy.diff(condition.expression, variable)
                if not slope.has(variable):
                    rest = sympy.expand(condition.expression - slope * variable)
                    bounds.setdefault(variable, []).append(_Bound(slope, rest, condition.sign))
        return {
            variable: (
                _narrowed((None, None), [place for one in some if one.is_fixed and (place := one.at({})) is not None]),
                [one for one in some if not one.is_fixed],
            )
            for variable, some in bounds.items()
        }


def _scale(attempt: int) -> int:
    """How far from 0 the point of an attempt may lie."""
    first, far = _FAR.get(attempt % 16, (0, 0))
    return far if far and attempt >= first else (1, 4, 16, 64)[attempt % 4]


def _narrowed(outer: _Range, places: list[tuple[sympy.Rational, bool]]) -> _Range:
    """A range within another between places, of which each is a lower bound or an upper one."""
    low, high = outer
    for place, is_low in places:
        if is_low:
            low = place if low is None else max(low, place)
        else:
            high = place if high is None else min(high, place)
    return low, high


def _whole_between(
    low: sympy.Rational | None, high: sympy.Rational | None, value: sympy.Integer, source: random.Random
) -> sympy.Integer:
    first = value if low is None else sympy.floor(low) + 1
    last = max(first, value) if high is None else sympy.ceiling(high) - 1
    first = min(first, last) if low is None else first
    return sympy.Integer(source.randint(int(first), int(last))) if first <= last else value


def _rational(number: sympy.Expr) -> sympy.Rational | None:
    """A number, to the digits that are enough to look beyond it; None where it is no real one."""
    if number.is_Rational:
        return number
    digits = sympy.N(number, 60)  # those of a zero that was searched for: two may be near to each other
    return sympy.Rational(str(digits)) if digits.is_Float else None
