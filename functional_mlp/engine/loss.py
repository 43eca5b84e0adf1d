"""The loss of a sample, its gradient, and whether the sample is right, all times its weight where it has one."""

from functional_mlp.engine.calls import Scope
from functional_mlp.engine.kernels import Kernels
from functional_mlp.engine.layout import vectors
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.llvm.operands import Array, Sum
from functional_mlp.engine.llvm.types import DOUBLE, I64, Real
from functional_mlp.engine.llvm.vector import VectorNamespace
from functional_mlp.engine.program import LossProgram


class SampleLoss:
    """Emits the loss of samples."""

    program: LossProgram
    lanes: int
    real: Real
    builder: ir.IRBuilder
    e: Emitter
    xp: VectorNamespace

    def __init__(self, kernels: Kernels, program: LossProgram) -> None:
        self.program, self.lanes, self.real = program, kernels.lanes, kernels.real
        self.builder, self.e, self.xp = kernels.builder, kernels.e, kernels.xp

    def emit(
        self,
        scope: Scope,
        row: ir.Value,
        prediction: Index,
        grad: Index | None = None,
        scale: ir.Value | None = None,
    ) -> list[ir.Value]:
        """One sample's loss and whether it is right, as doubles; its gradient times `scale` is stored at `grad`.

        The weight of a sample that has one counts in all three, which are 0 where it is.
        """
        self.builder.comment(f"loss: {self.program.loss!r}")
        features = self.program.out_features
        count = vectors(features, self.lanes)
        y = Array(
            self.xp,
            [self.e.load(scope.activations, self.e.add(prediction, v * self.lanes)) for v in range(count)],
            features,
        )
        target = Array(self.xp, self._target(scope, row, count), features)
        weight = self._weight(scope, row) if self.program.weighted else None
        counts = None if weight is None else self.builder.fcmp_ordered("!=", weight, ir.Constant(weight.type, 0.0))
        if grad is not None:
            if weight is not None:
                splat = self.e.splat(weight)
                scale = splat if scale is None else self.e.fmul(splat, scale)
            gradient = self.program.loss.sample_grad(self.xp, y, target)
            for v, vector in enumerate(self.xp.vectors(gradient, count)):
                scaled = vector if scale is None else self.e.fmul(vector, scale)
                scaled = scaled if counts is None else self.builder.select(counts, scaled, self.e.constant(0))
                kept = self.e.keep_first(scaled, features - v * self.lanes)
                self.e.store(kept, scope.activations, self.e.add(grad, v * self.lanes))
        value = self.program.loss.sample_value(self.xp, y, target)
        if not self.program.loss.judges_outputs:
            outcome = [self._as_double(scope, value), self._has_label_largest(scope, row, prediction)]
        else:
            wrong = self._as_double(scope, self.program.loss.wrong_outputs(self.xp, y, target))
            is_right = self.builder.fcmp_ordered("==", wrong, ir.Constant(DOUBLE, 0.0))
            outcome = [self._as_double(scope, value), self.builder.uitofp(is_right, DOUBLE)]
        if weight is None:
            return outcome
        factor = weight if weight.type == DOUBLE else self.builder.fpext(weight, DOUBLE)
        zero = ir.Constant(DOUBLE, 0.0)
        return [self.builder.select(counts, self.builder.fmul(number, factor), zero) for number in outcome]

    def _weight(self, scope: Scope, row: ir.Value) -> ir.Value:
        """The last number of the row of the targets."""
        place = self.e.add(self.e.multiply(row, self.program.target_stride), self.program.target_features)
        return self.e.load_number(scope.arguments.targets, place)

    def _target(self, scope: Scope, row: ir.Value, count: int) -> list[ir.Value]:
        e, features = self.e, self.program.out_features
        if not self.program.class_targets:
            base = e.multiply(row, self.program.target_stride)
            return [
                e.load_first(scope.arguments.targets, e.add(base, v * self.lanes), features - v * self.lanes)
                for v in range(count)
            ]
        label = self.builder.load(e.address(scope.arguments.labels, row, I64), typ=I64, align=8)
        wanted = e.splat_integer(label)
        one_hot = []
        for v in range(count):
            classes = ir.Constant(
                e.integers_type, [ir.Constant(self.real.integer, v * self.lanes + lane) for lane in range(self.lanes)]
            )
            one_hot.append(
                self.builder.select(self.builder.icmp_signed("==", wanted, classes), e.constant(1), e.constant(0))
            )
        return one_hot

    def _as_double(self, scope: Scope, value: object) -> ir.Value:
        """The sample's loss, summed over lanes in double."""
        if isinstance(value, Sum):
            used = min(self.program.out_features, self.lanes)
            lanes = value.lanes
        else:
            lanes, used = self.xp.vectors(value)[0], 1
        total = None
        for lane in range(used) if used <= scope.plan.policy.most_outputs_added else ():
            number = self.builder.extract_element(lanes, ir.Constant(I64, lane))
            number = number if number.type == DOUBLE else self.builder.fpext(number, DOUBLE)
            total = number if total is None else self.builder.fadd(total, number)
        if total is None:
            name = f"llvm.vector.reduce.fadd.v{self.lanes}{self.real.suffix}"
            total = self.e.intrinsic(name, [self.real.constant(-0.0), lanes], self.real.type, ["reassoc"])
            total = total if total.type == DOUBLE else self.builder.fpext(total, DOUBLE)
        return total

    def _has_label_largest(self, scope: Scope, row: ir.Value, prediction: Index) -> ir.Value:
        """1.0 where the first of the largest outputs is the label's; NaN counts as the largest, as in torch."""
        e, b = self.e, self.builder
        best = e.load_number(scope.activations, prediction)

        def body(i: Index, best: ir.Value, place: ir.Value) -> list[ir.Value]:
            number = e.load_number(scope.activations, e.add(prediction, i))
            better = b.and_(b.fcmp_unordered(">", number, best), b.fcmp_ordered("ord", best, best))
            return [b.select(better, number, best), b.select(better, e.index(i), place)]

        place: ir.Value = ir.Constant(I64, 0)
        features = self.program.out_features
        if features <= scope.plan.policy.most_outputs_compared:
            for i in range(1, features):
                best, place = body(i, best, place)
        else:
            best, place = e.loop("argmax", 1, features, 1, body, [best, place])
        label = b.load(e.address(scope.arguments.labels, row, I64), typ=I64, align=8)
        return b.uitofp(b.icmp_signed("==", place, label), DOUBLE)
