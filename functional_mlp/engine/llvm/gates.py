"""`gated` and its slope: s σ(v) with v = a s + b s³, for a and b of at least 0, of vectors.

Both are found from t = −|s|, where v is not above 0 and eᵛ not above 1.
"""

import decimal
import functools
import math
from collections.abc import Callable
from fractions import Fraction

from attrs import frozen

from functional_mlp.compensation import split
from functional_mlp.engine.llvm import functions, ir
from functional_mlp.engine.llvm.emitter import Emitter


@frozen
class Gate:
    """The polynomial v = a s + b s³."""

    a: Fraction
    b: Fraction

    @property
    def is_identity(self) -> bool:
        """Whether v is s."""
        return self.a == 1 and self.b == 0

    def inverse(self, v: float) -> float:
        """The s with this v, which is above 0."""
        a, b = float(self.a), float(self.b)
        return _zero(lambda s: a * s + b * s**3 - v)


@frozen
class SlopeZero:
    """The s < 0 where the slope of s σ(v) is 0, and its v."""

    s: Fraction
    v: Fraction


@functools.lru_cache(maxsize=64)
def slope_zero(gate: Gate) -> SlopeZero:
    """Where 1 + a s + 3 b s³ + eᵛ = 0, to twice the digits of a double, by Newton's method."""
    with decimal.localcontext(prec=50):
        a, b = (decimal.Decimal(c.numerator) / c.denominator for c in (gate.a, gate.b))

        def excess(x: decimal.Decimal) -> decimal.Decimal:
            return a * x + 3 * b * x**3 - 1 - (-a * x - b * x**3).exp()

        x = decimal.Decimal(_zero(lambda x: float(excess(decimal.Decimal(x)))))
        for _ in range(2):
            x -= excess(x) / (a + 9 * b * x * x + (a + 3 * b * x * x) * (-a * x - b * x**3).exp())
        return SlopeZero(Fraction(-x), Fraction(-a * x - b * x**3))


def _zero(function: Callable[[float], float]) -> float:
    """Where a function that increases from below 0 at 0 is 0."""
    low, high = 0.0, 1.0
    while function(high) < 0:
        high *= 2
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if function(middle) < 0 else (low, middle)
    return high


def gated(e: Emitter, s: ir.Value, exponent: ir.Value, rest: ir.Value | None = None) -> ir.Value:
    """s eᵛ / (1 + eᵛ) on the left and s / (1 + eᵛ) on the right, for the v = exponent + rest of −|s|."""
    b = e.builder
    v = exponent if rest is None else b.fadd(exponent, rest)
    n, n_bits = functions.nearest_multiple(e, v, math.log(2))
    less_one = functions.small_expm1(e, functions.remainder(e, n, exponent, rest))
    power, unlift = functions.lifted_power(e, n_bits)
    decay = e.multiply_add(less_one, power, power)
    left = b.fmul(b.fmul(decay, s), e.constant(unlift))  # in range where eᵛ alone need not be
    numerator = b.select(b.fcmp_ordered("<", s, e.constant(0)), left, s)
    return b.fdiv(numerator, e.multiply_add(decay, e.constant(unlift), e.constant(1)))


def gated_slope(
    e: Emitter,
    gate: Gate,
    s: ir.Value,
    t: ir.Value,
    exponent: ir.Value,
    rest: ir.Value | None = None,
) -> ir.Value:
    """The slope from that at t, which is (1 + u + eᵛ) eᵛ / (1 + eᵛ)² with u = a t + 3 b t³.

    Parameters
    ----------
    e
        Where it is emitted.
    gate
        The gate, with its a and b.
    s
        The input.
    t
        −|s|.
    exponent
        v = a t + b t³, rounded.
    rest
        What rounding it has lost, to be added; None for nothing.

    The sum 1 + u + eᵛ is 0 at a t₀. It is u − u₀ + e^v₀ (e^(v − v₀) − 1) as well, whose parts have one sign, so that it
    keeps its digits near t₀.
    """
    b, decay = e.builder, _decay(e, gate)
    growth, less_one, n = _from_zero(e, gate, t, exponent, rest)
    lifted, unlift = functions.lifted_power(e, n)
    scale = e.constant(decay * unlift)
    power = b.fmul(lifted, scale)
    change = e.multiply_add(power, less_one, b.fsub(power, e.constant(decay)))
    numerator = b.fmul(b.fmul(e.multiply_add(less_one, lifted, lifted), b.fadd(growth, change)), scale)
    denominator = b.fadd(change, e.constant(1 + decay))
    return functions.mirrored(e, s, b.fdiv(numerator, b.fmul(denominator, denominator)))


def _from_zero(
    e: Emitter,
    gate: Gate,
    t: ir.Value,
    exponent: ir.Value,
    rest: ir.Value | None,
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """u − u₀, and eʳ − 1 and n with v − v₀ = n ln 2 + r.

    Near t₀, where n is 0, the differences are right to the last digit as products with t − t₀, which is found from a t₀
    of twice the digits. Farther away r is what n ln 2 and v₀ leave of the exponent and `rest`; v₀ is the logarithm of
    the rounded e^v₀ there.
    """
    b, zero, bits = e.builder, slope_zero(gate), e.real.mantissa_bits + 1
    (zero_t, zero_t_rest), (zero_v, zero_v_rest) = split(zero.s, bits), split(_logarithm(_decay(e, gate)), bits)
    distance = b.fsub(b.fsub(t, e.constant(zero_t)), e.constant(zero_t_rest))
    shift, growth = _differences(e, gate, t, distance)
    n, n_bits = functions.nearest_multiple(e, shift, math.log(2))
    far = e.multiply_add(n, e.constant(-functions.LN2_HIGH[e.real.suffix]), exponent)
    far_rest = e.constant(-zero_v_rest) if rest is None else b.fsub(rest, e.constant(zero_v_rest))
    far_rest = e.multiply_add(n, e.constant(-functions.LN2_LOW[e.real.suffix]), far_rest)
    far = b.fadd(b.fsub(far, e.constant(zero_v)), far_rest)
    r = b.select(b.fcmp_ordered("==", n, e.constant(0)), shift, far)
    return growth, functions.small_expm1(e, r), n_bits


def _differences(e: Emitter, gate: Gate, t: ir.Value, distance: ir.Value) -> tuple[ir.Value, ir.Value]:
    """v − v₀ and u − u₀, each (t − t₀) times a sum of positive numbers."""
    if gate.is_identity:
        return distance, distance
    a, b, zero = float(gate.a), float(gate.b), slope_zero(gate).s
    squares = e.multiply_add(t, e.builder.fadd(t, e.constant(float(zero))), e.constant(float(zero**2)))
    first, second = (e.multiply_add(squares, e.constant(factor), e.constant(a)) for factor in (b, 3 * b))
    return e.builder.fmul(distance, first), e.builder.fmul(distance, second)


def _decay(e: Emitter, gate: Gate) -> float:
    """e^v₀, rounded."""
    return split(Fraction(math.exp(slope_zero(gate).v)), e.real.mantissa_bits + 1)[0]


@functools.lru_cache(maxsize=64)
def _logarithm(number: float) -> Fraction:
    with decimal.localcontext(prec=50):
        return Fraction(decimal.Decimal(number).ln())
