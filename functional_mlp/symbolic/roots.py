"""The real zeros of an expression of one variable, and where else its sign may change."""

import functools
import itertools
from collections.abc import Callable, Iterator

import attrs
import mpmath
import sympy

from functional_mlp.symbolic.nodes import NoRealNumber, sign_of_number
from functional_mlp.symbolic.points import sign_at
from functional_mlp.symbolic.reach import OutOfReach, compiled
from functional_mlp.symbolic.turning import turning, zeros_of_polynomial

# Where zeros are searched for of what is made of several functions, and how often.
FARTHEST, _STEPS = 1e4, 400
# How many powers of ten far out they are looked for where an expression only rises or only falls, or of eight near to
# where it ends.
_DECADES = 40
# The largest number in an expression whose zeros lie within them, and one over the smallest.
_LARGEST = sympy.Integer(10) ** 30
# How often derivatives are taken to find where an expression rises and falls, and the operations that it may have.
_MOST_DERIVATIVES, _MOST_OPERATIONS = 3, 200
_DIGITS = 70


@attrs.frozen
class Roots:
    """The zeros in order; `known` says that there are no others, which a search for changes of sign does not."""

    places: tuple[sympy.Expr, ...]
    known: bool


@functools.lru_cache(maxsize=1024)
def real_roots(expression: sympy.Expr, variable: sympy.Symbol) -> Roots:
    """The zeros, and the places where an expression is not finite or begins to be real: exactly, where they have
    formulas, else to 60 digits.

    All zeros are known of what can be solved, and of what rises or falls between places that can. Others are searched
    for.

    >>> x = sympy.Symbol("x", real=True)
    >>> real_roots(x**3 - x, x), real_roots(sympy.exp(x) - 2, x)
    (Roots(places=(-1, 0, 1), known=True), Roots(places=(log(2),), known=True))
    """
    return _roots(expression, variable, _MOST_DERIVATIVES) or _searched(expression, variable)


def _roots(expression: sympy.Expr, variable: sympy.Symbol, derivatives: int) -> Roots | None:
    """All zeros; None where they are not known."""
    found: set[sympy.Expr] = set()
    for part in turning(expression):
        solve = zeros_of_polynomial if part.is_polynomial(variable) else functools.partial(_between_turns, derivatives)
        zeros = solve(part, variable)
        if zeros is None:
            return None
        found |= set(zeros)
    return _in_order(found, known=True)


def _in_order(places: set[sympy.Expr], *, known: bool) -> Roots:
    return Roots(tuple(sorted(places, key=sympy.N)), known)


# Zeros between the places where an expression turns from rising to falling


def _between_turns(derivatives: int, expression: sympy.Expr, variable: sympy.Symbol) -> list[sympy.Expr] | None:
    """The zeros of what is made of several functions: one at most between two zeros of its derivative."""
    if derivatives == 0 or expression.count_ops() > _MOST_OPERATIONS or _grows_beyond_numbers(expression):
        return None
    if any(abs(number) > _LARGEST or 0 < abs(number) < 1 / _LARGEST for number in expression.atoms(sympy.Number)):
        return None  # its zeros may lie where nobody looks
    turns = _roots(sympy.diff(expression, variable), variable, derivatives - 1)
    edges = _edges(expression, variable, derivatives - 1)
    if turns is None or edges is None:
        return None
    ends = _in_order({*turns.places, *edges}, known=True).places
    with mpmath.workdps(_DIGITS):
        f, sign = compiled(expression, variable), functools.partial(_sign, expression, variable)
        at_ends = {end for end in turns.places if end not in edges and _is_negligible(expression, variable, end)}
        places = {end: sympy.N(end, _DIGITS)._to_mpmath(mpmath.mp.prec) for end in ends}
        try:
            zeros = [
                _rising_or_falling(f, sign, places.get(low), places.get(high))
                for low, high in itertools.pairwise([None, *ends, None])
                if not at_ends & {low, high}  # from a zero it only rises or falls
            ]
        except OutOfReach:
            return None
    return [*at_ends, *edges, *(_recognized(zero) for zero in zeros if zero is not None)]


def _grows_beyond_numbers(expression: sympy.Expr) -> bool:
    """Whether there is a power of a power of e in it, which has more digits far out than a machine can hold."""
    powers = expression.atoms(sympy.exp, sympy.tanh, sympy.erf)
    return any(power.args[0].has(sympy.exp) for power in powers)


def _edges(expression: sympy.Expr, variable: sympy.Symbol, derivatives: int) -> set[sympy.Expr] | None:
    """Where functions in an expression are not finite, or begin to be real; None where that is not known."""
    arguments = [log.args[0] for log in expression.atoms(sympy.log)]
    arguments += [power.base for power in expression.atoms(sympy.Pow) if not power.exp.is_nonnegative]
    arguments += [power.base for power in expression.atoms(sympy.Pow) if not power.exp.is_Integer]
    found: set[sympy.Expr] = set()
    for argument in arguments:
        roots = _roots(argument, variable, derivatives)
        if roots is None:
            return None
        found |= set(roots.places)
    return found


def _sign(expression: sympy.Expr, variable: sympy.Symbol, place: mpmath.mpf) -> int:
    return sign_at(expression, {variable: sympy.Rational(sympy.Float(place, _DIGITS))})


def _is_negligible(expression: sympy.Expr, variable: sympy.Symbol, place: sympy.Expr) -> bool:
    """Whether an expression is 0 at a place, as far as can be said where that was searched for."""
    if not place.has(sympy.Float):
        try:
            return sign_of_number(expression.subs(variable, place)) == 0
        except NoRealNumber:
            return False
    terms = [sympy.N(term.subs(variable, place), 60) for term in sympy.Add.make_args(expression)]
    return bool(abs(sympy.Add(*terms)) <= sympy.Float("1e-50") * sympy.Add(*map(abs, terms)))


def _rising_or_falling(
    f: Callable[[mpmath.mpf], mpmath.mpf],
    sign: Callable[[mpmath.mpf], int],
    low: mpmath.mpf | None,
    high: mpmath.mpf | None,
) -> mpmath.mpf | None:
    """The zero of a function that only rises or only falls between two ends, infinite where None; None if it has none.

    From a point in the middle it lies in the direction in which the function nears 0. `sign` is sure where the digits
    of a sum cancel, as those of 1 + erf(−100) do. Raises `OutOfReach` where it has none as far as is looked, but still
    goes on towards 0, as a logarithm does.
    """
    middle = _middle(low, high)
    value, other = f(middle), f(next(_towards(high, middle, 1)))
    if mpmath.im(value) != 0 or mpmath.im(other) != 0:
        return None
    if value == 0:
        return middle
    nearer, at_nearer, step, last_step = middle, value, mpmath.inf, mpmath.inf
    above, below = _towards(high, middle, 1), _towards(low, middle, -1)
    for place in above if value * (other - value) < 0 else below:
        there = f(place)
        if value * there < 0 and sign(place) * mpmath.sign(value) < 0:
            return _between(f, min(nearer, place), max(nearer, place), abs(at_nearer) + abs(there))
        step, last_step = abs(there - at_nearer), step
        nearer, at_nearer = place, there
    if step > last_step / 2:
        raise OutOfReach("it may have a zero farther out, or nearer to an end")
    return None


def _middle(low: mpmath.mpf | None, high: mpmath.mpf | None) -> mpmath.mpf:
    if low is None:
        return mpmath.mpf(0) if high is None else high - 1
    return low + 1 if high is None else (low + high) / 2


def _towards(end: mpmath.mpf | None, start: mpmath.mpf, direction: int) -> Iterator[mpmath.mpf]:
    """Places ever nearer to an end, or ever farther out in a direction where it is None."""
    for decade in range(_DECADES + 1):
        yield (
            start + direction * mpmath.mpf(10) ** decade
            if end is None
            else end + (start - end) / mpmath.mpf(2) ** (3 * decade + 1)
        )


# A search for changes of sign


def _searched(expression: sympy.Expr, variable: sympy.Symbol) -> Roots:
    found: set[sympy.Expr] = set()
    for part in turning(expression):
        zeros = zeros_of_polynomial(part, variable) if part.is_polynomial(variable) else None
        found |= set(_by_search(part, variable) if zeros is None else zeros)
    return _in_order(found, known=False)


def _by_search(expression: sympy.Expr, variable: sympy.Symbol) -> list[sympy.Expr]:
    with mpmath.workdps(_DIGITS):
        function = compiled(expression, variable, at_ends=True)
        step = mpmath.mpf(FARTHEST) ** (mpmath.mpf(1) / _STEPS)
        sizes = [step**k - 1 + mpmath.mpf(1) / 997 for k in range(_STEPS + 1)]
        places = [-size for size in reversed(sizes)] + sizes
        values = [mpmath.re(function(place)) for place in places]
        return [
            _recognized(_between(function, a, b, abs(left) + abs(right)))
            for a, b, left, right in zip(places, places[1:], values, values[1:], strict=False)
            if mpmath.sign(left) * mpmath.sign(right) < 0
            and _sign(expression, variable, a) * _sign(expression, variable, b) <= 0  # not where digits cancel
        ]


def _recognized(root: mpmath.mpf) -> sympy.Expr:
    """A root as a whole number where it is one to all digits."""
    nearest = round(root)
    return sympy.Integer(nearest) if abs(root - nearest) < mpmath.mpf("1e-50") else sympy.Float(root, 60)


def _between(f: Callable[[mpmath.mpf], mpmath.mpf], a: mpmath.mpf, b: mpmath.mpf, size: mpmath.mpf) -> mpmath.mpf:
    """The zero between two places, to digits of a function of that size there; or where it jumps from sign to sign."""
    if not mpmath.isfinite(size):
        return _bisected(f, a, b)
    try:
        return mpmath.findroot(lambda x: mpmath.re(f(x)) / size, (a, b), solver="anderson", tol=mpmath.mpf(10) ** -130)
    except ValueError:
        return _bisected(f, a, b)


def _bisected(f: Callable[[mpmath.mpf], mpmath.mpf], a: mpmath.mpf, b: mpmath.mpf) -> mpmath.mpf:
    left = mpmath.sign(mpmath.re(f(a)))
    for _ in range(mpmath.mp.prec):
        middle = (a + b) / 2
        a, b = (middle, b) if mpmath.sign(mpmath.re(f(middle))) == left else (a, middle)
    return b
