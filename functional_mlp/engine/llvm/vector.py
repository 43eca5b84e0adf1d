"""The array algebra over LLVM vectors: the operators and functions of an expression emit instructions.

An expression is called with the operands of `functional_mlp.engine.llvm.operands` in place of tensors.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import torch

from functional_mlp.compensation import Coefficient, cubic
from functional_mlp.engine.llvm import functions, gates, ir
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.operands import Array, Condition, Multiple, Outer, Scalar, Sum, Weights
from functional_mlp.engine.llvm.types import DOUBLE, I1, Real
from functional_mlp.operands import NotInAlgebraError, Number, Operand

# A power is emitted as products, at most ten up to here, and is off by up to one rounding less than its exponent. Over
# 200,000 numbers from 0.5 to 1.9 in float32 that was 5 ulp for an exponent of 8, 23 for 32, 49 for 64 and 93 for 128;
# torch's power was off by 0.6, and by 2.5 for 128.
LARGEST_EXPONENT = 64


class Scalars:
    """Where scalar computations are emitted: once, ahead of the vectors that use them, equal ones together."""

    pair: Emitter
    builder: ir.IRBuilder

    def __init__(self, emitter: Emitter) -> None:
        self.pair = Emitter(emitter.builder, Real(torch.float64), 2)
        self.builder = emitter.builder
        self._known: dict[Any, ir.Value] = {}

    def once(self, key: Any, make: Callable[[], ir.Value]) -> ir.Value:
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]


class VectorNamespace:
    """The array namespace `xp` whose operations emit instructions at an emitter's place."""

    def __init__(self, emitter: Emitter, scalars: Scalars) -> None:
        self.emitter = emitter
        self._scalars = scalars
        self._scaled: dict[Any, ir.Value] = {}

    def array(self, value: ir.Value) -> Array:
        """One vector, all its lanes in use."""
        return Array(self, [value], self.emitter.lanes)

    def scalar(self, value: ir.Value, key: Any) -> Scalar:
        return Scalar(self, value, key)

    def vectors(self, operand: Any, count: int = 1) -> list[ir.Value]:
        """The vectors of an operand; numbers and sums fill as many as are asked for."""
        e = self.emitter
        if isinstance(operand, Array):
            return operand.values * count if len(operand.values) == 1 else operand.values
        if isinstance(operand, Outer):
            operand.product = operand.product or self._formed(operand)
            return [operand.product]
        if isinstance(operand, Sum):
            start = e.real.constant(-0.0)
            name = f"llvm.vector.reduce.fadd.v{e.lanes}{e.real.suffix}"
            return [e.splat(e.intrinsic(name, [start, operand.lanes], e.real.type, ["reassoc"]))] * count
        if isinstance(operand, Scalar):
            return [self._scalars.once(("splat", operand.key), lambda: self._splat(operand.value))] * count
        if isinstance(operand, Number):
            return [e.constant(operand)] * count
        raise NotInAlgebraError(f"{type(operand).__name__} is not an array or a number of the algebra")

    def _formed(self, outer: Outer) -> ir.Value:
        if outer.more is None:
            return self.emitter.fmul(outer.factor, outer.array)
        return self.emitter.fused_multiply_add(outer.factor, outer.array, outer.more.values[0])

    def _splat(self, value: ir.Value) -> ir.Value:
        e = self.emitter.at(self._scalars.builder)
        return e.splat(value if e.real.type is DOUBLE else e.builder.fptrunc(value, e.real.type))

    def binary(self, name: str, a: Any, b: Any) -> Operand:
        if isinstance(a, Scalar | Number) and isinstance(b, Scalar | Number):
            return self._scalar_operation(name, a, b)
        if name == "fdiv" and isinstance(b, Scalar):
            name, b = "fmul", self._scalar_operation("fdiv", 1.0, b)  # one division for all
        for special in (self._join, self._less):
            joined = special(name, a, b)
            if joined is not None:
                return joined
        emit = getattr(self.emitter, name)
        return self._elementwise(lambda x, y: emit(x, y), a, b)

    def _join(self, name: str, a: Any, b: Any) -> Operand | None:
        """A product or quotient of a pending product or sum with a number stays pending."""
        if name == "fmul" and isinstance(b, Outer | Sum):
            a, b = b, a
        if name == "fmul" and isinstance(b, Weights | Multiple):
            a, b = b, a
        if not isinstance(b, Scalar | Number) or name not in ("fmul", "fdiv"):
            return None
        emit = getattr(self.emitter, name)
        if isinstance(a, Multiple):
            return Multiple(self, self._scalar_operation(name, a.number, b), a.weights)
        if isinstance(a, Weights):
            return Multiple(self, self._scalar_operation(name, 1.0, b) if name == "fdiv" else b, a)
        if isinstance(a, Outer):
            key = (name, _key(b), id(a.array), id(self.emitter.builder.block))
            scaled = self._scaled.get(key)
            if scaled is None:
                scaled = self._scaled[key] = emit(a.array, self.vectors(b)[0])
            more = None if a.more is None else self._join(name, a.more, b)
            assert more is None or isinstance(more, Multiple), "a multiple of a multiple is one"
            return Outer(self, a.factor, scaled, more)
        if isinstance(a, Sum):
            return Sum(self, emit(a.lanes, self.vectors(b)[0]))
        return None

    def _less(self, name: str, a: Any, b: Any) -> Operand | None:
        """w − (factor · array + number · w), two operations instead of three: the step of a penalized weight.

        The gradient comes last, for single samples wait for it.
        """
        if name != "fsub" or not isinstance(b, Outer) or b.more is None or b.product is not None:
            return None
        weights = b.more.weights
        if weights.step is None or not isinstance(a, Array) or a.values != weights.values:
            return None
        e = self.emitter
        kept = self.vectors(self._kept(b.more.number, weights.step))[0]
        decayed = e.builder.fmul(kept, weights.values[0])
        return self.array(e.fused_multiply_add(e.builder.fneg(b.factor), b.array, decayed))

    def _kept(self, number: Any, step: Scalar) -> Any:
        """1 − number, so rounded in each update that the mean over the updates is exact.

        The product with a float32 weight is rounded to digits of 6e-8 to 1.2e-7 of it, alike in each update: of a
        weight that gets no gradient, a number of 3e-8 would take nothing, and one of 1e-7 up to a third too much or too
        little. Multiples of 2⁻¹⁸, 32 to 64 of these digits, are right within a hundredth.
        """
        if self.emitter.real.type is DOUBLE:
            return 1 - number
        unit = 0.5 ** (self.emitter.real.mantissa_bits - 5)
        large = 1.5 * 2.0**52 * unit  # doubles of this size are multiples of the unit
        return 1 - ((step * number + large) - ((step - 1) * number + large))

    def _elementwise(self, emit: Callable[..., ir.Value], *operands: Any) -> Array:
        arrays = [operand for operand in operands if isinstance(operand, Array)]
        count = max((len(array.values) for array in arrays), default=1)
        features = max((array.features for array in arrays), default=1)  # a sum, or a number, is one feature
        columns = [self.vectors(operand, count) for operand in operands]
        return Array(self, [emit(*column) for column in zip(*columns, strict=True)], features)

    def _scalar_operation(self, name: str, a: Any, b: Any) -> Scalar:
        builder = self._scalars.builder
        key = (name, _key(a), _key(b))
        value = self._scalars.once(key, lambda: getattr(builder, name)(_double(a), _double(b)))
        return Scalar(self, value, key)

    def compare(self, symbol: str, a: Any, b: Any) -> Condition:
        if isinstance(a, Scalar | Number) and isinstance(b, Scalar | Number):
            builder, key = self._scalars.builder, ("compare", symbol, _key(a), _key(b))
            return Condition([self._scalars.once(key, lambda: _compare(builder, symbol, _double(a), _double(b)))])
        builder = self.emitter.builder
        bits = self._elementwise(lambda x, y: _compare(builder, symbol, x, y), a, b)
        return Condition(bits.values, bits.features)

    def remainder(self, a: Any, b: Any) -> Any:
        """a mod b for scalars and a positive number b."""
        if not isinstance(a, Scalar) or not isinstance(b, Number) or b <= 0:
            raise NotInAlgebraError("% takes a scalar, such as the step, and a positive number")
        return a - self._floor(self._scalar_operation("fdiv", a, b)) * b

    def _floor(self, x: Scalar) -> Scalar:
        pair, key = self._scalars.pair, ("floor", x.key)
        return Scalar(self, self._scalars.once(key, lambda: pair.intrinsic("llvm.floor.f64", [x.value], DOUBLE)), key)

    def power(self, base: Operand, exponent: Any) -> Operand:
        if isinstance(exponent, float) and exponent == 0.5 and not isinstance(base, Scalar):
            return self._elementwise(lambda v: self.emitter.of_vector("sqrt", v), base)
        if not isinstance(exponent, int) or isinstance(exponent, bool) or not 0 < abs(exponent) <= LARGEST_EXPONENT:
            raise NotInAlgebraError(f"** takes a whole exponent up to {LARGEST_EXPONENT} or 0.5, got {exponent!r}")
        result = base
        for bit in bin(abs(exponent))[3:]:
            result = result * result
            if bit == "1":
                result = result * base
        return result if exponent > 0 else 1 / result

    def exponential(self, base: Any, exponent: Any) -> Operand:
        """base ** exponent for a number and a scalar, such as β ** step."""
        if not isinstance(base, Number) or not isinstance(exponent, Scalar) or base < 0:
            raise NotInAlgebraError("** takes a number of at least 0 with an exponent known when the code runs")
        pair, key = self._scalars.pair, ("power", _key(base), exponent.key)
        arguments = [_double(base), exponent.value]
        return Scalar(self, self._scalars.once(key, lambda: pair.intrinsic("llvm.pow.f64", arguments, DOUBLE)), key)

    # The functions of the algebra

    def where(self, condition: Any, if_true: Any, if_false: Any) -> Any:
        if isinstance(condition, bool):
            return if_true if condition else if_false
        if not isinstance(condition, Condition):
            raise NotInAlgebraError(f"xp.where takes a comparison, got {type(condition).__name__}")
        select = self.emitter.builder.select
        if condition.values[0].type == I1:
            return self._elementwise(lambda x, y: select(condition.values[0], x, y), if_true, if_false)
        bits = Array(self, condition.values, condition.features)
        return self._elementwise(select, bits, if_true, if_false)

    def maximum(self, a: Any, b: Any) -> Operand:
        return self._extremum(">", a, b)

    def minimum(self, a: Any, b: Any) -> Operand:
        return self._extremum("<", a, b)

    def _extremum(self, symbol: str, a: Any, b: Any) -> Operand:
        builder = self.emitter.builder
        if isinstance(a, Number):
            a, b = b, a

        def emit(x: ir.Value, y: ir.Value) -> ir.Value:
            chosen = builder.select(builder.fcmp_ordered(symbol, y, x), y, x)  # x where either is NaN
            return chosen if isinstance(b, Number) else builder.select(builder.fcmp_unordered("uno", y, y), y, chosen)

        return self._elementwise(emit, a, b)

    def abs(self, x: Any) -> Operand | float:
        return self._function(lambda v: self.emitter.of_vector("fabs", v), x, abs)

    def sign(self, x: Any) -> Operand:
        e, b = self.emitter, self.emitter.builder

        def emit(v: ir.Value) -> ir.Value:
            rest = b.select(b.fcmp_unordered("uno", v, v), v, e.constant(0))
            rest = b.select(b.fcmp_ordered("<", v, e.constant(0)), e.constant(-1), rest)
            return b.select(b.fcmp_ordered(">", v, e.constant(0)), e.constant(1), rest)

        return self._elementwise(emit, x)

    def sqrt(self, x: Any) -> Operand | float:
        if isinstance(x, Scalar):
            pair, key = self._scalars.pair, ("sqrt", x.key)
            return Scalar(
                self, self._scalars.once(key, lambda: pair.intrinsic("llvm.sqrt.f64", [x.value], DOUBLE)), key
            )
        return self._function(lambda v: self.emitter.of_vector("sqrt", v), x, math.sqrt)

    def exp(self, x: Any) -> Operand | float:
        return self._function(lambda v: functions.exp(self.emitter, v), x, math.exp)

    def expm1(self, x: Any) -> Operand | float:
        return self._function(lambda v: functions.expm1(self.emitter, v), x, math.expm1)

    def log(self, x: Any) -> Operand | float:
        return self._function(lambda v: functions.log(self.emitter, v), x, math.log)

    def log1p(self, x: Any) -> Operand | float:
        return self._function(lambda v: functions.log1p(self.emitter, v), x, math.log1p)

    def tanh(self, x: Any) -> Operand | float:
        return self._function(lambda v: functions.tanh(self.emitter, v), x, math.tanh)

    def erf(self, x: Any) -> Operand | float:
        return self._function(lambda v: functions.erf(self.emitter, v), x, math.erf)

    def ndtr(self, x: Any) -> Operand | float:
        return self._function(
            lambda v: functions.ndtr(self.emitter, v), x, lambda number: 0.5 * math.erfc(-number / math.sqrt(2))
        )

    def gelu(self, s: Any) -> Operand:
        return self._elementwise(lambda v: functions.gelu(self.emitter, v), s)

    def gelu_slope(self, s: Any) -> Operand:
        return self._elementwise(lambda v: functions.gelu_slope(self.emitter, v), s)

    def gated(self, s: Any, a: Coefficient, b: Coefficient) -> Operand:
        _, *exponent = self._below_zero(_gate(a, b), s)
        return self._elementwise(lambda *vectors: gates.gated(self.emitter, *vectors), s, *exponent)

    def gated_slope(self, s: Any, a: Coefficient, b: Coefficient) -> Operand:
        gate = _gate(a, b)
        operands = self._below_zero(gate, s)
        return self._elementwise(lambda *vectors: gates.gated_slope(self.emitter, gate, *vectors), s, *operands)

    def _below_zero(self, gate: gates.Gate, s: Any) -> tuple[Any, ...]:
        """t = −|s|, but not below where eᵛ is 0, and its v: one operand, or two whose sum it is, the second small."""
        e = self.emitter
        t = self.maximum(-self.abs(s), -gate.inverse(-functions.lowest_exponent(e)))
        if gate.is_identity:
            return t, t
        digits = (e.real.mantissa_bits + 1) // 3

        def shorten(x: Operand) -> Operand:
            return self._elementwise(lambda v: functions.leading_digits(e, v, digits), x)

        return t, *cubic(t, gate.a, gate.b, shorten, digits)

    def _function(
        self, emit: Callable[[ir.Value], ir.Value], x: Any, of_number: Callable[[float], float]
    ) -> Operand | float:
        return of_number(x) if isinstance(x, Number) else self._elementwise(emit, x)

    def sum(self, x: Any) -> Operand:
        *whole, last = self._feature_vectors(x, 0.0)
        total = last
        for value in whole:
            total = self.emitter.fadd(total, value)
        return Sum(self, total)

    def max(self, x: Any) -> Operand:
        e = self.emitter
        values = self._feature_vectors(x, -math.inf)
        largest = values[0]
        for value in values[1:]:
            largest = e.of_vector("maximum", largest, value)
        name = f"llvm.vector.reduce.fmaximum.v{e.lanes}{e.real.suffix}"
        return Array(self, [e.splat(e.intrinsic(name, [largest], e.real.type))], 1)

    def _feature_vectors(self, x: Any, padding: float) -> list[ir.Value]:
        if not isinstance(x, Array):
            raise NotInAlgebraError("xp.sum and xp.max run over the features of an array")
        *whole, last = x.values
        used = x.features - len(whole) * self.emitter.lanes
        return [*whole, self.emitter.keep_first(last, used, padding)]


def _gate(a: Coefficient, b: Coefficient) -> gates.Gate:
    numbers = isinstance(a, Number | Fraction) and isinstance(b, Number | Fraction)
    if not numbers or not any((a, b)) or not all(c == 0 or 1e-6 <= c <= 1e6 for c in (a, b)):
        raise NotInAlgebraError(
            f"the engine's xp.gated takes numbers a and b from 1e-6 to 1e6, of which one may be 0, got {a} and {b}"
        )
    return gates.Gate(Fraction(a), Fraction(b))


_ORDERED = ("<", "<=", ">", ">=", "==")


def _compare(builder: ir.IRBuilder, symbol: str, a: ir.Value, b: ir.Value) -> ir.Value:
    """As IEEE 754 and torch have it: with NaN, only != is true."""
    return builder.fcmp_ordered(symbol, a, b) if symbol in _ORDERED else builder.fcmp_unordered(symbol, a, b)


def _key(operand: Any) -> Any:
    return operand.key if isinstance(operand, Scalar) else (float(operand), math.copysign(1, operand))


def _double(operand: Any) -> ir.Value:
    return operand.value if isinstance(operand, Scalar) else ir.Constant(DOUBLE, float(operand))
