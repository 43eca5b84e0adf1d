"""Batches: an epoch of minibatches, and passes forward over a whole data set.

A batch goes through the network in pieces of at most `PIECE` samples. Each place of the workspace holds a row of
features for every sample of a piece, and every product is one kernel: tiles of rows times vectors, kept in
registers while the depth of the product runs. Products need the weights in both orientations, so a transposed
copy is made for each batch.
"""

from collections.abc import Callable

import attrs
from llvmlite import ir

from functional_mlp.engine.emitter import DOUBLE, I64, Index
from functional_mlp.engine.kernels import Arguments, Backward, Kernels, in_reverse, reads_input
from functional_mlp.engine.program import Affine, Branch, Matrix, Pointwise, Program, Step, affine_steps
from functional_mlp.engine.vector import Scalars

# The most samples whose activations are kept at a time.
PIECE = 128

# Sums over the samples that run side by side, to hide the latency of the additions; a power of two.
SUMS = 4

# What is done with a vector of a product, at a row and an offset within it.
Finish = Callable[[Index, Index, ir.Value], None]
# Uses the gradient of the vector of parameters at a place.
Update = Callable[[Index, ir.Value], None]


@attrs.frozen
class Activation:
    """An activation and the places of its input and output."""

    step: Pointwise
    s: int
    y: int


def _already_done(grad: int) -> int:
    return grad


class BatchKernels:
    """Emits the passes of a program over pieces of batches into a function."""

    def __init__(self, program: Program, lanes: int, builder: ir.IRBuilder, arguments: Arguments) -> None:
        self.kernels = Kernels(program, lanes, builder, arguments)
        self.e = self.kernels.e
        self.builder = builder
        self.workspace = arguments.workspace
        self.program = program
        self.piece = min(program.batch_size, PIECE)
        self.whole = program.batch_size <= PIECE  # a batch is one piece, so gradients need no place of their own
        size = self.kernels.layout.size
        self.gradients = size * (1 + len(program.optimizer.slots()))
        self.end = self.gradients + (0 if self.whole else size)
        self._copies: dict[int, int] = {}
        self._registers = 32 if lanes * self.kernels.real.size == 64 else 16

    def reserve(self, features: int, rows: int) -> int:
        """A new place in the workspace for rows of so many features."""
        place = self.end
        self.end += rows * self.kernels.stride(features)
        return place

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
            batch_end = self._smaller(b.add(batch_start, size), arguments.samples)
            piece_end = self._smaller(b.add(first, ir.Constant(I64, self.piece)), batch_end)
            last = self._smaller(piece_end, arguments.last)
            with b.if_then(b.icmp_signed("==", first, batch_start)):
                self._transpose_weights()
            samples = b.uitofp(b.sub(batch_end, batch_start), self.kernels.real.type)
            scale = e.splat(b.fdiv(self.kernels.real.constant(1), samples))
            rule = None
            if self.whole:
                rule = self._rule(batch)
            totals = self._train(first, b.sub(last, first), scale, rule, [loss_sum, right])
            if not self.whole:
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
            last = self._smaller(b.add(first, ir.Constant(I64, self.piece)), arguments.last)
            count = b.sub(last, first)
            x = self._load_inputs(count, lambda r: b.add(first, self.e.index(r)))
            y, _ = self._forward(self.program.steps, x, count, needs_grad=False)
            stride = self.kernels.stride(self.program.out_features)

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
        for index, total in enumerate(totals):
            place = self.e.address(arguments.results, index, DOUBLE)
            b.store(b.fadd(b.load(place, typ=DOUBLE), total), place)

    def _smaller(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.select(self.builder.icmp_signed("<", a, b), a, b)

    def _rule(self, batch: ir.Value) -> Update:
        """The optimizer's rule for the vector of parameters at a place, given its gradient."""
        b = self.builder
        scalars = ir.IRBuilder(b.block)
        after = b.append_basic_block("batch")
        b.position_at_end(after)
        self._pending = (scalars, after)
        rule = self.kernels.rule(Scalars(self.e.at(scalars)), batch)

        def apply(place: Index, grad: ir.Value) -> None:
            rule.apply(place, self.e.load(self.workspace, place), grad)

        return apply

    def _close_scalars(self) -> None:
        scalars, after = self._pending
        scalars.branch(after)

    def _train(
        self,
        first: ir.Value,
        count: ir.Value,
        scale: ir.Value,
        rule: Update | None,
        totals: list[ir.Value],
    ) -> list[ir.Value]:
        """Both passes for a piece; gradients go to the rule, or are added up where there is none."""
        b, e = self.builder, self.e
        order = self.kernels.arguments.order

        def row_of(r: Index) -> ir.Value:
            return b.load(e.address(order, e.add(first, r), I64), typ=I64, align=8)

        self._update = rule or self._accumulate
        x = self._load_inputs(count, row_of)
        y, backward = self._forward(self.program.steps, x, count, needs_grad=False)
        features = self.program.out_features
        grad, stride = self.reserve(features, self.piece), self.kernels.stride(features)

        def sample(r: Index, loss_sum: ir.Value, right: ir.Value) -> list[ir.Value]:
            offset = e.multiply(r, stride)
            loss, is_right = self.kernels.loss(row_of(r), e.add(y, offset), e.add(grad, offset), scale)
            return [b.fadd(loss_sum, loss), b.fadd(right, is_right)]

        totals = e.loop("loss.sample", 0, count, 1, sample, totals)
        backward(grad)
        if rule is not None:
            self._close_scalars()
        return totals

    def _accumulate(self, place: Index, grad: ir.Value) -> None:
        place = self.e.add(self.gradients, place)
        self.e.store(self.e.fadd(self.e.load(self.workspace, place), grad), self.workspace, place)

    def _apply_gradients(self, batch: ir.Value) -> None:
        """The rule for every parameter with the gradient that was added up, which is set back to zero."""
        e = self.e
        rule = self._rule(batch)

        def apply(place: Index) -> None:
            rule(place, e.load(self.workspace, e.add(self.gradients, place)))
            e.store(e.constant(0), self.workspace, e.add(self.gradients, place))

        for matrix in self.kernels.layout.matrices:

            def row(r: Index, matrix: Matrix = matrix) -> None:
                start = e.add(matrix.offset, e.multiply(r, matrix.stride))
                self.kernels.each_vector("weights", matrix.columns, lambda v, used: apply(e.add(start, v)))

            def bias(v: Index, used: int, matrix: Matrix = matrix) -> None:
                apply(e.add(matrix.bias_offset, v))

            e.loop(f"linear{matrix.step.number}.update", 0, matrix.rows, 1, row)
            if matrix.step.bias:
                self.kernels.each_vector("bias", matrix.step.out_features, bias)
        self._close_scalars()

    # Inputs and outputs

    def _load_inputs(self, count: ir.Value, row_of: Callable[[Index], ir.Value]) -> int:
        features = self.program.in_features
        x, stride = self.reserve(features, self.piece), self.kernels.stride(features)

        def sample(r: Index) -> None:
            source = self.e.multiply(row_of(r), features)
            target = self.e.add(x, self.e.multiply(r, stride))

            def body(offset: Index, used: int) -> None:
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
                if isinstance(following, Pointwise):
                    above = Activation(following, s, self.reserve(following.features, self.piece))
                backward = self._affine(step, x, s, count, below if needs_grad else None, above, needs_grad)
                x, below = s, None
            elif isinstance(step, Pointwise):
                if above is None:
                    above = Activation(step, x, self.reserve(step.features, self.piece))
                    self._activate(above, count)
                backward = self._pull_back(above, count, needs_grad)
                x, below, above = above.y, above, None
            else:
                x, backward = self._branch(step, x, count, needs_grad)
                below = None
            backwards.append(backward)
            needs_grad = needs_grad or bool(affine_steps((step,)))

        return x, in_reverse(backwards)

    def _each_sample(self, name: str, count: ir.Value, features: int, body: Callable[[Index], None]) -> None:
        """body(offset of a sample's row) for places whose rows hold so many features."""
        self.e.loop(f"{name}.sample", 0, count, 1, lambda r: body(self.e.multiply(r, self.kernels.stride(features))))

    def _activate(self, activation: Activation, count: ir.Value) -> None:
        e, (step, s, y) = self.e, attrs.astuple(activation, recurse=False)
        self._each_sample(
            "value", count, step.features, lambda row: self.kernels.activate(step, e.add(s, row), e.add(y, row))
        )

    def _pull_back(self, activation: Activation, count: ir.Value, needs_grad: bool) -> Backward:
        e, (step, s, y) = self.e, attrs.astuple(activation, recurse=False)

        def backward(grad: int) -> int | None:
            if not needs_grad:
                return None
            grad_in = self.reserve(step.features, self.piece)
            places = (s, y, grad, grad_in)
            self._each_sample(
                "pullback",
                count,
                step.features,
                lambda row: self.kernels.pull_back(step, *(e.add(place, row) for place in places)),
            )
            return grad_in

        return backward

    def _branch(self, step: Branch, x: int, count: ir.Value, needs_grad: bool) -> tuple[int, Backward]:
        inner, inner_backward = self._forward(step.steps, x, count, needs_grad)
        y = self._sum(x, inner, count, step.features)

        def backward(grad: int) -> int | None:
            inner_grad = inner_backward(grad)
            if not needs_grad or inner_grad is None:
                return None
            return self._sum(grad, inner_grad, count, step.features)

        return y, backward

    def _sum(self, a: int, b: int, count: ir.Value, features: int) -> int:
        e = self.e
        total = self.reserve(features, self.piece)
        self._each_sample(
            "add",
            count,
            features,
            lambda row: self.kernels.add(e.add(a, row), e.add(b, row), e.add(total, row), features),
        )
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
        e, matrix, name = self.e, self.kernels.layout.matrices[step.number], f"linear{step.number}"
        in_stride, out_stride = self.kernels.stride(step.in_features), self.kernels.stride(step.out_features)
        by_input = matrix.offset if matrix.input_major else self._copies[step.number]
        self.builder.comment(f"forward: {step}")

        def bias(v: Index) -> ir.Value:
            return e.load(self.workspace, e.add(matrix.bias_offset, v)) if step.bias else e.constant(0)

        def store(place: int, offset: Index, v: Index, features: int, value: ir.Value) -> None:
            kept = e.keep_first(value, features - v) if isinstance(v, int) else value
            e.store(kept, self.workspace, e.add(place, offset))

        def finish(row: Index, v: Index, value: ir.Value) -> None:
            offset = e.add(e.multiply(row, out_stride), v)
            if above is None or reads_input(above.step.layer):
                store(s, offset, v, step.out_features, value)
            if above is not None:
                store(above.y, offset, v, step.out_features, self.kernels.value(above.step, value))

        self._product(
            f"{name}.forward", count, step.out_features, step.in_features,
            (x, in_stride, 1), (by_input, out_stride), bias, finish,
        )  # fmt: skip

        def backward(grad: int) -> int | None:
            self.builder.comment(f"backward: {step}")
            grad_in = None
            if needs_grad:
                grad_in = self.reserve(step.in_features, self.piece)
                by_output = self._copies[step.number] if matrix.input_major else matrix.offset

                def finish_grad(row: Index, v: Index, value: ir.Value, grad_in: int = grad_in) -> None:
                    offset = e.add(e.multiply(row, in_stride), v)
                    if below is not None:
                        s_below, y_below = (
                            e.load(self.workspace, e.add(place, offset)) for place in (below.s, below.y)
                        )
                        value = self.kernels.pullback(below.step, s_below, y_below, value)
                    store(grad_in, offset, v, step.in_features, value)

                self._product(
                    f"{name}.grad_input", count, step.in_features, step.out_features,
                    (grad, out_stride, 1), (by_output, in_stride), None, finish_grad,
                )  # fmt: skip
            left, right = ((x, in_stride), (grad, out_stride))
            if not matrix.input_major:
                left, right = right, left

            def update(row: Index, v: Index, value: ir.Value) -> None:
                place = e.add(e.add(matrix.offset, e.multiply(row, matrix.stride)), v)
                self._update(place, value)

            self._product(
                f"{name}.grad_weight", matrix.rows, matrix.columns, count,
                (left[0], 1, left[1]), right, None, update,
            )  # fmt: skip
            if step.bias:
                self._bias_gradient(matrix, grad, count)
            return grad_in

        return backward

    def _bias_gradient(self, matrix: Matrix, grad: int, count: ir.Value) -> None:
        """The sum of the output's gradients over the samples, equation (5), in several sums side by side."""
        e = self.e
        name, features = f"linear{matrix.step.number}.grad_bias", matrix.step.out_features

        def body(v: Index, used: int) -> None:
            def add(r: Index, total: ir.Value) -> ir.Value:
                place = e.add(e.add(grad, v), e.multiply(r, self.kernels.stride(features)))
                return e.fadd(total, e.load(self.workspace, place))

            def add_several(r: Index, *sums: ir.Value) -> list[ir.Value]:
                return [add(e.add(r, i), total) for i, total in enumerate(sums)]

            def add_one(r: Index, total: ir.Value) -> list[ir.Value]:
                return [add(r, total)]

            whole = self.builder.and_(count, ir.Constant(I64, -SUMS))
            sums = e.loop(name, 0, whole, SUMS, add_several, [e.constant(0)] * SUMS)
            (total,) = e.loop(name, whole, count, 1, add_one, [e.tree_sum(sums)])
            self._update(e.add(matrix.bias_offset, v), total)

        self.kernels.each_vector("bias", features, body)

    # The product

    def _product(
        self,
        name: str,
        rows: Index,
        columns: int,
        depth: Index,
        left: tuple[int, int, int],
        right: tuple[int, int],
        start: Callable[[Index], ir.Value] | None,
        finish: Finish,
    ) -> None:
        """finish(row, v, start(v) + Σₖ left[row, k] right[k, v]) for all rows, and the vectors v of all columns.

        `left` is a place with the distances between its rows and along the depth, `right` a place with the
        distance between its rows. v is the offset of a vector within a row.
        """
        e, lanes = self.e, self.kernels.lanes
        place, row_stride, depth_stride = left
        right_place, right_stride = right

        def tile(row: Index, height: int, first: Index, width: int) -> None:
            """A tile of the product, in `height` times `width` registers."""
            offsets = [e.add(first, v * lanes) for v in range(width)]
            begin = [e.constant(0) if start is None else start(offset) for offset in offsets]

            def along(k: Index, *sums: ir.Value) -> list[ir.Value]:
                row_of_right = e.add(right_place, e.multiply(k, right_stride))
                vectors_of_right = [e.load(self.workspace, e.add(row_of_right, offset)) for offset in offsets]
                results = []
                for h in range(height):
                    at = e.add(e.multiply(e.add(row, h), row_stride), e.multiply(k, depth_stride))
                    factor = e.broadcast(self.workspace, e.add(place, at))
                    for v, vector in enumerate(vectors_of_right):
                        results.append(e.multiply_add(factor, vector, sums[h * width + v]))
                return results

            sums = e.loop(f"{name}.depth", 0, depth, 1, along, begin * height)
            for h in range(height):
                for v, offset in enumerate(offsets):
                    finish(e.add(row, h), offset, sums[h * width + v])

        def column_block(first: Index, width: int) -> None:
            height = self._tile_height(rows, width)
            if isinstance(rows, int):
                e.blocks(f"{name}.rows", rows, height, lambda row, size: tile(row, size, first, width), 1)
                return
            whole = self.builder.sub(rows, self.builder.urem(rows, ir.Constant(I64, height)))
            e.loop(f"{name}.rows", 0, whole, height, lambda row: tile(row, height, first, width))
            e.loop(f"{name}.row", whole, rows, 1, lambda row: tile(row, 1, first, width))

        self._column_blocks(name, columns, column_block)

    def _column_blocks(self, name: str, columns: int, block: Callable[[Index, int], None]) -> None:
        """block(offset, vectors) for the columns, two vectors at a time; the last, which may be short, stands alone."""
        e, lanes = self.e, self.kernels.lanes
        count = self.kernels.vectors(columns)
        tail = 1 if count % 2 else 2
        looped = count - tail

        def pair(first: Index) -> None:
            block(first, 2)

        e.loop(f"{name}.columns", 0, looped * lanes, 2 * lanes, pair)
        block(looped * lanes, tail)

    def _tile_height(self, rows: Index, width: int) -> int:
        """How many rows a tile has: as many as the registers hold, fewer where that leaves fewer rows over."""
        most = (self._registers - self._registers // 4) // width
        total = rows if isinstance(rows, int) else self.piece

        def cost(height: int) -> float:
            """Cycles a step of the depth: two products each, and no fewer than the latency of one."""

            def tile(height: int) -> float:
                return max(height * width / 2, 4) + 1

            left = total % height
            rest = (tile(left) if left else 0) if isinstance(rows, int) else left * tile(1)
            return total // height * tile(height) + rest

        return min(range(min(most, total), 0, -1), key=cost)

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
        for matrix in self.kernels.layout.matrices:
            if matrix.step.number in self._copies:
                self.kernels.transpose(matrix, self._copies[matrix.step.number])
