"""`gated` in the engine for gates other than those of the activations."""

from fractions import Fraction

import mpmath
import pytest
import torch
from llvmlite import ir

import functional_mlp as fm
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.gates import Gate, slope_zero
from functional_mlp.engine.llvm.vector import Scalars, VectorNamespace
from tests.accuracy import MOST_ULP, MOST_ULP_OF_DERIVATIVES, every_float32, worst_ulp
from tests.engine.llvm.native import run_vectors

COEFFICIENTS = [(1, 0), (1.702, 0), (0.01, 0), (4.0, 0.0), (0, 0.3), (0.7, 2.5), (2, Fraction(1, 3))]


@pytest.mark.parametrize(("a", "b"), COEFFICIENTS)
def test_any_gate_and_its_slope_keep_their_digits(a: float, b: float) -> None:
    s = every_float32(1511, 2.0**-60)
    wide, linear, cubic = s.double(), float(a), float(b)
    v = wide * (linear + cubic * wide * wide)
    opened, density = torch.sigmoid(v), torch.sigmoid(v) * torch.sigmoid(-v)
    exact = {
        "gated": wide * opened,
        "gated_slope": opened + wide * density * (linear + 3 * cubic * wide * wide),
    }

    for name, most in (("gated", MOST_ULP), ("gated_slope", MOST_ULP_OF_DERIVATIVES)):

        def emit(e: Emitter, vector: ir.Value, name: str = name) -> ir.Value:
            xp = VectorNamespace(e, Scalars(e))
            return xp.vectors(getattr(xp, name)(xp.array(vector), a, b))[0]

        assert worst_ulp(f"{name}(s, {a}, {b})", run_vectors(emit, s), exact[name], s) <= most


@pytest.mark.parametrize(("a", "b"), COEFFICIENTS)
def test_the_zero_of_a_slope_is_known_to_twice_the_digits(a: float, b: float) -> None:
    gate = Gate(Fraction(a), Fraction(b))
    with mpmath.workdps(60):
        linear, cubic, s, v = (
            mpmath.mpf(x.numerator) / x.denominator for x in (gate.a, gate.b, slope_zero(gate).s, slope_zero(gate).v)
        )
        assert abs(v - (linear * s + cubic * s**3)) < 1e-40
        assert abs(1 + linear * s + 3 * cubic * s**3 + mpmath.exp(v)) < 1e-40


class Gated(fm.Elementwise):
    """s σ(−s)."""

    def value(self, xp, s):
        return xp.gated(s, -1, 0)

    def derivative(self, xp, s, y):
        return xp.gated_slope(s, -1, 0)


def test_other_gates_are_left_to_the_reference() -> None:
    reason = fm.engine.explain(fm.Sequential(fm.Linear(2, 2), Gated()), fm.MeanSquaredError(), fm.SGD(0.1))
    assert reason is not None
    assert "of which one may be 0, got -1 and 0" in reason
    s = torch.tensor([-2.0, 0.5])
    torch.testing.assert_close(Gated().apply((), s), s * torch.sigmoid(-s))
