"""Where algebra, time or memory are not enough, a proof says what it has looked at, or that it cannot tell."""

import re

import pytest

import functional_mlp as fm
from functional_mlp.testing import prove
from functional_mlp.testing.proof import CannotProveError
from tests.testing.expressions import OffByATrillionth, Tanh, WrongBeyond40, WrongOnTheRight, layer_of


def test_what_algebra_does_not_find_is_evaluated_with_60_digits(monkeypatch):
    class Hard(fm.Elementwise):
        def value(self, xp, s):
            return xp.log(xp.sqrt(s * s * s * s + 2 * s * s + 1))

        def derivative(self, xp, s, y):
            return 2 * s / (1 + s * s)

    monkeypatch.setattr("functional_mlp.symbolic.identities.MOST_OPERATIONS", 3)
    proof = prove(Hard())
    assert proof.pieces == ("everywhere (to 1e-50 at 400 points)",)
    assert "derivative, everywhere (to 1e-50 at 400 points)" in proof.latex
    assert proof.method == "as the pieces say"

    class HardAndWrong(Hard):
        def derivative(self, xp, s, y):
            return super().derivative(xp, s, y) * (1 + 1e-12)

    with pytest.raises(AssertionError, match="the derivative is wrong: at s = "):
        prove(HardAndWrong())


def test_an_expression_that_does_not_end_is_ended():
    class Endless(Tanh):
        def derivative(self, xp, s, y):
            while True:
                pass

    with pytest.raises(ValueError, match=r"no time to read the expressions: give it more, seconds=60"):
        prove(Endless(), seconds=0.05)
    with pytest.raises(ValueError, match="seconds"):
        prove(fm.Tanh(), seconds=0)


def test_numbers_that_take_all_memory_leave_a_proof_undecided(monkeypatch):
    def too_large(*arguments):
        raise MemoryError

    monkeypatch.setattr("functional_mlp.symbolic.comparing.compared", too_large)
    monkeypatch.setattr("functional_mlp.symbolic.identities.MOST_OPERATIONS", 3)
    with pytest.raises(CannotProveError, match="the derivative cannot be decided: a number in it takes all memory"):
        prove(OffByATrillionth())


def test_algebra_that_does_not_end_is_ended_and_points_are_looked_at(monkeypatch):
    def endless(expression):
        while True:
            pass

    monkeypatch.setattr("functional_mlp.symbolic.agreement.is_zero", endless)
    (piece,) = prove(Tanh(), seconds=2).pieces
    assert re.fullmatch(r"everywhere \(to 1e-50 at \d+ (of 400 )?points(, for which there was time)?\)", piece)
    with pytest.raises(AssertionError, match=r"the derivative is wrong: at s = .* what is given less what it is comes"):
        prove(OffByATrillionth(), seconds=2)


def test_where_there_are_too_many_pieces_points_of_the_whole_space_are_looked_at(monkeypatch):
    monkeypatch.setattr("functional_mlp.symbolic.dividing.MOST_PIECES", 1)
    assert prove(fm.LeakyReLU()).pieces == ("everywhere (to 1e-50 at 400 points in 2 pieces)",)
    for layer in (WrongBeyond40(), WrongOnTheRight()):
        with pytest.raises(AssertionError, match=r"the derivative is wrong: at s = "):
            prove(layer)


def test_what_cannot_be_decided_is_no_mistake():
    nowhere = layer_of(lambda self, xp, s: xp.log(-1 - s * s), lambda self, xp, s, y: s)
    with pytest.raises(ValueError, match="the derivative cannot be decided: the value is nowhere a real number"):
        prove(nowhere)
