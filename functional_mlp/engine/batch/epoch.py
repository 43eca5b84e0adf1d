"""An epoch of minibatches.

A batch goes through the network in pieces. Products need the weights in both orientations, so a transposed copy is
made for each batch.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import attrs

from functional_mlp.engine import walk
from functional_mlp.engine.batch.gradients import ParamGradients
from functional_mlp.engine.batch.linear import LinearProducts
from functional_mlp.engine.batch.losses import PieceLosses
from functional_mlp.engine.batch.passes import BatchPasses
from functional_mlp.engine.batch.piece import Piece, Update
from functional_mlp.engine.batch.steps import Output
from functional_mlp.engine.calls import Scope
from functional_mlp.engine.kernels import Kernels
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.llvm.types import I64
from functional_mlp.engine.prefetch import Prefetch
from functional_mlp.engine.program import TrainingProgram
from functional_mlp.engine.update import penalize, rule_after
from functional_mlp.engine.walk import Backward


@attrs.frozen(eq=False)
class Samples:
    """A piece of the order: its first position, how many samples, the number of their batch, and 1 / those of it."""

    first: ir.Value
    count: ir.Value
    batch: ir.Value
    scale: ir.Value


class BatchEpoch(BatchPasses):
    """Emits the epoch of a program with batches of more than one sample into a function."""

    program: TrainingProgram
    whole: bool
    gradients: int
    prefetch: Prefetch

    def __init__(self, program: TrainingProgram, builder: ir.IRBuilder, scope: Scope) -> None:
        plan = scope.plan
        kernels = Kernels(program, plan, builder)
        size = kernels.layout.size
        # Where a batch is one piece, its gradients need no place of their own. A long rule is emitted once for all.
        self.whole = program.batch_size <= plan.piece and not plan.brief_rule
        self.gradients = size * (1 + len(program.optimizer.slots()))
        products = LinearProducts(kernels, min(program.batch_size, plan.piece))
        gradients = ParamGradients(kernels, program if self.whole else None, self.gradients)
        end = self.gradients + (0 if self.whole else size)
        self.prefetch = Prefetch(kernels, program, scope)
        super().__init__(program, scope, products, gradients, end=end)

    def emit(self) -> int:
        """The body of an epoch of minibatches; returns the size of the workspace."""
        e, b, scope = self.e, self.builder, self.scope
        arguments, size = scope.arguments, ir.Constant(I64, self.program.batch_size)

        def piece(first: ir.Value, *totals: ir.Value) -> list[ir.Value]:
            batch = b.udiv(first, size)
            batch_start = b.mul(batch, size)
            batch_end = e.smaller(b.add(batch_start, size), arguments.samples)
            piece_end = e.smaller(b.add(first, ir.Constant(I64, self.samples)), batch_end)
            last = e.smaller(piece_end, arguments.last)
            with b.if_then(b.icmp_signed("==", first, batch_start)):
                self._transpose_weights()
            # Now all threads have updated their weights, and no thread still reads what the last piece kept.
            self.kernels.wait_for_threads(self.scope)
            samples = b.uitofp(b.sub(batch_end, batch_start), self.kernels.real.type)
            scale = e.splat(b.fdiv(self.kernels.real.constant(1), samples))
            results = self._train(Samples(first, b.sub(last, first), batch, scale), totals)
            if not self.whole:
                with b.if_then(b.icmp_signed("==", last, batch_end)):
                    self.kernels.wait_for_threads(self.scope)
                    self._apply_gradients(batch)
                    self.kernels.wait_for_threads(self.scope)
            return [last, *results]

        self._over_pieces(piece)
        return self.memory.end

    def _train(self, samples: Samples, totals: Sequence[ir.Value]) -> list[ir.Value]:
        """Both passes for a piece, with the update of the parameters where it is the whole batch."""
        if self.scope.plan.divided:
            return self._train_divided(samples, totals)
        with self._update_after(samples) as update:
            piece = Piece(self.scope, 0, samples.count, samples.batch, update)
            grad, backward, losses = self._forward(piece, samples)
            results = losses.add(piece.begin, piece.end, totals)
            with self._table(piece) as inside:
                backward(inside, grad)
            return results

    def _train_divided(self, samples: Samples, totals: Sequence[ir.Value]) -> list[ir.Value]:
        """As `_train`, with the samples divided among threads, and after they have met the rows of the weights.

        The losses are kept, and each thread adds them all up in their order.
        """
        scope = self.scope
        waiting: list[Callable[[Piece], None]] = []
        begin, end = self.kernels.own_part(scope, samples.count, scope.plan.policy.unit_of_samples)
        own = Piece(scope, begin, self.e.index(end), samples.batch, waiting=waiting, whole=samples.count)
        grad, backward, losses = self._forward(own, samples)
        with self._table(own) as inside:
            backward(inside, grad)
        self.kernels.wait_for_threads(self.scope)  # all gradients of outputs are there
        with self._update_after(samples) as update:
            whole = Piece(scope, 0, samples.count, samples.batch, update)
            with self._table(whole) as inside:
                for make in waiting:
                    make(inside)
            return losses.add(whole.begin, whole.end, totals)

    @contextlib.contextmanager
    def _update_after(self, samples: Samples) -> Iterator[Update | None]:
        """The update with the gradients of a whole batch, where it is emitted in place."""
        if not self.whole:
            yield None
            return
        with rule_after(self.kernels, self.program, self.scope, samples.batch) as rule:
            yield rule.update if self.scope.plan.in_one_piece else None

    @contextlib.contextmanager
    def _table(self, piece: Piece) -> Iterator[Piece]:
        """A table of the calls for a piece, with what its functions are given."""
        values = [value for value in (piece.begin, piece.end, piece.batch) if not isinstance(value, int)]
        with self.kernels.table(piece.scope, *values) as inside:
            yield attrs.evolve(piece, scope=inside)

    def _forward(self, piece: Piece, samples: Samples) -> tuple[int, Backward[Piece], PieceLosses]:
        """The forward pass and the losses; returns the place of the gradient of the output, what emits the way back
        from it, and the losses, which are still to be added up.
        """
        e, b, scope = self.e, self.builder, self.scope

        def row_of(r: Index) -> ir.Value:
            return b.load(e.address(scope.arguments.order, e.add(samples.first, r), I64), typ=I64, align=8)

        in_data = self.steps.takes_data(piece, self.program.steps[0])
        begin, end = (0, samples.count) if in_data else (piece.begin, piece.end)
        x = Output(samples.first if in_data else self._load_inputs(begin, end, row_of), in_data=in_data)
        following = b.add(samples.first, samples.count)
        e.loop("ahead", begin, end, 1, lambda r: self.prefetch.fetch(e.add(following, r)))
        with self._table(piece) as inside:
            output, backward = walk.forward(self.steps, inside, self.program.steps, x)
        grad = self.steps.reserve(self.program.out_features)
        losses = PieceLosses(self.kernels, self.program, scope, self.memory, self.samples)
        losses.emit(piece.begin, piece.end, row_of, output.place, grad, samples.scale)
        return grad, backward, losses

    def _apply_gradients(self, batch: ir.Value) -> None:
        """The rule for every parameter with the gradient that was added up, which is set back to zero."""
        e, workspace, size = self.e, self.scope.workspace, self.kernels.layout.size
        begin, end = self.kernels.own_part(self.scope, size, self.kernels.lanes)
        penalize(self.kernels, self.program, self.scope, self.gradients)
        with rule_after(self.kernels, self.program, self.scope, batch) as rule:

            def apply(place: Index) -> None:
                grad = e.load(workspace, e.add(self.gradients, place))
                rule.update(place, grad, of_weights=False)  # the gradient has the penalty's
                e.store(e.constant(0), workspace, e.add(self.gradients, place))

            e.loop("parameters", begin, end, self.kernels.lanes, apply)
