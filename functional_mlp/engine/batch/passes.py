"""Passes of samples through a network in pieces, of at most `Plan.piece`; and those that go forward alone.

Products need the weights in both orientations, so a transposed copy is made of them.
"""

from collections.abc import Callable, Sequence

from functional_mlp.engine import walk
from functional_mlp.engine.batch.gradients import ParamGradients
from functional_mlp.engine.batch.linear import LinearProducts
from functional_mlp.engine.batch.losses import PieceLosses
from functional_mlp.engine.batch.piece import Memory, Piece, RowOf
from functional_mlp.engine.batch.steps import BatchSteps, Output
from functional_mlp.engine.calls import Scope
from functional_mlp.engine.kernels import Kernels
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.llvm.types import DOUBLE, I64
from functional_mlp.engine.program import LossProgram, Program


class BatchPasses:
    """What emits passes over pieces into a function: their memory lies from `end` on.

    Those that are given the `gradients` of parameters have a way back.
    """

    kernels: Kernels
    scope: Scope
    samples: int
    e: Emitter
    builder: ir.IRBuilder
    memory: Memory
    copies: dict[int, int]
    steps: BatchSteps

    def __init__(
        self,
        program: Program,
        scope: Scope,
        products: LinearProducts,
        gradients: ParamGradients | None,
        *,
        end: int,
    ) -> None:
        self.kernels, self.scope, self.samples = products.kernels, scope, products.samples
        self.e, self.builder = self.kernels.e, self.kernels.builder
        self.program = program
        self.memory = Memory(self.kernels.lanes, end)
        self.copies = self._reserve_copies(way_back=gradients is not None)
        self.steps = BatchSteps(self.kernels, self.memory, self.copies, products, gradients)

    def _over_pieces(self, piece: Callable[..., list[ir.Value]]) -> None:
        """Go from `first` to `last` piece by piece, then add the totals to the results and return."""
        b, arguments = self.builder, self.scope.arguments
        before = b.block
        head, inside, after = (b.append_basic_block(name) for name in ("pieces", "piece", "end"))
        b.branch(head)
        b.position_at_end(head)
        first = b.phi(I64, name="first")
        totals = [b.phi(DOUBLE, name="loss_sum"), b.phi(DOUBLE, name="right")]
        first.add_incoming(arguments.first, before)
        for total in totals:
            total.add_incoming(ir.Constant(DOUBLE, 0.0), before)
        b.cbranch(b.icmp_signed("<", first, arguments.last), inside, after)
        b.position_at_end(inside)
        results = piece(first, *totals)
        for phi, result in zip((first, *totals), results, strict=True):
            phi.add_incoming(result, b.block)
        b.branch(head)
        b.position_at_end(after)
        self.kernels.add_to_results(self.scope, totals)

    def _load_inputs(self, begin: Index, end: ir.Value, row_of: RowOf) -> int:
        features, scope = self.program.in_features, self.scope
        x, stride = self.steps.reserve(features), self.memory.stride(features)

        def sample(r: Index) -> None:
            source = self.e.multiply(row_of(r), features)
            target = self.e.add(x, self.e.multiply(r, stride))

            def body(offset: Index, used: Index) -> None:
                vector = self.e.load_first(scope.arguments.inputs, self.e.add(source, offset), used)
                self.e.store(vector, scope.workspace, self.e.add(target, offset))

            self.kernels.each_vector(scope, "inputs", features, body)

        self.e.loop("inputs.sample", begin, end, 1, sample)
        return x

    # Transposed copies

    def _reserve_copies(self, *, way_back: bool) -> dict[int, int]:
        """Places for the orientation of the weights that a product needs and the layout has not, by layer.

        The way back ends at the first linear layer: the gradient of the data is of no use.
        """
        copies = {}
        for matrix in self.kernels.layout.matrices:
            forward = not matrix.input_major and not self.scope.plan.adds_lanes_of(matrix)
            if forward or (way_back and matrix.input_major and matrix.step.number > 0):
                copies[matrix.step.number] = self.memory.reserve(matrix.rows, matrix.columns)
        return copies

    def _transpose_weights(self) -> None:
        with self.kernels.table(self.scope) as inside:
            for matrix in self.kernels.layout.matrices:
                if matrix.step.number in self.copies:
                    self.kernels.transpose(inside, matrix, self.copies[matrix.step.number])


class ForwardPasses(BatchPasses):
    """Emits a pass over rows `first` to `last` of the data, in their own order, into a function."""

    def __init__(self, program: Program, builder: ir.IRBuilder, scope: Scope) -> None:
        kernels = Kernels(program, scope.plan, builder)
        products = LinearProducts(kernels, scope.plan.piece)
        super().__init__(program, scope, products, None, end=kernels.layout.size)

    def measure(self, program: LossProgram) -> int:
        """The function's body, which adds up losses and right answers; returns the size of the workspace."""
        losses = PieceLosses(self.kernels, program, self.scope, self.memory, self.samples)

        def measure(row_of: RowOf, count: ir.Value, outputs: int, totals: Sequence[ir.Value]) -> Sequence[ir.Value]:
            losses.emit(0, count, row_of, outputs)
            return losses.add(0, count, totals)

        return self._forward(measure)

    def predict(self, predictions: ir.Value) -> int:
        """The function's body, which writes the outputs to `predictions`; returns the size of the workspace."""
        stride = self.memory.stride(self.program.out_features)

        def write(row_of: RowOf, count: ir.Value, outputs: int, totals: Sequence[ir.Value]) -> Sequence[ir.Value]:
            def sample(r: Index) -> None:
                self._write(row_of(r), self.e.add(outputs, self.e.multiply(r, stride)), predictions)

            self.e.loop("sample", 0, count, 1, sample)
            return totals

        return self._forward(write)

    def _forward(self, use: Callable[[RowOf, ir.Value, int, Sequence[ir.Value]], Sequence[ir.Value]]) -> int:
        """totals = use(row of a sample, how many there are, place of their outputs, totals) for each piece."""
        self._transpose_weights()
        scope, arguments, b = self.scope, self.scope.arguments, self.builder

        def piece(first: ir.Value, *totals: ir.Value) -> list[ir.Value]:
            def row_of(r: Index) -> ir.Value:
                return b.add(first, self.e.index(r))

            last = self.e.smaller(b.add(first, ir.Constant(I64, self.samples)), arguments.last)
            count = b.sub(last, first)
            x = self._load_inputs(0, count, row_of)
            with self.kernels.table(scope, count) as inside:
                output, _ = walk.forward(self.steps, Piece(inside, 0, count), self.program.steps, Output(x))
            return [last, *use(row_of, count, output.place, totals)]

        self._over_pieces(piece)
        return self.memory.end

    def _write(self, row: ir.Value, place: Index, predictions: ir.Value) -> None:
        features = self.program.out_features

        def body(i: Index) -> None:
            number = self.e.load_number(self.scope.workspace, self.e.add(place, i))
            self.e.store_number(number, predictions, self.e.add(self.e.multiply(row, features), i))

        self.e.loop("outputs", 0, features, 1, body)
