"""Whether an expression is the derivative of another, piece by piece.

Space is divided at the conditions that the two expressions contain (see `functional_mlp.symbolic.regions`). In each
piece both are smooth, and their difference is shown to be 0 by algebra; where that is not found, it is evaluated at
many points with 60 digits. On the walls between pieces the derivatives from both sides are found, and what is given.
Where the pieces cannot be told in time, points of the whole space are looked at, each with the formulas of its piece.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import attrs
import sympy

from functional_mlp.symbolic.allowance import Allowance, OutOfTime
from functional_mlp.symbolic.comparing import TRIES, Comparing
from functional_mlp.symbolic.findings import Kink, Refuted
from functional_mlp.symbolic.identities import is_zero
from functional_mlp.symbolic.kinks import looked_at
from functional_mlp.symbolic.points import At, OnWall, Point, sign_at
from functional_mlp.symbolic.regions import NoPoint, Region, Undecided
from functional_mlp.symbolic.slopes import Claim

BY_ALGEBRA = "by algebra"
NO_NUMBER = "the value is no real number"
# Pieces that an expression may have, or else points are looked at without them.
MOST_PIECES = 1000
# How much of the time that is left algebra may take, and the first look at the points of one piece.
_SHARE = 0.25


@attrs.frozen
class Piece:
    """A region in which a claim holds, what the derivative is there, and how that is known."""

    region: Region
    derivative: sympy.Expr
    method: Any


@attrs.frozen
class Holds:
    """A claim that holds: its pieces, the kinks between them, and the walls (where these are 0) not looked at.

    `blank` are regions of which no point was found, and that are taken to be empty.
    `searched` are the conditions whose zeros are only known from a search. Where space was not divided, nothing is
    known of walls, and points of one piece of all speak for it.
    """

    claim: Claim
    pieces: list[Piece]
    kinks: list[Kink] = attrs.field(factory=list)
    unseen: list[sympy.Expr] = attrs.field(factory=list)
    searched: list[sympy.Expr] = attrs.field(factory=list)
    blank: list[Region] = attrs.field(factory=list)
    is_divided: bool = True


def proved(claim: Claim, time: Allowance, share: float = 1.0) -> Holds:
    """How a claim holds; raises `Refuted` where it does not, and `OutOfTime` where there was none for a point.

    Further points are looked at for a share of the time that is left then: other claims may need the rest.
    """
    algebra = time.part(_SHARE)
    try:
        parts, walls, blank = algebra.run(lambda: _divided(claim))
    except (OutOfTime, _TooManyPieces):
        return Holds(claim, [_sampled(claim, time.part(max(share, _SHARE)))], is_divided=False)
    begun = [_begun(part, region, algebra, time) for part, region in parts]
    if all(piece.method == NO_NUMBER for piece in begun):
        raise ValueError("the value is nowhere a real number")
    looks = {wall: looked_at(claim, wall, algebra) for wall in walls}
    kinks = [kink for found in looks.values() for kink in found or ()]
    unseen = [wall for wall, found in looks.items() if found is None]
    searched = {expression for piece in begun for expression in piece.region.searched}
    return Holds(claim, _finished(begun, time.part(share)), kinks, unseen, sorted(searched, key=str), blank)


class _TooManyPieces(Exception):  # noqa: N818 - points are looked at then
    """A claim has more pieces than can be gone through."""


def _divided(claim: Claim) -> tuple[list[tuple[Claim, Region]], list[sympy.Expr], list[Region]]:
    """The claim in each region, the walls between them, and the regions that may be empty."""
    parts, walls, blank = [], set(), []
    pending = [claim.everywhere]
    while pending:
        region = pending.pop()
        try:
            parts.append((claim.resolved(region), region))
        except NoPoint as nowhere:
            blank.append(nowhere.region)
        except Undecided as undecided:
            beside = [wall for wall in undecided.walls if wall.free_symbols <= claim.own.keys()]
            if any(sign_at(wall, claim.own) == 0 for wall in beside):
                beside = []  # there are no sides to choose from
            walls |= set(undecided.walls) - set(beside)
            pending += [part for part in undecided.parts if not beside or _is_on_side(part, claim.own)]
        if len(parts) + len(pending) > MOST_PIECES:
            raise _TooManyPieces
    if not parts:
        raise NoPoint(blank[0])
    return parts, sorted(walls, key=str), blank


def _is_on_side(region: Region, own: Point) -> bool:
    """Whether numbers meet the conditions of a region that are about them alone."""
    about = (condition for condition in region.conditions if condition.expression.free_symbols <= own.keys())
    return all(condition.holds(own) for condition in about)


def _begun(claim: Claim, region: Region, algebra: Allowance, time: Allowance) -> Piece:
    """A piece in which the claim is proved by algebra; or else one of which points were looked at."""
    derivative = claim.derivative
    if derivative is sympy.nan:
        return Piece(region, derivative, NO_NUMBER)
    shown = claim.exact(derivative)
    with contextlib.suppress(OutOfTime):
        if algebra.part(0.5).run(lambda: is_zero(claim.exact(claim.given - derivative))):
            return Piece(region, shown, BY_ALGEBRA)

    def formulas() -> Iterator[tuple[Point, sympy.Expr, sympy.Expr]]:
        return ((point, derivative, claim.given) for point in region.points(region.point, TRIES))

    comparing = Comparing(formulas, claim.constants, region.where())
    comparing.go_on(time.part(_SHARE))
    if comparing.is_over and not comparing.agreements:
        expected, given = claim.exact(derivative), claim.exact(claim.given)
        raise Refuted(region.where(), None, (expected, given), given - expected)
    return Piece(region, shown, comparing)


def _finished(pieces: list[Piece], time: Allowance) -> list[Piece]:
    """The pieces, with as many points looked at as there is time for."""
    unfinished = [piece.method for piece in pieces if isinstance(piece.method, Comparing) and not piece.method.is_over]
    for place, comparing in enumerate(unfinished):
        comparing.go_on(time.part(1 / (len(unfinished) - place)))
    return [
        attrs.evolve(piece, method=piece.method.method) if isinstance(piece.method, Comparing) else piece
        for piece in pieces
    ]


def _sampled(claim: Claim, time: Allowance) -> Piece:
    """What points of the whole space say, each with the formulas of its piece."""
    everywhere = claim.everywhere
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

    comparing = Comparing(formulas, claim.constants, "")
    comparing.go_on(time)
    if comparing.is_over and not comparing.agreements:
        raise ValueError("no point was found that lies within a piece")
    return Piece(everywhere, claim.derivative, f"{comparing.method} in {len(derivatives)} pieces")
