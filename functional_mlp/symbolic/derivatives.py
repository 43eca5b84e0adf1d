"""Whether an expression is the derivative of another, piece by piece.

Space is divided at the conditions that the two expressions contain (see `functional_mlp.symbolic.regions`). In each
piece both are smooth, and their difference is shown to be 0 by algebra; where that is not found, it is evaluated at
many points with 60 digits. On the walls between pieces the derivatives from both sides are found, and what is given.
Where the pieces cannot be told in time, points of the whole space are looked at, each with the formulas of its piece.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator

import attrs
import sympy

from functional_mlp.symbolic.agreement import AGREEING, Agreement, compared
from functional_mlp.symbolic.allowance import Allowance, OutOfTime
from functional_mlp.symbolic.constants import Constants, exact
from functional_mlp.symbolic.findings import INFINITE, Kink, Refuted
from functional_mlp.symbolic.identities import is_zero, remainder
from functional_mlp.symbolic.points import At, OnWall, Point
from functional_mlp.symbolic.regions import NEGLIGIBLE, Region, Side, Signs, Undecided, Wall, resolved

BY_ALGEBRA = "by algebra"
# Where algebra does not tell: the points of a piece, and the tries to find them.
POINTS, TRIES = 400, 4000
# Pieces that an expression may have, or else points are looked at without them.
MOST_PIECES = 1000
# How much of the time that is left one piece, one wall, or the points of one claim may take.
_SHARE = 0.25


@attrs.frozen
class Claim:
    """`given` is factor · ∂value/∂variable, with letters for numbers that may be rounded, which `constants` has."""

    value: sympy.Expr
    variable: sympy.Symbol
    given: sympy.Expr
    factor: sympy.Expr = sympy.S.One
    constants: Constants = attrs.field(factory=dict, eq=False)

    @classmethod
    def of_equality(cls, expected: sympy.Expr, given: sympy.Expr, constants: Constants) -> "Claim":
        """That an expression is another: the derivative of a multiple of it by the factor."""
        factor = sympy.Dummy("factor", real=True)
        return cls(factor * expected, factor, given, constants=constants)

    @property
    def variables(self) -> tuple[sympy.Symbol, ...]:
        symbols = (self._depending.free_symbols | self.given.free_symbols | self.factor.free_symbols) | {self.variable}
        return tuple(sorted(symbols - self.constants.keys(), key=str))

    @property
    def _depending(self) -> sympy.Expr:
        """The terms of the value that the variable is in."""
        return sympy.Add(*(term for term in sympy.Add.make_args(self.value) if term.has(self.variable)))

    def resolved(self, signs: Signs) -> "Claim":
        """The claim where conditions are decided."""
        value, given = (resolved(expression, signs, self.constants) for expression in (self._depending, self.given))
        return attrs.evolve(self, value=value, given=given)

    def exact(self, expression: sympy.Expr) -> sympy.Expr:
        """An expression of it with the numbers that its constants are."""
        return exact(expression, self.constants)

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
class Holds:
    """A claim that holds: its pieces, the kinks between them, and the walls (where these are 0) not looked at.

    `searched` are the conditions whose zeros are only known from a search. Where `pieces` is one that was not divided,
    nothing is known of walls.
    """

    claim: Claim
    pieces: list[Piece]
    kinks: list[Kink]
    unseen: list[sympy.Expr]
    searched: list[sympy.Expr]


def proved(claim: Claim, time: Allowance) -> Holds:
    """How a claim holds; raises `Refuted` where it does not, and `OutOfTime` where there was none for a point."""
    algebra = time.part(_SHARE)
    try:
        parts, walls = algebra.run(lambda: _divided(claim))
    except (OutOfTime, _TooManyPieces):
        return Holds(claim, [_sampled(claim, time.part(_SHARE))], [], [], [])
    pieces = [_proved_piece(part, region, algebra, time) for part, region in parts]
    looks = {wall: _looked_at(claim, wall, algebra) for wall in walls}
    kinks = [kink for found in looks.values() for kink in found or ()]
    unseen = [wall for wall, found in looks.items() if found is None]
    searched = {expression for piece in pieces for expression in piece.region.searched}
    return Holds(claim, pieces, kinks, unseen, sorted(searched, key=str))


class _TooManyPieces(Exception):  # noqa: N818 - points are looked at then
    """A claim has more pieces than can be gone through."""


def _divided(claim: Claim) -> tuple[list[tuple[Claim, Region]], list[sympy.Expr]]:
    """The claim in each region, and the walls between them."""
    parts, walls = [], set()
    pending = [Region.everywhere(claim.variables)]
    while pending:
        region = pending.pop()
        try:
            parts.append((claim.resolved(region), region))
        except Undecided as undecided:
            pending += undecided.parts
            walls |= set(undecided.walls)
        if len(parts) + len(pending) > MOST_PIECES:
            raise _TooManyPieces
    return parts, sorted(walls, key=str)


def _proved_piece(claim: Claim, region: Region, algebra: Allowance, time: Allowance) -> Piece:
    derivative = claim.derivative
    with contextlib.suppress(OutOfTime):
        if algebra.part(0.5).run(lambda: is_zero(claim.exact(claim.given - derivative))):
            return Piece(region, claim.exact(derivative), BY_ALGEBRA)
    points = ((point, derivative, claim.given) for point in region.points(region.point, TRIES))
    method = _agreeing(points, claim.constants, region.where(), time.part(_SHARE))
    if method is None:
        expected, given = claim.exact(derivative), claim.exact(claim.given)
        raise Refuted(region.where(), None, (expected, given), given - expected)
    return Piece(region, claim.exact(derivative), method)


def _sampled(claim: Claim, time: Allowance) -> Piece:
    """What points of the whole space say, each with the formulas of its piece."""
    everywhere = Region.everywhere(claim.variables)
    derivatives: dict[Claim, sympy.Expr] = {}

    def formulas() -> Iterator[tuple[Point, sympy.Expr, sympy.Expr]]:
        for point in everywhere.points(None, TRIES):
            try:
                part = claim.resolved(At(point))
            except OnWall:
                continue
            if part not in derivatives:
                derivatives[part] = part.derivative
            yield point, derivatives[part], part.given

    method = _agreeing(formulas(), claim.constants, "", time)
    if method is None:
        raise ValueError("no point was found that lies within a piece")
    return Piece(everywhere, claim.derivative, f"{method} in {len(derivatives)} pieces")


def _agreeing(
    formulas: Iterator[tuple[Point, sympy.Expr, sympy.Expr]], constants: Constants, where: str, time: Allowance
) -> str | None:
    """How well what is given agrees with what is expected, at how many points; None where there are none."""
    agreements: list[Agreement] = []
    wrong: list[Refuted] = []

    def look() -> None:
        for point, expected, given in itertools.islice(formulas, POINTS):
            found = compared(expected, given, point, constants)
            if found.agreement is Agreement.NONE:
                wrong.append(Refuted(where, point, (found.expected, found.given), exact(given - expected, constants)))
                return
            agreements.append(found.agreement)

    try:
        time.run(look)
    except OutOfTime:
        if not agreements and not wrong:
            raise
    if wrong:
        raise wrong[0]
    if not agreements:
        return None
    is_exact = min(agreements) is Agreement.TO_DIGITS
    return f"to {f'1e-{AGREEING}' if is_exact else 'the rounding of its constants'} at {len(agreements)} points"


def _looked_at(claim: Claim, wall: sympy.Expr, time: Allowance) -> list[Kink] | None:
    """The kinks that lie where an expression is 0; None where no formula says where that is, or not in time."""
    try:
        return time.run(lambda: _at_wall(claim, wall))
    except OutOfTime:
        return None


def _at_wall(claim: Claim, wall: sympy.Expr) -> list[Kink] | None:
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
    _refute_unless_equal(wall.on(at.derivative), wall.on(at.given), claim, wall)


def _kink(claim: Claim, wall: Wall) -> Kink | None:
    """What happens across a wall; None where the derivative is the same on both sides, and given."""
    left, right = (claim.resolved(Side(wall, side)) for side in (-1, 1))
    at = claim.resolved(wall)
    from_left, from_right = (_beside(one.value, wall, side) for one, side in ((left, "-"), (right, "+")))
    slopes = [_beside(one.derivative, wall, side) for one, side in ((left, "-"), (right, "+"))]
    value, given = wall.on(at.value), wall.on(at.given)
    is_finite = not any(one.has(sympy.nan, *INFINITE) for one in (from_left, from_right, value))
    is_continuous = is_finite and not any(_wrong_on(wall, from_left, one, claim) for one in (from_right, value))
    if is_continuous:
        is_steep = any(slope.has(*INFINITE) for slope in slopes)
        if not is_steep and _wrong_on(wall, slopes[0], slopes[1], claim) is None:
            _refute_unless_equal(slopes[0], given, claim, wall)
            return None
        if given.has(sympy.nan) or (given.has(*INFINITE) and not is_steep):
            _refute_unless_equal(slopes[0], given, claim, wall)
        gaps = claim.exact((given - slopes[0]) * (slopes[1] - given))
        if not is_steep and not is_zero(gaps) and wall.others.sign(gaps) < 0:
            _refute_unless_equal(slopes[0], given, claim, wall)
    jump = sympy.S.Zero
    if not is_continuous:
        jumped = [one for one in (from_right, value) if _wrong_on(wall, from_left, one, claim)] if is_finite else []
        jump = remainder(claim.exact(jumped[0] - from_left)) if jumped else sympy.nan
    left_slope, right_slope, between = (remainder(claim.exact(slope)) for slope in (*slopes, given))
    return Kink(wall.variable, wall.place, left_slope, right_slope, between, jump)


def _beside(expression: sympy.Expr, wall: Wall, side: str) -> sympy.Expr:
    """What an expression comes to as the wall is neared from a side: s^1.5 / s is 0 at 0."""
    there = wall.on(expression)
    if not there.has(sympy.nan, *INFINITE):
        return there
    try:
        return sympy.limit(expression, wall.variable, wall.place, side)
    except (ArithmeticError, NotImplementedError, ValueError):  # sympy knows of no limit
        return there


def _refute_unless_equal(expected: sympy.Expr, given: sympy.Expr, claim: Claim, wall: Wall) -> None:
    wrong = _wrong_on(wall, expected, given, claim)
    if wrong is not None:
        raise wrong


def _wrong_on(wall: Wall, expected: sympy.Expr, given: sympy.Expr, claim: Claim) -> Refuted | None:
    """Where on a wall two formulas differ; None where no such point is found."""
    error = claim.exact(given - expected)
    if is_zero(error) or (wall.place.is_Float and error.is_Float and abs(error) <= NEGLIGIBLE):
        return None
    points = wall.others.points(wall.others.point, TRIES)
    for point in itertools.islice(points, POINTS if wall.others.variables else 1):
        found = compared(expected, given, point, claim.constants)
        if found.agreement is Agreement.NONE:
            where = "" if wall.place.is_number else f"where {wall.variable} = {wall.place}, "
            at = {wall.variable: wall.place.subs(point), **point}
            return Refuted(where, at, (found.expected, found.given), error)
    return None
