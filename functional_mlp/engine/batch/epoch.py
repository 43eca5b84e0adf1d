"""Batches: an epoch of minibatches, and passes forward over a whole data set.

A batch goes through the network in pieces of at most `Policy.piece` samples. Products need the weights in both
orientations, so a transposed copy is made for each batch.
"""

from collections.abc import Callable

from llvmlite import ir

from functional_mlp.engine import walk
from functional_mlp.engine.batch.linear import LinearProducts
from functional_mlp.engine.batch.piece import Memory, Piece, Update
from functional_mlp.engine.batch.steps import BatchSteps, Output
from functional_mlp.engine.calls import Arguments, Scope
from functional_mlp.engine.kernels import Kernels
from functional_mlp.engine.llvm.emitter import DOUBLE, I64, Index
from functional_mlp.engine.loss import SampleLoss
from functional_mlp.engine.policy import Policy
from functional_mlp.engine.program import Program
from functional_mlp.engine.update import rule_after


class BatchPasses:
    """Emits the passes of a program over pieces of batches into a function."""

    def __init__(
        self,
        program: Program,
        policy: Policy,
        builder: ir.IRBuilder,
        arguments: Arguments,
        *,
        training: bool,
    ) -> None:
        self.kernels, self.program, self.builder = Kernels(program, policy, builder), program, builder
        self.scope, self.loss = Scope.of_function(arguments, policy), SampleLoss(self.kernels)
        self.e, size = self.kernels.e, self.kernels.layout.size
        self.samples = min(program.batch_size, policy.piece)
        # Where a batch is one piece, its gradients need no place of their own. A long rule is emitted once for all.
        self.whole = program.batch_size <= policy.piece and not policy.brief_rule
        self.gradients = size * (1 + len(program.optimizer.slots()))
        self.memory = Memory(policy.lanes, self.gradients + (0 if self.whole else size))
        self.copies = self._reserve_copies(training)
        products = LinearProducts(self.kernels, self.samples, whole=self.whole, gradients=self.gradients)
        self.steps = BatchSteps(self.kernels, self.memory, self.copies, products)

    # Driving

    def epoch(self) -> int:
        """The body of an epoch of minibatches; returns the size of the workspace."""
        e, b, scope = self.e, self.builder, self.scope
        arguments, size = scope.arguments, ir.Constant(I64, self.program.batch_size)

        def piece(first: ir.Value, loss_sum: ir.Value, right: ir.Value) -> list[ir.Value]:
            batch = b.udiv(first, size)
            batch_start = b.mul(batch, size)
            batch_end = e.smaller(b.add(batch_start, size), arguments.samples)
            piece_end = e.smaller(b.add(first, ir.Constant(I64, self.samples)), batch_end)
            last = e.smaller(piece_end, arguments.last)
            with b.if_then(b.icmp_signed("==", first, batch_start)):
                self._transpose_weights()
            samples = b.uitofp(b.sub(batch_end, batch_start), self.kernels.real.type)
            scale = e.splat(b.fdiv(self.kernels.real.constant(1), samples))
            totals = [loss_sum, right]
            if self.whole:
                with rule_after(self.kernels, scope, batch) as rule:
                    update = rule.update if scope.policy.in_one_piece else None
                    return [last, *self._train(first, b.sub(last, first), batch, scale, totals, update)]
            totals = self._train(first, b.sub(last, first), batch, scale, totals, None)
            with b.if_then(b.icmp_signed("==", last, batch_end)):
                self._apply_gradients(batch)
            return [last, *totals]

        self._over_pieces(piece)
        return self.memory.end

    def forward_only(self, predictions: ir.Value | None) -> int:
        """The body of a pass over rows `first` to `last` of the data, in their own order.

        It adds up losses and right answers, or writes the outputs to `predictions`; returns the size of the
        workspace.
        """
        self._transpose_weights()
        scope, arguments, b = self.scope, self.scope.arguments, self.builder

        def piece(first: ir.Value, loss_sum: ir.Value, right: ir.Value) -> list[ir.Value]:
            last = self.e.smaller(b.add(first, ir.Constant(I64, self.samples)), arguments.last)
            count = b.sub(last, first)
            x = self._load_inputs(count, lambda r: b.add(first, self.e.index(r)))
            with self.kernels.table(scope, count) as inside:
                output, _ = walk.forward(self.steps, Piece(inside, count), self.program.steps, Output(x))
            stride = self.memory.stride(self.program.out_features)

            def sample(r: Index, *totals: ir.Value) -> list[ir.Value]:
                row, place = b.add(first, self.e.index(r)), self.e.add(output.place, self.e.multiply(r, stride))
                if predictions is not None:
                    self._write(row, place, predictions)
                    return list(totals)
                loss, is_right = self.loss.emit(scope, row, place)
                return [b.fadd(totals[0], loss), b.fadd(totals[1], is_right)]

            return [last, *self.e.loop("sample", 0, count, 1, sample, [loss_sum, right])]

        self._over_pieces(piece)
        return self.memory.end

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

    def _train(
        self,
        first: ir.Value,
        count: ir.Value,
        batch: ir.Value,
        scale: ir.Value,
        totals: list[ir.Value],
        update: Update | None,
    ) -> list[ir.Value]:
        """Both passes for a piece, with the update of the parameters where it is the whole batch."""
        b, e, scope = self.builder, self.e, self.scope

        def row_of(r: Index) -> ir.Value:
            return b.load(e.address(scope.arguments.order, e.add(first, r), I64), typ=I64, align=8)

        x = self._load_inputs(count, row_of)
        with self.kernels.table(scope, count, batch) as inside:
            own = Piece(inside, count, batch)
            output, backward = walk.forward(self.steps, own, self.program.steps, Output(x))
        features = self.program.out_features
        grad, stride = self.steps.reserve(features), self.memory.stride(features)

        def sample(r: Index, loss_sum: ir.Value, right: ir.Value) -> list[ir.Value]:
            offset, row = e.multiply(r, stride), row_of(r)
            places = e.add(output.place, offset), e.add(grad, offset)
            loss, is_right = self.loss.emit(scope, row, *places, scale)
            return [b.fadd(loss_sum, loss), b.fadd(right, is_right)]

        totals = e.loop("loss.sample", 0, count, 1, sample, totals)
        with self.kernels.table(scope, count, batch) as inside:
            backward(Piece(inside, count, batch, update), grad)
        return totals

    def _apply_gradients(self, batch: ir.Value) -> None:
        """The rule for every parameter with the gradient that was added up, which is set back to zero."""
        e, workspace = self.e, self.scope.workspace
        with rule_after(self.kernels, self.scope, batch) as rule:

            def apply(place: Index) -> None:
                rule.update(place, e.load(workspace, e.add(self.gradients, place)))
                e.store(e.constant(0), workspace, e.add(self.gradients, place))

            e.loop("parameters", 0, self.kernels.layout.size, self.kernels.lanes, apply)

    # Inputs and outputs

    def _load_inputs(self, count: ir.Value, row_of: Callable[[Index], ir.Value]) -> int:
        features, scope = self.program.in_features, self.scope
        x, stride = self.steps.reserve(features), self.memory.stride(features)

        def sample(r: Index) -> None:
            source = self.e.multiply(row_of(r), features)
            target = self.e.add(x, self.e.multiply(r, stride))

            def body(offset: Index, used: Index) -> None:
                vector = self.e.load_first(scope.arguments.inputs, self.e.add(source, offset), used)
                self.e.store(vector, scope.workspace, self.e.add(target, offset))

            self.kernels.each_vector(scope, "inputs", features, body)

        self.e.loop("inputs.sample", 0, count, 1, sample)
        return x

    def _write(self, row: ir.Value, place: Index, predictions: ir.Value) -> None:
        features = self.program.out_features

        def body(i: Index) -> None:
            number = self.e.load_number(self.scope.workspace, self.e.add(place, i))
            self.e.store_number(number, predictions, self.e.add(self.e.multiply(row, features), i))

        self.e.loop("outputs", 0, features, 1, body)

    # Transposed copies

    def _reserve_copies(self, training: bool) -> dict[int, int]:
        """Places for the orientation of the weights that a product needs and the layout has not, by layer.

        The way back ends at the first linear layer: the gradient of the data is of no use.
        """
        copies = {}
        for matrix in self.kernels.layout.matrices:
            if not matrix.input_major or (training and matrix.step.number > 0):
                copies[matrix.step.number] = self.memory.reserve(matrix.rows, matrix.columns)
        return copies

    def _transpose_weights(self) -> None:
        with self.kernels.table(self.scope) as inside:
            for matrix in self.kernels.layout.matrices:
                if matrix.step.number in self.copies:
                    self.kernels.transpose(inside, matrix, self.copies[matrix.step.number])
