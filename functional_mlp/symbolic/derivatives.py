"""Whether an expression is the derivative of another, piece by piece.

Space is divided at the conditions that the two expressions contain (see `functional_mlp.symbolic.regions`). In each
piece both are smooth, and their difference is shown to be 0 by algebra; where that is not found, it is evaluated at
many points with 60 digits. On the walls between pieces the derivatives from both sides are found, and what is given.
Where the pieces cannot be told in time, points of the whole space are looked at, each with the formulas of its piece.
"""

import contextlib
import itertools
from collections.abc import Iterator

import attrs
import sympy

from functional_mlp.symbolic.agreement import Agreement, by_algebra
from functional_mlp.symbolic.allowance import Allowance, OutOfTime
from functional_mlp.symbolic.between import between
from functional_mlp.symbolic.comparing import TRIES, Comparing
from functional_mlp.symbolic.dividing import TooManyPieces, divided
from functional_mlp.symbolic.findings import METHODS, NO_NUMBER, Kink, Piece, Refuted
from functional_mlp.symbolic.identities import remainder
from functional_mlp.symbolic.peaks import peaks
from functional_mlp.symbolic.points import At, OnWall, Point
from functional_mlp.symbolic.reach import OutOfReach
from functional_mlp.symbolic.regions import NoPoint, Region
from functional_mlp.symbolic.slopes import Claim

# How much of the time that is left algebra may take, and the first look at the points of one piece.
_SHARE = 0.25


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
        space = algebra.run(lambda: divided(claim))
    except (OutOfTime, TooManyPieces):
        return Holds(claim, [_sampled(claim, time.part(max(share, _SHARE)))], is_divided=False)
    if not space.parts:
        raise NoPoint(space.blank[0])
    begun = [_begun(part, region, algebra, time) for part, region in space.parts]
    if all(piece.method == NO_NUMBER for piece in begun):
        raise ValueError("the value is nowhere a real number")
    thin = between(claim, space.walls, algebra)
    searched = {expression for piece in begun for expression in piece.region.searched}
    pieces = [*_finished(begun, time.part(share)), *thin.pieces]
    return Holds(claim, pieces, thin.kinks, thin.unseen, sorted(searched, key=str), space.blank)


def _begun(claim: Claim, region: Region, algebra: Allowance, time: Allowance) -> Piece:
    """A piece in which the claim is proved by algebra; or else one of which points were looked at."""
    derivative = claim.derivative
    if derivative is sympy.nan:
        return Piece(region, derivative, NO_NUMBER)
    shown = claim.exact(derivative)
    with contextlib.suppress(OutOfTime):
        agreement = algebra.part(0.5).run(lambda: by_algebra(derivative, claim.given, claim.constants))
        if agreement is not Agreement.NONE:
            return Piece(region, shown, METHODS[agreement])

    def formulas() -> Iterator[tuple[Point, sympy.Expr, sympy.Expr]]:
        turns = peaks(claim.exact(claim.given + derivative), region.point) if region.point else ()
        there = (point for point in turns if region.contains(point))
        for point in itertools.chain(there, region.points(region.point, TRIES)):
            yield point, derivative, claim.given

    comparing = Comparing(formulas, claim.constants, region.where())
    with contextlib.suppress(OutOfTime):
        comparing.difference = algebra.part(0.5).run(lambda: remainder(claim.exact(claim.given - derivative)))
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
            except (OnWall, OutOfReach):
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
