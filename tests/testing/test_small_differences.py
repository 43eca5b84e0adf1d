"""What differs by less than the digits of both sides show, and numbers that are beyond a machine."""

import pytest
import sympy

import functional_mlp as fm
from functional_mlp.symbolic.agreement import Agreement, compared
from functional_mlp.symbolic.allowance import Allowance, OutOfTime
from functional_mlp.symbolic.reach import OutOfReach, at
from functional_mlp.symbolic.tidying import tidied
from functional_mlp.testing import prove
from functional_mlp.testing.proof import CannotProveError
from tests.testing.expressions import activation, loss

S = sympy.Symbol("s", real=True)
# 0, which algebra does not see.
HIDDEN = sympy.sqrt(2 + S**2 + 2 * sympy.sqrt(1 + S**2)) - 1 - sympy.sqrt(1 + S**2)


def hidden(xp, s):
    root = xp.sqrt(1 + s * s)
    return xp.sqrt(2 + s * s + 2 * root) - 1 - root


@pytest.mark.parametrize(
    ("value", "slope"),
    [
        (lambda xp, s: s + 0, lambda xp, s, y: 1),
        (lambda xp, s: xp.tanh(s), lambda xp, s, y: 1 - y * y),
        (lambda xp, s: xp.tanh(s), lambda xp, s, y: 4 / (xp.exp(s) + xp.exp(-s)) ** 2),
    ],
    ids=["1", "the square of tanh", "exponentials"],
)
@pytest.mark.parametrize("narrow", [100, 10**9])
def test_a_bump_between_the_points_is_found(value, slope, narrow):
    bumped = activation(value, lambda xp, s, y: slope(xp, s, y) + xp.exp(-narrow * (s - 200.25) ** 2))
    with pytest.raises(AssertionError, match="the derivative is wrong: at s = "):
        prove(bumped)


def test_what_is_smaller_than_digits_everywhere_is_found():
    wrong = activation(lambda xp, s: xp.tanh(s), lambda xp, s, y: 1 - y * y + xp.exp(-s * s - 10**5))
    with pytest.raises(AssertionError, match="is given, which is the same to 60 digits: what is given less what"):
        prove(wrong)


@pytest.mark.parametrize(
    "more",
    [
        lambda xp, s: xp.exp(-(10**9) * (s * s - 40_000.5) ** 2),
        lambda xp, s: 1 / (1 + xp.exp(1000 * (1e7 - s))),
        lambda xp, s: 1 + xp.erf(1000 * (s - 3e6)),
    ],
    ids=["two bumps", "a step", "a step of erf"],
)
def test_what_is_nothing_but_where_its_function_turns_is_found(more):
    wrong = activation(lambda xp, s: s + 0, lambda xp, s, y: 1 + hidden(xp, s) + more(xp, s))
    with pytest.raises(AssertionError, match="the derivative is wrong: at s = "):
        prove(wrong)


@pytest.mark.parametrize("place", [sympy.Integer(0), sympy.Rational(401, 2), sympy.Integer(10**6)])
def test_what_is_zero_is_not_taken_for_a_difference(place):
    for zero in (HIDDEN, sympy.tanh(HIDDEN), sympy.log(1 + sympy.exp(-sympy.exp(S / 10**4))) * HIDDEN):
        assert compared(sympy.Integer(1), 1 + zero, {S: place}, {}).agreement is Agreement.TO_DIGITS


def test_what_agrees_at_points_is_a_condition_of_the_proof(monkeypatch):
    monkeypatch.setattr("functional_mlp.symbolic.comparing.POINTS", 3)
    proof = prove(activation(lambda xp, s: s + hidden(xp, s), lambda xp, s, y: 1))
    assert proof.pieces == ("everywhere (to 1e-50 at 3 points)",)
    assert str(proof).splitlines()[0].endswith(", if what agrees at points agrees between them")


@pytest.mark.parametrize(
    ("expression", "place"),
    [
        (sympy.exp(sympy.exp(sympy.exp(S))), 10),
        (sympy.exp(-sympy.exp(sympy.exp(S))), 10),
        (S ** sympy.exp(sympy.exp(S)), 10),
        (sympy.tanh(sympy.exp(sympy.exp(S))), 10),
        (S**10**9, sympy.Rational(3, 2)),
    ],
    ids=str,
)
def test_numbers_beyond_a_machine_are_not_begun(expression, place):
    with pytest.raises(OutOfReach, match="more digits than there is memory for"):
        at(expression, {S: sympy.sympify(place)})


def test_points_at_which_numbers_are_beyond_a_machine_are_left_out(monkeypatch):
    monkeypatch.setattr("functional_mlp.symbolic.comparing.POINTS", 20)

    def steep(xp, s):
        return xp.exp(xp.exp(xp.exp(s)))

    def slope(xp, s):
        return steep(xp, s) * xp.exp(xp.exp(s)) * xp.exp(s)

    proof = prove(activation(steep, lambda xp, s, y: slope(xp, s) + hidden(xp, s)))
    assert proof.pieces == ("everywhere (to 1e-50 at 20 points)",)
    with pytest.raises(AssertionError, match="the derivative is wrong: at s = "):
        prove(activation(steep, lambda xp, s, y: slope(xp, s) * (1 + xp.exp(0 * s - 100)) + hidden(xp, s)))
    monkeypatch.setattr("functional_mlp.symbolic.derivatives.TRIES", 20)
    everywhere = activation(lambda xp, s: steep(xp, 9 + s * s), lambda xp, s, y: 1 + hidden(xp, s))
    with pytest.raises(CannotProveError, match="no point was found to try"):
        prove(everywhere)


def endless(*_):
    while True:
        pass


def test_formulas_of_a_proof_take_no_more_than_its_time(monkeypatch):
    monkeypatch.setattr("functional_mlp.symbolic.formulas.lines_of", endless)
    proof = prove(fm.Tanh(), seconds=0.3)
    assert proof.method == "by algebra"
    assert "tanh" not in proof.latex.partition("begin{aligned}")[2]


def test_a_formula_that_is_made_short_has_no_more_time_than_who_asks(monkeypatch):
    monkeypatch.setattr("functional_mlp.symbolic.tidying._with_sums_tidied", endless)
    with pytest.raises(OutOfTime):
        Allowance(0.02).run(lambda: tidied(S))


def test_what_agrees_at_points_of_a_surface_is_a_condition(monkeypatch):
    monkeypatch.setattr("functional_mlp.symbolic.kinks.POINTS", 3)
    monkeypatch.setattr("functional_mlp.testing.proofs.OUTPUTS", range(1, 2))
    squares = loss(
        lambda xp, p, t: xp.sum((p - t) ** 2), lambda xp, p, t: 2 * (p - t) + xp.where(p == t, hidden(xp, t), 0)
    )
    assert prove(squares).conditions == ("it holds where t - ŷ = 0 as well",)


def _saturated(xp, s):
    """1 / (1 + e) + e for e = exp(−20.3 s): above 1 by less than the digits of a float64 where s is above 1.8."""
    e = xp.exp(-20.3 * s)
    return 1 / (1 + e) + e


@pytest.mark.parametrize(
    "is_wrong",
    [
        lambda xp, s: xp.where(s > 0.05, _saturated(xp, s), 0) > 1,
        lambda xp, s: s + xp.log(s * s + 1) > 1e28,
        lambda xp, s: xp.exp(s) - s - 1 < 1e-60,
        lambda xp, s: (s**5 - s - 1) ** 2 < 1e-60,
    ],
    ids=["beside 1", "beside 1e28", "near 0", "between two zeros"],
)
def test_a_condition_is_decided_whatever_digits_cancel(is_wrong):
    wrong = activation(lambda xp, s: xp.tanh(s), lambda xp, s, y: xp.where(is_wrong(xp, s), 7, 1 - y * y))
    with pytest.raises(AssertionError, match="the derivative is wrong: where "):
        prove(wrong)


@pytest.mark.parametrize(
    "is_right",
    [
        lambda xp, s: _saturated(xp, s) > 1,
        lambda xp, s: xp.log1p(xp.exp(-s)) * xp.exp(s) < 1,
    ],
    ids=["beside 1", "a zero of digits that cancel"],
)
def test_what_holds_whatever_digits_cancel_is_not_refuted(is_right):
    prove(activation(lambda xp, s: xp.tanh(s), lambda xp, s, y: xp.where(is_right(xp, s), 1 - y * y, 7)))


@pytest.mark.parametrize(
    "is_wrong",
    [
        lambda xp, s: s + xp.log(s * s + 1) > 1e45,
        lambda xp, s: s - xp.exp(-s) > 1e45,
        lambda xp, s: xp.where(s > 0, xp.log(xp.maximum(s, 1e-300)) + s, 0) < -100,
    ],
    ids=["a logarithm", "a power of e", "near an edge"],
)
def test_zeros_beyond_those_that_are_looked_for_are_a_condition(is_wrong):
    wrong = activation(lambda xp, s: xp.tanh(s), lambda xp, s, y: xp.where(is_wrong(xp, s), 7, 1 - y * y))
    try:
        proof = prove(wrong)
    except (AssertionError, CannotProveError):
        return
    assert any("all zeros of" in condition for condition in proof.conditions)
