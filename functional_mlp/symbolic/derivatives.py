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
from functional_mlp.symbolic.findings import Kink, Refuted
from functional_mlp.symbolic.identities import is_zero, remainder
from functional_mlp.symbolic.nodes import NoRealNumber
from functional_mlp.symbolic.points import At, OnWall, Point
from functional_mlp.symbolic.regions import Region, Signs, Undecided, regions_where
from functional_mlp.symbolic.resolving import real, resolved
from functional_mlp.symbolic.walls import INFINITE, NEGLIGIBLE, Side, Wall

BY_ALGEBRA = "by algebra"
NO_NUMBER = "the value is no real number"
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
        value, given = (
            real(resolved(expression, signs, self.constants), self.variable, signs, self.constants)
            for expression in (self._depending, self.given)
        )
        return attrs.evolve(self, value=value, given=given)

    def exact(self, expression: sympy.Expr) -> sympy.Expr:
        """An expression of it with the numbers that its constants are."""
        return exact(expression, self.constants)

    @property
    def derivative(self) -> sympy.Expr:
        return sympy.nan if self.value is sympy.nan else self.factor * sympy.diff(self.value, self.variable)


@attrs.frozen
class Piece:
    """A region in which a claim holds, what the derivative is there, and how that is known."""

    region: Region
    derivative: sympy.Expr
    method: str


@attrs.frozen
class Holds:
    """A claim that holds: its pieces, the kinks between them, and the walls (where these are 0) not looked at.

    `searched` are the conditions whose zeros are only known from a search. Where space was not divided, nothing is
    known of walls, and points of one piece of all speak for it.
    """

    claim: Claim
    pieces: list[Piece]
    kinks: list[Kink] = attrs.field(factory=list)
    unseen: list[sympy.Expr] = attrs.field(factory=list)
    searched: list[sympy.Expr] = attrs.field(factory=list)
    is_divided: bool = True


def proved(claim: Claim, time: Allowance) -> Holds:
    """How a claim holds; raises `Refuted` where it does not, and `OutOfTime` where there was none for a point."""
    algebra = time.part(_SHARE)
    try:
        parts, walls = algebra.run(lambda: _divided(claim))
    except (OutOfTime, _TooManyPieces):
        return Holds(claim, [_sampled(claim, time.part(_SHARE))], is_divided=False)
    pieces = [_proved_piece(part, region, algebra, time) for part, region in parts]
    if all(piece.method == NO_NUMBER for piece in pieces):
        raise ValueError("the value is nowhere a real number")
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
    if derivative is sympy.nan:
        return Piece(region, derivative, NO_NUMBER)
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
            if part.value is sympy.nan:
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
    except (OutOfTime, NoRealNumber):
        return None


def _at_wall(claim: Claim, expression: sympy.Expr) -> list[Kink] | None:
    crosses = claim.variable in expression.free_symbols
    for variable in [claim.variable] if crosses else sorted(expression.free_symbols, key=str):
        walls = _walls(expression, variable, {*claim.variables, *expression.free_symbols} - {variable})
        if walls is not None:
            look = _kink if crosses else _along
            return [kink for wall in walls for kink in _everywhere(look, claim, wall) if kink is not None]
    return None


def _walls(expression: sympy.Expr, variable: sympy.Symbol, others: set[sympy.Symbol]) -> list[Wall] | None:
    """Where an expression is 0 as formulas for a variable in the others; None where it has none."""
    if not expression.is_polynomial(variable):
        return None
    rest = tuple(sorted(others, key=str))
    first, *coefficients = sympy.Poly(expression, variable).all_coeffs()
    if len(coefficients) == 1:
        place = sympy.expand(-coefficients[0] / first)
        return [Wall(variable, place, region) for sign in (1, -1) for region in regions_where(first, sign, rest)]
    if len(coefficients) == 2 and first.is_number:
        middle, square = -coefficients[0] / (2 * first), coefficients[0] ** 2 / (4 * first**2) - coefficients[1] / first
        spaces = regions_where(sympy.expand(square), 1, rest)
        return [Wall(variable, middle + sign * sympy.sqrt(square), space) for space in spaces for sign in (-1, 1)]
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
    sides = [Side(wall, side) for side in (-1, 1)]
    left, right = (claim.resolved(side) for side in sides)
    if left.value is right.value is sympy.nan:
        return None
    at = claim.resolved(wall)
    from_left, from_right = (side.limit(one.value) for side, one in zip(sides, (left, right), strict=True))
    slopes = [side.limit(one.derivative) for side, one in zip(sides, (left, right), strict=True)]
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
    return Kink(wall.variable, wall.place, wall.others, left_slope, right_slope, between, jump)


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
