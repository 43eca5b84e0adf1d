"""Formulas compared at many points, for as long as there is time."""

import contextlib
import itertools
from collections.abc import Callable, Iterator

import attrs
import sympy

from functional_mlp.symbolic.agreement import AGREEING, Agreement, compared
from functional_mlp.symbolic.allowance import Allowance, OutOfTime
from functional_mlp.symbolic.constants import Constants, exact
from functional_mlp.symbolic.findings import Refuted
from functional_mlp.symbolic.points import Point
from functional_mlp.symbolic.reach import OutOfReach

# The points at which formulas are compared, and the tries to find them.
POINTS, TRIES = 400, 4000

# A point, what is expected there, and what is given.
Formulas = Callable[[], Iterator[tuple[Point, sympy.Expr, sympy.Expr]]]


@attrs.define
class Comparing:
    """How well what is given agrees with what is expected, at the points so far.

    `difference` is what is given less what is expected, in lowest terms where these are known.
    """

    formulas: Formulas
    constants: Constants
    where: str
    difference: sympy.Expr | None = None
    tried: int = 0
    agreements: list[Agreement] = attrs.field(factory=list)
    is_over: bool = False

    def go_on(self, time: Allowance) -> None:
        """Look at further points while there is time; raises `Refuted` at one where they differ."""
        with contextlib.suppress(OutOfTime):
            time.run(lambda: self.look(POINTS))

    def look(self, count: int) -> None:
        """Look at points up to a number of them; raises `Refuted` at one where they differ."""
        # What was interrupted goes on no more, and begins anew.
        for point, expected, given in itertools.islice(self.formulas(), self.tried, None):
            with contextlib.suppress(OutOfReach):
                found = compared(expected, given, point, self.constants, self.difference)
                if found.agreement is Agreement.NONE:
                    values, error = (found.expected, found.given), exact(given - expected, self.constants)
                    raise Refuted(self.where, point, values, error)
                self.agreements.append(found.agreement)
            self.tried += 1
            if len(self.agreements) == count:
                break
        self.is_over = True

    @property
    def method(self) -> str:
        """How it is known that the formulas agree; raises `OutOfTime` where there was none for a point."""
        if not self.agreements:
            raise OutOfTime
        is_exact = min(self.agreements) is Agreement.TO_DIGITS
        precision = f"1e-{AGREEING}" if is_exact else "the rounding of its constants"
        wanted = "" if self.is_over else f" of {POINTS}"
        hurry = "" if self.is_over else ", for which there was time"
        return f"to {precision} at {len(self.agreements)}{wanted} points{hurry}"
