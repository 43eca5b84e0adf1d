"""An epoch of single samples: forward pass, backward pass and update, one sample after the other.

The passes of one sample are chains of small matrix-vector products, so latency is what counts. The update of a
sample is therefore put off until the forward pass of the next, which meets the same weights: while it waits for one
layer's output, the processor updates the weights of the layers after it. Each weight is loaded and stored once on
the way forward, and loaded once on the way back. For this the activations of two samples are kept, in two places
that take turns.

On the way back, rows of weights that have the outputs in their lanes take sums over lanes, which are slow. Of a small
matrix a transposed copy is kept instead: the way back meets it as the way forward meets the matrix, put-off update
included, and both hold the same bits. With an optimizer that remembers something this would be no gain; there, rows
share vectors for their last columns (see `functional_mlp.engine.single.tails`) from the second sample on.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import attrs

from functional_mlp.engine import walk
from functional_mlp.engine.calls import Scope
from functional_mlp.engine.expressions import activation_code
from functional_mlp.engine.kernels import Kernels
from functional_mlp.engine.layout import vectors
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.llvm.types import DOUBLE, I64
from functional_mlp.engine.loss import SampleLoss
from functional_mlp.engine.prefetch import Prefetch
from functional_mlp.engine.program import Affine, Branch, Pointwise, TrainingProgram, affine_steps
from functional_mlp.engine.single.exchange import Exchange
from functional_mlp.engine.single.layers import Pass, SampleLayers, places_of_copies
from functional_mlp.engine.single.matvec import Products
from functional_mlp.engine.single.places import SamplePlaces
from functional_mlp.engine.single.tails import Tails
from functional_mlp.engine.walk import At, Backward
from functional_mlp.layers.elementwise import Elementwise


class SampleEpoch:
    """Emits the epoch of a program with batch size 1 into a function."""

    kernels: Kernels
    slots: int
    products: Products
    scope: Scope
    e: Emitter
    builder: ir.IRBuilder
    program: TrainingProgram
    layers: SampleLayers
    places: SamplePlaces

    def __init__(self, program: TrainingProgram, builder: ir.IRBuilder, scope: Scope) -> None:
        plan = scope.plan
        self.kernels, self.slots = Kernels(program, plan, builder), len(program.optimizer.slots())
        self.e, self.builder, self.program = self.kernels.e, builder, program
        self.shares_loss: bool = vectors(program.out_features, self.kernels.lanes) > plan.policy.most_loss_vectors
        doubles = 2 if self.shares_loss else 0  # which a function gives back in memory
        self.places = SamplePlaces.of(program, self.kernels.lanes, outcome=doubles * 8 // self.kernels.real.size)
        self.exchange: Exchange = Exchange(self.kernels, plan, self.kernels.layout.size * (1 + self.slots))
        copies, end = places_of_copies(self.kernels, plan, self.exchange.end)
        self.products = Products(self.kernels, Tails(self.kernels, plan, self.slots, end))
        self.layers = SampleLayers(program, self.products, self.exchange, self.places.layers, copies)
        arguments = scope.arguments
        if scope.share is not None:
            arguments = arguments._replace(workspace=self.exchange.own_workspace(scope.workspace, scope.share.rank))
        self.scope = Scope.of_function(plan, arguments, scope.share)

    def emit(self) -> int:
        """Emit the function's body; returns the size of the workspace, in numbers.

        There is at least one sample. The passes of the first one; those of each further one, which begin with the
        update of the sample before; the update of the last.
        """
        b, scope, arguments = self.builder, self.scope, self.scope.arguments
        seldom = scope.in_functions()
        if self.exchange.divided:
            self.exchange.take_parameters(scope, self.kernels.layout.size * (1 + self.slots))
        self._make_copies(seldom)
        tails = self.products.tails
        tails.pack(scope)
        here = self.e.address(scope.workspace, tails.end)
        first = Pass(scope.counted_from(here), None)
        outcome = self._backward_pass(first, arguments.first, *self._forward_pass(first, arguments.first))
        there = self.e.address(scope.workspace, tails.end + self.places.end)
        prefetch = Prefetch(self.kernels, self.program, scope)

        def sample(position: Index, before: ir.Value, activations: ir.Value, *totals: ir.Value) -> list[ir.Value]:
            prefetch.fetch(self.e.add(position, scope.plan.policy.samples_fetched_ahead))
            with self.layers.pending(scope, position, before) as pending:
                own = Pass(scope.counted_from(activations), pending)
                prediction, backward = self._forward_pass(own, position)
                back = b.append_basic_block("back")  # LLVM orders instructions badly where there are too many at once
                b.branch(back)
                b.position_at_end(back)
                outcome = self._backward_pass(own, position, prediction, backward)
            return [activations, before, *[b.fadd(total, more) for total, more in zip(totals, outcome, strict=True)]]

        second = b.add(arguments.first, ir.Constant(I64, 1))
        last, _, *totals = self.e.loop("sample", second, arguments.last, 1, sample, [here, there, *outcome])
        tails.unpack(scope)
        with self.layers.pending(scope, arguments.last, last) as pending:
            self._update_alone(Pass(seldom.counted_from(last), pending))
        if self.exchange.divided:
            self.exchange.give_parameters(scope, 1 + self.slots)
        self.kernels.add_to_results(scope, totals)
        return tails.end + 2 * self.places.end

    def _row(self, scope: Scope, position: Index) -> ir.Value:
        address = self.e.address(scope.arguments.order, position, I64)
        return self.builder.load(address, typ=I64, align=8, name="row")

    def _make_copies(self, scope: Scope) -> None:
        """Write the transposed copies."""
        scope = attrs.evolve(scope, share=None)  # each thread makes its own
        matrices = {matrix.step.number: matrix for matrix in self.kernels.layout.matrices}
        with self.kernels.table(scope) as inside:
            for number, place in self.layers.copies.items():
                self.kernels.transpose(inside, matrices[number], place)

    # Passes

    def _forward_pass(self, own: Pass, position: Index) -> tuple[int, Backward[Pass]]:
        """The forward pass of a sample; returns the place of the output, and what emits the backward pass."""
        scope, features, x = own.scope, self.program.in_features, self.places.x
        base = self.e.multiply(self._row(scope, position), features)

        def body(offset: Index, used: Index) -> None:
            vector = self.e.load_first(scope.arguments.inputs, self.e.add(base, offset), used)
            self.e.store(vector, scope.activations, self.e.add(x, offset))

        self.kernels.each_vector(scope, "inputs", features, body)
        with self._table(own) as inside:
            return walk.forward(self, inside, self.program.steps, x)

    def _backward_pass(self, own: Pass, position: Index, prediction: int, backward: Backward[Pass]) -> list[ir.Value]:
        """Loss and backward pass of a sample; returns its loss and whether it is right."""
        outcome = self._loss(own.scope, self._row(own.scope, position), prediction)
        with self._table(own) as inside:
            backward(inside, self.places.grad)
        return outcome

    @contextlib.contextmanager
    def _table(self, own: Pass) -> Iterator[Pass]:
        """A table of the calls of a pass, with what its functions are given."""
        activations, pending = own.scope.activations, own.pending
        due = (ir.Constant(I64, 0), activations) if pending is None else (pending.position, pending.activations)
        with self.kernels.table(own.scope, activations, *due) as inside:
            yield Pass(inside, pending)

    def _loss(self, scope: Scope, row: ir.Value, prediction: int) -> list[ir.Value]:
        """The loss of a sample and whether it is right, and the gradient; in a shared function where that is long."""
        grad = self.places.grad
        if not self.shares_loss:
            return SampleLoss(self.kernels, self.program, scope, prediction).emit(row, grad)
        place = self.places.outcome * self.kernels.real.size // 8

        def body(inside: Scope, values: Sequence[Index]) -> None:
            activations, row = values
            inside = inside.counted_from(activations)
            outcome = SampleLoss(self.kernels, self.program, inside, prediction).emit(row, grad)
            for index, value in enumerate(outcome):
                self.builder.store(value, self.e.address(activations, place + index, DOUBLE))

        self.kernels.share(scope, "loss", "loss", (scope.activations, row), body)
        addresses = [self.e.address(scope.activations, place + index, DOUBLE) for index in range(2)]
        return [self.builder.load(address, typ=DOUBLE) for address in addresses]

    def _update_alone(self, own: Pass) -> None:
        """The update of the last sample, which no forward pass follows."""
        with self._table(own) as inside:
            for step in affine_steps(self.program.steps):
                self.layers.meet(inside, step, None)

    # Steps, as the walk meets them

    def affine(self, own: Pass, step: Affine, at: At, x: int) -> tuple[int, Backward[Pass]]:
        """The pending update of the layer, and s = w x + b."""
        s = self.places.outputs[at.path]
        self.layers.meet(own, step, s)

        def backward(back: Pass, delta: int) -> int | None:
            if not at.needs_grad:
                return None
            grad_x = self.places.grads[at.path]
            self.layers.grad_input(back, step, grad_x)
            return grad_x

        return s, backward

    def pointwise(self, own: Pass, step: Pointwise, at: At, s: int) -> tuple[int, Backward[Pass]]:
        layer, features = step.layer, step.features
        y = self.places.outputs[at.path]

        def activate(scope: Scope, features: Index, places: Sequence[Index]) -> None:
            self.kernels.activate(scope, layer, features, *places)

        def pull_back(scope: Scope, features: Index, places: Sequence[Index]) -> None:
            self.kernels.pull_back(scope, layer, features, *places)

        def backward(back: Pass, grad: int) -> int | None:
            if not at.needs_grad:
                return None
            grad_in = self.places.grads[at.path]
            self._features_kernel(back.scope, "pullback", layer, features, pull_back, (s, y, grad, grad_in))
            return grad_in

        self._features_kernel(own.scope, "value", layer, features, activate, (s, y))
        return y, backward

    def sum_of_outputs(self, own: Pass, step: Branch, at: At, x: int, inner: int) -> int:
        return self._sum(own, self.places.outputs[at.path], step, x, inner)

    def sum_of_grads(self, own: Pass, step: Branch, at: At, grad: int, inner: int) -> int:
        return self._sum(own, self.places.grads[at.path], step, grad, inner)

    def _sum(self, own: Pass, total: int, step: Branch, a: int, b: int) -> int:

        def add(scope: Scope, features: Index, places: Sequence[Index]) -> None:
            self.kernels.add(scope, features, *places)

        self._features_kernel(own.scope, "add", None, step.features, add, (a, b, total))
        return total

    # Kernels

    def _features_kernel(
        self,
        scope: Scope,
        kind: str,
        layer: Elementwise | None,
        features: int,
        emit: Callable[[Scope, Index, Sequence[Index]], None],
        places: tuple[int, ...],
    ) -> None:
        """emit(scope, features, places), in place or in a function.

        Parameters
        ----------
        scope
            Where the kernel is emitted.
        kind
            What it does.
        layer
            The activation that it is of, if any.
        features
            How many features it goes through.
        places
            Where they lie.
        emit
            Emits it.
        """
        self.builder.comment(f"{kind}: {layer!r}")
        if scope.plan.in_one_piece:
            emit(scope, features, places)
            return

        def body(inside: Scope, sizes: Sequence[Index], values: Sequence[Index]) -> None:
            (features,), (activations, *own) = sizes, values
            emit(inside.counted_from(activations), features, own)

        values = (scope.activations, *places)
        self.kernels.kernel(scope, f"{kind}{{}}", activation_code(layer), (features,), values, body)
