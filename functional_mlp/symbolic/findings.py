"""What is found where a claim is not simply right, and how it is told: kinks, and refutations."""

import contextlib
from collections.abc import Iterable
from typing import Any

import attrs
import sympy

from functional_mlp.symbolic.agreement import Agreement
from functional_mlp.symbolic.allowance import Allowance, OutOfTime
from functional_mlp.symbolic.identities import remainder
from functional_mlp.symbolic.points import Point
from functional_mlp.symbolic.regions import EVERYWHERE, Region
from functional_mlp.symbolic.words import digits_of, in_words

BY_ALGEBRA = "by algebra"
NO_NUMBER = "the value is no real number"
METHODS = {Agreement.TO_DIGITS: BY_ALGEBRA, Agreement.TO_ROUNDING: "by algebra, to the rounding of its constants"}
# How much of the time that is left the formula of a refutation may take.
_SHARE = 0.25


def where_too(place: str, where: str) -> str:
    """Words that say where, as a sentence begins with them, and a place before that if there is one.

    >>> where_too("t = 0", "where s > 1, "), where_too("t = 0", ""), where_too("", "where s > 1, ")
    ('where t = 0 and s > 1, ', 'where t = 0, ', 'where s > 1, ')
    """
    if not place:
        return where
    return (
        f"where {place} and {where.removeprefix('where ')}" if where.startswith("where ") else f"where {place}, {where}"
    )


@attrs.frozen
class Piece:
    """A region in which a claim holds, what the derivative is there, and how that is known.

    Of a section it is one where variables are at a `place`, in words.
    """

    region: Region
    derivative: sympy.Expr
    method: Any
    place: str = ""

    def __str__(self) -> str:
        where = str(self.region)
        return f"{self.place} and {where}" if self.place and where != EVERYWHERE else self.place or where


@attrs.frozen
class Kink:
    """Where the derivatives from both sides differ, or the value jumps, and what is given there.

    `jump` is nan where the value is not finite; `others` is where the other variables are, and `where` in words those
    that are fixed.
    """

    variable: sympy.Symbol
    place: sympy.Expr
    others: Region
    left: sympy.Expr
    right: sympy.Expr
    given: sympy.Expr
    jump: sympy.Expr
    where: str = ""

    def __str__(self) -> str:
        """What "it", the derivative, is on both sides, and what else there is to say.

        >>> s = sympy.Symbol("s", real=True)
        >>> zero, one = sympy.S.Zero, sympy.S.One
        >>> print(Kink(s, one, Region(()), zero, one, zero, zero))
        at s = 1 it is 0 from the left and 1 from the right, and 0 is given
        >>> print(Kink(s, one, Region(()), one, one, one, one))
        at s = 1 it is 1 from both sides, and 1 is given; the value jumps by 1
        """
        at = f"{where_too(self.where, self.others.where())}at {self.variable} = {in_words(self.place)}"
        return f"{at} {self._slopes()}, and {in_words(self.given)} is given{self.of_value}"

    def _slopes(self) -> str:
        sides = [
            (slope, side) for slope, side in ((self.left, "left"), (self.right, "right")) if slope is not sympy.nan
        ]
        if len(sides) == 2 and self.left == self.right:
            return f"it is {in_words(self.left)} from both sides"
        return f"it is {' and '.join(f'{in_words(slope)} from the {side}' for slope, side in sides) or 'unknown'}"

    @property
    def of_value(self) -> str:
        """What is to be said of the value there; nothing where it does not jump."""
        ends = [side for side, slope in (("left", self.left), ("right", self.right)) if slope is sympy.nan]
        if self.jump == 0:
            return ""
        if ends:
            return f"; the value is no number on the {' and the '.join(ends)}"
        if self.jump is sympy.nan:
            return "; the value is not finite there"
        return f"; the value jumps by {in_words(self.jump)}"


class Refuted(Exception):  # noqa: N818 - what came out
    """A claim is wrong: in a region, at a point of it, with both values, and by what formula.

    Without a point it is neither proved nor refuted there.
    """

    def __init__(self, where: str, point: Point | None, values: tuple[sympy.Expr, sympy.Expr], error: sympy.Expr):
        super().__init__(where)
        self.where, self.point, self.values, self.error = where, point, values, error

    def beside(self, place: str, fixed: Iterable[tuple[sympy.Symbol, sympy.Expr]]) -> "Refuted":
        """The refutation of a claim in which some variables are formulas of the others, told with these."""
        point = None
        if self.point is not None:
            free = {symbol for _, formula in fixed for symbol in formula.free_symbols} - self.point.keys()
            point = dict.fromkeys(sorted(free, key=str), sympy.S.Zero) | dict(self.point)  # it is the same for all
            point = {variable: formula.subs(point) for variable, formula in fixed} | point
        return Refuted(where_too(place, self.where), point, self.values, self.error)

    def told(self, time: Allowance) -> str:
        """The refutation in words, with its formula in lowest terms if there is time for that."""
        residual = self.error
        with contextlib.suppress(OutOfTime):
            residual = time.part(_SHARE).run(lambda: remainder(self.error))
        rest = f"what is given less what it is comes to {in_words(residual)}"
        if self.point is None:
            return f"{self.where}it cannot be told from what is given, and no point was found to try: {rest}"
        symbols = {symbol: value for symbol, value in self.point.items() if not isinstance(symbol, sympy.Dummy)}
        at = ", ".join(f"{symbol} = {in_words(value)}" for symbol, value in symbols.items())
        expected, given = _told_apart(*self.values)
        same = f", which is the same to {_DIGITS[-1]} digits" if expected == given else ""
        return f"{self.where}{f'at {at} ' if at else ''}it is {expected}, and {given} is given{same}: {rest}"


# Digits of two numbers that are shown, and if they are the same, and if those are.
_DIGITS = (15, 30, 60)


def _told_apart(expected: sympy.Expr, given: sympy.Expr) -> tuple[str, str]:
    """Two numbers with as many digits as it takes to see that they differ."""

    def shown(number: sympy.Expr, count: int) -> str:
        return digits_of(number, count) if number.is_finite else in_words(number)

    count = next((n for n in _DIGITS if shown(expected, n) != shown(given, n)), _DIGITS[-1])
    return shown(expected, count), shown(given, count)
