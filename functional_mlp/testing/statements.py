"""What was proved, in words and in LaTeX."""

import contextlib
from collections.abc import Callable
from typing import Any

import sympy

from functional_mlp.operands import NotInAlgebraError
from functional_mlp.symbolic import formulas
from functional_mlp.symbolic.derivatives import BY_ALGEBRA, NO_NUMBER, Holds
from functional_mlp.symbolic.findings import Kink
from functional_mlp.symbolic.printing import tex, tex_or_words
from functional_mlp.symbolic.regions import EVERYWHERE, Region
from functional_mlp.symbolic.roots import FARTHEST
from functional_mlp.symbolic.spelling import text
from functional_mlp.symbolic.words import in_words
from functional_mlp.testing.proof import Proof

_BY_PIECES = "as the pieces say"
# Of the walls that a proof did not look at, at most this many are named.
_MOST_WALLS = 4
# Pieces about which a claim says nothing are counted where there are more.
_MOST_SILENT = 4


def for_all_numbers(symbols: list[sympy.Symbol], held: list[tuple[str, Holds]]) -> str:
    """For which numbers of a value claims hold: their signs, and the conditions about them that all pieces have.

    >>> for_all_numbers([sympy.Symbol("η", positive=True), sympy.Symbol("c", negative=True)], [])
    'positive η and negative c'
    """
    signs: dict[str, list[str]] = {"": [], "positive ": [], "negative ": []}
    for symbol in symbols:
        sign = "positive " if symbol.is_positive else "negative " if symbol.is_negative else ""
        signs[sign].append(str(symbol))
    kinds = [sign + ", ".join(letters) for sign, letters in signs.items() if letters]
    conditions = {
        condition
        for _, how in held
        for piece in how.pieces
        for condition in piece.region.conditions
        if condition.expression.free_symbols <= how.claim.own.keys()
    }
    where = str(Region(tuple(symbols), tuple(sorted(conditions, key=str)))) if conditions else EVERYWHERE
    return " and ".join(kinds) + ("" if where == EVERYWHERE else f" with {where}")


def proof_of(thing: Any, statement: str, held: list[tuple[str, Holds]]) -> Proof:
    """The proof of a statement about a value, from how each of its claims holds."""
    methods = {piece.method for _, how in held for piece in how.pieces}
    if NO_NUMBER in methods:
        statement += f" where {NO_NUMBER.replace('no ', 'a ')}"
    method = _BY_PIECES if methods - {NO_NUMBER, BY_ALGEBRA} else BY_ALGEBRA
    searched = list(dict.fromkeys(str(expression) for _, how in held for expression in how.searched))
    conditions = [f"all zeros of {', '.join(searched)} were found"] if searched else []
    conditions += [] if all(how.is_divided for _, how in held) else ["no piece lies between the points"]
    conditions += [f"it holds where {wall} as well" for wall in _unseen(held)]
    conditions += list(dict.fromkeys(f"no numbers have {region}" for _, how in held for region in how.blank))
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
    lines = [
        region if names[region].keys() == everything else f"{region}: {', '.join(names[region])}" for region in names
    ]
    silent = [line for line in lines if NO_NUMBER in line]
    if len(silent) <= _MOST_SILENT:
        return tuple(lines)
    return (*(line for line in lines if line not in silent), f"{NO_NUMBER} in {len(silent)} other pieces")


def _kinks(held: list[tuple[str, Holds]]) -> list[str]:
    """What lies between regions."""
    return list(dict.fromkeys(f"{name}: {kink}" for name, how in held for kink in how.kinks))


def _unseen(held: list[tuple[str, Holds]]) -> list[str]:
    """What was not looked at, of that which lies between regions."""
    walls = list(dict.fromkeys(wall for _, how in held for wall in how.unseen))
    if len(walls) > _MOST_WALLS:
        return [f"one of {len(walls)} expressions is 0, {in_words(walls[0])} among them,"]
    return [f"{in_words(wall)} = 0" for wall in walls]


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
    return rf"{left} \text{{ from the left, }} {right} \text{{ from the right, }} {given} \text{{ given}}"
