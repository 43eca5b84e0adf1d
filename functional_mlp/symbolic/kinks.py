"""What happens at the walls between the pieces of a claim: whether it holds there, and where derivatives differ."""

import itertools
from collections.abc import Callable

import attrs
import sympy

from functional_mlp.symbolic.agreement import Agreement, compared, is_rounding
from functional_mlp.symbolic.comparing import POINTS, TRIES
from functional_mlp.symbolic.conditions import conditions_where
from functional_mlp.symbolic.findings import Kink, Refuted
from functional_mlp.symbolic.identities import is_zero, remainder
from functional_mlp.symbolic.partial import INFINITE
from functional_mlp.symbolic.regions import Undecided, regions_where
from functional_mlp.symbolic.sections import Place, Unsolved, zeros_of
from functional_mlp.symbolic.slopes import Claim
from functional_mlp.symbolic.walls import NEGLIGIBLE, Side, Wall


def across(
    claim: Claim, expression: sympy.Expr, excused: Callable[[Refuted], bool]
) -> tuple[list[Kink], list[sympy.Expr]]:
    """The kinks where an expression is 0, and what else is 0 on thinner parts of that, of the other variables.

    What differs from the slopes on both sides is wrong, unless it is `excused`. Raises `Unsolved` where no formula says
    where the kinks are.
    """
    zeros = zeros_of(expression, claim.variable)
    if zeros is None:
        raise Unsolved(f"no formula says where {expression} is 0")
    kinks: list[Kink] = []
    thinner = dict.fromkeys(zeros.others)
    pending = [wall for place in zeros.places for wall in _walls(claim, place)]
    while pending:
        wall = pending.pop()
        try:
            kink = _kink(claim, wall, excused)
        except Undecided as undecided:
            thinner |= dict.fromkeys(undecided.walls)
            pending += [attrs.evolve(wall, others=others) for others in undecided.parts]
        else:
            kinks += [] if kink is None else [kink]
    return kinks, list(thinner)


def _walls(claim: Claim, place: Place) -> list[Wall]:
    """The wall at a place, above each region of the other variables in which that is one."""
    within = conditions_where(claim.variable, place.formula, claim.within)
    if within is None:
        return []
    symbols = {*claim.variables, *place.formula.free_symbols, *place.condition.free_symbols} - {claim.variable}
    others = tuple(sorted(symbols, key=str))
    return [
        Wall(claim.variable, place.formula, region)
        for sign in place.signs
        for region in regions_where(place.condition, sign, others, *within)
    ]


def _kink(claim: Claim, wall: Wall, excused: Callable[[Refuted], bool]) -> Kink | None:
    """What happens across a wall; None where the derivative is the same on both sides, and given."""
    sides = [Side(wall, side) for side in (-1, 1)]
    left, right = (claim.resolved(side) for side in sides)
    if left.value is right.value is sympy.nan:
        return None
    from_left, from_right = (side.limit(one.value) for side, one in zip(sides, (left, right), strict=True))
    slopes = [side.limit(one.derivative) for side, one in zip(sides, (left, right), strict=True)]
    value, given = wall.on(claim.value_by(wall)), wall.on(claim.given_by(wall))
    if given.has(sympy.nan) and not value.has(sympy.nan, *INFINITE):
        _refute_unless_equal(
            next(slope for slope in (*slopes, sympy.nan) if slope is not sympy.nan), given, claim, wall
        )
    is_finite = not any(one.has(sympy.nan, *INFINITE) for one in (from_left, from_right, value))
    is_continuous = is_finite and not any(_wrong_on(wall, from_left, one, claim) for one in (from_right, value))
    if is_continuous:
        is_steep = any(slope.has(*INFINITE) for slope in slopes)
        wrong = _wrong_on(wall, slopes[0], given, claim)
        if not is_steep and _wrong_on(wall, slopes[0], slopes[1], claim) is None:
            if wrong is None:
                return None
            if not excused(wrong):
                raise wrong
        if given.has(*INFINITE) and not is_steep:
            _refute_unless_equal(slopes[0], given, claim, wall)
        gaps = claim.exact((given - slopes[0]) * (slopes[1] - given))
        is_between = is_steep or is_zero(gaps) or wall.others.sign(gaps) >= 0
        if wrong is not None and not is_between and _wrong_on(wall, slopes[1], given, claim) and not excused(wrong):
            raise wrong
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
    """Where on a wall two formulas differ; None where they do not.

    Raises `Unsolved` where they have variables, and agree at points without being found to be the same.
    """
    error = claim.exact(given - expected)
    if is_zero(error) or (wall.place.is_Float and error.is_Float and abs(error) <= NEGLIGIBLE):
        return None
    if is_rounding(given - expected, claim.constants):
        return None
    points = wall.others.points(wall.others.point, TRIES)
    for point in itertools.islice(points, POINTS if wall.others.variables else 1):
        found = compared(expected, given, point, claim.constants)
        if found.agreement is Agreement.NONE:
            where = "" if wall.place.is_number else f"where {wall.variable} = {wall.place}, "
            at = {wall.variable: wall.place.subs(point), **point}
            return Refuted(where, at, (found.expected, found.given), error)
    if error.free_symbols:
        raise Unsolved(f"{error} is 0 at points, and not known to be so between them")
    return None
