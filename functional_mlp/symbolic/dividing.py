"""The pieces in which the two expressions of a claim are smooth, and the walls between them."""

import attrs
import sympy

from functional_mlp.symbolic.points import Point, sign_at
from functional_mlp.symbolic.regions import NoPoint, Region, Undecided
from functional_mlp.symbolic.slopes import Claim

# Pieces that an expression may have, or else points are looked at without them.
MOST_PIECES = 1000


class TooManyPieces(Exception):  # noqa: N818 - points are looked at then
    """A claim has more pieces than can be gone through."""


@attrs.frozen
class Divided:
    """The claim in each region, the walls between them, and the regions of which no point was found."""

    parts: list[tuple[Claim, Region]]
    walls: list[sympy.Expr]
    blank: list[Region]


def divided(claim: Claim) -> Divided:
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
            raise TooManyPieces
    return Divided(parts, sorted(walls, key=str), blank)


def _is_on_side(region: Region, own: Point) -> bool:
    """Whether numbers meet the conditions of a region that are about them alone."""
    about = (condition for condition in region.conditions if condition.expression.free_symbols <= own.keys())
    return all(condition.holds(own) for condition in about)
