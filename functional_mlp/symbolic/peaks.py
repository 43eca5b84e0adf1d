"""Points at which functions in a formula turn: e^(−100 (s − 200)²) is large at s = 200, and nothing anywhere else."""

from collections.abc import Iterator

import sympy

from functional_mlp.symbolic.points import Point
from functional_mlp.symbolic.turning import zeros_of_polynomial

# Powers from which on zeros are not looked for.
_MOST_POWER = 8


def peaks(expression: sympy.Expr, point: Point) -> Iterator[Point]:
    """A point moved, along one variable, to where the argument of a function in an expression is 0, or turns.

    >>> s, t = sympy.symbols("s t", real=True)
    >>> list(peaks(sympy.tanh(s - 3 * t) + sympy.exp(-s * (s - 4)), {s: sympy.S.Zero, t: sympy.S.One}))
    [{s: 0, t: 1}, {s: 2, t: 1}, {s: 4, t: 1}, {s: 3, t: 1}, {s: 0, t: 0}]
    """
    found: dict[tuple[sympy.Symbol, sympy.Expr], None] = {}
    for argument in sorted(_arguments(expression), key=sympy.default_sort_key):
        for variable in sorted(argument.free_symbols & point.keys(), key=str):
            found |= dict.fromkeys((variable, place) for place in _places(argument, variable, point))
    for variable, place in found:
        yield {**point, variable: place}


def _arguments(expression: sympy.Expr) -> set[sympy.Expr]:
    functions = expression.atoms(sympy.exp, sympy.log, sympy.tanh, sympy.erf)
    powers = [power for power in expression.atoms(sympy.Pow) if power.base.is_Add]
    return {function.args[0] for function in functions} | {power.base for power in powers}


def _places(argument: sympy.Expr, variable: sympy.Symbol, point: Point) -> list[sympy.Rational]:
    """Where an argument that is a polynomial of low degree is 0, or has no slope, the other variables as they are."""
    along = argument.subs({other: number for other, number in point.items() if other != variable})
    if variable.is_integer or not along.is_polynomial(variable) or along.free_symbols != {variable}:
        return []
    if any(power.exp > _MOST_POWER for power in along.atoms(sympy.Pow) if power.has(variable)):
        return []
    turning = [one for one in (along, sympy.diff(along, variable)) if one.has(variable)]
    zeros = [zero for one in turning for zero in zeros_of_polynomial(one, variable) or []]
    return sorted({zero if zero.is_Rational else sympy.Rational(sympy.N(zero, 60)) for zero in zeros})
