"""The slopes of the pieces around a point, where several of them meet."""

import random

import sympy

from functional_mlp.symbolic.agreement import DIGITS, evaluated
from functional_mlp.symbolic.nodes import NoRealNumber
from functional_mlp.symbolic.points import At, OnWall, Point
from functional_mlp.symbolic.slopes import Claim

# Directions from the point that are looked in, how far, and how near the slopes there are to those at the point.
_DIRECTIONS, _FAR, _NEAR = 60, sympy.Rational(1, 10**30), sympy.Float("1e-15")


def is_slope_around(claim: Claim, point: Point, given: sympy.Expr) -> bool:
    """Whether a number lies between the slopes of a claim in the pieces around a point, for several inputs.

    >>> s, t = sympy.symbols("s t", real=True)
    >>> claim = Claim(sympy.Abs(s + t) + sympy.Abs(s - t), s, sympy.S.Zero, inputs=(s, t))
    >>> [is_slope_around(claim, {s: 0, t: 0}, sympy.Integer(number)) for number in (-2, 1, 3)]
    [True, True, False]
    """
    if len(claim.inputs) < 2:
        return False
    source = random.Random(0)
    point = {variable: _some(variable, place) for place, variable in enumerate(claim.variables)} | dict(point)
    slopes = []
    for _ in range(_DIRECTIONS):
        steps = {variable: _FAR * source.randint(-(10**6), 10**6) / 10**6 for variable in claim.inputs}
        beside = {variable: value + steps.get(variable, 0) for variable, value in point.items()}
        try:
            part = claim.resolved(At(beside))
            if part.value is not sympy.nan:
                slopes.append(evaluated(part.derivative, beside, claim.constants, DIGITS).middle)
        except (OnWall, NoRealNumber):
            continue
    slopes = [slope for slope in slopes if slope.is_finite]
    if not slopes or not given.is_finite:
        return False
    near = _NEAR * max(1, *map(abs, slopes))
    return bool(min(slopes) - near <= given <= max(slopes) + near)


def _some(variable: sympy.Symbol, place: int) -> sympy.Rational:
    """A value for a variable on which nothing depends at the point, so that it is on no other surface."""
    if variable.is_integer:
        return sympy.Integer(place + 2)
    return sympy.Rational(5 * place + 3, 7) * (-1 if variable.is_negative else 1)
