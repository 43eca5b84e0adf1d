"""The losses of several samples at once, one in each lane: a vector holds one feature of all of them."""

from collections.abc import Callable, Sequence

from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.features import FeaturesNamespace
from functional_mlp.engine.llvm.operands import Array
from functional_mlp.engine.llvm.types import DOUBLE
from functional_mlp.engine.program import LossProgram


class LossesSideBySide:
    """Emits the losses of samples, their gradients, and whether the samples are right."""

    def __init__(self, e: Emitter, xp: FeaturesNamespace, program: LossProgram) -> None:
        self.e, self.xp, self.program = e, xp, program
        self.builder = e.builder

    def emit(
        self,
        y: Sequence[ir.Value],
        targets: Sequence[ir.Value] | None,
        labels: ir.Value,
        weight: ir.Value | None,
        scale: ir.Value | None,
        use_grad: Callable[[int, ir.Value], None] | None,
    ) -> tuple[ir.Value, ir.Value]:
        """The losses, and 1.0 where the sample is right and 0.0 where it is not, as doubles.

        The weight of a sample that has one counts in both and in the gradient, all of which are 0 where it is.

        Parameters
        ----------
        y, targets
            The outputs, and their targets: none where these are the labels' classes.
        labels
            The label of each sample, as integers of the size of the reals.
        weight
            The weight of each sample, if they have any.
        scale
            What the gradient is multiplied by, if by anything.
        use_grad
            Is given each feature of the gradient, and its number, where one is wanted.
        """
        e, b, xp, loss = self.e, self.builder, self.xp, self.program.loss
        b.comment(f"loss: {loss!r}")
        arrays = xp.features(y), xp.features(self._one_hot(labels) if targets is None else targets)
        if weight is not None:
            scale = weight if scale is None else e.fmul(weight, scale)
            counts = b.fcmp_ordered("!=", weight, e.constant(0))
        if use_grad is not None:
            for i, vector in enumerate(xp.vectors(loss.sample_grad(xp, *arrays), len(y))):
                scaled = vector if scale is None else e.fmul(vector, scale)
                use_grad(i, scaled if weight is None else b.select(counts, scaled, e.constant(0)))
        value = self._as_doubles(xp.vectors(loss.sample_value(xp, *arrays))[0])
        right = self._is_right(y, arrays, labels)
        if weight is not None:
            factor = self._as_doubles(weight)
            value, right = (b.select(counts, b.fmul(number, factor), self._double(0)) for number in (value, right))
        return value, right

    def _double(self, number: float) -> ir.Constant:
        return ir.Constant(ir.VectorType(DOUBLE, self.e.lanes), [ir.Constant(DOUBLE, number)] * self.e.lanes)

    def _as_doubles(self, vector: ir.Value) -> ir.Value:
        doubles = ir.VectorType(DOUBLE, self.e.lanes)
        return vector if self.e.real.type is DOUBLE else self.builder.fpext(vector, doubles)

    def _one_hot(self, labels: ir.Value) -> list[ir.Value]:
        e, b = self.e, self.builder
        return [
            b.select(b.icmp_signed("==", labels, e.integers(i)), e.constant(1), e.constant(0))
            for i in range(self.program.out_features)
        ]

    def _is_right(self, y: Sequence[ir.Value], arrays: tuple[Array, Array], labels: ir.Value) -> ir.Value:
        """1.0 where the sample is right, by its outputs or by its label, and else 0.0."""
        b, xp, loss = self.builder, self.xp, self.program.loss
        if loss.judges_outputs:
            (wrong,) = xp.vectors(loss.wrong_outputs(xp, *arrays))
            is_right = b.fcmp_ordered("==", wrong, self.e.constant(0))
        else:
            is_right = self._has_label_largest(y, labels)
        return b.select(is_right, self._double(1), self._double(0))

    def _has_label_largest(self, y: Sequence[ir.Value], labels: ir.Value) -> ir.Value:
        """Whether the first of the largest outputs is the label's; NaN counts as the largest, as in torch."""
        e, b = self.e, self.builder
        best, place = y[0], e.integers(0)
        for i, number in enumerate(y[1:], start=1):
            better = b.and_(b.fcmp_unordered(">", number, best), b.fcmp_ordered("ord", best, best))
            best, place = (b.select(better, number, best), b.select(better, e.integers(i), place))
        return b.icmp_signed("==", place, labels)
