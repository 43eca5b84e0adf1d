"""Whether an expression is the derivative of another, piece by piece.

Space is divided at the conditions that the two expressions contain (see `functional_mlp.symbolic.regions`). In each
piece both are smooth, and their difference is shown to be 0 by algebra; where that is not found, it is evaluated at
many points with 60 digits. On the walls between pieces the derivatives from both sides are found, and what is given.
"""

import itertools
from collections.abc import Callable, Iterator

import attrs
import sympy

from functional_mlp.symbolic.identities import is_zero, remainder
from functional_mlp.symbolic.regions import Point, Region, Side, Signs, Undecided, Wall, resolved

BY_ALGEBRA = "by algebra"
# Where algebra does not tell: the points of a piece, the tries to find them, the digits, and those that must agree.
POINTS, TRIES, DIGITS, AGREEING = 400, 4000, 60, 50
# Pieces that an expression may have.
MOST_PIECES = 1000
_INFINITE = (sympy.zoo, sympy.oo, -sympy.oo)


@attrs.frozen
class Claim:
    """`given` is factor · ∂value/∂variable."""

    value: sympy.Expr
    variable: sympy.Symbol
    given: sympy.Expr
    factor: sympy.Expr = sympy.S.One

    @classmethod
    def of_equality(cls, expected: sympy.Expr, given: sympy.Expr) -> "Claim":
        """That an expression is another: the derivative of a multiple of it by the factor."""
        factor = sympy.Dummy("factor", real=True)
        return cls(factor * expected, factor, given)

    @property
    def variables(self) -> tuple[sympy.Symbol, ...]:
        symbols = (self._depending.free_symbols | self.given.free_symbols | self.factor.free_symbols) | {self.variable}
        return tuple(sorted(symbols, key=str))

    @property
    def _depending(self) -> sympy.Expr:
        """The terms of the value that the variable is in."""
        return sympy.Add(*(term for term in sympy.Add.make_args(self.value) if term.has(self.variable)))

    def resolved(self, signs: Signs) -> "Claim":
        """The claim where conditions are decided."""
        value, given = resolved(self._depending, signs), resolved(self.given, signs)
        return attrs.evolve(self, value=value, given=given)

    @property
    def derivative(self) -> sympy.Expr:
        return self.factor * sympy.diff(self.value, self.variable)


@attrs.frozen
class Piece:
    """A region in which a claim holds, what the derivative is there, and how that is known."""

    region: Region
    derivative: sympy.Expr
    method: str


@attrs.frozen
class Kink:
    """Where the derivatives from both sides differ, or the value jumps, and what is given there."""

    variable: sympy.Symbol
    place: sympy.Expr
    left: sympy.Expr
    right: sympy.Expr
    given: sympy.Expr
    jump: sympy.Expr

    def __str__(self) -> str:
        sides = f"{self.left} on the left, {self.right} on the right, {self.given} given"
        sides = f"at {self.variable} = {self.place}: {sides}"
        return f"{sides}; the value jumps by {self.jump}" if self.jump != 0 else sides


class Refuted(Exception):  # noqa: N818 - what came out
    """A claim is wrong: in a region, at a point of it, with both values, and by what formula.

    Without a point it is neither proved nor refuted there.
    """

    def __init__(
        self, where: str, point: Point | None, expected: sympy.Expr, given: sympy.Expr, residual: sympy.Expr
    ) -> None:
        rest = f"what is given less what it is comes to {residual}"
        if point is None:
            super().__init__(f"{where}it cannot be told from what is given, and no point was found to try: {rest}")
            return
        symbols = {symbol: value for symbol, value in point.items() if not isinstance(symbol, sympy.Dummy)}
        at = ", ".join(f"{symbol} = {value}" for symbol, value in symbols.items())
        compared = f"it is {_digits(expected)}, and {_digits(given)} is given"
        super().__init__(f"{where}{f'at {at} ' if at else ''}{compared}: {rest}")


@attrs.frozen
class Holds:
    """A claim that holds: its pieces, the kinks between them, and the walls (where these are 0) not looked at.

    `searched` are the conditions whose zeros are only known from a search.
    """

    claim: Claim
    pieces: list[Piece]
    kinks: list[Kink]
    unseen: list[sympy.Expr]
    searched: list[sympy.Expr]


def proved(claim: Claim) -> Holds:
    """How a claim holds; raises `Refuted` where it does not."""
    pieces, walls = [], set()
    pending = [Region.everywhere(claim.variables)]
    while pending:
        region = pending.pop()
        try:
            pieces.append(_proved_piece(claim.resolved(region), region))
        except Undecided as undecided:
            pending += undecided.parts
            walls |= set(undecided.walls)
        if len(pieces) + len(pending) > MOST_PIECES:
            raise ValueError(f"there are more than {MOST_PIECES} pieces: prove it for fewer outputs")
    looks = {wall: _at_wall(claim, wall) for wall in sorted(walls, key=str)}
    kinks = [kink for found in looks.values() for kink in found or ()]
    unseen = [wall for wall, found in looks.items() if found is None]
    searched = {expression for piece in pieces for expression in piece.region.searched}
    return Holds(claim, pieces, kinks, unseen, sorted(searched, key=str))


def _proved_piece(claim: Claim, region: Region) -> Piece:
    derivative = claim.derivative
    if is_zero(claim.given - derivative):
        return Piece(region, derivative, BY_ALGEBRA)
    points = list(itertools.islice(region.points(region.point, TRIES), POINTS))
    for point in points:
        expected, given = (expression.subs(point).evalf(DIGITS, maxn=5000) for expression in (derivative, claim.given))
        if not _agree(expected, given):
            raise Refuted(region.where(), point, expected, given, remainder(claim.given - claim.derivative))
    if not points:
        raise Refuted(region.where(), None, derivative, claim.given, remainder(claim.given - derivative))
    return Piece(region, derivative, f"to 1e-{AGREEING} at {len(points)} points")


def _agree(a: sympy.Expr, b: sympy.Expr) -> bool:
    if not (a.is_finite and b.is_finite):
        return bool(a == b)
    return bool(abs(a - b) <= sympy.Float(f"1e-{AGREEING}") * max(abs(a), abs(b)))


def _digits(number: sympy.Expr) -> str:
    return str(sympy.N(number, 15))


def _at_wall(claim: Claim, wall: sympy.Expr) -> list[Kink] | None:
    """The kinks that lie where an expression is 0; None where no formula says where that is."""
    for variable in sorted(wall.free_symbols & set(claim.variables), key=lambda v: (v != claim.variable, str(v))):
        slope = sympy.diff(wall, variable)
        if slope.is_number and slope != 0:
            place = sympy.expand(variable - wall / slope)
            others = Region.everywhere(tuple(v for v in claim.variables if v != variable))
            look = _kink if variable == claim.variable else _along
            return [kink for kink in _everywhere(look, claim, Wall(variable, place, others)) if kink is not None]
    return None


def _everywhere(look: Callable[[Claim, Wall], Kink | None], claim: Claim, wall: Wall) -> Iterator[Kink | None]:
    """What is seen at each part of a wall."""
    pending = [wall]
    while pending:
        part = pending.pop()
        try:
            yield look(claim, part)
        except Undecided as undecided:
            pending += [attrs.evolve(part, others=others) for others in undecided.parts]


def _along(claim: Claim, wall: Wall) -> None:
    """The claim holds within a wall that does not cross the variable."""
    at = claim.resolved(wall)
    place = {wall.variable: wall.place}
    _refute_unless_equal(at.derivative.subs(place), at.given.subs(place), wall)


def _kink(claim: Claim, wall: Wall) -> Kink | None:
    """What happens across a wall; None where the derivative is the same on both sides, and given."""
    place = {wall.variable: wall.place}
    left, right = (claim.resolved(Side(wall, side)) for side in (-1, 1))
    at = claim.resolved(wall)
    from_left, from_right, value = (one.value.subs(place) for one in (left, right, at))
    slopes = [_beside(one.derivative, wall, side) for one, side in ((left, "-"), (right, "+"))]
    given = at.given.subs(place)
    if is_zero(from_left - from_right) and is_zero(from_left - value):
        if is_zero(slopes[0] - slopes[1]):
            _refute_unless_equal(slopes[0], given, wall)
            return None
        is_steep = any(slope.has(*_INFINITE) for slope in slopes)
        if given.has(sympy.nan) or (given.has(*_INFINITE) and not is_steep):
            _refute_unless_equal(slopes[0], given, wall)
        between = (given - slopes[0]) * (slopes[1] - given)
        if not is_steep and not is_zero(between) and wall.others.sign(between) < 0:
            _refute_unless_equal(slopes[0], given, wall)
    jump = remainder(from_right - from_left) or remainder(value - from_left)
    return Kink(wall.variable, wall.place, remainder(slopes[0]), remainder(slopes[1]), remainder(given), jump)


def _beside(expression: sympy.Expr, wall: Wall, side: str) -> sympy.Expr:
    """What an expression comes to as the wall is neared from a side: s^1.5 / s is 0 at 0."""
    there = expression.subs(wall.variable, wall.place)
    if not there.has(sympy.nan, *_INFINITE):
        return there
    try:
        return sympy.limit(expression, wall.variable, wall.place, side)
    except (ArithmeticError, NotImplementedError, ValueError):  # sympy knows of no limit
        return there


def _refute_unless_equal(expected: sympy.Expr, given: sympy.Expr, wall: Wall) -> None:
    if is_zero(given - expected):
        return
    for point in itertools.islice(wall.others.points(wall.others.point, TRIES), POINTS):
        expected_there, given_there = (e.subs(point).evalf(DIGITS, maxn=5000) for e in (expected, given))
        if not _agree(expected_there, given_there):
            where = "" if wall.place.is_number else f"where {wall.variable} = {wall.place}, "
            at = {wall.variable: wall.place.subs(point), **point}
            raise Refuted(where, at, expected_there, given_there, remainder(given - expected))
