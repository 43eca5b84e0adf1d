"""Losses with any number of outputs: features with an index, and sums over it."""

from typing import Any

import sympy

from functional_mlp.operands import called
from functional_mlp.symbolic.claims import reading
from functional_mlp.symbolic.identities import is_zero
from functional_mlp.symbolic.letters import numbered
from functional_mlp.symbolic.namespace import Formula, SymbolicNamespace, parts_of
from functional_mlp.symbolic.nodes import Largest, without_shifts
from functional_mlp.symbolic.printing import LargestOf, Total
from functional_mlp.symbolic.tidying import tidied

# The index of a feature, and those that sums run over.
FREE, BOUND = "j", ("i", "l", "n", "p")


class IndexedNamespace(SymbolicNamespace):
    """The namespace whose arrays are one feature, with an index, that stands for all."""

    def sum(self, x: Any) -> Any:
        return Formula(self, [_over(Total, x.parts[0], parts_of(self.features)[0])])

    def max(self, x: Any) -> Any:
        return Formula(self, [_over(LargestOf, x.parts[0], sympy.S.One)])


def _over(node: Any, term: sympy.Expr, times: sympy.Expr) -> sympy.Expr:
    """A sum, or a maximum, over the index of a term; a term without the index, `times` times itself."""
    if not any(symbol.name.endswith(f"_{FREE}") for symbol in term.free_symbols):
        return times * term
    used = {str(symbol) for symbol in term.free_symbols}
    index = next(letter for letter in BOUND if letter not in used)
    return node(with_index(term, FREE, index), sympy.Symbol(index))


def with_index(expression: sympy.Expr, old: str, new: str) -> sympy.Expr:
    """An expression with another letter for an index."""
    renamed = {
        symbol: sympy.Symbol(f"{symbol.name.removesuffix(f'_{old}')}_{new}", real=True)
        for symbol in expression.free_symbols
        if symbol.name.endswith(f"_{old}")
    }
    return expression.xreplace(renamed | {sympy.Symbol(old): sympy.Symbol(new)})


def of_loss(loss: Any) -> tuple[sympy.Expr, sympy.Expr]:
    """The value, and the component j of the gradient."""
    count = sympy.Symbol("k", integer=True, positive=True)
    xp = IndexedNamespace(count)
    arrays = [xp.array(sympy.Symbol(f"{name}_{FREE}", real=True)) for name in ("ŷ", "t")]

    def expressions() -> tuple[sympy.Expr, sympy.Expr]:
        value, gradient = (called(loss, name, xp, *arrays) for name in ("sample_value", "sample_grad"))
        return parts_of(value)[0], parts_of(gradient)[0]

    shifts = _are_shifts(loss)
    value, gradient = (
        _without_largest(expression) if shift else expression
        for expression, shift in zip(reading(loss, expressions), shifts, strict=True)
    )
    return with_letters(tidied(value), (FREE, *BOUND)), with_letters(tidied(gradient), BOUND)


def with_letters(expression: sympy.Expr, letters: tuple[str, ...]) -> sympy.Expr:
    """An expression whose sums run over the first letter, those in their terms over the second, and so on."""
    if not expression.args:
        return expression
    if isinstance(expression, Total | LargestOf):
        term, index = expression.args
        term = with_index(with_letters(term, letters[1:]), index.name, letters[0])
        return expression.func(term, sympy.Symbol(letters[0]))
    return expression.func(*(with_letters(argument, letters) for argument in expression.args))


def _without_largest(expression: sympy.Expr) -> sympy.Expr:
    return expression.xreplace({largest: sympy.Integer(0) for largest in expression.atoms(LargestOf)})


def _are_shifts(loss: Any) -> tuple[bool, bool]:
    """Whether value and gradient do not depend on the largest feature that they use, shown for three."""
    xp = SymbolicNamespace()
    arrays = [xp.array(*numbered(name, 3)) for name in ("ŷ", "t")]

    def expressions() -> list[tuple[sympy.Expr, ...]]:
        return [parts_of(called(loss, name, xp, *arrays)) for name in ("sample_value", "sample_grad")]

    value, gradient = (
        not any(without_shifts(part, is_zero).has(Largest) for part in parts) for parts in reading(loss, expressions)
    )
    return value, gradient
