"""What was proved, in words and in LaTeX."""

import contextlib
from collections.abc import Callable
from typing import Any

import sympy

from functional_mlp.operands import NotInAlgebraError
from functional_mlp.symbolic import formulas
from functional_mlp.symbolic.allowance import Allowance, OutOfTime
from functional_mlp.symbolic.derivatives import Holds
from functional_mlp.symbolic.findings import BY_ALGEBRA, NO_NUMBER, Kink, Piece
from functional_mlp.symbolic.printing import tex, tex_or_words
from functional_mlp.symbolic.regions import EVERYWHERE, Region
from functional_mlp.symbolic.roots import FARTHEST, real_roots
from functional_mlp.symbolic.spelling import text
from functional_mlp.symbolic.words import in_words
from functional_mlp.testing.proof import Proof, headline

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
    regions = [(piece.region, how.claim.own.keys()) for _, how in held for piece in how.pieces]
    conditions = {
        condition
        for region, own in regions
        for condition in region.conditions
        if condition.expression.free_symbols <= own
    }
    left_out = {one for region, own in regions for one in region.nonzero if one.free_symbols <= own}
    words = str(Region(tuple(symbols), tuple(sorted(conditions, key=str))))
    where = [] if words == EVERYWHERE else [words]
    where += sorted({words for one in left_out for words in _unequal(one)})
    return " and ".join(kinds) + (f" with {' and '.join(where)}" if where else "")


def _unequal(expression: sympy.Expr) -> list[str]:
    """That an expression is not 0, for the one variable in it, if there is one."""
    if len(expression.free_symbols) > 1:
        return [f"{in_words(expression)} ≠ 0"]
    (variable,) = expression.free_symbols
    places, all_numbers = real_roots(expression, variable).places, Region.everywhere((variable,))
    return [f"{variable} ≠ {in_words(place)}" for place in places if all_numbers.contains({variable: place})]


def conditions_of(held: list[tuple[str, Holds]]) -> tuple[str, ...]:
    """What claims hold under, and is not shown."""
    searched = _searched(held)
    conditions = [f"all zeros of {', '.join(searched)} were found"] if searched else []
    conditions += [] if all(how.is_divided for _, how in held) else ["no piece lies between the points"]
    at_points = any(" points" in piece.method for _, how in held for piece in how.pieces)
    conditions += ["what agrees at points agrees between them"] if at_points else []
    conditions += [f"it holds where {wall} as well" for wall in _unseen(held)]
    return tuple(
        conditions + list(dict.fromkeys(f"no numbers have {region}" for _, how in held for region in how.blank))
    )


def _searched(held: list[tuple[str, Holds]]) -> list[str]:
    """The conditions of which the zeros are only known from a search."""
    return list(dict.fromkeys(str(expression) for _, how in held for expression in how.searched))


def proof_of(thing: Any, statement: str, held: list[tuple[str, Holds]], time: Allowance) -> Proof:
    """The proof of a statement about a value, from how each of its claims holds; its formulas if there is time."""
    methods = {piece.method for _, how in held for piece in how.pieces}
    if NO_NUMBER in methods:
        statement += f" where {NO_NUMBER.replace('no ', 'a ')}"
    method = _BY_PIECES if methods - {NO_NUMBER, BY_ALGEBRA} else BY_ALGEBRA
    conditions, far = conditions_of(held), f"from {-FARTHEST:g} to {FARTHEST:g}"
    notes = [f"zeros of {expression} were searched for {far}" for expression in _searched(held)]
    return Proof(
        statement,
        _pieces(held, {BY_ALGEBRA} if method == BY_ALGEBRA else set()),
        (*_kinks(held), *notes),
        method,
        _typeset(thing, headline(statement, method, conditions), held, time),
        conditions,
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
            names.setdefault(_told(piece, unsaid), {})[name] = None
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


# How a piece is known that a typeset statement does not speak of.
_UNSAID = {BY_ALGEBRA, NO_NUMBER}


def _typeset(thing: Any, statement: str, held: list[tuple[str, Holds]], time: Allowance) -> str:
    """The statement, the formulas that it is about, and each piece that algebra does not decide.

    Of functions of one variable the derivative is there too, in each piece and on both sides of kinks.
    """
    lines: list[formulas.Line] = []
    said = [statement]
    # A rule may branch on the step, for which there is no letter then.
    with contextlib.suppress(NotInAlgebraError, OutOfTime):
        lines += time.run(lambda: formulas.lines_of(thing) or [])
    with contextlib.suppress(OutOfTime):
        lines += time.run(lambda: [line for name, how in held if _is_of_one(how) for line in _derivatives(name, how)])
    for name, how in held:
        if not _is_of_one(how):
            said += [f"{name}, {_told(piece, {BY_ALGEBRA})}" for piece in how.pieces if piece.method not in _UNSAID]
            said += [f"{name}: {kink}" for kink in how.kinks]
    rows = r" \\ ".join([*map(text, dict.fromkeys(said)), formulas.aligned(lines)])
    return rf"\begin{{array}}{{l}} {rows} \end{{array}}"


def _is_of_one(how: Holds) -> bool:
    return len(how.claim.variables) == 1


def _derivatives(name: str, how: Holds) -> list[formulas.Line]:
    """The derivative in each piece, where there are several or algebra does not decide, and at kinks."""
    shown = [piece for piece in how.pieces if piece.method != NO_NUMBER]
    lines: list[formulas.Line] = []
    if len(how.pieces) > 1 or any(piece.method not in _UNSAID for piece in how.pieces):
        lines += [(text(f"{name}, {_told(piece, {BY_ALGEBRA})}"), ":", tex(piece.derivative)) for piece in shown]
    return lines + [(rf"{tex(kink.variable)} = {tex(kink.place)}", ":", _kink_in_latex(kink)) for kink in how.kinks]


def _told(piece: Piece, unsaid: set[str]) -> str:
    """A piece, and how it is known there that a claim holds, unless that goes unsaid."""
    return str(piece) if piece.method in unsaid else f"{piece} ({piece.method})"


def _kink_in_latex(kink: Kink) -> str:
    left, right, given = map(tex_or_words, (kink.left, kink.right, kink.given))
    sides = rf"{left} \text{{ from the left, }} {right} \text{{ from the right, }} {given} \text{{ given}}"
    return sides + text(kink.of_value)
