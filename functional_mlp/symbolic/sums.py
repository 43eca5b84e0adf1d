"""Losses with any number of outputs: features with an index, and sums over it."""

import itertools
from collections.abc import Callable
from typing import Any

import sympy

from functional_mlp.calling import called
from functional_mlp.operands import Shape
from functional_mlp.symbolic.claims import reading
from functional_mlp.symbolic.identities import is_zero
from functional_mlp.symbolic.letters import numbered
from functional_mlp.symbolic.namespace import Formula, SymbolicNamespace, parts_of
from functional_mlp.symbolic.nodes import Largest, without_shifts
from functional_mlp.symbolic.printing import LargestOf, Total
from functional_mlp.symbolic.tidying import tidied

# What has an index, it, and those that sums run over.
_ARRAYS, FREE = ("ŷ", "t"), "j"
OUTPUTS = sympy.Symbol("k", integer=True, positive=True)


def bound(place: int) -> str:
    """The index of a sum, by how many sums it is in.

    >>> [bound(place) for place in (0, 3, 4, 7, 8)]
    ['i', 'p', 'i2', 'p2', 'i3']
    """
    letter, round_ = "ilnp"[place % 4], place // 4 + 1
    return letter if round_ == 1 else f"{letter}{round_}"


class Indexed(Formula):
    """One feature that stands for all, or what there is one of, as a sum is."""

    is_one: bool

    def __init__(self, xp: SymbolicNamespace, part: sympy.Expr, *, is_one: bool, has_shape: bool = True) -> None:
        super().__init__(xp, [part], has_shape=has_shape)
        self.is_one = is_one

    @property
    def shape(self) -> Shape:
        return Shape([1]) if self.is_one and self.has_shape else super().shape


class IndexedNamespace(SymbolicNamespace):
    """The namespace whose arrays are one feature, with an index, that stands for all.

    >>> xp = IndexedNamespace(OUTPUTS)
    >>> total = xp.sum(xp.array(sympy.Symbol("t_j", real=True)))
    >>> total.parts, xp.sum(total).parts, total.shape
    ((Total(t_i, i),), (Total(t_i, i),), (1,))
    """

    def array(self, *parts: sympy.Expr) -> Indexed:
        (part,) = parts
        return Indexed(self, part, is_one=not part.has(*_features(FREE)))

    def elementwise(self, function: Callable[..., sympy.Expr], *operands: Any) -> Any:
        result = super().elementwise(function, *operands)
        is_one = all(_is_one(operand) for operand in operands if isinstance(operand, Formula))
        return Indexed(self, *result.parts, is_one=is_one, has_shape=result.has_shape)

    def sum(self, x: Any) -> Any:
        return x if _is_one(x) else self.array(_over(Total, x.parts[0], parts_of(self.features)[0]))

    def max(self, x: Any) -> Any:
        return x if _is_one(x) else self.array(_over(LargestOf, x.parts[0], sympy.S.One))


def _is_one(x: Formula) -> bool:
    """Whether there is one number, and not one a feature; scalars of another namespace may have been computed with."""
    return x.is_one if isinstance(x, Indexed) else not x.parts[0].has(*_features(FREE))


def _over(node: Any, term: sympy.Expr, times: sympy.Expr) -> sympy.Expr:
    """A sum, or a maximum, over the index of a term; a term without the index, `times` times itself."""
    if not term.has(*_features(FREE)):
        return times * term
    used = {str(symbol.args[1]) for symbol in term.atoms(Total, LargestOf)}
    index = next(name for name in map(bound, itertools.count()) if name not in used)
    return node(with_index(term, FREE, index), sympy.Symbol(index))


def _features(index: str) -> list[sympy.Symbol]:
    return [sympy.Symbol(f"{array}_{index}", real=True) for array in _ARRAYS]


def with_index(expression: sympy.Expr, old: str, new: str) -> sympy.Expr:
    """An expression with another letter for an index."""
    renamed = dict(zip(_features(old), _features(new), strict=True))
    return expression.xreplace(renamed | {sympy.Symbol(old): sympy.Symbol(new)})


def of_loss(loss: Any) -> tuple[sympy.Expr, sympy.Expr]:
    """The value, and the component j of the gradient."""
    xp = IndexedNamespace(OUTPUTS)
    arrays = [xp.array(feature) for feature in _features(FREE)]

    def expressions() -> tuple[sympy.Expr, sympy.Expr]:
        value, gradient = (called(loss, name, xp, *arrays) for name in ("sample_value", "sample_grad"))
        return parts_of(value)[0], parts_of(gradient)[0]

    shifts = _are_shifts(loss)
    value, gradient = (
        _without_largest(expression) if shift else expression
        for expression, shift in zip(reading(loss, expressions), shifts, strict=True)
    )
    return with_letters(tidied(value)), with_letters(tidied(gradient), is_of_one=True)


def with_letters(expression: sympy.Expr, *, is_of_one: bool = False) -> sympy.Expr:
    """An expression whose sums run over j, unless it `is_of_one` feature j, those in their terms over i, …"""
    by_depth, depth = _by_depth(expression, 0)
    first = [] if is_of_one or expression.has(*_features(FREE)) else [FREE]
    for place, name in enumerate([*first, *map(bound, range(depth))][:depth]):
        by_depth = with_index(by_depth, str(place), name)
    return by_depth


def _by_depth(expression: sympy.Expr, depth: int) -> tuple[sympy.Expr, int]:
    """An expression whose sums run over numbers, by how many sums they are in, and how many such numbers there are."""
    if not expression.args:
        return expression, depth
    if isinstance(expression, Total | LargestOf):
        term, index = expression.args
        within, deepest = _by_depth(with_index(term, index.name, str(depth)), depth + 1)
        return expression.func(within, sympy.Symbol(str(depth))), deepest
    arguments = [_by_depth(argument, depth) for argument in expression.args]
    return expression.func(*(argument for argument, _ in arguments)), max(deepest for _, deepest in arguments)


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
