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
import functools
from collections.abc import Callable, Iterator

from llvmlite import ir

from functional_mlp.engine.calls import Arguments
from functional_mlp.engine.expressions import activation_code
from functional_mlp.engine.kernels import Kernels, Pending
from functional_mlp.engine.llvm.emitter import DOUBLE, I64, Index
from functional_mlp.engine.policy import Policy
from functional_mlp.engine.program import Affine, Branch, Pointwise, Program, Step, affine_steps, vectors
from functional_mlp.engine.single.matvec import Grid, Products
from functional_mlp.layers.elementwise import Elementwise

# A step's place in the nest of branches.
Path = tuple[int, ...]


class SampleEpoch:
    """Emits the epoch of a program with batch size 1 into a function."""

    def __init__(self, program: Program, policy: Policy, builder: ir.IRBuilder, arguments: Arguments) -> None:
        self.kernels = Kernels(program, policy, builder, arguments)
        self.products = Products(self.kernels)
        self.e = self.kernels.e
        self.builder = builder
        self.program = program
        self._places: dict[tuple[str, Path], int] = {}  # what is kept of a sample, by name and step
        self._end = 0
        self.copies: dict[int, int] = {}  # the places of the matrices that are kept transposed, by layer

    @property
    def workspace(self) -> ir.Value:
        return self.kernels.workspace

    def emit(self) -> int:
        """Emit the function's body; returns the size of the workspace, in numbers.

        There is at least one sample. The passes of the first one; those of each further one, which begin with the
        update of the sample before; the update of the last.
        """
        b, arguments = self.builder, self.kernels.arguments
        with self.kernels.in_functions():
            start = self._make_copies(self.kernels.layout.size * (1 + len(self.program.optimizer.slots())))
            here = self.e.address(self.workspace, start)
            prediction = self._forward_pass(arguments.first, here, None)
            outcome = self._backward_pass(arguments.first, here, prediction, None)
        size = self._end
        there = self.e.address(self.workspace, start + size)
        end = self.products.tails.reserve(start + 2 * size)
        self.products.tails.pack()

        def sample(position: Index, before: ir.Value, activations: ir.Value, *totals: ir.Value) -> list[ir.Value]:
            with self._pending(position, before) as pending:
                self._forward_pass(position, activations, pending)
                back = b.append_basic_block("back")  # LLVM orders instructions badly where there are too many at once
                b.branch(back)
                b.position_at_end(back)
                outcome = self._backward_pass(position, activations, prediction, pending)
            return [activations, before, *[b.fadd(total, more) for total, more in zip(totals, outcome, strict=True)]]

        second = b.add(arguments.first, ir.Constant(I64, 1))
        last, _, *totals = self.e.loop("sample", second, arguments.last, 1, sample, [here, there, *outcome])
        self.products.tails.unpack()
        with self._pending(arguments.last, last) as pending, self.kernels.in_functions():
            self._update_alone(pending)
        self.kernels.add_to_results(totals)
        return end

    def _row(self, position: Index) -> ir.Value:
        order = self.kernels.arguments.order
        return self.builder.load(self.e.address(order, position, I64), typ=I64, align=8, name="row")

    @contextlib.contextmanager
    def _pending(self, position: Index, activations: ir.Value) -> Iterator[Pending]:
        """The update before a sample, with the activations of the sample that it is due to."""
        earlier = self.builder.sub(self.e.index(position), ir.Constant(I64, 1))
        with self.kernels.rule(earlier) as rule:
            yield Pending(rule, position, activations)

    # What is kept of a sample

    def _place(self, name: str, path: Path, features: int) -> int:
        """The place of so many features, the same whenever it is asked for."""
        if (name, path) not in self._places:
            self._places[name, path] = self._end
            self._end += self.kernels.lanes * vectors(features, self.kernels.lanes)
        return self._places[name, path]

    def _make_copies(self, place: int) -> int:
        """Write the transposed copies from a place of the workspace on; returns where they end."""
        lanes, policy = self.kernels.lanes, self.kernels.policy
        if not policy.keeps_copies:
            return place
        with self.kernels.table():
            for matrix in self.kernels.layout.matrices[1:]:  # the gradient of the data is of no use
                size = matrix.columns * lanes * vectors(matrix.rows, lanes)
                if matrix.input_major and max(matrix.rows * matrix.stride, size) <= policy.most_copied_vectors * lanes:
                    self.copies[matrix.step.number] = place
                    self.kernels.transpose(matrix, place)
                    place += size
        return place

    # Passes

    def _forward_pass(self, position: Index, activations: ir.Value, pending: Pending | None) -> int:
        """The forward pass of a sample into `activations`, with the update of the one before; the output's place."""
        self.kernels.activations = activations
        features = self.program.in_features
        x = self._place("x", (), features)
        base = self.e.multiply(self._row(position), features)

        def body(offset: Index, used: Index) -> None:
            vector = self.e.load_first(self.kernels.arguments.inputs, self.e.add(base, offset), used)
            self.e.store(vector, activations, self.e.add(x, offset))

        self.kernels.each_vector("inputs", features, body)
        with self._table(pending):
            return self._forward(self.program.steps, (), x, pending)

    def _forward(self, steps: tuple[Step, ...], path: Path, x: int, pending: Pending | None) -> int:
        for index, step in enumerate(steps):
            here = (*path, index)
            self._places["x", here] = x
            if isinstance(step, Affine):
                s = self._place("s", here, step.out_features)
                self._affine(step, here, s, pending)
                x = s
            elif isinstance(step, Pointwise):
                y = self._place("y", here, step.features)
                emit = functools.partial(self.kernels.activate, step.layer)
                self._features_kernel("value", step.layer, step.features, emit, (x, y))
                x = y
            else:
                inner = self._forward(step.steps, here, x, pending)
                y = self._place("y", here, step.features)
                self._features_kernel("add", None, step.features, self.kernels.add, (x, inner, y))
                x = y
        return x

    def _backward_pass(
        self, position: Index, activations: ir.Value, prediction: int, pending: Pending | None
    ) -> list[ir.Value]:
        """Loss and backward pass of a sample, with the update before it; returns its loss and whether it is right."""
        self.kernels.activations = activations
        grad = self._place("grad", (), self.program.out_features)
        outcome = self._loss(self._row(position), prediction, grad)
        with self._table(pending):
            self._backward(self.program.steps, (), grad, pending, needs_grad=False)
        return outcome

    def _table(self, pending: Pending | None) -> contextlib.AbstractContextManager[None]:
        """A table of the calls of a pass, with what its functions are given."""
        activations = self.kernels.activations
        if pending is None:
            return self.kernels.table(activations, ir.Constant(I64, 0), activations)
        return self.kernels.table(activations, pending.position, pending.activations)

    def _loss(self, row: ir.Value, prediction: int, grad: int) -> list[ir.Value]:
        """The loss of a sample and whether it is right, and the gradient; in a shared function where that is long."""
        if vectors(self.program.out_features, self.kernels.lanes) <= self.kernels.policy.most_loss_vectors:
            return self.kernels.loss(row, prediction, grad, None)
        place = self._place("outcome", (), 2 * 8 // self.kernels.real.size) * self.kernels.real.size // 8

        def body(activations: ir.Value, row: ir.Value) -> None:
            self.kernels.activations = activations
            for index, value in enumerate(self.kernels.loss(row, prediction, grad, None)):
                self.builder.store(value, self.e.address(self.kernels.activations, place + index, DOUBLE))

        self.kernels.share("loss", "loss", (self.kernels.activations, row), body)
        addresses = [self.e.address(self.kernels.activations, place + index, DOUBLE) for index in range(2)]
        return [self.builder.load(address, typ=DOUBLE) for address in addresses]

    def _backward(
        self, steps: tuple[Step, ...], path: Path, grad: int, pending: Pending | None, *, needs_grad: bool
    ) -> int | None:
        """Emit the backward pass of steps; returns the place of the gradient with respect to their input.

        `needs_grad` says whether that is of use; where it is not, there is none.
        """
        result: int | None = grad
        first = next((index for index, step in enumerate(steps) if affine_steps((step,))), len(steps))
        for index in reversed(range(len(steps))):
            if result is None:
                return None
            step, here = steps[index], (*path, index)
            needed = needs_grad or index > first
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
        places = (self._places["x", path], self._places["y", path], grad, grad_in)
        emit = functools.partial(self.kernels.pull_back, step.layer)
        self._features_kernel("pullback", step.layer, step.features, emit, places)
        return grad_in

    def _branch_backward(
        self, step: Branch, path: Path, grad: int, pending: Pending | None, *, needs_grad: bool
    ) -> int | None:
        inner = self._backward(step.steps, path, grad, pending, needs_grad=needs_grad)
        if inner is None or not needs_grad:
            return None
        total = self._place("grad", path, step.features)
        self._features_kernel("add", None, step.features, self.kernels.add, (grad, inner, total))
        return total

    def _update_alone(self, pending: Pending) -> None:
        """The update of the last sample, which no forward pass follows."""
        self.kernels.activations = pending.activations

        def update(steps: tuple[Step, ...], path: Path) -> None:
            for index, step in enumerate(steps):
                if isinstance(step, Affine):
                    self._affine(step, (*path, index), None, pending)
                elif isinstance(step, Branch):
                    update(step.steps, (*path, index))

        with self._table(pending):
            update(self.program.steps, ())

    # Linear layers

    def _affine(self, step: Affine, path: Path, s: int | None, pending: Pending | None) -> None:
        """The pending update of a layer, and s = w x + b with what comes of it where there is an s."""
        matrix, x = self.kernels.layout.matrices[step.number], self._places["x", path]
        delta = self._places["delta", path] if pending is not None else 0
        kind = "update" if s is None else "forward"
        variant = (matrix.input_major, s is not None)
        places = (x, delta, s or 0, matrix.offset, matrix.bias_offset)
        self._linear_kernel(kind, step, variant, self._meet, places, pending)

    def _meet(
        self,
        input_major: bool,
        has_s: bool,
        pending: Pending | None,
        inputs: Index,
        outputs: Index,
        has_bias: Index,
        x: Index,
        delta: Index,
        s: Index,
        weights: Index,
        biases: Index,
    ) -> None:
        grid = self._grid(input_major, inputs, outputs, weights)
        bias = functools.partial(self.products.bias, has_bias, biases, delta=delta, pending=pending)
        meet = self.products.meet_rows if input_major else self.products.meet_by_output
        meet(grid, x, delta, s if has_s else None, pending, bias)

    def _grid(self, input_major: bool, inputs: Index, outputs: Index, weights: Index) -> Grid:
        rows, columns = (inputs, outputs) if input_major else (outputs, inputs)
        tails = self.products.tails.of(weights)
        in_rows = tails[0].first if tails else columns
        return Grid(weights, rows, in_rows, self.kernels.stride(columns), tails=tails)

    def _grad_in(self, step: Affine, path: Path, pending: Pending | None) -> int:
        """The gradient with respect to a layer's input, wᵀ delta (2)."""
        matrix, copy = self.kernels.layout.matrices[step.number], self.copies.get(step.number)
        delta, x = self._places["delta", path], self._places["x", path]
        grad_in = self._place("grad", path, step.in_features)
        if copy is not None:
            self._linear_kernel("backward", step, ("copy",), self._grad_by_copy, (x, delta, grad_in, copy), pending)
        else:
            places = (x, delta, grad_in, matrix.offset)
            self._linear_kernel("backward", step, (matrix.input_major,), self._grad_by_matrix, places, None)
        return grad_in

    def _grad_by_copy(
        self,
        _: str,
        pending: Pending | None,
        inputs: Index,
        outputs: Index,
        has_bias: Index,
        x: Index,
        delta: Index,
        grad_in: Index,
        copy: Index,
    ) -> None:
        grid = Grid(copy, outputs, inputs, self.kernels.stride(inputs), transposed=True)
        self.products.meet_rows(grid, delta, x, grad_in, pending, lambda v: self.e.constant(0))

    def _grad_by_matrix(
        self,
        input_major: bool,
        pending: None,
        inputs: Index,
        outputs: Index,
        has_bias: Index,
        x: Index,
        delta: Index,
        grad_in: Index,
        weights: Index,
    ) -> None:
        grid = self._grid(input_major, inputs, outputs, weights)
        if input_major:
            self.products.grad_by_input(grid, delta, grad_in)
        else:
            self.products.grad_by_output(grid, delta, grad_in)

    # Kernels

    def _linear_kernel(
        self,
        kind: str,
        step: Affine,
        variant: tuple[bool | str, ...],
        emit: Callable[..., None],
        places: tuple[int, ...],
        pending: Pending | None,
    ) -> None:
        """emit(*variant, pending, inputs, outputs, has_bias, *places)."""
        self.builder.comment(f"{kind}: {step}")
        sizes = (step.in_features, step.out_features, int(step.bias))
        if self.kernels.policy.in_one_piece:
            emit(*variant, pending, *sizes, *places)
            return
        due = () if pending is None else (pending.position, pending.activations)

        def body(inputs: Index, outputs: Index, has_bias: Index, activations: ir.Value, *values: Index) -> None:
            self.kernels.activations = activations
            if pending is None:
                emit(*variant, None, inputs, outputs, has_bias, *values)
                return
            with self._pending(*values[:2]) as own:
                emit(*variant, own, inputs, outputs, has_bias, *values[2:])

        values = (self.kernels.activations, *due, *places)
        self.kernels.kernel(f"linear{{}}.{kind}", (variant, bool(due)), sizes, values, body)

    def _features_kernel(
        self, kind: str, layer: Elementwise | None, features: int, emit: Callable[..., None], places: tuple[int, ...]
    ) -> None:
        """emit(features, *places), of an activation where there is a layer."""
        self.builder.comment(f"{kind}: {layer!r}")
        if self.kernels.policy.in_one_piece:
            emit(features, *places)
            return

        def body(features: Index, activations: ir.Value, *places: Index) -> None:
            self.kernels.activations = activations
            emit(features, *places)

        places = (self.kernels.activations, *places)
        self.kernels.kernel(f"{kind}{{}}", activation_code(layer), (features,), places, body)
