"""Lines are divided where formulas change, and kinks, jumps and infinities between the pieces are said."""

import pytest

import functional_mlp as fm
from functional_mlp.testing import prove
from functional_mlp.testing.proving import prove_expressions
from tests.testing.expressions import layer_of


def test_a_notebook_shows_conditions_and_jumps_as_the_text_does():
    class Jump(fm.Identity):
        def value(self, xp, s):
            return xp.where(s * s * xp.tanh(s) > 1, 2 * s, s)

        def derivative(self, xp, s, y):
            return xp.where(s * s * xp.tanh(s) > 1, 2, 1)

    proof = prove(Jump())
    assert f", if {proof.conditions[0].partition(' of ')[0]}" in proof.latex
    assert "the value jumps by 1.11" in proof.latex


SCALE, ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


class SELU(fm.Elementwise):
    """The product of its constants is rounded by Python: it is not the product of the numbers that they are."""

    def value(self, xp, s):
        return SCALE * (xp.maximum(s, 0) + ALPHA * xp.expm1(xp.minimum(s, 0)))

    def derivative(self, xp, s, y):
        return xp.where(s > 0, SCALE, y + SCALE * ALPHA)


def test_what_the_rounding_of_constants_explains_is_not_wrong():
    proof = prove(SELU())
    assert proof.pieces == ("s < 0 (by algebra, to the rounding of its constants)", "s > 0 (by algebra)")
    assert proof.kinks == (
        "derivative: at s = 0 it is 1.75809934084738 from the left and 1.05070098735548 from the right, "
        "and 1.75809934084738 is given",
    )

    class Wrong(SELU):
        def derivative(self, xp, s, y):
            return xp.where(s > 0, SCALE, y + SCALE * ALPHA * (1 + 1e-9))

    with pytest.raises(AssertionError, match=r"where s < 0, at s = -1 .* comes to 1\.758\d*e-9"):
        prove(Wrong())


def test_a_rounded_constant_does_not_make_the_value_jump():
    class Joined(fm.Elementwise):
        def value(self, xp, s):
            return xp.where(s > 3, 3 * SCALE + (s - 3), SCALE * s)  # 3 · SCALE is rounded

        def derivative(self, xp, s, y):
            return xp.where(s > 3, 1, SCALE)

    (kink,) = prove(Joined()).kinks
    assert "jumps" not in kink


def test_a_jump_of_the_value_is_said():
    class Step(fm.Elementwise):
        def value(self, xp, s):
            return xp.where(s > 1, 1, 0)

        def derivative(self, xp, s, y):
            return 0 * s

    assert prove(Step()).kinks == (
        "derivative: at s = 1 it is 0 from both sides, and 0 is given; the value jumps by 1",
    )


def test_conditions_without_a_formula_for_their_zeros_are_said():
    class Cut(fm.Elementwise):
        def value(self, xp, s):
            return xp.maximum(s * s * xp.tanh(s) - 1, 0)

        def derivative(self, xp, s, y):
            tanh = xp.tanh(s)
            return xp.where(y > 0, 2 * s * tanh + s * s * (1 - tanh * tanh), 0)

    proof = prove(Cut())
    assert proof.kinks[-1] == "zeros of s**2*tanh(s) - 1 were searched for from -10000 to 10000"
    assert proof.conditions == ("all zeros of s**2*tanh(s) - 1 were found",)
    assert "by algebra, if all zeros of s**2*tanh(s) - 1 were found" in str(proof)
    with pytest.warns(RuntimeWarning, match=r"proved if all zeros of s\*\*2\*tanh\(s\) - 1 were found, and tested"):
        prove_expressions(Cut())


class Absolute(fm.Loss):
    def sample_value(self, xp, prediction, target):
        return xp.sum(xp.abs(prediction - target))

    def sample_grad(self, xp, prediction, target):
        return xp.sign(prediction - target)


def test_the_kinks_of_a_loss_are_said():
    proof = prove(Absolute())
    assert "1 output: at ŷ = t it is -1 from the left and 1 from the right, and 0 is given" in proof.kinks
    assert "4 outputs: at ŷ1 = t1 it is -1 from the left and 1 from the right, and 0 is given" in proof.kinks


def test_a_slope_may_be_infinite_at_a_kink():
    root = layer_of(
        lambda self, xp, s: xp.sign(s) * xp.sqrt(xp.abs(s)), lambda self, xp, s, y: 0.5 / xp.sqrt(xp.abs(s))
    )
    assert "derivative: at s = 0 it is ∞ from both sides" in repr(prove(root))
    guarded = layer_of(lambda self, xp, s: xp.maximum(s, 0) ** 0.5, lambda self, xp, s, y: xp.where(s > 0, 0.5 / y, 0))
    assert "derivative: at s = 0 it is 0 from the left and ∞ from the right, and 0 is given" in repr(prove(guarded))


def test_a_value_that_is_not_finite_is_said():
    log = layer_of(lambda self, xp, s: xp.log(xp.abs(s)), lambda self, xp, s, y: 1 / s)
    (kink,) = prove(log).kinks
    assert kink.startswith("derivative: at s = 0 it is -∞ from the left and ∞ from the right")
    assert kink.endswith(", and an infinite number is given; the value is not finite there")


def test_the_derivative_of_a_power_is_proved_where_it_begins():
    def value(self, xp, s):
        return xp.abs(s) ** 1.5

    assert not prove(layer_of(value, lambda self, xp, s, y: 1.5 * xp.sign(s) * xp.abs(s) ** 0.5)).kinks
    with pytest.raises(AssertionError, match=r"at s = 0 it is 0, and 1 is given"):
        prove(layer_of(value, lambda self, xp, s, y: xp.where(s == 0, 1, 1.5 * xp.sign(s) * xp.abs(s) ** 0.5)))


def test_a_number_that_is_none_is_refuted_beside_an_infinite_slope():
    cusp = layer_of(lambda self, xp, s: xp.sqrt(xp.abs(s)), lambda self, xp, s, y: 0.5 * xp.sign(s) / y)
    with pytest.raises(AssertionError, match=r"at s = 0 it is -∞, and no number is given"):
        prove(cusp)


def test_the_zero_of_a_condition_with_large_numbers_is_found():
    far = layer_of(
        lambda self, xp, s: xp.tanh(s), lambda self, xp, s, y: xp.where(xp.exp(s) > 2.3e17, 0, 1 - xp.tanh(s) ** 2)
    )
    with pytest.raises(AssertionError, match=r"where s > log\(2\.3e\+17\), at s = 4\d"):
        prove(far)


@pytest.mark.parametrize("given", [0.5, 0.7])
def test_a_value_that_is_filled_in_where_its_formula_is_none_is_looked_at(given):
    filled = layer_of(
        lambda self, xp, s: xp.where(s == 0, 1, xp.expm1(s) / s),
        lambda self, xp, s, y: xp.where(s == 0, given, (s * xp.exp(s) - xp.exp(s) + 1) / (s * s)),
    )
    if given == 0.5:
        assert prove(filled).kinks == ()
        return
    with pytest.raises(AssertionError, match=r"at s = 0 it is 0.5, and 0\.7 is given"):
        prove(filled)


@pytest.mark.parametrize(
    ("condition", "place"),
    [(lambda xp, s: xp.tanh(s), "atanh(1/2)"), (lambda xp, s: xp.tanh(s) - xp.exp(-s) + 0.5, "0.609377863436006")],
)
def test_a_jump_at_a_zero_is_said(condition, place):
    jumping = layer_of(lambda self, xp, s: xp.where(condition(xp, s) > 0.5, s + 5, s), lambda self, xp, s, y: 1)
    (kink,) = prove(jumping).kinks
    assert kink == f"derivative: at s = {place} it is 1 from both sides, and 1 is given; the value jumps by 5"


@pytest.mark.parametrize(
    ("value", "slope"),
    [
        (lambda xp, s: xp.ndtr(s) - 0.9, lambda xp, s: 0.3989422804014327 * xp.exp(-s * s / 2)),
        (lambda xp, s: s**5 - s - 3, lambda xp, s: 5 * s**4 - 1),
    ],
    ids=["Φ", "a polynomial of degree 5"],
)
def test_conditions_of_every_function_have_zeros(value, slope):
    cut = layer_of(
        lambda self, xp, s: xp.maximum(value(xp, s), 0),
        lambda self, xp, s, y: xp.where(value(xp, s) > 0, slope(xp, s), 0),
    )
    proof = prove(cut)
    assert "by algebra" in proof.method
    assert "it is 0 from the left" in proof.kinks[0]


def test_lines_are_divided_where_formulas_are_not_finite():
    no_sign = layer_of(lambda self, xp, s: xp.sign(1 / s) * s, lambda self, xp, s, y: xp.sign(s))
    assert prove(no_sign).pieces == ("s < 0", "s > 0")
    assert prove(no_sign).conditions == ("it holds where s = 0 as well",)
    log = layer_of(
        lambda self, xp, s: xp.maximum(xp.log(xp.abs(s)), 0), lambda self, xp, s, y: xp.where(xp.abs(s) > 1, 1 / s, 0)
    )
    assert prove(log).pieces == ("s < -1", "-1 < s < 0", "0 < s < 1", "s > 1")
    assert [kink.partition(" it is")[0] for kink in prove(log).kinks] == [
        "derivative: at s = -1",
        "derivative: at s = 1",
    ]


@pytest.mark.parametrize(
    ("value", "slope"),
    [
        (lambda xp, s: xp.log(s), lambda xp, s: 1 / s),
        (lambda xp, s: xp.log(s), lambda xp, s: xp.where(s > 0, 1 / s, 5)),
        (lambda xp, s: xp.sqrt(s), lambda xp, s: 0.5 / xp.sqrt(s)),
        (lambda xp, s: s**1.5, lambda xp, s: 1.5 * s**0.5),
    ],
)
def test_nothing_is_said_where_the_value_is_no_real_number(value, slope):
    proof = prove(layer_of(lambda self, xp, s: value(xp, s), lambda self, xp, s, y: slope(xp, s)))
    assert proof.statement.endswith("of the value for all real s where the value is a real number")
    assert proof.pieces == ("s < 0 (the value is no real number)", "s > 0")
    assert proof.method == "by algebra"


def test_a_derivative_that_is_no_number_where_the_value_is_one_is_wrong():
    halved = layer_of(lambda self, xp, s: xp.abs(s) ** 1.5, lambda self, xp, s, y: 1.5 * s**0.5)
    with pytest.raises(AssertionError, match=r"where s < 0, at s = -1 it is -1.5, and no number is given"):
        prove(halved)


def test_remainders_are_proved_for_all_whole_numbers():
    sawtooth = prove(layer_of(lambda self, xp, s: s % 2, lambda self, xp, s, y: 1))
    assert sawtooth.method == "by algebra"
    assert sawtooth.pieces == ("s > 2*n and s < 2*n + 2 for whole n",)
    assert sawtooth.kinks == (
        "derivative: for whole n, at s = 2*n it is 1 from both sides, and 1 is given; the value jumps by -2",
    )

    def rounded(slope):
        return layer_of(lambda self, xp, s: (s - s % 1) * s, lambda self, xp, s, y: slope(s))

    assert prove(rounded(lambda s: s - s % 1)).method == "by algebra"
    with pytest.raises(AssertionError, match=r"at s = \S+, n = -?\d+ it is"):
        prove(rounded(lambda s: s))


def test_a_remainder_of_what_is_not_finite_is_proved_where_it_is():
    proof = prove(layer_of(lambda self, xp, s: (1 / s) % 1, lambda self, xp, s, y: -1 / (s * s)))
    assert proof.method == "by algebra"


def test_a_wave_that_is_wrong_far_away_is_found():
    def wave(end):
        return layer_of(
            lambda self, xp, s: xp.abs(s % 2 - 1),
            lambda self, xp, s, y: xp.where(s > end, 0, xp.where(s % 2 > 1, 1, -1)),
        )

    with pytest.raises(AssertionError, match=r"where s > 2001/2 and .* it is -?1, and 0 is given"):
        prove(wave(1000.5))


def test_a_mistake_between_two_zeros_that_are_near_to_each_other_is_found():
    near = layer_of(lambda self, xp, s: s, lambda self, xp, s, y: xp.where(xp.tanh(s - 45) ** 2 < 0.01, 1 + 1e-9, 1))
    with pytest.raises(AssertionError, match=r"where 45 - atanh\(1/10\) < s < atanh\(1/10\) \+ 45"):
        prove(near)
