"""Elementary functions of vectors, for float and double alike, to a few units in the last place.

Each is a reduction of the argument to a small interval and a polynomial there. Polynomials are Taylor series,
long enough for the type; those of `erf` and `ndtr` are Chebyshev interpolants (see
`benchmarks/erf_coefficients.py`).
NaN propagates, and 0, −0 and ±infinity give what the mathematics gives.
"""

import math
from collections.abc import Sequence
from fractions import Fraction

from functional_mlp.compensation import split
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.erf_coefficients import (
    CENTER,
    ERF_OVER_X_LESS_1,
    GELU_SLOPE_OVER_DISTANCE,
    GELU_SLOPE_START,
    GELU_SLOPE_ZERO,
    SCALE,
    SCALED_TAIL_LESS_1,
)

LN2_HIGH = {"f32": 0.693359375, "f64": 6.93147180369123816490e-01}  # ln 2 cut so that n · LN2_HIGH is exact
LN2_LOW = {"f32": -2.12194440054690581e-4, "f64": 1.90821492927058770002e-10}  # what is left of ln 2
LIFT = {"f32": 64, "f64": 512}  # the k by which small powers of two are kept from underflow


def polynomial(e: Emitter, x: ir.Value, coefficients: Sequence[float]) -> ir.Value:
    """c₀ + c₁x + c₂x² + …, by Estrin's scheme: pairs of terms first, so that few operations wait for each other."""
    terms = [e.constant(coefficient) for coefficient in coefficients]
    power = x
    while len(terms) > 1:
        pairs = [e.multiply_add(high, power, low) for low, high in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + ([terms[-1]] if len(terms) % 2 else [])
        if len(terms) > 1:
            power = e.builder.fmul(power, power)
    return terms[0]


def smaller(e: Emitter, x: ir.Value, bound: float) -> ir.Value:
    """min(x, bound), NaN for NaN."""
    return e.builder.select(e.builder.fcmp_ordered(">", x, e.constant(bound)), e.constant(bound), x)


def larger(e: Emitter, x: ir.Value, bound: float) -> ir.Value:
    """max(x, bound), NaN for NaN."""
    return e.builder.select(e.builder.fcmp_ordered("<", x, e.constant(bound)), e.constant(bound), x)


def nearest_multiple(e: Emitter, x: ir.Value, unit: float) -> tuple[ir.Value, ir.Value]:
    """n = x / unit rounded, as a real and as an integer, for |n| below half the range of the mantissa.

    Adding 1.5 · 2^mantissa leaves the integer in the low bits of the sum. No conversion is used, for that of
    NaN would be undefined.
    """
    magic = 1.5 * 2.0**e.real.mantissa_bits
    shifted = e.multiply_add(x, e.constant(1 / unit), e.constant(magic))
    bits = e.builder.bitcast(shifted, e.integers_type)
    magic_bits = e.builder.bitcast(e.constant(magic), e.integers_type)
    return e.builder.fsub(shifted, e.constant(magic)), e.builder.sub(bits, magic_bits)


def _power_of_two(e: Emitter, n: ir.Value) -> ir.Value:
    """2ⁿ for integers n within the exponents of normal numbers; 0 for the next below, infinity for the next above."""
    biased = e.builder.add(n, e.integers(e.real.exponent_bias))
    return e.builder.bitcast(e.builder.shl(biased, e.integers(e.real.mantissa_bits)), e.vector_type)


def reduced_exponential(e: Emitter, x: ir.Value, rest: ir.Value | None = None) -> tuple[ir.Value, ir.Value]:
    """(eʳ − 1, n) with x = n ln 2 + r and |r| ≤ ln 2 / 2; for x + rest, where rest is small, r + rest in place of r."""
    n, n_bits = nearest_multiple(e, x, math.log(2))
    return small_expm1(e, remainder(e, n, x, rest)), n_bits


def remainder(e: Emitter, n: ir.Value, x: ir.Value, rest: ir.Value | None = None) -> ir.Value:
    """x + rest − n ln 2."""
    r = e.multiply_add(n, e.constant(-LN2_HIGH[e.real.suffix]), x)
    r = e.multiply_add(n, e.constant(-LN2_LOW[e.real.suffix]), r)
    return r if rest is None else e.fadd(r, rest)


def _two_powers(e: Emitter, n: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Two numbers whose product is 2ⁿ, which itself need not be a normal number."""
    half = e.builder.ashr(n, e.integers(1))
    return _power_of_two(e, half), _power_of_two(e, e.builder.sub(n, half))


def lowest_exponent(e: Emitter) -> float:
    """The x for which 2ⁿ⁺ᵏ of `lifted_power` is 0: eˣ is too, and so is its product with whatever is of use."""
    return -(e.real.exponent_bias + LIFT[e.real.suffix]) * math.log(2)


def lifted_power(e: Emitter, n: ir.Value) -> tuple[ir.Value, float]:
    """2ⁿ⁺ᵏ and 2⁻ᵏ, for an n of at most 2 that may be below the exponents of normal numbers."""
    lift = LIFT[e.real.suffix]
    return _power_of_two(e, e.builder.add(n, e.integers(lift))), 2.0**-lift


def small_expm1(e: Emitter, r: ir.Value) -> ir.Value:
    """eʳ − 1 for |r| ≤ ln 2 / 2."""
    terms = 8 if e.real.size == 4 else 14
    coefficients = [1 / math.factorial(k) for k in range(terms)]
    square = e.fmul(r, r)
    low = e.multiply_add(square, polynomial(e, r, coefficients[2:4]), r)
    return e.multiply_add(e.fmul(square, square), polynomial(e, r, coefficients[4:]), low)


def exp(e: Emitter, x: ir.Value) -> ir.Value:
    """eˣ, with gradual underflow.

    The bounds of x are where both powers of two, whose product is 2ⁿ, have become 0 or infinity.
    """
    low, high = (-176.0, 177.0) if e.real.size == 4 else (-1418.0, 1419.0)
    less_one, n = reduced_exponential(e, larger(e, smaller(e, x, high), low))
    first, second = _two_powers(e, n)
    return e.builder.fmul(e.multiply_add(less_one, first, first), second)


def expm1(e: Emitter, x: ir.Value) -> ir.Value:
    """eˣ − 1: (eʳ − 1 + (1 − 2⁻ⁿ)) 2ⁿ."""
    low, high = (-18.0, 90.0) if e.real.size == 4 else (-38.0, 711.0)
    less_one, n = reduced_exponential(e, larger(e, smaller(e, x, high), low))
    half = e.builder.ashr(n, e.integers(1))
    rest = e.builder.sub(n, half)
    shrink = [_power_of_two(e, e.builder.sub(e.integers(0), part)) for part in (half, rest)]
    gap = e.builder.fsub(e.constant(1), e.builder.fmul(*shrink))
    value = e.builder.fmul(e.builder.fadd(less_one, gap), _power_of_two(e, half))
    value = e.builder.fmul(value, _power_of_two(e, rest))
    return _keep_zero(e, x, value)


def _keep_zero(e: Emitter, x: ir.Value, value: ir.Value) -> ir.Value:
    """`value`, but x itself where x is 0 or −0."""
    return e.builder.select(e.builder.fcmp_ordered("==", x, e.constant(0)), x, value)


def tanh(e: Emitter, x: ir.Value) -> ir.Value:
    """(1 − p) / (1 + p) with p = e^(−2|x|), and the sign of x.

    p = 2ⁿ (1 + eʳ − 1), so that 1 − p keeps its digits near 0. Where −2|x| is far from 0, 1 − p is so near to 1 that
    ln 2 need not be known to more than one number.
    """
    b = e.builder
    size = smaller(e, e.of_vector("fabs", x), 10.0 if e.real.size == 4 else 20.0)
    n, n_bits = nearest_multiple(e, size, -math.log(2) / 2)
    r = e.multiply_add(n, e.constant(-math.log(2)), b.fmul(size, e.constant(-2)))
    less_one, scale = small_expm1(e, r), _power_of_two(e, n_bits)
    numerator = e.multiply_add(b.fneg(less_one), scale, b.fsub(e.constant(1), scale))
    denominator = e.multiply_add(less_one, scale, b.fadd(e.constant(1), scale))
    return e.of_vector("copysign", b.fdiv(numerator, denominator), x)


def log(e: Emitter, x: ir.Value) -> ir.Value:
    """n ln 2 + log m, with x = 2ⁿ m and m in [√½, √2)."""
    return _log(e, x, None)


def _log(e: Emitter, x: ir.Value, correction: ir.Value | None) -> ir.Value:
    """log x + correction; fdlibm's form of 2 artanh(f / (2 + f)) with f = m − 1."""
    b = e.builder
    tiny = b.fcmp_ordered("<", x, e.constant(2.0 ** (1 - e.real.exponent_bias)))
    up = e.real.mantissa_bits + 2
    normal = b.select(tiny, b.fmul(x, e.constant(2.0**up)), x)
    offset = b.select(tiny, e.integers(up), e.integers(0))
    bits = b.bitcast(normal, e.integers_type)
    root_half = b.bitcast(e.constant(math.sqrt(0.5)), e.integers_type)
    distance = b.sub(bits, root_half)
    n = b.ashr(distance, e.integers(e.real.mantissa_bits))
    m = b.bitcast(b.sub(bits, b.shl(n, e.integers(e.real.mantissa_bits))), e.vector_type)
    n_real = b.sitofp(b.sub(n, offset), e.vector_type)
    f = b.fsub(m, e.constant(1))
    s = b.fdiv(f, b.fadd(f, e.constant(2)))
    z = b.fmul(s, s)
    terms = 6 if e.real.size == 4 else 12
    series = b.fmul(z, polynomial(e, z, [2 / (2 * k + 3) for k in range(terms)]))
    half_square = b.fmul(b.fmul(f, f), e.constant(0.5))
    low = b.fmul(n_real, e.constant(LN2_LOW[e.real.suffix]))
    if correction is not None:
        low = b.fadd(low, correction)
    inner = b.fadd(b.fmul(s, b.fadd(half_square, series)), low)
    value = b.fsub(b.fmul(n_real, e.constant(LN2_HIGH[e.real.suffix])), b.fsub(b.fsub(half_square, inner), f))
    value = b.select(b.fcmp_ordered("==", x, e.constant(math.inf)), x, value)
    value = b.select(b.fcmp_ordered("==", x, e.constant(0)), e.constant(-math.inf), value)
    return b.select(b.fcmp_unordered("<", x, e.constant(0)), e.constant(math.nan), value)


def log1p(e: Emitter, x: ir.Value) -> ir.Value:
    """log u + (x − (u − 1)) / u with u = 1 + x rounded."""
    b = e.builder
    u = b.fadd(x, e.constant(1))
    lost = b.fsub(x, b.fsub(u, e.constant(1)))
    regular = b.fcmp_ordered("<", u, e.constant(math.inf))
    positive = b.and_(regular, b.fcmp_ordered(">", u, e.constant(0)))
    correction = b.select(positive, b.fdiv(lost, u), e.constant(0))
    return _keep_zero(e, x, _log(e, u, correction))


def erf(e: Emitter, x: ir.Value) -> ir.Value:
    """x + x P(x²) where |x| < 1; elsewhere 1 − 2 Φ(−√2 |x|), with the sign of x."""
    b = e.builder
    size = e.of_vector("fabs", x)
    bounded = smaller(e, size, 4.0 if e.real.size == 4 else 6.0)
    tail = _normal_tail(e, e.constant(1), b.fmul(bounded, e.constant(math.sqrt(2))), b.fneg(b.fmul(bounded, bounded)))
    outer = e.of_vector("copysign", e.multiply_add(tail, e.constant(-2), e.constant(1)), x)
    return b.select(b.fcmp_unordered(">=", size, e.constant(1)), outer, _erf_near_zero(e, x))


def ndtr(e: Emitter, x: ir.Value) -> ir.Value:
    """Φ(x)."""
    return _scaled_ndtr(e, x, e.constant(1))


def gelu(e: Emitter, s: ir.Value) -> ir.Value:
    """s Φ(s)."""
    return _scaled_ndtr(e, s, s)


def _scaled_ndtr(e: Emitter, x: ir.Value, scale: ir.Value) -> ir.Value:
    """scale · Φ(x), which keeps its digits where it is in range and Φ(x) is not.

    Φ(x) is (1 + erf(x/√2)) / 2 where |x| < 1; elsewhere Φ(−|x|) on the left and 1 − Φ(−|x|) on the right.
    """
    b, one, half = e.builder, e.constant(1), e.constant(0.5)
    lower, upper = b.fcmp_ordered("<=", x, e.constant(-1)), b.fcmp_ordered(">=", x, one)
    inner = e.multiply_add(_erf_near_zero(e, b.fmul(x, e.constant(math.sqrt(0.5)))), half, half)
    size, exponent, rest = _normal_exponent(e, x)
    tail = _normal_tail(e, b.select(lower, scale, one), size, exponent, rest)
    return b.select(lower, tail, b.fmul(scale, b.select(upper, b.fsub(one, tail), inner)))


def gelu_slope(e: Emitter, s: ir.Value) -> ir.Value:
    """The slope of s Φ(s): F(−|s|) on the left and 1 − F(−|s|) on the right, with F(x) = Φ(x) + x Φ'(x).

    F(x) is d G(d) near its zero, with d the distance from there, which keeps all digits; and farther on the left
    e^(−x²/2) times the difference of Mills' ratio and −x/√(2π), the second of which is about twice the first there.
    """
    b = e.builder
    zero, zero_rest = split(sum(map(Fraction, GELU_SLOPE_ZERO)), e.real.mantissa_bits + 1)
    size, exponent, rest = _normal_exponent(e, s)
    distance = b.fsub(b.fsub(e.constant(-zero), size), e.constant(zero_rest))
    inner = b.fmul(distance, polynomial(e, distance, GELU_SLOPE_OVER_DISTANCE[e.real.suffix]))
    quotient, q, _ = _mills_ratio(e, size)
    ratio = e.multiply_add(size, e.constant(-1 / math.sqrt(2 * math.pi)), e.multiply_add(quotient, q, quotient))
    less_one, n = reduced_exponential(e, exponent, rest)
    power, unlift = lifted_power(e, n)
    tail = b.fmul(b.fmul(e.multiply_add(less_one, power, power), ratio), e.constant(unlift))
    return mirrored(e, s, b.select(b.fcmp_ordered("<", size, e.constant(-GELU_SLOPE_START)), inner, tail))


def mirrored(e: Emitter, s: ir.Value, slope: ir.Value) -> ir.Value:
    """A slope from that at −|s|, with which it adds up to 1; NaN for infinity, as torch has it."""
    b = e.builder
    chosen = b.select(b.fcmp_ordered(">", s, e.constant(0)), b.fsub(e.constant(1), slope), slope)
    return e.multiply_add(s, e.constant(0), chosen)


def _normal_exponent(e: Emitter, x: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
    """|x|, as far as e^(−x²/2) is not 0, and two numbers that add up to −x²/2, the second small.

    The exponential of x² would magnify the rounding of x². With h the leading half of the digits of |x|, h² is exact,
    and x² = h² + (|x| − h)(|x| + h).
    """
    b, minus_half = e.builder, e.constant(-0.5)
    size = smaller(e, e.of_vector("fabs", x), math.sqrt(-2 * lowest_exponent(e)))
    head = leading_digits(e, size, (e.real.mantissa_bits + 1) // 2)
    square, rest = b.fmul(head, head), b.fmul(b.fsub(size, head), b.fadd(size, head))
    return size, b.fmul(square, minus_half), b.fmul(rest, minus_half)


def _erf_near_zero(e: Emitter, x: ir.Value) -> ir.Value:
    """erf x = x + x P(x²), for |x| ≤ 1."""
    return e.multiply_add(x, polynomial(e, e.builder.fmul(x, x), ERF_OVER_X_LESS_1[e.real.suffix]), x)


def _normal_tail(
    e: Emitter, scale: ir.Value, x: ir.Value, exponent: ir.Value, rest: ir.Value | None = None
) -> ir.Value:
    """scale · Φ(−x) = scale · exp(exponent + rest) (1 + Q(t)) k / (x + c), from x = 1 on.

    The exponent and `rest` add up to −x²/2. `rest` also makes up for ε, the rounding error of u = x + c: 1 / (u − ε)
    is e^(ε/u) / u, but for ε²/u².
    """
    b = e.builder
    quotient, q, error = _mills_ratio(e, x)
    if rest is not None:
        rest = e.multiply_add(b.fmul(error, quotient), e.constant(1 / SCALE), rest)
    less_one, n = reduced_exponential(e, exponent, rest)
    less_one = e.multiply_add(less_one, q, e.fadd(less_one, q))  # (1 + less_one) (1 + q) − 1
    power, unlift = lifted_power(e, n)
    scaled = b.fmul(b.fmul(scale, quotient), power)
    return b.fmul(e.multiply_add(less_one, scaled, scaled), e.constant(unlift))


def _mills_ratio(e: Emitter, x: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
    """k / u and Q, with Φ(−x) e^(x²/2) = (1 + Q) k / (x + c), from x = 1 on; and the rounding error of u = x + c.

    Q is a polynomial in k (x − c) / (x + c). With k it is small everywhere, and with it its rounding.
    """
    b, center = e.builder, e.constant(CENTER[e.real.suffix])
    total = b.fadd(x, center)
    quotient = b.fdiv(e.constant(SCALE), total)
    q = polynomial(e, b.fmul(b.fsub(x, center), quotient), SCALED_TAIL_LESS_1[e.real.suffix])
    return quotient, q, b.fsub(b.fsub(total, center), x)


def leading_digits(e: Emitter, x: ir.Value, digits: int) -> ir.Value:
    """x cut to a number of binary digits."""
    bits = e.builder.bitcast(x, e.integers_type)
    mask = -(1 << (e.real.mantissa_bits + 1 - digits))
    return e.builder.bitcast(e.builder.and_(bits, e.integers(mask)), e.vector_type)
