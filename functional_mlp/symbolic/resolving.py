"""The smooth formula that an expression is where its conditions are decided."""

from types import MappingProxyType

import sympy

from functional_mlp.symbolic.conditions import Condition, normal
from functional_mlp.symbolic.constants import Constants, exact
from functional_mlp.symbolic.nodes import Largest, Maximum, Minimum, Where, is_smooth
from functional_mlp.symbolic.partial import PARTIAL, decided
from functional_mlp.symbolic.regions import Region, Signs, Undecided


def resolved(expression: sympy.Expr, signs: Signs, constants: Constants = MappingProxyType({})) -> sympy.Expr:
    """The smooth formula that an expression is in a region; `Undecided` where there are several.

    >>> s = sympy.Symbol("s", real=True)
    >>> try:
    ...     resolved(sympy.Abs(s), Region.everywhere((s,)))
    ... except Undecided as undecided:
    ...     [resolved(sympy.Abs(s), region) for region in undecided.parts]
    [s, -s]
    """
    if is_smooth(expression):
        return expression

    def sign(inner: sympy.Expr) -> int:
        return signs.sign(exact(inner, constants))

    def vanishes(inner: sympy.Expr) -> bool:
        return signs.vanishes(exact(inner, constants))

    if isinstance(expression, Where):
        left, right, if_true, if_false = (expression.args[i] for i in range(1, 5))
        difference = resolved(left, signs, constants) - resolved(right, signs, constants)
        holds = expression.comparison == "!=" if difference is sympy.nan else expression.holds(sign(difference))
        return resolved(if_true if holds else if_false, signs, constants)
    arguments: list[sympy.Expr] = []
    for argument in expression.args:
        arguments.append(resolved(argument, signs, constants))
        if arguments[-1] is sympy.nan:  # the others are not asked for
            return sympy.nan
    if isinstance(expression, PARTIAL):
        return resolved(decided(expression, arguments, sign, vanishes), signs, constants)
    if isinstance(expression, sympy.Abs):
        return sign(arguments[0]) * arguments[0]
    if isinstance(expression, sympy.sign):
        return sympy.Integer(sign(arguments[0]))
    if isinstance(expression, sympy.Mod):
        number, divisor = arguments
        return number - divisor * signs.floor(exact(number / divisor, constants))
    if isinstance(expression, Maximum | Minimum):
        first, second = arguments
        larger = sign(first - second) >= 0
        return first if larger == isinstance(expression, Maximum) else second
    if isinstance(expression, Largest):
        numbers = [exact(argument, constants) for argument in arguments]
        return arguments[numbers.index(_largest(numbers, signs))]
    return resolved(expression.func(*arguments), signs, constants)  # sympy makes |s| of √s², say


def _largest(arguments: list[sympy.Expr], signs: Signs) -> sympy.Expr:
    if isinstance(signs, Region):
        for candidate in arguments:
            conditions = [Condition.positive(candidate - other) for other in arguments if other != candidate]
            if all(condition in signs.conditions for condition in conditions):
                return candidate
        choices = [[Condition.positive(a - b) for b in arguments if a != b] for a in arguments]
        parts = signs.divided(*choices)
        walls = {normal(a - b)[0] for a in arguments for b in arguments if a != b}
        if len(parts) > 1:
            raise Undecided(parts, tuple(sorted(walls, key=str)))
    largest = arguments[0]
    for other in arguments[1:]:
        largest = other if signs.sign(other - largest) > 0 else largest
    return largest
