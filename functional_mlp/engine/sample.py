"""An epoch of single samples: forward pass, backward pass and update, one sample after the other.

The passes of one sample are chains of small matrix-vector products, so latency is what counts. The update of a
sample is therefore put off until the forward pass of the next, which meets the same weights: while it waits for one
layer's output, the processor updates the weights of the layers after it. Each weight is loaded and stored once on
the way forward, and loaded once on the way back. For this the activations of two samples are kept, in two places
that take turns.

On the way back, rows of weights that have the outputs in their lanes take sums over lanes, which are slow. Of a small
matrix a transposed copy is kept instead: the way back meets it as the way forward meets the matrix, put-off update
included, and both hold the same bits. With an optimizer that remembers something this would be no gain.
"""

from collections.abc import Callable

import attrs
from llvmlite import ir

from functional_mlp.engine.emitter import DOUBLE, I64, Index
from functional_mlp.engine.kernels import Arguments, Kernels, Rule
from functional_mlp.engine.program import Affine, Branch, Matrix, Pointwise, Program, Step, affine_steps
from functional_mlp.engine.vector import Scalars

# Vector operations of one product that are emitted one after the other before a loop is made of them.
UNROLLED = 128
# Sums of a product that run side by side, to hide the latency of the additions.
CHAINS = 8
# Matrices of up to so many vectors are kept transposed as well.
MOST_COPIED = 60

# A step's place in the nest of branches.
Path = tuple[int, ...]


@attrs.frozen(eq=False)
class Pending:
    """The update of the sample before: its rule, and where its activations and their gradients are counted from."""

    rule: Rule
    activations: ir.Value
    close: Callable[[], None]  # to be called when all that uses the rule has been emitted


@attrs.frozen
class Grid:
    """A matrix in memory, row after row: the weights of a layer, input-major, or `transposed`."""

    offset: int
    rows: int
    columns: int
    stride: int
    transposed: bool


class SampleEpoch:
    """Emits the epoch of a program with batch size 1 into a function."""

    def __init__(self, program: Program, lanes: int, builder: ir.IRBuilder, arguments: Arguments) -> None:
        self.kernels = Kernels(program, lanes, builder, arguments)
        self.e = self.kernels.e
        self.builder = builder
        self.workspace = arguments.workspace
        self.program = program
        self._places: dict[tuple[str, Path], int] = {}  # what is kept of a sample, by name and step
        self._end = 0
        self.copies: dict[int, Grid] = {}  # of the matrices that are kept transposed, by layer

    def emit(self) -> int:
        """Emit the function's body; returns the size of the workspace, in numbers.

        The passes of the first sample; those of each further one, which begin with the update of the sample before;
        the update of the last.
        """
        b, arguments = self.builder, self.kernels.arguments
        start = self._make_copies(self.kernels.layout.size * (1 + len(self.program.optimizer.slots())))
        here = self.e.address(self.workspace, start)
        prediction = self._forward_pass(arguments.first, here, None)
        outcome = self._backward_pass(arguments.first, here, prediction, None)
        size = self._end
        there = self.e.address(self.workspace, start + size)

        def sample(position: Index, before: ir.Value, activations: ir.Value, *totals: ir.Value) -> list[ir.Value]:
            pending = self._pending(position, before)
            self._forward_pass(position, activations, pending)
            back = b.append_basic_block("back")  # LLVM orders instructions badly where there are too many at once
            b.branch(back)
            b.position_at_end(back)
            outcome = self._backward_pass(position, activations, prediction, pending)
            pending.close()
            return [activations, before, *[b.fadd(total, more) for total, more in zip(totals, outcome, strict=True)]]

        second = b.add(arguments.first, ir.Constant(I64, 1))
        last, _, *totals = self.e.loop("sample", second, arguments.last, 1, sample, [here, there, *outcome])
        pending = self._pending(arguments.last, last)
        self._update_alone(pending)
        pending.close()
        for index, total in enumerate(totals):
            place = self.e.address(arguments.results, index, DOUBLE)
            b.store(b.fadd(b.load(place, typ=DOUBLE), total), place)
        return start + 2 * size

    def _row(self, position: Index) -> ir.Value:
        order = self.kernels.arguments.order
        return self.builder.load(self.e.address(order, position, I64), typ=I64, align=8, name="row")

    def _pending(self, position: Index, activations: ir.Value) -> Pending:
        """The update before a sample, with the activations of the sample that it is due to.

        Its scalars are emitted in a block ahead of the one that goes on.
        """
        scalars = ir.IRBuilder(self.builder.block)
        update = self.builder.append_basic_block("update")
        self.builder.position_at_end(update)
        number = scalars.sub(self.e.index(position), ir.Constant(I64, 1))
        rule = self.kernels.rule(Scalars(self.e.at(scalars)), number)
        return Pending(rule, activations, lambda: scalars.branch(update))

    # What is kept of a sample

    def _place(self, name: str, path: Path, features: int) -> int:
        """The place of so many features, the same whenever it is asked for."""
        if (name, path) not in self._places:
            self._places[name, path] = self._end
            self._end += self.kernels.vectors(features) * self.kernels.lanes
        return self._places[name, path]

    def _make_copies(self, place: int) -> int:
        """Write the transposed copies from a place of the workspace on; returns where they end."""
        if self.program.optimizer.slots():
            return place
        for matrix in self.kernels.layout.matrices[1:]:  # the gradient of the data is of no use
            stride = self.kernels.stride(matrix.rows)
            largest = max(matrix.rows * matrix.stride, matrix.columns * stride)
            if matrix.input_major and largest <= MOST_COPIED * self.kernels.lanes:
                self.copies[matrix.step.number] = Grid(place, matrix.columns, matrix.rows, stride, transposed=True)
                self.kernels.transpose(matrix, place)
                place += matrix.columns * stride
        return place

    # Passes

    def _forward_pass(self, position: Index, activations: ir.Value, pending: Pending | None) -> int:
        """The forward pass of a sample into `activations`, with the update of the one before; the output's place."""
        self.kernels.activations = activations
        features = self.program.in_features
        x = self._place("x", (), features)
        base = self.e.multiply(self._row(position), features)

        def body(offset: Index, used: int) -> None:
            vector = self.e.load_first(self.kernels.arguments.inputs, self.e.add(base, offset), used)
            self.e.store(vector, activations, self.e.add(x, offset))

        self.kernels.each_vector("inputs", features, body)
        return self._forward(self.program.steps, (), x, pending)

    def _forward(self, steps: tuple[Step, ...], path: Path, x: int, pending: Pending | None) -> int:
        for index, step in enumerate(steps):
            here = (*path, index)
            self._places["x", here] = x
            if isinstance(step, Affine):
                s = self._place("s", here, step.out_features)
                self.builder.comment(f"forward: {step}")
                self._affine(step, here, s, pending)
                x = s
            elif isinstance(step, Pointwise):
                y = self._place("y", here, step.features)
                self.kernels.activate(step, x, y)
                x = y
            else:
                inner = self._forward(step.steps, here, x, pending)
                y = self._place("y", here, step.features)
                self.kernels.add(x, inner, y, step.features)
                x = y
        return x

    def _backward_pass(
        self, position: Index, activations: ir.Value, prediction: int, pending: Pending | None
    ) -> list[ir.Value]:
        """Loss and backward pass of a sample, with the update before it; returns its loss and whether it is right."""
        self.kernels.activations = activations
        grad = self._place("grad", (), self.program.out_features)
        outcome = self.kernels.loss(self._row(position), prediction, grad, None)
        self._backward(self.program.steps, (), grad, pending, needs_grad=False)
        return outcome

    def _backward(
        self, steps: tuple[Step, ...], path: Path, grad: int, pending: Pending | None, *, needs_grad: bool
    ) -> int | None:
        """Emit the backward pass of steps; returns the place of the gradient with respect to their input.

        `needs_grad` says whether that is of use; where it is not, there is none.
        """
        result: int | None = grad
        for index in reversed(range(len(steps))):
            if result is None:
                return None
            step, here = steps[index], (*path, index)
            needed = needs_grad or bool(affine_steps(steps[:index]))
            if isinstance(step, Affine):
                self._places["delta", here] = result
                result = self._grad_in(step, here, pending) if needed else None
            elif isinstance(step, Pointwise):
                result = self._pull_back(step, here, result) if needed else None
            else:
                result = self._branch_backward(step, here, result, pending, needs_grad=needed)
        return result

    def _pull_back(self, step: Pointwise, path: Path, grad: int) -> int:
        grad_in = self._place("grad", path, step.features)
        self.kernels.pull_back(step, self._places["x", path], self._places["y", path], grad, grad_in)
        return grad_in

    def _branch_backward(
        self, step: Branch, path: Path, grad: int, pending: Pending | None, *, needs_grad: bool
    ) -> int | None:
        inner = self._backward(step.steps, path, grad, pending, needs_grad=needs_grad)
        if inner is None or not needs_grad:
            return None
        total = self._place("grad", path, step.features)
        self.kernels.add(grad, inner, total, step.features)
        return total

    def _update_alone(self, pending: Pending) -> None:
        """The update of the last sample, which no forward pass follows."""

        def update(steps: tuple[Step, ...], path: Path) -> None:
            for index, step in enumerate(steps):
                if isinstance(step, Affine):
                    self._affine(step, (*path, index), None, pending)
                elif isinstance(step, Branch):
                    update(step.steps, (*path, index))

        update(self.program.steps, ())

    # Linear layers

    def _affine(self, step: Affine, path: Path, s: int | None, pending: Pending | None) -> None:
        """The pending update of a layer, and s = w x + b with what comes of it where there is an s."""
        matrix, x = self.kernels.layout.matrices[step.number], self._places["x", path]
        delta = self._places["delta", path] if pending is not None else 0
        if matrix.input_major:
            grid = Grid(matrix.offset, matrix.rows, matrix.columns, matrix.stride, transposed=False)
            self._meet_rows(grid, x, delta, s, pending, lambda offset: self._bias(matrix, offset, delta, pending))
        else:
            self._meet_by_output(matrix, x, delta, s, pending)

    def _bias(self, matrix: Matrix, offset: Index, delta: int, pending: Pending | None) -> ir.Value:
        """A vector of the bias, after the pending update with the gradient of the output (5)."""
        e = self.e
        if not matrix.step.bias:
            return e.constant(0)
        place = e.add(matrix.bias_offset, offset)
        bias = e.load(self.workspace, place)
        if pending is None:
            return bias
        return pending.rule.apply(place, bias, e.load(pending.activations, e.add(delta, offset)))

    def _meet_rows(
        self,
        grid: Grid,
        along: int,
        across: int,
        result: int | None,
        pending: Pending | None,
        start: Callable[[Index], ir.Value],
    ) -> None:
        """For each row r: the rule for w[r] with the gradient along[r] across (4), then result += along[r] w[r].

        `along` and `across` are x and delta for the weights, and delta and x for their transposed copy; the result
        is s for the weights (counted from `start`, the bias), and the gradient of x for the copy.
        """
        e, lanes = self.e, self.kernels.lanes
        activations = self.kernels.activations

        def block(first: Index, features: int) -> None:
            width = self.kernels.vectors(features)
            chains = min(CHAINS // width, grid.rows)
            offsets = [e.add(first, v * lanes) for v in range(width)]
            sums = [start(offset) for offset in offsets]
            sums = [*sums, *[e.constant(0)] * (width * (chains - 1))] if result is not None else []
            vectors = [e.load(pending.activations, e.add(across, offset)) for offset in offsets] if pending else []

            def meet_row(r: Index, chain: int, sums: list[ir.Value]) -> None:
                factor = e.broadcast(activations, e.add(along, r)) if result is not None else None
                earlier = e.broadcast(pending.activations, e.add(along, r)) if pending else None
                for v, offset in enumerate(offsets):
                    place = e.add(e.add(grid.offset, e.multiply(r, grid.stride)), offset)
                    weight = e.load(self.workspace, place)
                    if pending is not None:
                        # x first and delta second, so that both copies are rounded alike.
                        gradient = (vectors[v], earlier) if grid.transposed else (earlier, vectors[v])
                        weight = pending.rule.apply(place, weight, gradient)
                    if factor is not None:
                        sums[chain * width + v] = e.multiply_add(factor, weight, sums[chain * width + v])

            def meet_several(r: Index, *carried: ir.Value) -> list[ir.Value]:
                sums = list(carried)
                for row in range(CHAINS):
                    meet_row(e.add(r, row), row % chains, sums)
                return sums

            done = 0 if grid.rows * width <= UNROLLED else grid.rows - grid.rows % CHAINS
            sums = e.loop("product", 0, done, CHAINS, meet_several, sums)
            for r in range(done, grid.rows):
                meet_row(r, r % chains, sums)
            if result is not None:
                for v, offset in enumerate(offsets):
                    total = e.keep_first(e.tree_sum(sums[v::width]), features - v * lanes)
                    e.store(total, activations, e.add(result, offset))

        e.blocks("columns", grid.columns, 4 * lanes, block, 2)

    def _meet_by_output(self, matrix: Matrix, x: int, delta: int, s: int | None, pending: Pending | None) -> None:
        """For each output o: the rule for w[o] with the gradient delta[o] x (4), then s[o] = b[o] + w[o] · x."""
        e = self.e
        activations = self.kernels.activations

        def block(first: Index, rows: int) -> None:
            def meet_vector(offset: Index, *sums: ir.Value) -> list[ir.Value]:
                vector = e.load(activations, e.add(x, offset)) if s is not None else None
                earlier = e.load(pending.activations, e.add(x, offset)) if pending else None
                results = []
                for r in range(rows):
                    place = self._weight(matrix, e.add(first, r), offset)
                    weight = e.load(self.workspace, place)
                    if pending is not None:
                        factor = e.broadcast(pending.activations, e.add(delta, e.add(first, r)))
                        weight = pending.rule.apply(place, weight, (factor, earlier))
                    if vector is not None:
                        results.append(self._add_product(matrix, offset, vector, weight, sums[r]))
                return results

            sums = self._over_vectors(matrix, rows, meet_vector, [e.constant(0)] * rows if s is not None else [])
            bias = self._bias(matrix, first, delta, pending)
            if s is not None:
                e.store(e.keep_first(e.fadd(e.row_sums(sums), bias), rows), activations, e.add(s, first))

        e.blocks("rows", matrix.rows, self.kernels.lanes, block, 2)

    def _grad_in(self, step: Affine, path: Path, pending: Pending | None) -> int:
        """The gradient with respect to a layer's input, wᵀ delta (2)."""
        self.builder.comment(f"backward: {step}")
        matrix, delta = self.kernels.layout.matrices[step.number], self._places["delta", path]
        grad_in = self._place("grad", path, step.in_features)
        copy = self.copies.get(step.number)
        if copy is not None:
            x = self._places["x", path]
            self._meet_rows(copy, delta, x, grad_in, pending, lambda offset: self.e.constant(0))
        elif matrix.input_major:
            self._grad_by_input(matrix, delta, grad_in)
        else:
            self._grad_by_output(matrix, delta, grad_in)
        return grad_in

    def _grad_by_input(self, matrix: Matrix, delta: int, grad_in: int) -> None:
        """grad_in[i] = w[i] · delta, for a row of the matrix for each input."""
        e, activations = self.e, self.kernels.activations

        def block(first: Index, rows: int) -> None:
            def add_vector(offset: Index, *sums: ir.Value) -> list[ir.Value]:
                vector = e.load(activations, e.add(delta, offset))
                weights = [e.load(self.workspace, self._weight(matrix, e.add(first, r), offset)) for r in range(rows)]
                return [self._add_product(matrix, offset, weight, vector, sums[r]) for r, weight in enumerate(weights)]

            sums = self._over_vectors(matrix, rows, add_vector, [e.constant(0)] * rows)
            e.store(e.keep_first(e.row_sums(sums), rows), activations, e.add(grad_in, first))

        e.blocks("inputs", matrix.rows, self.kernels.lanes, block, 2)

    def _grad_by_output(self, matrix: Matrix, delta: int, grad_in: int) -> None:
        """grad_in = Σ delta[o] w[o], for a row of the matrix for each output."""
        e, activations = self.e, self.kernels.activations

        def block(offset: Index, used: int) -> None:
            def add_row(o: Index, total: ir.Value) -> list[ir.Value]:
                factor = e.broadcast(activations, e.add(delta, o))
                return [e.multiply_add(e.load(self.workspace, self._weight(matrix, o, offset)), factor, total)]

            total = e.constant(0)
            if matrix.rows <= self.kernels.lanes:
                for o in range(matrix.rows):
                    (total,) = add_row(o, total)
            else:
                (total,) = e.loop("outputs", 0, matrix.rows, 1, add_row, [total])
            e.store(e.keep_first(total, used), activations, e.add(grad_in, offset))

        e.blocks("inputs", matrix.columns, self.kernels.lanes, block, 4)

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
