"""Formulas that a user writes with sympy, in the terms of the array algebra."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import sympy

from functional_mlp.calling import definition_of, line_in
from functional_mlp.symbolic.namespace import ClaimsNamespace
from functional_mlp.symbolic.nodes import Maximum, Minimum, where
from functional_mlp.symbolic.partial import logarithm, power

# What sympy says in its own words, and what to write instead.
_ADVICE = {
    "truth value of Relational": "a formula cannot branch on a symbol: use sympy.Piecewise, sympy.Max and sympy.Min",
    "Cannot convert expression to float": "a symbol is no number, as the functions of math want it: use sympy's",
    "list index out of range": "there are as many gradients as steps so far: gradients[-1] is the newest",
}


def called_formula(
    formula: Callable[..., Any],
    params: list[sympy.Symbol],
    gradients: list[sympy.Symbol],
    numbers: dict[str, sympy.Expr],
    others: Mapping[str, Any],
) -> sympy.Expr:
    """What a formula makes of a parameter, gradients and numbers, and of others that it asks for by their names.

    The parameter is the last of those before each step; a formula that asks for `params` is given all of them.
    `TypeError` with the line where that is none.
    """
    name = getattr(formula, "__name__", repr(formula))
    numbers = numbers | wanted_of(formula, others)
    asked = {"params": list(params)} if "params" in inspect.signature(formula).parameters else {}
    try:
        result = formula(params[-1], gradients, **numbers, **asked)
    except Exception as error:  # whatever a formula of a user's does with symbols that it does not expect
        raise _wrong(formula, name, numbers | asked, error) from error
    if not isinstance(result, sympy.Expr | int | float) or isinstance(result, bool):
        kind = f"a {type(result).__name__} of {len(result)}" if isinstance(result, tuple | list) else repr(result)
        raise TypeError(f"{name} must return the new w, one formula of sympy's, got {kind}{definition_of(formula)}")
    whole = sympy.sympify(result)
    symbols = (number.free_symbols for number in numbers.values() if isinstance(number, sympy.Expr))
    unknown = whole.free_symbols - {*params, *gradients}.union(*symbols)
    if unknown:
        names = ", ".join(sorted(map(str, unknown)))
        raise TypeError(f"{name} must use what it is given, got a formula with {names} in it{definition_of(formula)}")
    return whole


def wanted_of(formula: Callable[..., Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Those values that a formula has a parameter for, by their names; all where it takes any.

    >>> wanted_of(lambda w, gradients, power: w, {"power": 2, "betas": (0.9, 0.99)})
    {'power': 2}
    """
    parameters = inspect.signature(formula).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    return {name: value for name, value in others.items() if takes_any or name in parameters}


def _wrong(formula: Callable[..., Any], name: str, numbers: Mapping[str, Any], error: Exception) -> TypeError:
    """Why a formula could not be called, or what it did that symbols do not."""
    try:
        inspect.signature(formula).bind(None, [], **dict.fromkeys(numbers))
    except TypeError:
        wanted = ", ".join(("w", "gradients", *numbers))
        defined = f"{name}{inspect.signature(formula)}"
        return TypeError(f"{name}({wanted}) is called, and {defined} is defined{definition_of(formula)}")
    words = next((advice for part, advice in _ADVICE.items() if part in str(error)), str(error))
    code = getattr(formula, "__code__", None)
    return TypeError(f"{name} is no formula: {words}{line_in({code.co_filename} if code else set(), error)}")


def read_formula(formula: sympy.Expr, xp: ClaimsNamespace) -> sympy.Expr:
    """A formula of sympy's with what its floats stand for, and conditions that space can be divided at.

    Floats of more digits than Python's are what they say.

    >>> s = sympy.Symbol("s", real=True)
    >>> read_formula(0.1 * sympy.Max(s, 0), ClaimsNamespace())
    Maximum(0, s)/10
    """
    formula = formula.xreplace(
        {
            number: xp.parts_of(float(number))[0] if float(number) == number else sympy.Rational(number)
            for number in formula.atoms(sympy.Float)
        }
    )
    formula = formula.replace(sympy.log, logarithm).replace(sympy.Pow, power)
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
