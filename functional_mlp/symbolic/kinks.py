"""What happens at the walls between the pieces of a claim: whether it holds there, and where derivatives differ."""

import itertools
from collections.abc import Callable, Iterator

import attrs
import sympy

from functional_mlp.symbolic.agreement import Agreement, compared
from functional_mlp.symbolic.allowance import Allowance, OutOfTime
from functional_mlp.symbolic.comparing import POINTS, TRIES
from functional_mlp.symbolic.conditions import Condition
from functional_mlp.symbolic.findings import Kink, Refuted
from functional_mlp.symbolic.identities import is_zero, remainder
from functional_mlp.symbolic.nodes import NoRealNumber, sign_of_number
from functional_mlp.symbolic.regions import Undecided, regions_where
from functional_mlp.symbolic.slopes import Claim
from functional_mlp.symbolic.turning import inverted
from functional_mlp.symbolic.walls import INFINITE, NEGLIGIBLE, Side, Wall


def looked_at(claim: Claim, wall: sympy.Expr, time: Allowance) -> list[Kink] | None:
    """The kinks that lie where an expression is 0; None where no formula says where that is, or not in time."""
    try:
        return time.run(lambda: _at_wall(claim, wall))
    except (OutOfTime, NoRealNumber):
        return None


def _at_wall(claim: Claim, expression: sympy.Expr) -> list[Kink] | None:
    crosses = claim.variable in expression.free_symbols
    for variable in [claim.variable] if crosses else sorted(expression.free_symbols, key=str):
        walls = _walls(claim, expression, variable)
        if walls is not None:
            look = _kink if crosses else _along
            return [kink for wall in walls for kink in _everywhere(look, claim, wall) if kink is not None]
    return None


def _walls(claim: Claim, expression: sympy.Expr, variable: sympy.Symbol) -> list[Wall] | None:
    """Where an expression is 0 as formulas for a variable in the others; None where it has none."""
    others = tuple(sorted({*claim.variables, *expression.free_symbols} - {variable}, key=str))

    def above(place: sympy.Expr, condition: sympy.Expr, *signs: int) -> list[Wall]:
        within = _within(claim, variable, place)
        spaces = [] if within is None else [regions_where(condition, sign, others, *within) for sign in signs]
        return [Wall(variable, place, region) for space in spaces for region in space]

    if expression.is_polynomial(variable):
        first, *coefficients = sympy.Poly(expression, variable).all_coeffs()
        if len(coefficients) == 1:
            return above(sympy.expand(-coefficients[0] / first), first, 1, -1)
        if len(coefficients) == 2 and first.is_number:
            middle = -coefficients[0] / (2 * first)
            square = sympy.expand(middle**2 - coefficients[1] / first)
            return [wall for sign in (-1, 1) for wall in above(middle + sign * sympy.sqrt(square), square, 1)]
    found = inverted(expression, variable)
    return None if found is None else above(*found, 1)


def _within(claim: Claim, variable: sympy.Symbol, place: sympy.Expr) -> list[Condition] | None:
    """What the conditions within which a claim is made say on a wall; None where it lies outside."""
    conditions = []
    for condition in claim.within:
        there = condition.sign * sympy.expand(condition.expression.subs(variable, place))
        if there.is_number:
            if sign_of_number(there) <= 0:
                return None
        else:
            conditions.append(Condition.positive(there))
    return conditions


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
    if at.value is not sympy.nan:
        _refute_unless_equal(wall.on(at.derivative), wall.on(at.given), claim, wall)


def _kink(claim: Claim, wall: Wall) -> Kink | None:
    """What happens across a wall; None where the derivative is the same on both sides, and given."""
    sides = [Side(wall, side) for side in (-1, 1)]
    left, right = (claim.resolved(side) for side in sides)
    if left.value is right.value is sympy.nan:
        return None
    from_left, from_right = (side.limit(one.value) for side, one in zip(sides, (left, right), strict=True))
    slopes = [side.limit(one.derivative) for side, one in zip(sides, (left, right), strict=True)]
    value, given = wall.on(claim.value_by(wall)), wall.on(claim.given_by(wall))
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
        is_between = is_steep or is_zero(gaps) or wall.others.sign(gaps) >= 0
        if not is_between and _wrong_on(wall, slopes[1], given, claim):
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
