"""What was proved, in words and in LaTeX."""

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

import attrs
import sympy

from functional_mlp.operands import NotInAlgebraError
from functional_mlp.symbolic import formulas
from functional_mlp.symbolic.derivatives import BY_ALGEBRA, NO_NUMBER, Holds
from functional_mlp.symbolic.findings import Kink
from functional_mlp.symbolic.printing import tex, tex_or_words
from functional_mlp.symbolic.roots import FARTHEST
from functional_mlp.symbolic.spelling import text
from functional_mlp.symbolic.words import in_words

_BY_PIECES = "as the pieces say"
# Of the walls that a proof did not look at, at most this many are named.
_MOST_WALLS = 4


@attrs.frozen(repr=False)
class Proof:
    """What was proved, in which pieces, and how; `prove` makes it.

    `pieces` says for each claim and each region how it is known there: by algebra, or with 60 digits at a number of
    points. `kinks` says what lies between the regions: the derivatives from the left and the right, and what is given.
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
        conditions = "".join(f", if {condition}" for condition in self.conditions)
        return "\n  ".join([f"{self.statement}, {self.method}{conditions}", *self.pieces, *self.kinks])


def listed(symbols: Iterable[sympy.Symbol]) -> str:
    return ", ".join(map(str, symbols))


def proof_of(thing: Any, statement: str, held: list[tuple[str, Holds]]) -> Proof:
    """The proof of a statement about a value, from how each of its claims holds."""
    methods = {piece.method for _, how in held for piece in how.pieces}
    if NO_NUMBER in methods:
        statement += f" where {NO_NUMBER.replace('no ', 'a ')}"
    method = _BY_PIECES if methods - {NO_NUMBER, BY_ALGEBRA} else BY_ALGEBRA
    searched = list(dict.fromkeys(str(expression) for _, how in held for expression in how.searched))
    conditions = [f"all zeros of {', '.join(searched)} were found"] if searched else []
    conditions += [] if all(how.is_divided for _, how in held) else ["no piece lies between the points"]
    notes = [f"zeros of {expression} were searched for from {-FARTHEST:g} to {FARTHEST:g}" for expression in searched]
    return Proof(
        statement,
        _pieces(held, {BY_ALGEBRA} if method == BY_ALGEBRA else set()),
        (*_kinks(held), *notes),
        method,
        _typeset(thing, ", ".join([statement, method, *conditions]), held),
        tuple(conditions),
    )


def together(thing: Any, proofs: list[Proof]) -> Proof:
    """The proofs of the parts of a value as one."""
    parts = [proof.statement.partition(":")[0] for proof in proofs]

    def lines(of: Callable[[Proof], tuple[str, ...]]) -> tuple[str, ...]:
        return tuple(f"{part}: {line}" for part, proof in zip(parts, proofs, strict=True) for line in of(proof))

    return Proof(
        f"{thing!r}: the derivative of each activation is that of its value, of {', '.join(parts)}",
        lines(lambda proof: proof.pieces),
        lines(lambda proof: proof.kinks),
        BY_ALGEBRA if all(proof.method == BY_ALGEBRA for proof in proofs) else _BY_PIECES,
        r"\begin{array}{l} " + r" \\ ".join(proof.latex for proof in proofs) + r" \end{array}",
        tuple(dict.fromkeys(condition for proof in proofs for condition in proof.conditions)),
    )


def _pieces(held: list[tuple[str, Holds]], unsaid: set[str]) -> tuple[str, ...]:
    """Each region with how it is known there, and of what claims, where it is not of all."""
    names: dict[str, dict[str, None]] = {}
    for name, how in held:
        for piece in how.pieces:
            region = str(piece.region) if piece.method in unsaid else f"{piece.region} ({piece.method})"
            names.setdefault(region, {})[name] = None
    everything = {name for name, _ in held}
    return tuple(
        region if names[region].keys() == everything else f"{region}: {', '.join(names[region])}" for region in names
    )


def _kinks(held: list[tuple[str, Holds]]) -> list[str]:
    """What lies between regions, and what was not looked at."""
    kinks = list(dict.fromkeys(f"{name} {kink}" for name, how in held for kink in how.kinks))
    unseen: dict[str, dict[Any, None]] = {}
    for name, how in held:
        unseen.setdefault(name, {}).update(dict.fromkeys(how.unseen))
    return kinks + [line for name, walls in unseen.items() for line in _not_looked_at(name, list(walls))]


def _not_looked_at(name: str, walls: list[Any]) -> list[str]:
    if len(walls) > _MOST_WALLS:
        return [f"{name}: not looked at where one of {len(walls)} expressions is 0, {walls[0]} among them"]
    return [f"{name}: not looked at where {in_words(wall)} = 0" for wall in walls]


def _typeset(thing: Any, statement: str, held: list[tuple[str, Holds]]) -> str:
    """The statement, the formulas that it is about, and of functions of one variable the derivative in each piece."""
    lines: list[formulas.Line] = []
    with contextlib.suppress(NotInAlgebraError):  # a rule may branch on the step, for which there is no letter then
        lines += formulas.lines_of(thing) or ()
    for name, how in held:
        if len(how.claim.variables) == 1:
            shown = [piece for piece in how.pieces if piece.method != NO_NUMBER]
            pieces = [(text(f"{name}, {piece.region}"), ":", tex(piece.derivative)) for piece in shown]
            lines += pieces if len(how.pieces) > 1 else []
            lines += [(rf"{tex(kink.variable)} = {tex(kink.place)}", ":", _kink_in_latex(kink)) for kink in how.kinks]
    return rf"\begin{{array}}{{l}} {text(statement)} \\ {formulas.aligned(lines)} \end{{array}}"


def _kink_in_latex(kink: Kink) -> str:
    left, right, given = map(tex_or_words, (kink.left, kink.right, kink.given))
    return rf"{left} \text{{ on the left, }} {right} \text{{ on the right, }} {given} \text{{ given}}"
