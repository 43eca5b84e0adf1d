import math
from typing import Literal

import mpmath
import pytest
import torch
from torch import nn

import functional_mlp as fm
from tests.accuracy import (
    MOST_ULP,
    MOST_ULP_OF_DERIVATIVES,
    ZEROS,
    activation_arguments,
    derivative_arguments,
    every_number,
    exact_activation,
    exact_derivative,
    exact_values,
    worst_ulp,
)
from tests.helpers import ACTIVATION_ORACLES, assert_close, assert_same_bits, autograd, check_refused, draw, refusal
from tests.tables import ACTIVATIONS, ACTIVATIONS_OF_EXACT_DERIVATIVES

every_activation = pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
every_exact_derivative = pytest.mark.parametrize("activation", ACTIVATIONS_OF_EXACT_DERIVATIVES, ids=repr)

# Zeros of both signs, saturation, overflow of an inner exponential or cube, and what is no number.
SPECIAL = [0.0, -0.0, 1e-300, 20.0, -20.0, 40.0, -40.0, 800.0, -800.0, 1e200, -1e200, math.inf, -math.inf, math.nan]
# Where torch has 0 or NaN for a derivative that is a number other than 0.
LOST_BY_TORCH = {fm.GELU("tanh"): [-20, 1e200, -1e200]}
GRADS = [1.0, -2.5, 0.0, -0.0, math.inf, -math.inf, math.nan]


def sign(x: torch.Tensor) -> torch.Tensor:
    """The signs of numbers, of zeros too, and 0 for NaN."""
    return torch.where(x.isnan(), 0, torch.copysign(torch.ones_like(x), x))


def test_the_table_holds_every_activation_that_the_package_exports() -> None:
    exported = {getattr(fm, name) for name in fm.__all__ if isinstance(getattr(fm, name), type)}
    subclasses = {cls for cls in exported if issubclass(cls, fm.Elementwise)} - {fm.Elementwise}
    assert {type(activation) for activation in ACTIVATIONS} == subclasses == set(ACTIVATION_ORACLES)


@every_activation
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_special_values_are_torchs(activation: fm.Elementwise, dtype: torch.dtype) -> None:
    s = torch.tensor(SPECIAL, dtype=dtype)
    # One by one: torch's vectorized float32 GELU(inf) is NaN, unlike its own loop's for what remains.
    expected = torch.cat([ACTIVATION_ORACLES[type(activation)](activation, number) for number in s.split(1)])
    actual = activation.apply((), s)
    # Relative to each number, but for e⁻⁴⁰ beside 1, which a formula may lose.
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=torch.finfo(dtype).eps, equal_nan=True)
    assert torch.equal(sign(actual[:2]), sign(expected[:2]))


@every_activation
def test_a_value_is_within_four_ulp_over_the_whole_range(activation: fm.Elementwise) -> None:
    s = activation_arguments()
    assert worst_ulp(repr(activation), activation.apply((), s), exact_activation(activation, s.double()), s) <= MOST_ULP


@every_exact_derivative
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_derivative_is_within_eight_ulp_for_every_number(activation: fm.Elementwise, dtype: torch.dtype) -> None:
    s = derivative_arguments(activation) if dtype == torch.float32 else every_number(dtype)
    _, derivative = activation.vjp((), s, torch.ones_like(s))
    exact = exact_derivative(activation, s.double())
    assert worst_ulp(repr(activation), derivative, exact, s) <= MOST_ULP_OF_DERIVATIVES


@pytest.mark.parametrize("activation", ZEROS, ids=repr)
def test_a_gated_float64_value_is_within_four_ulp(activation: fm.Elementwise) -> None:
    # From −37.5 to −37.7, Φ(s) is denormal and s Φ(s) is not.
    pieces = (-30, 8, 3001), (-745, -30, 101), (-37.7, -37.4, 101)
    s = torch.cat([torch.linspace(*piece, dtype=torch.float64) for piece in pieces])
    with mpmath.workdps(40):
        exact = [exact_values(activation, mpmath.mpf(number))[0] for number in s.tolist()]
        errors = [
            float(abs(mpmath.mpf(y) - x)) / math.ulp(max(abs(float(x)), torch.finfo(torch.float64).tiny))
            for y, x in zip(activation.apply((), s).tolist(), exact, strict=True)
        ]
    assert max(errors) <= MOST_ULP


@pytest.mark.parametrize("activation", [fm.SiLU(), fm.GELU(), fm.GELU("tanh")], ids=repr)
def test_derivatives_of_extreme_float64s_are_their_limits(activation: fm.Elementwise) -> None:
    s = torch.tensor([1e51, 1e103, 1e154, 1e155, 1.7e308], dtype=torch.float64)
    assert_close(activation.vjp((), s, torch.ones_like(s))[1], torch.ones_like(s))
    assert_close(activation.vjp((), -s, torch.ones_like(s))[1], torch.zeros_like(s))


@every_activation
@pytest.mark.parametrize("grad", GRADS)
def test_gradients_at_special_values_are_torchs(activation: fm.Elementwise, grad: float) -> None:
    s = torch.tensor(SPECIAL, dtype=torch.float64)
    s = s[~torch.isin(s, torch.tensor(LOST_BY_TORCH.get(activation, []), dtype=s.dtype))]
    grad_out = torch.full_like(s, grad)
    _, (expected,) = autograd(lambda s: (ACTIVATION_ORACLES[type(activation)](activation, s) * grad_out).sum(), s)
    _, actual = activation.vjp((), s, grad_out)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-15, equal_nan=True)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_keeps_its_lower_tail(approximate: Literal["none", "tanh"]) -> None:
    def gelu(s: mpmath.mpf) -> mpmath.mpf:
        if approximate == "none":
            return s * (1 + mpmath.erf(s / mpmath.sqrt(2))) / 2
        return s * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (s + mpmath.mpf("0.044715") * s**3))) / 2

    s = torch.tensor([-4.0, -6.5, -9.0, -13.0, -20.0], dtype=torch.float64)
    with mpmath.workdps(600):
        values = [float(gelu(mpmath.mpf(number))) for number in s.tolist()]
        slopes = [float(mpmath.diff(gelu, mpmath.mpf(number))) for number in s.tolist()]
    activation = fm.GELU(approximate)
    torch.testing.assert_close(activation.apply((), s), torch.tensor(values, dtype=s.dtype), rtol=1e-12, atol=0)
    _, slope = activation.vjp((), s, torch.ones_like(s))
    torch.testing.assert_close(slope, torch.tensor(slopes, dtype=s.dtype), rtol=1e-12, atol=0)


@every_activation
def test_nan_stays_nan(activation: fm.Elementwise) -> None:
    nan = torch.tensor([math.nan], dtype=torch.float64)
    one = torch.ones_like(nan)
    assert activation.apply((), nan).isnan()
    assert activation.vjp((), one, nan)[1].isnan()


@every_activation
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_sign_of_zero_is_torchs(activation: fm.Elementwise, dtype: torch.dtype) -> None:
    # A vector long enough for the vectorized loops of torch and its remainder.
    s = torch.tensor([0.0, -0.0] * 21, dtype=dtype)
    assert torch.equal(sign(activation.apply((), s)), sign(ACTIVATION_ORACLES[type(activation)](activation, s)))


@every_activation
def test_value_and_gradient_agree_with_torch_over_a_wide_range(activation: fm.Elementwise) -> None:
    s = torch.cat([draw(500) * scale for scale in (1e-6, 1.0, 10.0)])
    _, (expected,) = autograd(lambda s: ACTIVATION_ORACLES[type(activation)](activation, s).sum(), s)
    _, actual = activation.vjp((), s, torch.ones_like(s))
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(
        activation.apply((), s), ACTIVATION_ORACLES[type(activation)](activation, s), rtol=1e-10, atol=1e-13
    )


@pytest.mark.parametrize(
    ("activation", "module"),
    [
        (fm.ReLU(), nn.ReLU()),
        (fm.Tanh(), nn.Tanh()),
        (fm.Sigmoid(), nn.Sigmoid()),
        (fm.LeakyReLU(), nn.LeakyReLU()),
        (fm.ELU(), nn.ELU()),
        (fm.SiLU(), nn.SiLU()),
        (fm.GELU(), nn.GELU()),
        (fm.GELU("tanh"), nn.GELU("tanh")),
        (fm.Identity(), nn.Identity()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_defaults_are_those_of_torch_nn(activation: fm.Elementwise, module: nn.Module) -> None:
    s = draw(100) * 3
    assert_close(activation.apply((), s), module(s))


def test_softplus_default_is_that_of_torch_nn_below_its_threshold() -> None:
    s = draw(100) * 3
    assert_close(fm.Softplus().apply((), s), nn.Softplus()(s))


@every_activation
def test_an_activation_takes_any_size_and_has_no_params(activation: fm.Elementwise) -> None:
    assert (activation.in_features, activation.out_features) == (None, None)
    assert activation.init(fm.random.key(0)) == ()


@pytest.mark.parametrize(
    ("call", "error", "fragments"),
    [
        refusal(
            "slope of a string", lambda: fm.LeakyReLU("0.1"), TypeError, "LeakyReLU: negative_slope", "'0.1', a str"
        ),
        refusal(
            "slope of NaN", lambda: fm.LeakyReLU(math.nan), ValueError, "LeakyReLU: negative_slope", "finite", "nan"
        ),
        refusal("slope of True", lambda: fm.LeakyReLU(True), TypeError, "LeakyReLU: negative_slope", "True, a bool"),
        refusal("alpha of infinity", lambda: fm.ELU(math.inf), ValueError, "ELU: alpha", "finite", "inf"),
        refusal("alpha of None", lambda: fm.ELU(None), TypeError, "ELU: alpha", "number", "None"),
        refusal("unknown approximation", lambda: fm.GELU("erf"), ValueError, "GELU: approximate", "'none'", "'erf'"),
        refusal("approximation of a bool", lambda: fm.GELU(True), ValueError, "GELU: approximate", "'tanh'", "True"),
    ],
)
def test_bad_input_is_refused(call, error, fragments) -> None:
    check_refused(call, error, fragments)


class Constant(fm.Elementwise):
    """2.5, whatever comes."""

    def value(self, xp, s):
        return 2.5

    def derivative(self, xp, s, y):
        return 0.0


class ConstantPullback(Constant):
    def pullback(self, xp, s, y, grad):
        return 0.0


@pytest.mark.parametrize("layer", [Constant(), ConstantPullback()], ids=repr)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_an_expression_that_is_a_number_makes_arrays(layer: fm.Elementwise, dtype: torch.dtype) -> None:
    x = draw(3, 2, dtype=dtype)
    assert_same_bits(fm.predict(layer, (), x), torch.full_like(x, 2.5))
    assert_same_bits(layer.vjp((), x, torch.ones_like(x)), ((), torch.zeros_like(x)))
