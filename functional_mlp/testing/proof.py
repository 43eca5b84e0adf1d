"""What a proof is, and that there is none: values alone, for sympy is loaded where one is made, and no sooner."""

from collections.abc import Iterable

import attrs


class CannotProveError(ValueError):
    """The expressions are more than algebra and points decide."""


@attrs.frozen(repr=False)
class Proof:
    """What was proved, in which pieces, and how; `prove` makes it.

    `pieces` says for each claim and each region how it is known there: by algebra, or with 60 digits at a number of
    points. `kinks` says what lies between the regions: the derivatives from the left and the right, and what is given.
    Both speak of the first of those outputs of a loss that can be exchanged, for all of them.
    `conditions` are what the proof holds under and does not show, as that a search has found all zeros.
    """

    statement: str
    pieces: tuple[str, ...]
    kinks: tuple[str, ...]
    method: str
    latex: str
    conditions: tuple[str, ...] = ()

    def _repr_latex_(self) -> str:
        return f"$${self.latex}$$"

    def __repr__(self) -> str:
        return "\n  ".join([headline(self.statement, self.method, self.conditions), *self.pieces, *self.kinks])


def headline(statement: str, method: str, conditions: Iterable[str]) -> str:
    """What was proved, how, and under which conditions.

    >>> headline("the derivative is that of the value", "by algebra", ["all zeros were found"])
    'the derivative is that of the value, by algebra, if all zeros were found'
    """
    return f"{statement}, {method}" + "".join(f", if {condition}" for condition in conditions)
