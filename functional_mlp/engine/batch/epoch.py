"""Batches: an epoch of minibatches, and passes forward over a whole data set.

A batch goes through the network in pieces of at most `Policy.piece` samples. Each place of the workspace holds a row of
features for every sample of a piece. Products need the weights in both orientations, so a transposed copy is made for
each batch.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator

import attrs
from llvmlite import ir

from functional_mlp.engine.batch.matmul import TiledProducts
from functional_mlp.engine.calls import Arguments
from functional_mlp.engine.expressions import activation_code
from functional_mlp.engine.kernels import Backward, Kernels, in_reverse, reads_input
from functional_mlp.engine.llvm.emitter import DOUBLE, I64, Index
from functional_mlp.engine.policy import Policy
from functional_mlp.engine.program import Affine, Branch, Pointwise, Program, Step, affine_steps, vectors
from functional_mlp.layers.elementwise import Elementwise

# Uses the gradient of the vector of parameters at a place.
Update = Callable[[Index, ir.Value], None]


@attrs.frozen
class Activation:
    """An activation and the places of its input, which is that of its output where no pullback reads it, and output."""

    step: Pointwise
    s: int
    y: int


def _already_done(grad: int) -> int:
    return grad


class BatchKernels:
    """Emits the passes of a program over pieces of batches into a function."""

    def __init__(self, program: Program, policy: Policy, builder: ir.IRBuilder, arguments: Arguments) -> None:
        self.kernels = Kernels(program, policy, builder, arguments)
        self.e = self.kernels.e
        self.builder = builder
        self.program = program
        self.piece = min(program.batch_size, policy.piece)
        # Where a batch is one piece, its gradients need no place of their own. A long rule is emitted once for all.
        self.whole = program.batch_size <= policy.piece and not policy.brief_rule
        size = self.kernels.layout.size
        self.gradients = size * (1 + len(program.optimizer.slots()))
        self.products = TiledProducts(self.kernels)
        self.end = self.gradients + (0 if self.whole else size)
        self._copies: dict[int, int] = {}

    @property
    def workspace(self) -> ir.Value:
        return self.kernels.workspace

    def reserve(self, features: int, rows: int) -> int:
        """A new place in the workspace for rows of so many features."""
        place = self.end
        self.end += rows * self._stride(features)
        return place

    def _stride(self, features: int) -> int:
        return self.kernels.lanes * vectors(features, self.kernels.lanes)

    # Driving

    def epoch(self) -> int:
        """The body of an epoch of minibatches; returns the size of the workspace."""
        e, b, arguments = self.e, self.builder, self.kernels.arguments
        size = ir.Constant(I64, self.program.batch_size)
        self._copies = self._reserve_copies(backward=True)
        places = self.end

        def piece(first: ir.Value, loss_sum: ir.Value, right: ir.Value) -> list[ir.Value]:
            self.end = places
            batch = b.udiv(first, size)
            batch_start = b.mul(batch, size)
            batch_end = self.e.smaller(b.add(batch_start, size), arguments.samples)
            piece_end = self.e.smaller(b.add(first, ir.Constant(I64, self.piece)), batch_end)
            last = self.e.smaller(piece_end, arguments.last)
            with b.if_then(b.icmp_signed("==", first, batch_start)):
                self._transpose_weights()
            samples = b.uitofp(b.sub(batch_end, batch_start), self.kernels.real.type)
            scale = e.splat(b.fdiv(self.kernels.real.constant(1), samples))
            totals = [loss_sum, right]
            if self.whole:
                with self._rule(batch) as self._update:
                    return [last, *self._train(first, b.sub(last, first), batch, scale, totals)]
            totals = self._train(first, b.sub(last, first), batch, scale, totals)
            with b.if_then(b.icmp_signed("==", last, batch_end)):
                self._apply_gradients(batch)
            return [last, *totals]

        self._over_pieces(piece)
        return self.end

    def forward_only(self, predictions: ir.Value | None) -> int:
        """The body of a pass over rows `first` to `last` of the data, in their own order.

        It adds up losses and right answers, or writes the outputs to `predictions`; returns the size of the
        workspace.
        """
        self._copies = self._reserve_copies(backward=False)
        self._transpose_weights()
        places = self.end
        arguments, b = self.kernels.arguments, self.builder

        def piece(first: ir.Value, loss_sum: ir.Value, right: ir.Value) -> list[ir.Value]:
            self.end = places
            last = self.e.smaller(b.add(first, ir.Constant(I64, self.piece)), arguments.last)
            count = b.sub(last, first)
            x = self._load_inputs(count, lambda r: b.add(first, self.e.index(r)))
            with self.kernels.table(count):
                y, _ = self._forward(self.program.steps, x, count, needs_grad=False)
            stride = self._stride(self.program.out_features)

            def sample(r: Index, *totals: ir.Value) -> list[ir.Value]:
                row, place = b.add(first, self.e.index(r)), self.e.add(y, self.e.multiply(r, stride))
                if predictions is not None:
                    self._write(row, place, predictions)
                    return list(totals)
                loss, is_right = self.kernels.loss(row, place, None, None)
                return [b.fadd(totals[0], loss), b.fadd(totals[1], is_right)]

            return [last, *self.e.loop("sample", 0, count, 1, sample, [loss_sum, right])]

        self._over_pieces(piece)
        return self.end

    def _over_pieces(self, piece: Callable[..., list[ir.Value]]) -> None:
        """Go from `first` to `last` piece by piece, then add the totals to the results and return."""
        b, arguments = self.builder, self.kernels.arguments
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
        self.kernels.add_to_results(totals)

    @contextlib.contextmanager
    def _rule(self, batch: ir.Value) -> Iterator[Update]:
        """The optimizer's rule for the vector of parameters at a place, given its gradient."""
        with self.kernels.rule(batch) as rule:
            yield lambda place, grad: rule.apply(place, self.e.load(self.workspace, place), grad)

    def _train(
        self,
        first: ir.Value,
        count: ir.Value,
        batch: ir.Value,
        scale: ir.Value,
        totals: list[ir.Value],
    ) -> list[ir.Value]:
        """Both passes for a piece, with the update of the parameters where it is the whole batch."""
        b, e = self.builder, self.e
        order = self.kernels.arguments.order

        def row_of(r: Index) -> ir.Value:
            return b.load(e.address(order, e.add(first, r), I64), typ=I64, align=8)

        self._batch = batch
        x = self._load_inputs(count, row_of)
        with self.kernels.table(count, batch):
            y, backward = self._forward(self.program.steps, x, count, needs_grad=False)
        features = self.program.out_features
        grad, stride = self.reserve(features, self.piece), self._stride(features)

        def sample(r: Index, loss_sum: ir.Value, right: ir.Value) -> list[ir.Value]:
            offset = e.multiply(r, stride)
            loss, is_right = self.kernels.loss(row_of(r), e.add(y, offset), e.add(grad, offset), scale)
            return [b.fadd(loss_sum, loss), b.fadd(right, is_right)]

        totals = e.loop("loss.sample", 0, count, 1, sample, totals)
        with self.kernels.table(count, batch):
            backward(grad)
        return totals

    def _accumulate(self, place: Index, grad: ir.Value) -> None:
        place = self.e.add(self.gradients, place)
        self.e.store(self.e.fadd(self.e.load(self.workspace, place), grad), self.workspace, place)

    def _apply_gradients(self, batch: ir.Value) -> None:
        """The rule for every parameter with the gradient that was added up, which is set back to zero."""
        e = self.e
        with self._rule(batch) as rule:

            def apply(place: Index) -> None:
                rule(place, e.load(self.workspace, e.add(self.gradients, place)))
                e.store(e.constant(0), self.workspace, e.add(self.gradients, place))

            e.loop("parameters", 0, self.kernels.layout.size, self.kernels.lanes, apply)

    # Inputs and outputs

    def _load_inputs(self, count: ir.Value, row_of: Callable[[Index], ir.Value]) -> int:
        features = self.program.in_features
        x, stride = self.reserve(features, self.piece), self._stride(features)

        def sample(r: Index) -> None:
            source = self.e.multiply(row_of(r), features)
            target = self.e.add(x, self.e.multiply(r, stride))

            def body(offset: Index, used: Index) -> None:
                vector = self.e.load_first(self.kernels.arguments.inputs, self.e.add(source, offset), used)
                self.e.store(vector, self.workspace, self.e.add(target, offset))

            self.kernels.each_vector("inputs", features, body)

        self.e.loop("inputs.sample", 0, count, 1, sample)
        return x

    def _write(self, row: ir.Value, place: Index, predictions: ir.Value) -> None:
        features = self.program.out_features

        def body(i: Index) -> None:
            number = self.e.load_number(self.workspace, self.e.add(place, i))
            self.e.store_number(number, predictions, self.e.add(self.e.multiply(row, features), i))

        self.e.loop("outputs", 0, features, 1, body)

    # Passes

    def _forward(self, steps: tuple[Step, ...], x: int, count: ir.Value, needs_grad: bool) -> tuple[int, Backward]:
        """Emit the forward pass of steps; returns the place of the output, and what emits the backward pass."""
        backwards: list[Backward] = []
        below: Activation | None = None  # the one whose output x is
        above: Activation | None = None  # the one that the linear layer has applied
        for step, following in zip(steps, (*steps[1:], None), strict=True):
            if isinstance(step, Affine):
                if needs_grad and below is not None:
                    backwards[-1] = _already_done  # by the layer's backward product
                s = self.reserve(step.out_features, self.piece)
                if isinstance(following, Pointwise) and self.kernels.has_short_value(following.layer):
                    kept = reads_input(following.layer)
                    above = Activation(following, s, self.reserve(step.out_features, self.piece) if kept else s)
                backward = self._affine(step, x, s, count, below if needs_grad else None, above, needs_grad)
                x, below = s, None
            elif isinstance(step, Pointwise):
                if above is None:
                    above = Activation(step, x, self.reserve(step.features, self.piece))
                    self._activate(above, count)
                backward = self._pull_back(above, count, needs_grad)
                x, below, above = above.y, above if self.kernels.has_short_pullback(step.layer) else None, None
            else:
                x, backward = self._branch(step, x, count, needs_grad)
                below = None
            backwards.append(backward)
            needs_grad = needs_grad or bool(affine_steps((step,)))

        return x, in_reverse(backwards)

    def _each_sample(
        self,
        name: str,
        layer: Elementwise | None,
        features: int,
        count: ir.Value,
        places: tuple[int, ...],
        emit: Callable[..., None],
    ) -> None:
        """emit(features, *places of a sample's rows) for each sample, of an activation where there is a layer."""
        self.builder.comment(f"{name}: {layer!r}")

        def loop(features: Index, count: ir.Value, *places: Index) -> None:
            e, stride = self.e, self.kernels.stride(features)

            def sample(r: Index) -> None:
                emit(features, *(e.add(place, e.multiply(r, stride)) for place in places))

            e.loop(f"{name}.sample", 0, count, 1, sample)

        self.kernels.kernel(f"{name}{{}}", activation_code(layer), (features,), (count, *places), loop)

    def _activate(self, activation: Activation, count: ir.Value) -> None:
        step, places = activation.step, (activation.s, activation.y)
        emit = functools.partial(self.kernels.activate, step.layer)
        self._each_sample("value", step.layer, step.features, count, places, emit)

    def _pull_back(self, activation: Activation, count: ir.Value, needs_grad: bool) -> Backward:
        step = activation.step

        def backward(grad: int) -> int | None:
            if not needs_grad:
                return None
            grad_in = self.reserve(step.features, self.piece)
            places = (activation.s, activation.y, grad, grad_in)
            emit = functools.partial(self.kernels.pull_back, step.layer)
            self._each_sample("pullback", step.layer, step.features, count, places, emit)
            return grad_in

        return backward

    def _branch(self, step: Branch, x: int, count: ir.Value, needs_grad: bool) -> tuple[int, Backward]:
        inner, inner_backward = self._forward(step.steps, x, count, needs_grad)
        y = self._sum(step, x, inner, count)

        def backward(grad: int) -> int | None:
            inner_grad = inner_backward(grad)
            if not needs_grad or inner_grad is None:
                return None
            return self._sum(step, grad, inner_grad, count)

        return y, backward

    def _sum(self, step: Branch, a: int, b: int, count: ir.Value) -> int:
        total = self.reserve(step.features, self.piece)
        self._each_sample("add", None, step.features, count, (a, b, total), self.kernels.add)
        return total

    def _affine(
        self,
        step: Affine,
        x: int,
        s: int,
        count: ir.Value,
        below: Activation | None,
        above: Activation | None,
        needs_grad: bool,
    ) -> Backward:
        """Emit s = w x + b, and the activation above it; its backward pass goes through the activation below x."""
        matrix, copy = self.kernels.layout.matrices[step.number], self._copies.get(step.number, 0)
        by_input, by_output = (matrix.offset, copy) if matrix.input_major else (copy, matrix.offset)
        activation, y = (None, 0) if above is None else (above.step.layer, above.y)
        places = (count, x, by_input, matrix.bias_offset, s, y)
        self._linear_kernel("forward", step, (activation,), places, self._linear_forward)

        def backward(grad: int) -> int | None:
            grad_in = self.reserve(step.in_features, self.piece) if needs_grad else 0
            activation, s, y = (None, 0, 0) if below is None else (below.step.layer, below.s, below.y)
            if needs_grad:
                places = (count, grad, by_output, grad_in, s, y)
                self._linear_kernel("grad_input", step, (activation,), places, self._linear_grad_input)
            places = (count, x, grad, matrix.offset, matrix.bias_offset, self._batch)
            self._linear_kernel("grad_params", step, (matrix.input_major,), places, self._linear_grad_params)
            return grad_in if needs_grad else None

        return backward

    def _linear_kernel(
        self,
        name: str,
        step: Affine,
        variant: tuple[Elementwise | bool | None, ...],
        values: tuple[Index, ...],
        emit: Callable[..., None],
    ) -> None:
        """emit(*variant, inputs, outputs, has_bias, *values)."""
        self.builder.comment(f"{name}: {step}")
        sizes = (step.in_features, step.out_features, int(step.bias))
        key = tuple(activation_code(part) if isinstance(part, Elementwise) else part for part in variant)
        self.kernels.kernel(f"linear{{}}.{name}", key, sizes, values, functools.partial(emit, *variant))

    def _store(self, place: Index, offset: Index, v: Index, features: Index, value: ir.Value) -> None:
        """Store a vector of a row, with zeros beyond the features; in a loop over known features there are none."""
        in_use = self.e.subtract(features, v) if isinstance(v, int) or not isinstance(features, int) else self.e.lanes
        self.e.store(self.e.keep_first(value, in_use), self.workspace, self.e.add(place, offset))

    def _linear_forward(
        self,
        above: Elementwise | None,
        inputs: Index,
        outputs: Index,
        has_bias: Index,
        count: ir.Value,
        x: Index,
        weights: Index,
        biases: Index,
        s: Index,
        y: Index,
    ) -> None:
        """s = w x + b, and y = σ(s) of the activation above."""
        e = self.e
        in_stride, out_stride = self.kernels.stride(inputs), self.kernels.stride(outputs)

        def bias(v: Index) -> ir.Value:
            return e.where(has_bias, lambda: e.load(self.workspace, e.add(biases, v)))

        keeps_s = above is None or reads_input(above)

        def finish(row: Index, v: Index, value: ir.Value) -> None:
            offset = e.add(e.multiply(row, out_stride), v)
            if keeps_s:
                self._store(s, offset, v, outputs, value)
            if above is not None:
                self._store(y, offset, v, outputs, self.kernels.value(above, value))

        self.products.emit(
            "forward", count, outputs, inputs,
            (x, in_stride, 1), (weights, out_stride), bias, finish, self.piece,
        )  # fmt: skip

    def _linear_grad_input(
        self,
        below: Elementwise | None,
        inputs: Index,
        outputs: Index,
        has_bias: Index,
        count: ir.Value,
        grad: Index,
        weights: Index,
        grad_in: Index,
        s: Index,
        y: Index,
    ) -> None:
        """The gradient with respect to x (2), or to the input s of the activation below, whose output y is x (3)."""
        e = self.e
        in_stride, out_stride = self.kernels.stride(inputs), self.kernels.stride(outputs)

        def finish(row: Index, v: Index, value: ir.Value) -> None:
            offset = e.add(e.multiply(row, in_stride), v)
            if below is not None:
                s_below, y_below = (e.load(self.workspace, e.add(place, offset)) for place in (s, y))
                value = self.kernels.pullback(below, s_below, y_below, value)
            self._store(grad_in, offset, v, inputs, value)

        self.products.emit(
            "grad_input", count, inputs, outputs,
            (grad, out_stride, 1), (weights, in_stride), None, finish, self.piece,
        )  # fmt: skip

    def _linear_grad_params(
        self,
        input_major: bool,
        inputs: Index,
        outputs: Index,
        has_bias: Index,
        count: ir.Value,
        x: Index,
        grad: Index,
        weights: Index,
        biases: Index,
        batch: ir.Value,
    ) -> None:
        """The gradients of the weights (4) and the biases (5), and the update with them."""
        left, right = (x, inputs), (grad, outputs)
        if not input_major:
            left, right = right, left

        def gradients(update: Update) -> None:
            self._weight_gradient(left, right, count, weights, update)
            # Where there are no biases, there are none to go through.
            self._bias_gradient(self.e.multiply(outputs, has_bias), outputs, grad, count, biases, update)

        if self.whole and not self.kernels.policy.in_one_piece:  # in a function of its own
            with self._rule(batch) as update:
                gradients(update)
        else:
            gradients(self._update if self.whole else self._accumulate)

    def _weight_gradient(
        self, left: tuple[Index, Index], right: tuple[Index, Index], count: ir.Value, weights: Index, update: Update
    ) -> None:
        """update(place, gradient) for each vector of the weights: the product of two places with so many features."""
        e, (rows_place, rows), (columns_place, columns) = self.e, left, right
        stride, usual_rows = self.kernels.stride(columns), self.kernels.policy.rows_of_any_matrix

        def finish(row: Index, v: Index, value: ir.Value) -> None:
            update(e.add(weights, e.add(e.multiply(row, stride), v)), value)

        self.products.emit(
            "grad_weight", rows, columns, count,
            (rows_place, 1, self.kernels.stride(rows)), (columns_place, stride), None, finish, usual_rows,
        )  # fmt: skip

    def _bias_gradient(
        self, features: Index, outputs: Index, grad: Index, count: ir.Value, biases: Index, update: Update
    ) -> None:
        """For so many biases: the sum of the outputs' gradients over the samples (5), in several sums side by side."""
        e, stride = self.e, self.kernels.stride(outputs)

        def body(v: Index, used: Index) -> None:
            def add(r: Index, total: ir.Value) -> ir.Value:
                place = e.add(e.add(grad, v), e.multiply(r, stride))
                return e.fadd(total, e.load(self.workspace, place))

            def add_several(r: Index, *sums: ir.Value) -> list[ir.Value]:
                return [add(e.add(r, i), total) for i, total in enumerate(sums)]

            def add_one(r: Index, total: ir.Value) -> list[ir.Value]:
                return [add(r, total)]

            chains = self.kernels.policy.bias_chains
            whole = self.builder.and_(count, ir.Constant(I64, -chains))
            sums = e.loop("grad_bias", 0, whole, chains, add_several, [e.constant(0)] * chains)
            (total,) = e.loop("grad_bias", whole, count, 1, add_one, [e.tree_sum(sums)])
            update(e.add(biases, v), total)

        self.kernels.each_vector("bias", features, body)

    # Transposed copies

    def _reserve_copies(self, backward: bool) -> dict[int, int]:
        """Places for the orientation of the weights that a product needs and the layout has not, by layer.

        The way back ends at the first linear layer: the gradient of the data is of no use.
        """
        copies = {}
        for matrix in self.kernels.layout.matrices:
            if not matrix.input_major or (backward and matrix.step.number > 0):
                copies[matrix.step.number] = self.reserve(matrix.rows, matrix.columns)
        return copies

    def _transpose_weights(self) -> None:
        with self.kernels.table():
            for matrix in self.kernels.layout.matrices:
                if matrix.step.number in self._copies:
                    self.kernels.transpose(matrix, self._copies[matrix.step.number])
