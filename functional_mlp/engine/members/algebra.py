"""The array algebra for many networks at once: a vector holds one number of each member.

Where a vector has more lanes than there are members, it holds such numbers of several units, one unit after the other.

An `Array` is a list of vectors, one a feature, so that sums and maxima over the features are elementwise. A
`Scalar` differs between members as well: it is a vector of doubles, which can be a hyperparameter of an optimizer.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import torch

from functional_mlp.engine.expressions import RecordingNamespace, recorded
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.features import FeaturesNamespace
from functional_mlp.engine.llvm.operands import Condition, Scalar
from functional_mlp.engine.llvm.types import DOUBLE, Real
from functional_mlp.engine.llvm.vector import Scalars
from functional_mlp.operands import NotInAlgebraError, Number, Operand, StandIn
from functional_mlp.optimizers import Optimizer
from functional_mlp.value import is_ours


class MembersScalars(Scalars):
    """Where computations with a number a member are emitted; `doubles` is their assembler."""

    doubles: Emitter

    def __init__(self, emitter: Emitter) -> None:
        super().__init__(emitter)
        self.doubles = Emitter(emitter.builder, Real(torch.float64), emitter.lanes)

    def doubles_of(self, operand: Any) -> ir.Value:
        return operand.value if isinstance(operand, Scalar) else self.doubles.constant(operand)


class Uniform(Scalar):
    """A scalar with the same value, `number`, for each member."""

    def __init__(self, xp: "MembersNamespace", scalars: MembersScalars, number: ir.Value, key: Any) -> None:
        super().__init__(xp, scalars.once(key, lambda: scalars.doubles.splat(number)), key)
        self.number = number


class MembersNamespace(FeaturesNamespace):
    """The array namespace `xp` for vectors that hold one number of each member."""

    def __init__(self, emitter: Emitter, scalars: MembersScalars) -> None:
        super().__init__(emitter, scalars)
        self._members_scalars = scalars

    def repeated(self, value: ir.Value, builder: ir.IRBuilder | None = None) -> ir.Value:
        """A vector with a number a member, for as many units as a vector of this namespace holds."""
        members, lanes = value.type.count, self.emitter.lanes
        if members == lanes:
            return value
        emitter = self.emitter if builder is None else self.emitter.at(builder)
        return emitter.shuffle(value, value, [*range(members)] * (lanes // members))

    def vectors(self, operand: Any, count: int = 1) -> list[ir.Value]:
        if not isinstance(operand, Scalar):
            return super().vectors(operand, count)
        key = ("splat", self.emitter.lanes, operand.key)
        return [self._members_scalars.once(key, lambda: self._splat(operand.value))] * count

    def where(self, condition: Any, if_true: Any, if_false: Any) -> Any:
        if isinstance(condition, Condition):
            condition = Condition([self.repeated(value) for value in condition.values], condition.features)
        return super().where(condition, if_true, if_false)

    # Operations of scalars

    def _splat(self, value: ir.Value) -> ir.Value:
        builder, real = self._members_scalars.builder, self.emitter.real
        if real.type is not DOUBLE:
            value = builder.fptrunc(value, ir.VectorType(real.type, value.type.count))
        return self.repeated(value, builder)

    def _scalar_operation(self, name: str, a: Any, b: Any) -> Scalar:
        builder = self._members_scalars.builder
        return self._once((name, _key(a), _key(b)), lambda: getattr(builder, name)(*self._doubles(a, b)))

    def compare(self, symbol: str, a: Any, b: Any) -> Condition:
        if not isinstance(a, Scalar | Number) or not isinstance(b, Scalar | Number):
            return super().compare(symbol, a, b)
        builder = self._members_scalars.builder
        compare = builder.fcmp_unordered if symbol == "!=" else builder.fcmp_ordered
        key = ("compare", symbol, _key(a), _key(b))
        return Condition([self._members_scalars.once(key, lambda: compare(symbol, *self._doubles(a, b)))])

    def _floor(self, x: Scalar) -> Scalar:
        return self._once(("floor", x.key), lambda: self._members_scalars.doubles.of_vector("floor", x.value))

    def power(self, base: Operand, exponent: Any) -> Operand:
        return self.exponential(base, exponent) if isinstance(exponent, Scalar) else super().power(base, exponent)

    def exponential(self, base: Any, exponent: Any) -> Operand:
        if not isinstance(base, Scalar | Number) or not isinstance(exponent, Scalar):
            raise NotInAlgebraError("** takes numbers with an exponent known when the code runs")
        key = ("power", _key(base), exponent.key)
        if isinstance(base, Number) and isinstance(exponent, Uniform):
            arguments = [ir.Constant(DOUBLE, float(base)), exponent.number]
            number = self._members_scalars.once(
                ("one", key), lambda: self._members_scalars.pair.intrinsic("llvm.pow.f64", arguments, DOUBLE)
            )
            return Uniform(self, self._members_scalars, number, key)
        return self._once(key, lambda: self._members_scalars.doubles.of_vector("pow", *self._doubles(base, exponent)))

    def sqrt(self, x: Any) -> Operand | float:
        if not isinstance(x, Scalar):
            return super().sqrt(x)
        return self._once(("sqrt", x.key), lambda: self._members_scalars.doubles.of_vector("sqrt", x.value))

    def _once(self, key: Any, make: Callable[[], ir.Value]) -> Scalar:
        return Scalar(self, self._members_scalars.once(key, make), key)

    def _doubles(self, *operands: Any) -> list[ir.Value]:
        return [self._members_scalars.doubles_of(operand) for operand in operands]


def _key(operand: Any) -> Any:
    return operand.key if isinstance(operand, Scalar) else ("number", repr(float(operand)))


@attrs.frozen
class MembersRule:
    """The rule of optimizers of one kind: numbers `shared` by all of them, and others that differ between members."""

    kind: type[Optimizer]
    shared: tuple[tuple[str, Any], ...]
    per_member: tuple[str, ...]

    @classmethod
    def of(cls, optimizers: Sequence[Optimizer]) -> "MembersRule":
        """The rule for optimizers that differ in nothing but real numbers; code never depends on a learning rate."""
        first = optimizers[0]
        shared, per_member = [], []
        for field in attrs.fields(type(first)):
            values = [getattr(optimizer, field.name) for optimizer in optimizers]
            if field.name != "learning_rate" and len(set(map(repr, values))) == 1:  # 0.0 and −0.0 are equal
                shared.append((field.name, values[0]))
            else:
                per_member.append(field.name)
        return cls(type(first), tuple(shared), tuple(per_member))

    def slots(self) -> tuple[str, ...]:
        return self.kind.slots()

    def code(self) -> str:
        """What the rule does; `NotInAlgebraError` where it does not take scalars for the numbers that differ."""
        if is_ours(self.kind):
            return repr(self)

        def rule(xp: RecordingNamespace) -> Any:
            return xp.run_rule(self.expression({name: xp.scalar() for name in self.per_member}), len(self.slots()))

        return recorded(self, rule)

    def expression(self, operands: Mapping[str, Operand]) -> Callable[..., tuple[Any, ...]]:
        """The rule of an optimizer whose numbers that differ are scalars of the algebra."""
        stand_in: Any = StandIn(self.kind, {**dict(self.shared), **operands})
        rule: Callable[..., tuple[Any, ...]] = stand_in.rule
        return rule


def real_numbers_aside(optimizer: Optimizer) -> tuple[tuple[str, Any, str], ...]:
    """The fields of an optimizer that are no real numbers: those in which optimizers of one `MembersRule` are equal."""
    fields = [(field.name, getattr(optimizer, field.name)) for field in attrs.fields(type(optimizer))]
    others = [(name, value) for name, value in fields if not isinstance(value, float) and name != "learning_rate"]
    return tuple((name, value, repr(value)) for name, value in others)  # there may be zeros, of either sign, in them
