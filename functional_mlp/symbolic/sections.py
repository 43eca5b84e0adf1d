"""Where an expression is 0, by formulas, and what a claim is there: on the surfaces and lines between its pieces."""

import attrs
import sympy

from functional_mlp.symbolic.identities import is_zero
from functional_mlp.symbolic.nodes import sign_of_number
from functional_mlp.symbolic.regions import regions_where
from functional_mlp.symbolic.roots import real_roots
from functional_mlp.symbolic.slopes import Claim
from functional_mlp.symbolic.turning import inverted


class Unsolved(ValueError):  # noqa: N818 - it is said then that nothing is known there
    """No formula says where an expression is 0."""


@attrs.frozen
class Place:
    """A formula for a variable, and what is not 0 where it holds, or positive."""

    formula: sympy.Expr
    condition: sympy.Expr = sympy.S.One
    is_positive: bool = False

    @property
    def signs(self) -> tuple[int, ...]:
        """The signs that the condition has."""
        return (1,) if self.is_positive else (1, -1)


@attrs.frozen
class Zeros:
    """Where an expression is 0: formulas for a variable. Where one of `others` is 0 there may be more, or none."""

    places: tuple[Place, ...]
    others: tuple[sympy.Expr, ...] = ()


def zeros_of(expression: sympy.Expr, variable: sympy.Symbol) -> Zeros | None:
    """Where an expression is 0, for a variable in the others; None where no formula is known.

    >>> s, t = sympy.symbols("s t", real=True)
    >>> [place.formula for place in zeros_of(s**2 - t, s).places], zeros_of(s**2 - t, s).others
    ([-sqrt(t), sqrt(t)], (4*t,))
    >>> zeros_of(s**2 - 2 * s * t + t**2, s)
    Zeros(places=(Place(formula=t, condition=1, is_positive=False),), others=())
    """
    if expression.free_symbols == {variable}:
        roots = real_roots(expression, variable)
        return Zeros(tuple(map(Place, roots.places))) if roots.known else None
    if expression.is_polynomial(variable):
        first, *rest = map(sympy.expand, sympy.Poly(expression, variable).all_coeffs())
        unless = () if first.is_number else (first,)
        if len(rest) == 1:
            return Zeros((Place(sympy.expand(-rest[0] / first), first),), unless)
        return _of_square(first, rest[0], rest[1], unless) if len(rest) == 2 else None
    found = inverted(expression, variable)
    return None if found is None else Zeros((Place(*found, is_positive=True),))


def _of_square(a: sympy.Expr, b: sympy.Expr, c: sympy.Expr, unless: tuple[sympy.Expr, ...]) -> Zeros:
    """The zeros of a v² + b v + c."""
    middle, discriminant = sympy.expand(-b / (2 * a)), sympy.expand(b**2 - 4 * a * c)
    if is_zero(discriminant):
        return Zeros((Place(middle, a),), unless)
    if discriminant.is_number and sign_of_number(discriminant) < 0:
        return Zeros((), unless)
    root = sympy.sqrt(sympy.expand(middle**2 - c / a))
    condition = discriminant if a.is_number else sympy.expand(discriminant * a**2)
    places = [Place(middle + sign * root, condition, is_positive=True) for sign in (-1, 1)]
    return Zeros(tuple(places), unless if discriminant.is_number else (*unless, discriminant))


def sections(claim: Claim, expression: sympy.Expr) -> list[Claim]:
    """The claim where an expression of its variables is 0 that the one that it is about is not in.

    Raises `Unsolved` where no formula says where that is.
    """
    if is_zero(expression):
        return [claim]
    squares = squares_of(expression)
    if len(squares) > 1:
        some = sections(claim, squares[0])
        rest = sympy.Add(*(base**2 for base in squares[1:]))
        return [section for part in some for section in sections(part, rest.subs(part.fixed))]
    for variable in sorted(expression.free_symbols, key=str):
        zeros = zeros_of(expression, variable)
        if zeros is not None and not (variable.is_integer and any(one.formula.free_symbols for one in zeros.places)):
            return _sections_at(claim, expression, variable, zeros)
    if expression.free_symbols:
        raise Unsolved(f"no formula says where {expression} is 0")
    return []


def squares_of(expression: sympy.Expr) -> list[sympy.Expr]:
    """What a sum is of even powers of; nothing where it is no such sum.

    >>> s, t = sympy.symbols("s t", real=True)
    >>> squares_of(s**2 + 3 * (s - t) ** 4), squares_of(s**2 - t**2)
    ([s, s - t], [])
    """
    terms = [term.as_coeff_Mul() for term in sympy.Add.make_args(expression)]
    are_squares = all(number.is_positive and power.is_Pow and power.exp.is_even for number, power in terms)
    return [power.base for _, power in terms] if are_squares else []


def _sections_at(claim: Claim, expression: sympy.Expr, variable: sympy.Symbol, zeros: Zeros) -> list[Claim]:
    found = []
    for place in zeros.places:
        section = claim.section(variable, place.formula)
        if section is None or (variable.is_integer and not place.formula.is_integer):
            continue
        if place.condition.is_number:
            found.append(section)
            continue
        symbols = tuple(sorted({*section.variables, *place.condition.free_symbols}, key=str))
        for sign in place.signs:
            for region in regions_where(place.condition, sign, symbols, *section.within):
                found.append(attrs.evolve(section, within=tuple(dict.fromkeys(region.conditions))))
    for other in zeros.others:
        for part in sections(claim, other):
            found += sections(part, sympy.expand(expression.subs(part.fixed)))
    return [section for section in found if not section.everywhere.is_empty()]
