"""What lies between the pieces of a claim: surfaces, lines on which these meet, and so on down to points.

On a surface that crosses the variable of the claim, the slopes on both sides are compared with what is given. Where
the other variables make a formula 0, the claim is one in fewer variables, a section, with pieces of its own, and
surfaces between these. Its pieces are proved, and what lies between them is looked at in the same way. Where kinks
meet in a section, a slope among those of the pieces around is right too, as Clarke's generalized gradient has it.
"""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs
import sympy

from functional_mlp.symbolic.agreement import Agreement, by_algebra
from functional_mlp.symbolic.allowance import Allowance, OutOfTime
from functional_mlp.symbolic.around import is_slope_around
from functional_mlp.symbolic.comparing import TRIES, Comparing
from functional_mlp.symbolic.dividing import TooManyPieces, divided
from functional_mlp.symbolic.findings import BY_ALGEBRA, METHODS, NO_NUMBER, Kink, Piece, Refuted
from functional_mlp.symbolic.kinks import across
from functional_mlp.symbolic.nodes import GIVES_UP, NoRealNumber
from functional_mlp.symbolic.points import Point
from functional_mlp.symbolic.regions import NoPoint, Region
from functional_mlp.symbolic.sections import Unsolved, sections, squares_of
from functional_mlp.symbolic.slopes import Claim

# What comes up where it is not found out what a surface or a section says.
_UNKNOWN = (OutOfTime, Unsolved, NoRealNumber, NoPoint, TooManyPieces, *GIVES_UP)
ONE_AROUND = "what is given is a slope of pieces around"
# Points that are looked at of a piece of a section, where algebra does not prove it.
_POINTS = 40


@attrs.frozen
class Between:
    """Kinks, pieces of sections of which something is to be said, and expressions of which the zeros were not seen."""

    kinks: list[Kink] = attrs.field(factory=list)
    pieces: list[Piece] = attrs.field(factory=list)
    unseen: list[sympy.Expr] = attrs.field(factory=list)


def between(claim: Claim, walls: Iterable[sympy.Expr], time: Allowance) -> Between:
    """What lies where walls are 0; raises `Refuted` where the claim does not hold there."""
    found = Between()

    def attempt(look: Callable[[], None], expression: sympy.Expr) -> None:
        try:
            time.run(look)
        except _UNKNOWN:
            found.unseen.append(expression)

    Looking(claim, found).look(claim, walls, attempt)
    return found


_Attempt = Callable[[Callable[[], None], sympy.Expr], None]


@attrs.frozen
class Looking:
    """A claim, what is found of it so far, and the sections of it that were looked at."""

    whole: Claim
    found: Between
    done: set[Any] = attrs.field(factory=set)

    def look(self, claim: Claim, walls: Iterable[sympy.Expr], attempt: _Attempt) -> None:
        """Look at what lies where walls between the pieces of the claim, or of a section of it, are 0."""
        walls = list(dict.fromkeys(_wider(wall, claim.variable) for wall in walls))
        thinner = dict.fromkeys(wall for wall in walls if claim.variable not in wall.free_symbols)

        def cross(wall: sympy.Expr) -> None:
            with _told_of(claim):
                kinks, others = across(claim, wall, lambda wrong: self._is_excused(wrong, claim))
            thinner.update(dict.fromkeys(others))
            self.found.kinks.extend(
                attrs.evolve(kink, where=claim.place) for kink in kinks if not self._is_known(kink, claim)
            )

        for wall in walls:
            if claim.variable in wall.free_symbols:
                attempt(functools.partial(cross, wall), wall)
        for wall in list(thinner):
            attempt(functools.partial(self._enter, claim, wall), wall)

    def _enter(self, claim: Claim, wall: sympy.Expr) -> None:
        """Prove the pieces of the sections where a wall is 0, and look at what lies between them."""
        for section in sections(claim, wall):
            key = section.value, section.given, frozenset(section.within)
            if key in self.done:
                continue
            space = divided(section)
            if space.blank:
                raise NoPoint(space.blank[0])
            for part, region in space.parts:
                method = self._method(part, region)
                if method != BY_ALGEBRA:
                    self.found.pieces.append(Piece(region, part.derivative, method, section.place))
            self.look(section, space.walls, lambda look, expression: look())
            self.done.add(key)

    def _method(self, part: Claim, region: Region) -> str:
        """How it is known that a part of a section holds in a region."""
        derivative = part.derivative
        if derivative is sympy.nan:
            return NO_NUMBER
        agreement = by_algebra(derivative, part.given, part.constants)
        if agreement is not Agreement.NONE:
            return METHODS[agreement]

        def formulas() -> Iterator[tuple[Point, sympy.Expr, sympy.Expr]]:
            return ((point, derivative, part.given) for point in region.points(region.point, TRIES))

        comparing = Comparing(formulas, part.constants, region.where())
        try:
            with _told_of(part):
                comparing.look(_POINTS)
        except Refuted as refuted:
            if self._is_excused(refuted, None):
                return ONE_AROUND
            raise
        if not comparing.agreements:
            raise NoPoint(region)
        return comparing.method

    def _is_excused(self, wrong: Refuted, section: Claim | None) -> bool:
        """Whether what is given in a section, and is not the slope there, is among the slopes of the pieces around."""
        if section is not None:
            if not section.fixed:
                return False
            wrong = wrong.beside(section.place, section.fixed)
        return wrong.point is not None and is_slope_around(self.whole, wrong.point, wrong.values[1])

    def _is_known(self, kink: Kink, section: Claim) -> bool:
        """Whether a kink of a section is that of a surface which the section crosses."""
        return bool(section.fixed) and any(
            _figures(kink) == tuple(figure.subs(section.fixed) for figure in _figures(other))
            for other in self.found.kinks
        )


def _wider(wall: sympy.Expr, variable: sympy.Symbol) -> sympy.Expr:
    """What is 0 wherever a sum of squares is that a variable is in: one that is squared, best without it."""
    bases = squares_of(wall) if variable in wall.free_symbols else []
    return min(bases, key=lambda base: (variable in base.free_symbols, str(base))) if len(bases) > 1 else wall


def _figures(kink: Kink) -> tuple[sympy.Expr, ...]:
    return kink.place, kink.left, kink.right, kink.given


@contextlib.contextmanager
def _told_of(section: Claim) -> Iterator[None]:
    """A refutation of a section is told with the variables that are fixed in it."""
    try:
        yield
    except Refuted as refuted:
        raise refuted.beside(section.place, section.fixed) from None
