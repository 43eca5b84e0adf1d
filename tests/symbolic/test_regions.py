"""Space is divided at the conditions of an expression."""

import pytest
import sympy

from functional_mlp.symbolic.nodes import Largest, Maximum, Minimum
from functional_mlp.symbolic.regions import Region, Undecided
from functional_mlp.symbolic.resolving import resolved
from functional_mlp.symbolic.roots import real_roots
from functional_mlp.symbolic.walls import Side, Wall

s, a, b, c = sympy.symbols("s a b c", real=True)


def pieces(expression: sympy.Expr, variables: tuple[sympy.Symbol, ...]) -> dict[str, sympy.Expr]:
    """The formula of an expression in each region."""
    found, pending = {}, [Region.everywhere(variables)]
    while pending:
        region = pending.pop()
        try:
            found[str(region)] = resolved(expression, region)
            assert region.contains(region.point)
        except Undecided as undecided:
            pending += undecided.parts
    return found


def test_a_line_is_divided_at_the_roots() -> None:
    assert pieces(sympy.Abs(s**3 - s), (s,)) == {
        "s < -1": s - s**3,
        "-1 < s < 0": s**3 - s,
        "0 < s < 1": s - s**3,
        "s > 1": s**3 - s,
    }


def test_conditions_within_conditions_divide_only_their_own_part() -> None:
    inner = Maximum(sympy.Abs(s) - 40, 0)
    assert pieces(inner, (s,)) == {"s < -40": -s - 40, "-40 < s < 0": 0, "0 < s < 40": 0, "s > 40": s - 40}


def test_what_has_one_sign_divides_nothing() -> None:
    assert pieces(Maximum(sympy.exp(s) + s**2, -1), (s,)) == {"everywhere": sympy.exp(s) + s**2}


def test_a_root_between_rational_numbers_is_found() -> None:
    assert list(pieces(Minimum(s**2, 2), (s,)).values()) == [2, s**2, 2]
    assert pieces(Minimum(s**2, 2), (s,)).keys() == {"s < -sqrt(2)", "-sqrt(2) < s < sqrt(2)", "s > sqrt(2)"}


def test_a_root_without_a_formula_is_found_to_50_digits() -> None:
    (root,) = real_roots(sympy.exp(s) + s, s).places
    assert abs(sympy.N(sympy.LambertW(1) + root, 60)) < sympy.Float("1e-50")


KNOWN = {
    sympy.tanh(s - 45) ** 2 - sympy.Rational(1, 100): 2,
    sympy.Rational(999, 1000) - sympy.exp(-10 * (s - 5000) ** 2): 2,
    2 - sympy.exp(s / 10**5): 1,
    sympy.exp(sympy.exp(s)) - 3: 1,
    sympy.erf(s) - sympy.Rational(1, 2): 1,
    sympy.tanh(s) - sympy.exp(-s): 1,
    sympy.log(1 + sympy.exp(s)) - 1: 1,
    sympy.tanh(s) - 1: 0,
    s / (1 + sympy.exp(-s)) + sympy.Rational(1, 10): 2,
    s / (1 + sympy.exp(-s)) - 1: 1,
    s * (1 + sympy.erf(s / sympy.sqrt(2))) + sympy.Rational(1, 10): 2,
    s * sympy.exp(-s) - 1: 0,
    sympy.exp(s) - s - 1: 1,
    sympy.exp(-s) - s / 10**9: 1,
    s - sympy.erf(s**2 / 3): 1,  # at the very place where the search begins
    s + sympy.sqrt(s) - 1: 2,  # and where the root begins
    1 / s - s: 3,  # and where it is not finite
}


@pytest.mark.parametrize("expression", KNOWN, ids=str)
def test_all_zeros_are_known_of_what_is_solved_or_only_rises_or_falls(expression: sympy.Expr) -> None:
    roots = real_roots(expression, s)
    assert roots.known
    assert len(roots.places) == KNOWN[expression]


def test_what_is_made_of_several_functions_that_turn_often_is_searched() -> None:
    roots = real_roots(s**2 * sympy.tanh(s) - sympy.Rational(1, 3), s)
    assert not roots.known
    assert len(roots.places) == 1


def test_a_remainder_is_a_sum_with_a_whole_number() -> None:
    n = sympy.Symbol("n", integer=True)
    assert pieces(sympy.Mod(s, 2), (s,)) == {"s > 2*n and s < 2*n + 2 for whole n": s - 2 * n}
    wall = Wall(s, 2 * n, Region.everywhere((n,)))
    assert [resolved(sympy.Mod(s, 2), side) for side in (wall, Side(wall, -1))] == [s - 2 * n, s - 2 * n + 2]


def test_conditions_of_products_divide_at_their_factors() -> None:
    assert pieces(Minimum((a - b) ** 2, 4), (a, b)).keys() == {
        "b < a - 2",
        "b > a - 2 and b < a + 2",
        "b > a - 2 and b > a + 2",
    }


@pytest.mark.parametrize("expression", [(a - b) ** 2 + 1, a**2 + b**2 + c**2 + 1, 1 - sympy.tanh(a * b)], ids=str)
def test_what_is_positive_everywhere_divides_nothing(expression: sympy.Expr) -> None:
    assert list(pieces(sympy.Abs(sympy.expand(expression)), (a, b, c))) == ["everywhere"]


def test_the_largest_of_three_has_three_pieces() -> None:
    assert sorted(map(str, pieces(Largest(a, b, c), (a, b, c)).values())) == ["a", "b", "c"]


def test_regions_without_points_are_left_out() -> None:
    # Where a > b and b > c, a > c.
    nested = Maximum(a, b) + Maximum(b, c) + Maximum(a, c)
    assert len(pieces(nested, (a, b, c))) == 6


def test_a_positive_symbol_has_its_sign() -> None:
    eta = sympy.Symbol("η", positive=True)
    assert pieces(sympy.Abs(eta * s), (s, eta)) == {"s < 0": -eta * s, "s > 0": eta * s}


@pytest.mark.parametrize(("side", "slope"), [(-1, -1), (1, 1)])
def test_beside_a_wall_there_is_one_formula(side: int, slope: int) -> None:
    wall = Wall(a, b, Region.everywhere((b,)))
    assert sympy.diff(resolved(sympy.Abs(a - b), Side(wall, side)), a) == slope
    assert resolved(sympy.sign((a - b) ** 2), Side(wall, side)) == 1
