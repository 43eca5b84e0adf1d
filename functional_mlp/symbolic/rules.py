"""What the rule of an optimizer does in a step, as assignments one after the other."""

from collections.abc import Sequence
from typing import Any

import attrs
import sympy

from functional_mlp.calling import called_rule
from functional_mlp.symbolic.claims import reading
from functional_mlp.symbolic.namespace import SymbolicNamespace, parts_of

PARAMETER, GRADIENT = sympy.symbols("w g", real=True)
STEP = sympy.Symbol("t", integer=True, positive=True)
_ARROW = "\N{LEFTWARDS ARROW}"


@attrs.frozen(eq=False)
class Rule:
    """The assignments, ← or =, and what is made of a slot, or of w, with how it is called by the slot's name."""

    assignments: Sequence[tuple[sympy.Symbol, str, sympy.Expr]]
    marked: dict[sympy.Dummy, tuple[sympy.Symbol, str]]


def of_rule(optimizer: Any, slots: Sequence[sympy.Symbol], xp: SymbolicNamespace) -> Rule:
    """The rule with symbols for its slots.

    What is read after it was assigned to is its new value; the one before the step is marked as such, and so is a mean
    that is corrected for its start.
    """

    def expressions() -> Any:
        given = (xp.scalar(STEP), optimizer.learning_rate, *map(xp.array, (PARAMETER, GRADIENT, *slots)))
        return called_rule(optimizer, xp, *given)

    parameter, *updated = (parts_of(one)[0] for one in reading(optimizer, expressions))
    new = dict(zip(slots, updated, strict=True))
    before = {symbol: sympy.Dummy(f"{symbol.name}_before", real=True) for symbol in (*slots, PARAMETER)}
    # A parameter that is made of what was remembered before the step comes first.
    uses_new = parameter.has(*_recognizable(new)) or not parameter.has(*slots)
    ordered = [*new.items(), (PARAMETER, parameter)] if uses_new else [(PARAMETER, parameter), *new.items()]
    written: dict[Any, sympy.Expr] = {}
    assignments: list[tuple[sympy.Symbol, str, sympy.Expr]] = []
    marked = {dummy: (symbol, "{}_before") for symbol, dummy in before.items()}
    for symbol, expression in ordered:
        shown = _after(expression, written, before)
        if symbol == PARAMETER and uses_new:
            shown, hats = _with_hats(shown, slots)
            assignments += [(hat, "=", slot * correction) for hat, (slot, correction) in hats.items()]
            marked |= {hat: (slot, "{}\N{COMBINING CIRCUMFLEX ACCENT}") for hat, (slot, _) in hats.items()}
        assignments.append((symbol, _ARROW, shown))
        written[symbol] = expression
    return Rule(assignments, marked)


def _recognizable(new: dict[sympy.Symbol, sympy.Expr]) -> list[sympy.Expr]:
    """New values that are known when they are met: a number could be any other that is equal."""
    return [value for slot, value in new.items() if value != slot and value.free_symbols]


def _after(expression: sympy.Expr, written: dict[Any, sympy.Expr], before: dict[Any, sympy.Dummy]) -> sympy.Expr:
    """An expression that is read after some symbols were given new values."""
    now = {symbol: sympy.Dummy(symbol.name, real=True) for symbol in written}
    known = _recognizable(written)
    expression = expression.xreplace({new: now[symbol] for symbol, new in written.items() if new in known})
    expression = expression.xreplace({symbol: before[symbol] for symbol, new in written.items() if new != symbol})
    return expression.xreplace({dummy: symbol for symbol, dummy in now.items()})


def _with_hats(expression: sympy.Expr, slots: Sequence[sympy.Symbol]) -> tuple[sympy.Expr, dict[sympy.Dummy, Any]]:
    """An expression with a symbol for each slot that is corrected for its start, m / (1 − βᵗ), and what it stands for.

    A slot that is corrected in several ways is left as it is.
    """
    hats = {}
    for slot in slots:
        corrections = _corrections(expression, slot)
        if len(corrections) == 1:
            hat = sympy.Dummy(f"{slot.name}\N{COMBINING CIRCUMFLEX ACCENT}", real=True)
            hats[hat] = (slot, corrections.pop())
            expression = expression.subs(slot * hats[hat][1], hat)
    return expression, hats


def _corrections(expression: sympy.Expr, slot: sympy.Symbol) -> set[sympy.Expr]:
    """The factors 1 / (1 − βᵗ) of a slot."""
    return {
        factor
        for product in expression.atoms(sympy.Mul)
        if slot in product.args
        for factor in product.args
        if factor.is_Pow and factor.exp == -1 and (1 - factor.base).is_Pow and factor.has(STEP)
    }  # fmt: skip
