"""The loss of a sample, its gradient, and whether the sample is right, all times its weight where it has one.

`LossOfSamples` states once what is emitted, of numbers that may be vectors: those of one sample in `SampleLoss`, whose
outputs lie in the lanes; those of several in `functional_mlp.engine.side_by_side`, where a sample has a lane.
"""

import abc
import functools
from collections.abc import Callable, Sequence

from functional_mlp.engine.calls import Scope
from functional_mlp.engine.kernels import Kernels
from functional_mlp.engine.layout import vectors
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.llvm.operands import Array, Sum
from functional_mlp.engine.llvm.types import DOUBLE, I64
from functional_mlp.engine.llvm.vector import VectorNamespace
from functional_mlp.engine.program import LossProgram


class LossOfSamples(abc.ABC):
    """Emits the loss of one sample or of several at once; `double` is the type of a number in double precision."""

    def __init__(self, program: LossProgram, xp: VectorNamespace, double: ir.Type) -> None:
        self.program, self.xp, self.e, self.double = program, xp, xp.emitter, double
        self.builder = xp.emitter.builder

    def outcome(
        self,
        outputs: Sequence[ir.Value],
        targets: Sequence[ir.Value] | None,
        label: Callable[[], ir.Value],
        weight: ir.Value | None,
        scale: ir.Value | None,
        use_grad: Callable[[int, ir.Value], None] | None,
    ) -> list[ir.Value]:
        """The loss, and 1 where the sample is right and 0 where it is not, as doubles.

        The weight of a sample that has one counts in both and in the gradient, all of which are 0 where it is.

        Parameters
        ----------
        outputs
            The vectors of the outputs.
        targets
            The vectors of the targets; None where these are the label's class.
        label
            Loads the label, an integer: where it is used, and not to be kept from there on.
        weight
            The weight, if the sample has one.
        scale
            What the gradient is multiplied by, if by anything.
        use_grad
            Is given each vector of the gradient, and its number, where one is wanted.
        """
        b, xp, loss, features = self.builder, self.xp, self.program.loss, self.program.out_features
        b.comment(f"loss: {loss!r}")
        y = Array(xp, outputs, features)
        target = Array(xp, self._one_hot(label(), len(outputs)) if targets is None else targets, features)
        counts = None if weight is None else b.fcmp_ordered("!=", weight, constant(weight.type, 0.0))
        if use_grad is not None:
            if weight is not None:
                own = self._splat(weight)
                scale = own if scale is None else self.e.fmul(own, scale)
            for index, vector in enumerate(xp.vectors(loss.sample_grad(xp, y, target), len(outputs))):
                scaled = vector if scale is None else self.e.fmul(vector, scale)
                use_grad(index, scaled if counts is None else b.select(counts, scaled, self.e.constant(0)))
        value = self._as_double(loss.sample_value(xp, y, target))
        if loss.judges_outputs:
            wrong = self._as_double(loss.wrong_outputs(xp, y, target))
            is_right = b.fcmp_ordered("==", wrong, constant(self.double, 0.0))
        else:
            is_right = b.icmp_signed("==", self._largest(outputs), label())
        outcome = [value, b.select(is_right, constant(self.double, 1.0), constant(self.double, 0.0))]
        if weight is None:
            return outcome
        factor, zero = self._extended(weight), constant(self.double, 0.0)
        return [b.select(counts, b.fmul(number, factor), zero) for number in outcome]

    def _one_hot(self, label: ir.Value, count: int) -> list[ir.Value]:
        """1 for the feature of the label, and else 0, in `count` vectors."""
        e, b, wanted = self.e, self.builder, self._splat(label)
        are_wanted = (b.icmp_signed("==", wanted, self._features(index)) for index in range(count))
        return [b.select(is_wanted, e.constant(1), e.constant(0)) for is_wanted in are_wanted]

    def _larger(self, best: ir.Value, place: ir.Value, number: ir.Value, its: ir.Value) -> list[ir.Value]:
        """The larger of two numbers, the first where they are equal, and its place; NaN is the largest, as in torch."""
        b = self.builder
        better = b.and_(b.fcmp_unordered(">", number, best), b.fcmp_ordered("ord", best, best))
        return [b.select(better, number, best), b.select(better, its, place)]

    def _extended(self, number: ir.Value) -> ir.Value:
        return number if number.type == self.double else self.builder.fpext(number, self.double)

    @abc.abstractmethod
    def _splat(self, number: ir.Value) -> ir.Value:
        """A number or an integer of a sample for each of its outputs in a vector."""

    @abc.abstractmethod
    def _features(self, index: int) -> ir.Value:
        """Which features a vector of outputs holds, as integers."""

    @abc.abstractmethod
    def _as_double(self, value: object) -> ir.Value:
        """What an expression makes of the outputs, a number of a sample."""

    @abc.abstractmethod
    def _largest(self, outputs: Sequence[ir.Value]) -> ir.Value:
        """The place of the first of the largest outputs."""


class SampleLoss(LossOfSamples):
    """Emits the loss of one sample, whose outputs lie at a place of a scope's activations, in the lanes of vectors."""

    def __init__(self, kernels: Kernels, program: LossProgram, scope: Scope, prediction: Index) -> None:
        super().__init__(program, kernels.xp, DOUBLE)
        self._scope, self._prediction = scope, prediction
        self._lanes, self._real = kernels.lanes, kernels.real
        self._starts = [v * kernels.lanes for v in range(vectors(program.out_features, kernels.lanes))]

    def emit(self, row: ir.Value, grad: Index | None = None, scale: ir.Value | None = None) -> list[ir.Value]:
        """The loss of the sample of a row, and whether it is right; its gradient times `scale` is stored at `grad`."""
        e, program, scope = self.e, self.program, self._scope

        def store(index: int, vector: ir.Value) -> None:
            start = self._starts[index]
            kept = e.keep_first(vector, program.out_features - start)
            e.store(kept, scope.activations, e.add(grad, start))

        return self.outcome(
            [e.load(scope.activations, e.add(self._prediction, start)) for start in self._starts],
            None if program.class_targets else self._targets(row),
            lambda: self.builder.load(e.address(scope.arguments.labels, row, I64), typ=I64, align=8),
            self._weight(row) if program.weighted else None,
            scale,
            None if grad is None else store,
        )

    def _targets(self, row: ir.Value) -> list[ir.Value]:
        e, features, base = self.e, self.program.out_features, self.e.multiply(row, self.program.target_stride)
        targets = self._scope.arguments.targets
        return [e.load_first(targets, e.add(base, start), features - start) for start in self._starts]

    def _weight(self, row: ir.Value) -> ir.Value:
        """The last number of the row of the targets."""
        place = self.e.add(self.e.multiply(row, self.program.target_stride), self.program.target_features)
        return self.e.load_number(self._scope.arguments.targets, place)

    def _splat(self, number: ir.Value) -> ir.Value:
        return self.e.splat_integer(number) if number.type == I64 else self.e.splat(number)

    def _features(self, index: int) -> ir.Value:
        numbers = [ir.Constant(self._real.integer, self._starts[index] + lane) for lane in range(self._lanes)]
        return ir.Constant(self.e.integers_type, numbers)

    def _as_double(self, value: object) -> ir.Value:
        """The sum over lanes is taken in double precision where it is short."""
        if isinstance(value, Sum):
            used = min(self.program.out_features, self._lanes)
            lanes = value.lanes
        else:
            lanes, used = self.xp.vectors(value)[0], 1
        if used > self._scope.plan.policy.most_outputs_added:
            name = f"llvm.vector.reduce.fadd.v{self._lanes}{self._real.suffix}"
            start = self._real.constant(-0.0)
            return self._extended(self.e.intrinsic(name, [start, lanes], self._real.type, ["reassoc"]))
        numbers = (self.builder.extract_element(lanes, ir.Constant(I64, lane)) for lane in range(used))
        return functools.reduce(self.builder.fadd, map(self._extended, numbers))

    def _largest(self, outputs: Sequence[ir.Value]) -> ir.Value:
        e, activations, features = self.e, self._scope.activations, self.program.out_features
        best, place = e.load_number(activations, self._prediction), e.index(0)

        def body(i: Index, best: ir.Value, place: ir.Value) -> list[ir.Value]:
            number = e.load_number(activations, e.add(self._prediction, i))
            return self._larger(best, place, number, e.index(i))

        if features > self._scope.plan.policy.most_outputs_compared:
            best, place = e.loop("argmax", 1, features, 1, body, [best, place])
            return place
        for i in range(1, features):
            best, place = body(i, best, place)
        return place


def constant(kind: ir.Type, number: float) -> ir.Constant:
    """A constant of a type, be it a number's or a vector's."""
    if isinstance(kind, ir.VectorType):
        return ir.Constant(kind, [ir.Constant(kind.element, number)] * kind.count)
    return ir.Constant(kind, number)
