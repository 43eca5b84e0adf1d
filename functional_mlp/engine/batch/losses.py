"""The losses of the samples of a piece, and their gradients.

Where outputs are few, `lanes` samples are met at once, one in each lane; otherwise one after the other, their outputs
in the lanes. What comes of them is kept and added up in the order of the samples, however threads have divided them.
"""

from collections.abc import Callable, Sequence

from functional_mlp.engine.batch.piece import Memory, RowOf
from functional_mlp.engine.calls import Scope
from functional_mlp.engine.kernels import Kernels
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.features import FeaturesNamespace
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.llvm.types import DOUBLE, I64
from functional_mlp.engine.llvm.vector import Scalars
from functional_mlp.engine.loss import SampleLoss
from functional_mlp.engine.program import LossProgram
from functional_mlp.engine.side_by_side import LossesSideBySide

Load = Callable[[Index, int], ir.Value]


class PieceLosses:
    """Emits losses for pieces of at most `samples` samples; what is kept of them lies in a place of the memory."""

    def __init__(self, kernels: Kernels, program: LossProgram, scope: Scope, memory: Memory, samples: int) -> None:
        self._kernels, self._program, self._scope = kernels, program, scope
        self._e, self._builder = kernels.e, kernels.builder
        place = memory.reserve(samples * 2 * 8 // kernels.real.size, 1)
        self._kept = self._e.address(scope.workspace, place)

    def emit(
        self,
        begin: Index,
        end: ir.Value,
        row_of: RowOf,
        prediction: int,
        grad: int | None = None,
        scale: ir.Value | None = None,
    ) -> None:
        """Keep the losses of samples `begin` to `end`, and whether they are right.

        Parameters
        ----------
        begin
            The first sample of the piece.
        end
            The one after its last.
        row_of
            The row of the data that a sample is.
        prediction
            The place of the outputs of the first sample of the piece.
        grad
            The place for the gradients; None where they are not wanted.
        scale
            The vector that they are multiplied by; None with them.
        """
        e, given = self._e, (row_of, prediction, grad, scale)
        if self._program.out_features <= self._scope.plan.policy.most_outputs_side_by_side:
            e.loop("loss.samples", begin, end, e.lanes, self._side_by_side(e.subtract(end, 1), *given))
        else:
            e.loop("loss.sample", begin, end, 1, self._one_by_one(*given))

    def add(self, begin: Index, end: Index, totals: Sequence[ir.Value]) -> list[ir.Value]:
        """Add what was kept to the sum of the losses and the number of right answers."""

        def sample(r: Index, *totals: ir.Value) -> list[ir.Value]:
            kept = (self._builder.load(place, typ=DOUBLE, align=self._kernels.real.size) for place in self._places(r))
            return [self._builder.fadd(total, value) for total, value in zip(totals, kept, strict=True)]

        return self._e.loop("loss.sum", begin, end, 1, sample, totals)

    def _keep(self, r: Index, outcome: Sequence[ir.Value]) -> None:
        for place, value in zip(self._places(r), outcome, strict=True):
            self._builder.store(value, place, align=self._kernels.real.size)

    def _places(self, r: Index) -> list[ir.Value]:
        return [self._e.address(self._kept, self._e.add(self._e.multiply(r, 2), which), DOUBLE) for which in range(2)]

    def _one_by_one(
        self, row_of: RowOf, prediction: int, grad: int | None, scale: ir.Value | None
    ) -> Callable[[Index], None]:
        """What emits the loss of a sample, its outputs in the lanes."""
        e, stride = self._e, self._kernels.stride(self._program.out_features)

        def sample(r: Index) -> None:
            offset = e.multiply(r, stride)
            of_grad = None if grad is None else e.add(grad, offset)
            loss = SampleLoss(self._kernels, self._program, self._scope, e.add(prediction, offset))
            self._keep(r, loss.emit(row_of(r), of_grad, scale))

        return sample

    def _side_by_side(
        self, last: Index, row_of: RowOf, prediction: int, grad: int | None, scale: ir.Value | None
    ) -> Callable[[Index], None]:
        """What emits the losses of samples from one on, each in a lane.

        Lanes beyond the `last` sample repeat it, and write what it has written.
        """
        e, stride = self._e, self._kernels.stride(self._program.out_features)
        losses = LossesSideBySide(self._program, FeaturesNamespace(e, Scalars(e)))
        activations = self._scope.activations

        def several(first: Index) -> None:
            samples = [e.smaller(e.add(first, lane), last) for lane in range(e.lanes)]
            rows, offsets = [row_of(r) for r in samples], [e.multiply(r, stride) for r in samples]
            labels = self._labels(rows)
            y = self._columns([e.add(prediction, offset) for offset in offsets], lambda at, _: e.load(activations, at))
            grads: list[ir.Value] = []
            outcome = losses.outcome(
                y,
                self._targets(rows),
                lambda: labels,
                self._weights(rows),
                scale,
                None if grad is None else lambda _, vector: grads.append(vector),
            )
            for start in range(0, len(grads), e.lanes):
                block = grads[start : start + e.lanes]
                block += [e.constant(0)] * (e.lanes - len(block))
                for offset, vector in zip(offsets, e.transpose(block), strict=True):
                    e.store(vector, activations, e.add(e.add(grad, start), offset))
            for lane, r in enumerate(samples):
                self._keep(r, [self._builder.extract_element(vector, ir.Constant(I64, lane)) for vector in outcome])

        return several

    def _columns(self, places: Sequence[Index], load: Load) -> list[ir.Value]:
        """For each output the vector of the samples' numbers; `load` has a vector of those at a place, and how many."""
        e, features = self._e, self._program.out_features
        columns: list[ir.Value] = []
        for start in range(0, features, e.lanes):
            used = min(e.lanes, features - start)
            columns += e.transpose([load(e.add(place, start), used) for place in places])[:used]
        return columns

    def _targets(self, rows: Sequence[ir.Value]) -> list[ir.Value] | None:
        program, e = self._program, self._e
        if program.class_targets:
            return None
        places = [e.multiply(row, program.target_stride) for row in rows]
        return self._columns(places, lambda at, used: e.load_first(self._scope.arguments.targets, at, used))

    def _labels(self, rows: Sequence[ir.Value]) -> ir.Value:
        """The label of each row, as integers of the size of the reals."""
        e, b = self._e, self._builder
        labels = ir.Constant(e.integers_type, ir.Undefined)
        for lane, row in enumerate(rows):
            label = b.load(e.address(self._scope.arguments.labels, row, I64), typ=I64, align=8)
            label = label if e.real.integer == I64 else b.trunc(label, e.real.integer)
            labels = b.insert_element(labels, label, ir.Constant(I64, lane))
        return labels

    def _weights(self, rows: Sequence[ir.Value]) -> ir.Value | None:
        """The weight of each row, the last number of its targets."""
        program, e = self._program, self._e
        if not program.weighted:
            return None
        weights = ir.Constant(e.vector_type, ir.Undefined)
        for lane, row in enumerate(rows):
            place = e.add(e.multiply(row, program.target_stride), program.target_features)
            number = e.load_number(self._scope.arguments.targets, place)
            weights = self._builder.insert_element(weights, number, ir.Constant(I64, lane))
        return weights
