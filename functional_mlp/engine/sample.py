"""An epoch of single samples: forward pass, backward pass and update, one sample after the other.

The passes of one sample are chains of small matrix-vector products, so latency is what counts: several sums run
side by side in the forward product, and the backward product, the gradient and the optimizer's rule meet each
weight in one pass, which loads and stores it once.
"""

from collections.abc import Callable

from llvmlite import ir

from functional_mlp.engine.emitter import DOUBLE, I64, Index
from functional_mlp.engine.kernels import Arguments, Kernels
from functional_mlp.engine.program import Affine, Branch, Matrix, Pointwise, Program, Step, affine_steps
from functional_mlp.engine.vector import Scalars

# Vector operations of one product that are emitted one after the other before a loop is made of them.
UNROLLED = 128
# Sums of a product that run side by side, to hide the latency of the additions.
CHAINS = 8

# Continues a backward pass from the place of the gradient with respect to an output.
Backward = Callable[[int], int | None]


class SampleEpoch:
    """Emits the epoch of a program with batch size 1 into a function."""

    def __init__(self, program: Program, lanes: int, builder: ir.IRBuilder, arguments: Arguments) -> None:
        self.kernels = Kernels(program, lanes, builder, arguments)
        self.e = self.kernels.e
        self.builder = builder
        self.workspace = arguments.workspace
        self.program = program
        self.scratch = self.kernels.layout.size * (1 + len(program.optimizer.slots()))
        self.end = self.scratch

    def emit(self) -> int:
        """Emit the function's body; returns the size of the workspace, in numbers."""
        arguments, b = self.kernels.arguments, self.builder
        zero = ir.Constant(DOUBLE, 0.0)
        totals = self.e.loop("epoch.position", arguments.first, arguments.last, 1, self._sample, [zero, zero])
        for index, total in enumerate(totals):
            place = self.e.address(arguments.results, index, DOUBLE)
            b.store(b.fadd(b.load(place, typ=DOUBLE), total), place)
        return self.end

    def _sample(self, position: Index, loss_sum: ir.Value, right: ir.Value) -> list[ir.Value]:
        """One sample: Algorithm 1 of the paper."""
        b, kernels = self.builder, self.kernels
        scalars = ir.IRBuilder(b.block)  # goes on here, ahead of all that uses its values
        sample = b.append_basic_block("sample")
        b.position_at_end(sample)
        self.end = self.scratch
        row = b.load(self.e.address(kernels.arguments.order, position, I64), typ=I64, align=8, name="row")
        self.rule = kernels.rule(Scalars(self.e.at(scalars)), self.e.index(position))

        prediction, backward = self._forward(self.program.steps, self._load_inputs(row), needs_grad=False)
        grad = self._reserve(self.program.out_features)
        loss, is_right = kernels.loss(row, prediction, grad, None)
        backward(grad)
        scalars.branch(sample)
        return [b.fadd(loss_sum, loss), b.fadd(right, is_right)]

    def _reserve(self, features: int) -> int:
        """A new place in the workspace for so many features."""
        place = self.end
        self.end += self.kernels.vectors(features) * self.kernels.lanes
        return place

    def _load_inputs(self, row: ir.Value) -> int:
        features = self.program.in_features
        place = self._reserve(features)
        base = self.e.multiply(row, features)

        def body(offset: Index, used: int) -> None:
            vector = self.e.load_first(self.kernels.arguments.inputs, self.e.add(base, offset), used)
            self.e.store(vector, self.workspace, self.e.add(place, offset))

        self.kernels.each_vector("inputs", features, body)
        return place

    def _forward(self, steps: tuple[Step, ...], x: int, needs_grad: bool) -> tuple[int, Backward]:
        """Emit the forward pass of steps; returns the place of the output, and what emits the backward pass.

        `needs_grad` says whether the gradient with respect to x is of use.
        """
        backwards: list[Backward] = []
        for step in steps:
            if isinstance(step, Affine):
                x, backward = self._affine(self.kernels.layout.matrices[step.number], x, needs_grad)
            elif isinstance(step, Pointwise):
                x, backward = self._pointwise(step, x, needs_grad)
            else:
                x, backward = self._branch(step, x, needs_grad)
            backwards.append(backward)
            needs_grad = needs_grad or bool(affine_steps((step,)))

        def run(grad: int) -> int | None:
            place: int | None = grad
            for backward in reversed(backwards):
                if place is not None:
                    place = backward(place)
            return place

        return x, run

    def _pointwise(self, step: Pointwise, s: int, needs_grad: bool) -> tuple[int, Backward]:
        y = self._reserve(step.features)
        self.kernels.activate(step, s, y)

        def backward(grad: int) -> int | None:
            if not needs_grad:
                return None
            grad_in = self._reserve(step.features)
            self.kernels.pull_back(step, s, y, grad, grad_in)
            return grad_in

        return y, backward

    def _branch(self, step: Branch, x: int, needs_grad: bool) -> tuple[int, Backward]:
        inner, inner_backward = self._forward(step.steps, x, needs_grad)
        y = self._reserve(step.features)
        self.kernels.add(x, inner, y, step.features)

        def backward(grad: int) -> int | None:
            inner_grad = inner_backward(grad)
            if not needs_grad or inner_grad is None:
                return None
            total = self._reserve(step.features)
            self.kernels.add(grad, inner_grad, total, step.features)
            return total

        return y, backward

    def _affine(self, matrix: Matrix, x: int, needs_grad: bool) -> tuple[int, Backward]:
        s = self._reserve(matrix.step.out_features)
        self.builder.comment(f"forward: {matrix.step}")
        if matrix.input_major:
            self._columns_times(matrix, x, s)
        else:
            self._rows_times(matrix, x, s)

        def backward(grad: int) -> int | None:
            self.builder.comment(f"backward: {matrix.step}")
            grad_in = self._reserve(matrix.step.in_features) if needs_grad else None
            if matrix.input_major:
                self._update_by_input(matrix, x, grad, grad_in)
            else:
                self._update_by_output(matrix, x, grad, grad_in)
            if matrix.step.bias:
                self._update_bias(matrix, grad)
            return grad_in

        return s, backward

    def _bias(self, matrix: Matrix, offset: Index) -> ir.Value:
        if not matrix.step.bias:
            return self.e.constant(0)
        return self.e.load(self.workspace, self.e.add(matrix.bias_offset, offset))

    def _columns_times(self, matrix: Matrix, x: int, s: int) -> None:
        """s = b + Σᵢ xᵢ w[i], a row of an input-major matrix for each input."""
        e, lanes = self.e, self.kernels.lanes

        def block(first: Index, features: int) -> None:
            width = self.kernels.vectors(features)
            chains = min(CHAINS // width, matrix.rows)
            sums = [self._bias(matrix, e.add(first, v * lanes)) for v in range(width)]
            sums += [e.constant(0)] * (width * (chains - 1))

            def add_row(i: Index, chain: int, sums: list[ir.Value]) -> None:
                factor = e.broadcast(self.workspace, e.add(x, i))
                place = e.add(e.add(matrix.offset, e.multiply(i, matrix.stride)), first)
                for v in range(width):
                    weight = e.load(self.workspace, e.add(place, v * lanes))
                    sums[chain * width + v] = e.multiply_add(factor, weight, sums[chain * width + v])

            def add_rows(i: Index, *carried: ir.Value) -> list[ir.Value]:
                sums = list(carried)
                for row in range(CHAINS):
                    add_row(e.add(i, row), row % chains, sums)
                return sums

            done = 0 if matrix.rows * width <= UNROLLED else matrix.rows - matrix.rows % CHAINS
            sums = e.loop("product", 0, done, CHAINS, add_rows, sums)
            for i in range(done, matrix.rows):
                add_row(i, i % chains, sums)
            for v in range(width):
                total = e.tree_sum(sums[v::width])
                used = features - v * lanes
                e.store(e.keep_first(total, used), self.workspace, e.add(e.add(s, first), v * lanes))

        e.blocks("columns", matrix.columns, 4 * lanes, block, 2)

    def _rows_times(self, matrix: Matrix, x: int, s: int) -> None:
        """s[o] = b[o] + w[o] · x, a row of an output-major matrix for each output."""
        e, lanes = self.e, self.kernels.lanes

        def block(first: Index, rows: int) -> None:
            def add_vector(offset: Index, *sums: ir.Value) -> list[ir.Value]:
                vector = e.load(self.workspace, e.add(x, offset))
                weights = [e.load(self.workspace, self._weight(matrix, e.add(first, r), offset)) for r in range(rows)]
                return [self._add_product(matrix, offset, vector, *pair) for pair in zip(weights, sums, strict=True)]

            sums = self._over_vectors(matrix, rows, add_vector, [e.constant(0)] * rows)
            total = e.fadd(e.row_sums(sums), self._bias(matrix, first))
            e.store(e.keep_first(total, rows), self.workspace, e.add(s, first))

        e.blocks("rows", matrix.rows, lanes, block, 2)

    def _weight(self, matrix: Matrix, row: Index, offset: Index) -> Index:
        return self.e.add(self.e.add(matrix.offset, self.e.multiply(row, matrix.stride)), offset)

    def _add_product(self, matrix: Matrix, offset: Index, a: ir.Value, b: ir.Value, total: ir.Value) -> ir.Value:
        """total + a b in the lanes that hold weights at an offset of a row; in a loop these are all."""
        added = self.e.multiply_add(a, b, total)
        used = matrix.columns - offset if isinstance(offset, int) else self.kernels.lanes
        if used >= self.kernels.lanes:
            return added
        return self.builder.select(self.e.mask(used), added, total)

    def _over_vectors(
        self, matrix: Matrix, rows: int, body: Callable[..., list[ir.Value]], carried: list[ir.Value]
    ) -> list[ir.Value]:
        """carried = body(offset, *carried) for the vectors of so many rows at once; a loop where there are many."""
        lanes = self.kernels.lanes
        looped = matrix.stride // lanes * rows > UNROLLED
        last = matrix.stride - lanes if looped else 0  # the last vector, with lanes to spare, is never in the loop
        carried = self.e.loop("vectors", 0, last, lanes, body, carried)
        for offset in range(last, matrix.stride, lanes):
            carried = body(offset, *carried)
        return carried

    def _update_by_input(self, matrix: Matrix, x: int, grad: int, grad_in: int | None) -> None:
        """For each input i: grad_in[i] = w[i] · grad (2), and the rule for w[i] with the gradient xᵢ grad (4)."""
        e, lanes = self.e, self.kernels.lanes

        def block(first: Index, rows: int) -> None:
            def meet_vector(offset: Index, *sums: ir.Value) -> list[ir.Value]:
                delta = e.load(self.workspace, e.add(grad, offset))
                results = []
                for r in range(rows):
                    place = self._weight(matrix, e.add(first, r), offset)
                    weight = e.load(self.workspace, place)
                    if grad_in is not None:
                        results.append(self._add_product(matrix, offset, weight, delta, sums[r]))
                    factor = e.broadcast(self.workspace, e.add(x, e.add(first, r)))
                    self.rule.apply(place, weight, (factor, delta))
                return results

            zeros = [] if grad_in is None else [e.constant(0)] * rows
            sums = self._over_vectors(matrix, rows, meet_vector, zeros)
            if grad_in is not None:
                total = e.keep_first(e.row_sums(sums), rows)
                e.store(total, self.workspace, e.add(grad_in, first))

        e.blocks("inputs", matrix.rows, lanes, block, 2)

    def _update_by_output(self, matrix: Matrix, x: int, grad: int, grad_in: int | None) -> None:
        """For each output o: grad_in += grad[o] w[o] (2), then the rule for w[o] with the gradient grad[o] x (4)."""
        e, lanes = self.e, self.kernels.lanes

        def block(offset: Index, used: int) -> None:
            vector = e.load(self.workspace, e.add(x, offset))

            def meet_row(o: Index, *sums: ir.Value) -> list[ir.Value]:
                place = self._weight(matrix, o, offset)
                weight = e.load(self.workspace, place)
                factor = e.broadcast(self.workspace, e.add(grad, o))
                self.rule.apply(place, weight, (factor, vector))
                return [e.multiply_add(weight, factor, total) for total in sums]

            sums = [] if grad_in is None else [e.constant(0)]
            if matrix.rows <= lanes:
                for o in range(matrix.rows):
                    sums = meet_row(o, *sums)
            else:
                sums = e.loop("outputs", 0, matrix.rows, 1, meet_row, sums)
            if grad_in is not None:
                e.store(e.keep_first(sums[0], used), self.workspace, e.add(grad_in, offset))

        e.blocks("inputs", matrix.columns, lanes, block, 4)

    def _update_bias(self, matrix: Matrix, grad: int) -> None:
        """The rule for b with the gradient of the output (5)."""
        e = self.e

        def body(offset: Index, used: int) -> None:
            place = e.add(matrix.bias_offset, offset)
            delta = e.load(self.workspace, e.add(grad, offset))
            self.rule.apply(place, e.load(self.workspace, place), delta)

        self.kernels.each_vector("bias", matrix.step.out_features, body)
