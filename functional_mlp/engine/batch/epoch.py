"""An epoch of minibatches.

A batch goes through the network in pieces. Products need the weights in both orientations, so a transposed copy is
made for each batch.
"""

from functional_mlp.engine import walk
from functional_mlp.engine.batch.linear import LinearProducts
from functional_mlp.engine.batch.passes import BatchPasses
from functional_mlp.engine.batch.piece import Piece, Update
from functional_mlp.engine.batch.steps import Output
from functional_mlp.engine.calls import Arguments, Scope
from functional_mlp.engine.kernels import Kernels
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.emitter import I64, Index
from functional_mlp.engine.loss import SampleLoss
from functional_mlp.engine.policy import Policy
from functional_mlp.engine.program import TrainingProgram
from functional_mlp.engine.update import penalize, rule_after


class BatchEpoch(BatchPasses):
    """Emits the epoch of a program with batches of more than one sample into a function."""

    program: TrainingProgram
    loss: SampleLoss
    whole: bool
    gradients: int

    def __init__(self, program: TrainingProgram, policy: Policy, builder: ir.IRBuilder, arguments: Arguments) -> None:
        kernels = Kernels(program, policy, builder)
        self.loss, size = SampleLoss(kernels, program), kernels.layout.size
        # Where a batch is one piece, its gradients need no place of their own. A long rule is emitted once for all.
        self.whole = program.batch_size <= policy.piece and not policy.brief_rule
        self.gradients = size * (1 + len(program.optimizer.slots()))
        products = LinearProducts(
            kernels,
            min(program.batch_size, policy.piece),
            program if self.whole else None,
            self.gradients,
        )
        end, scope = self.gradients + (0 if self.whole else size), Scope.of_function(arguments, policy)
        super().__init__(program, scope, products, end=end, way_back=True)

    def emit(self) -> int:
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
                with rule_after(self.kernels, self.program, scope, batch) as rule:
                    update = rule.update if scope.policy.in_one_piece else None
                    return [last, *self._train(first, b.sub(last, first), batch, scale, totals, update)]
            totals = self._train(first, b.sub(last, first), batch, scale, totals, None)
            with b.if_then(b.icmp_signed("==", last, batch_end)):
                self._apply_gradients(batch)
            return [last, *totals]

        self._over_pieces(piece)
        return self.memory.end

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
        penalize(self.kernels, self.program, self.scope, self.gradients)
        with rule_after(self.kernels, self.program, self.scope, batch) as rule:

            def apply(place: Index) -> None:
                grad = e.load(workspace, e.add(self.gradients, place))
                rule.update(place, grad, of_weights=False)  # the gradient has the penalty's
                e.store(e.constant(0), workspace, e.add(self.gradients, place))

            e.loop("parameters", 0, self.kernels.layout.size, self.kernels.lanes, apply)
