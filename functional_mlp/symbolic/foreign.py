"""Formulas that a user writes with sympy, in the terms of the array algebra."""

import functools
from typing import Any

import sympy

from functional_mlp.symbolic.namespace import ConstantsNamespace
from functional_mlp.symbolic.nodes import Maximum, Minimum, where


def read_formula(formula: sympy.Expr, xp: ConstantsNamespace) -> sympy.Expr:
    """A formula of sympy's with what its floats stand for, and conditions that space can be divided at.

    Floats of more digits than Python's are what they say.

    >>> s = sympy.Symbol("s", real=True)
    >>> read_formula(0.1 * sympy.Max(s, 0), ConstantsNamespace())
    Maximum(0, s)/10
    """
    formula = formula.xreplace(
        {
            number: xp.parts_of(float(number))[0] if float(number) == number else sympy.Rational(number)
            for number in formula.atoms(sympy.Float)
        }
    )
    formula = formula.replace(sympy.Max, lambda *several: functools.reduce(Maximum, several))
    formula = formula.replace(sympy.Min, lambda *several: functools.reduce(Minimum, several))
    return formula.replace(sympy.Piecewise, lambda *pieces: _chosen(pieces))


def _chosen(pieces: tuple[Any, ...]) -> sympy.Expr:
    """The first piece of which the condition holds; no number where none does."""
    chosen: sympy.Expr = sympy.nan
    for expression, condition in reversed(pieces):
        chosen = _where(condition, expression, chosen)
    return chosen


def _where(condition: Any, a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    if condition in (sympy.true, sympy.false):
        return a if condition == sympy.true else b
    if isinstance(condition, sympy.And):
        return functools.reduce(lambda chosen, part: _where(part, chosen, b), condition.args, a)
    if isinstance(condition, sympy.Or):
        return functools.reduce(lambda chosen, part: _where(part, a, chosen), condition.args, b)
    if isinstance(condition, sympy.core.relational.Relational):
        return where(condition.rel_op, condition.lhs, condition.rhs, a, b)
    raise ValueError(f"the condition {condition} is no comparison")
