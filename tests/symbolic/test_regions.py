"""Space is divided at the conditions of an expression."""

import pytest
import sympy

from functional_mlp.symbolic.nodes import Largest, Maximum, Minimum
from functional_mlp.symbolic.regions import Region, Side, Undecided, Wall, resolved
from functional_mlp.symbolic.roots import real_roots

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


def test_a_root_without_a_formula_is_searched_for() -> None:
    roots = real_roots(sympy.exp(s) + s, s)
    assert not roots.known
    assert sympy.N(sympy.LambertW(1) + roots.places[0], 50) == pytest.approx(0, abs=1e-45)


def test_where_a_condition_jumps_from_sign_to_sign_is_found() -> None:
    assert {1, 2} <= set(real_roots(sympy.Mod(s, 2) - 1, s).places)


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
