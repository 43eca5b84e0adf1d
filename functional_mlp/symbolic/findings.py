"""What is found where a claim is not simply right, and how it is told: kinks, and refutations."""

import contextlib

import attrs
import sympy

from functional_mlp.symbolic.allowance import Allowance, OutOfTime
from functional_mlp.symbolic.identities import remainder
from functional_mlp.symbolic.points import Point

INFINITE = (sympy.zoo, sympy.oo, -sympy.oo)
# A fraction with a larger number in it is shown as a decimal number.
_LONG = 10**12


@attrs.frozen
class Kink:
    """Where the derivatives from both sides differ, or the value jumps, and what is given there.

    `jump` is nan where the value is not finite.
    """

    variable: sympy.Symbol
    place: sympy.Expr
    left: sympy.Expr
    right: sympy.Expr
    given: sympy.Expr
    jump: sympy.Expr

    def __str__(self) -> str:
        left, right, given = map(_in_words, (self.left, self.right, self.given))
        sides = f"at {self.variable} = {_in_words(self.place)}: {left} on the left, {right} on the right, {given} given"
        if self.jump == 0:
            return sides
        if self.jump is sympy.nan:
            return f"{sides}; the value is not finite there"
        return f"{sides}; the value jumps by {_in_words(self.jump)}"


def _in_words(expression: sympy.Expr) -> str:
    """A formula, or what it is where that is no number; numbers of many digits as decimal ones of fifteen."""
    words = {sympy.oo: "∞", -sympy.oo: "-∞", sympy.zoo: "an infinite number", sympy.nan: "no number"}
    long = {
        number: sympy.Float(number, 15)
        for number in expression.atoms(sympy.Rational, sympy.Float)
        if number.is_Float or max(abs(number.p), number.q) > _LONG
    }
    return words.get(expression, str(expression.xreplace(long)))


class Refuted(Exception):  # noqa: N818 - what came out
    """A claim is wrong: in a region, at a point of it, with both values, and by what formula.

    Without a point it is neither proved nor refuted there.
    """

    def __init__(self, where: str, point: Point | None, values: tuple[sympy.Expr, sympy.Expr], error: sympy.Expr):
        super().__init__(where)
        self.where, self.point, self.values, self.error = where, point, values, error

    def told(self, time: Allowance) -> str:
        """The refutation in words, with its formula in lowest terms if there is time for that."""
        residual = self.error
        with contextlib.suppress(OutOfTime):
            residual = time.run(lambda: remainder(self.error))
        rest = f"what is given less what it is comes to {_in_words(residual)}"
        if self.point is None:
            return f"{self.where}it cannot be told from what is given, and no point was found to try: {rest}"
        symbols = {symbol: value for symbol, value in self.point.items() if not isinstance(symbol, sympy.Dummy)}
        at = ", ".join(f"{symbol} = {value}" for symbol, value in symbols.items())
        expected, given = (str(sympy.N(value, 15)) for value in self.values)
        return f"{self.where}{f'at {at} ' if at else ''}it is {expected}, and {given} is given: {rest}"
