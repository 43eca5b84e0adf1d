"""What epochs of single samples and of batches are made of: activations, sums and copies, on places in memory."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from functional_mlp.engine.barrier import emit_barrier
from functional_mlp.engine.calls import Calls, Scope
from functional_mlp.engine.expressions import activation_code
from functional_mlp.engine.layout import CROWDED, Layout, Matrix, distance_of_rows, vectors
from functional_mlp.engine.lengths import activation_lengths, activations, emitted
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.llvm.types import DOUBLE, I64, Real
from functional_mlp.engine.llvm.vector import Scalars, VectorNamespace
from functional_mlp.engine.plan import Plan
from functional_mlp.engine.program import Affine, Program
from functional_mlp.layers.elementwise import Elementwise


def reads_input(layer: Elementwise) -> bool:
    """Whether the pullback of an activation uses its input s; where it does not, s need not be kept."""
    function = emitted(layer.pullback, 3)
    s = function.args[0]
    return any(s in instruction.operands for block in function.blocks for instruction in block.instructions)


@attrs.frozen(eq=False)
class Sizes:
    """The sizes of a linear layer, and whether it has biases, 0 or 1."""

    inputs: Index
    outputs: Index
    has_bias: Index


def sizes_of(step: Affine) -> tuple[int, int, int]:
    """The values of a layer's `Sizes`."""
    return step.in_features, step.out_features, int(step.bias)


def fields_of(record: Any) -> tuple[Index, ...]:
    """The values of a record of places, in the order in which they make it again."""
    return attrs.astuple(record, recurse=False)


class Kernels(Calls):
    """The kernels of a program, emitted at a builder's place."""

    layout: Layout
    lanes: int
    real: Real
    xp: VectorNamespace

    def __init__(self, program: Program, plan: Plan, builder: ir.IRBuilder) -> None:
        self.layout = Layout.of(program, plan.lanes)
        self.lanes = plan.lanes
        self.real = Real(program.dtype)
        self._short = plan.short
        self._lengths = {activation_code(layer): activation_lengths(layer) for layer in activations(program)}
        super().__init__(builder, Emitter(builder, self.real, plan.lanes))
        # Losses and activations have no scalars: what little they could compute is emitted in place.
        self.xp = VectorNamespace(self.e, Scalars(self.e))

    def vectors(self, features: Index) -> Index:
        """The number of vectors that hold some features."""
        if isinstance(features, int):
            return vectors(features, self.lanes)
        return self.builder.udiv(self.padded(features), self.e.index(self.lanes))

    def padded(self, features: Index) -> Index:
        """The numbers in the vectors of a row of features."""
        return self.e.rounded_down(self.e.add(features, self.lanes - 1), self.lanes)

    def stride(self, features: Index) -> Index:
        """The numbers from a row of features to the next."""
        if isinstance(features, int):
            return distance_of_rows(features, self.lanes)
        padded, b = self.padded(features), self.builder
        is_crowded = b.icmp_unsigned("==", b.urem(padded, self.e.index(CROWDED)), self.e.index(0))
        return b.select(is_crowded, self.e.add(padded, self.lanes), padded)

    def each_vector(self, scope: Scope, name: str, features: Index, body: Callable[[Index, Index], None]) -> None:
        """body(offset, lanes in use) for each vector of a row of features."""
        self.e.vectors(name, features, body, scope.plan.unrolled.vectors)

    def own_part(self, scope: Scope, count: Index, unit: int) -> tuple[Index, Index]:
        """The first, and the one after the last, of `count` things that are this thread's: whole units, but at the end.

        Where there is but one thread, all are.
        """
        share = scope.share
        if share is None:
            return 0, count
        b, e = self.builder, self.e
        units = -(-count // unit) if isinstance(count, int) else b.udiv(e.add(count, unit - 1), e.index(unit))

        def edge(rank: ir.Value) -> Index:
            whole = e.multiply(b.udiv(e.multiply(units, rank), share.threads), unit)
            return whole if unit == 1 else e.smaller(whole, count)

        return edge(share.rank), edge(b.add(share.rank, e.index(1)))

    def wait_for_threads(self, scope: Scope) -> None:
        """Wait for the other threads, where there are any."""
        if scope.share is not None:
            emit_barrier(self.builder, scope.share, scope.plan)
            self.e.stored.forget_all()

    def each_own_vector(self, scope: Scope, name: str, features: Index, body: Callable[[Index, Index], None]) -> None:
        """As `each_vector`, for this thread's part of the vectors."""
        if scope.share is None:
            self.each_vector(scope, name, features, body)
            return
        first, last = self.own_part(scope, features, self.lanes)
        self.e.loop(name, first, last, self.lanes, lambda i: body(i, self.e.subtract(features, i)))

    def has_short_value(self, layer: Elementwise) -> bool:
        """Whether an activation makes little code, which can be emitted wherever it is needed."""
        return self._lengths[activation_code(layer)][0] <= self._short

    def has_short_pullback(self, layer: Elementwise) -> bool:
        """The same for its pullback."""
        return self._lengths[activation_code(layer)][1] <= self._short

    def activate(self, scope: Scope, layer: Elementwise, features: Index, s: Index, y: Index) -> None:
        """y = σ(s), for the features at two places of the activations."""

        def body(offset: Index, used: Index) -> None:
            value = self.value(layer, self.e.load(scope.activations, self.e.add(s, offset)))
            self._put(scope, value, y, offset, used)

        self.each_vector(scope, "value", features, body)

    def pull_back(
        self,
        scope: Scope,
        layer: Elementwise,
        features: Index,
        s: Index,
        y: Index,
        grad: Index,
        grad_in: Index,
    ) -> None:
        """Equation (3) of the paper, grad_in = grad ⊙ σ'(s); lanes beyond the features become 0.

        Parameters
        ----------
        scope
            Where it is emitted.
        layer
            The activation σ.
        features
            How many features it has.
        s
            The place of its input.
        y
            The place of its output.
        grad
            The place of the gradient of y.
        grad_in
            The place for the gradient of s.
        """

        def body(offset: Index, used: Index) -> None:
            places = (s, y, grad)
            vectors = [self.e.load(scope.activations, self.e.add(place, offset)) for place in places]
            self._put(scope, self.pullback(layer, *vectors), grad_in, offset, used)

        self.each_vector(scope, "pullback", features, body)

    def value(self, layer: Elementwise, s: ir.Value) -> ir.Value:
        """σ(s) of a vector."""
        return self.xp.vectors(layer.value(self.xp, self.xp.array(s)))[0]

    def pullback(self, layer: Elementwise, s: ir.Value, y: ir.Value, grad: ir.Value) -> ir.Value:
        """grad ⊙ σ'(s) of vectors."""
        return self.xp.vectors(layer.pullback(self.xp, *map(self.xp.array, (s, y, grad))))[0]

    def _put(self, scope: Scope, vector: ir.Value, place: Index, offset: Index, used: Index) -> None:
        self.e.store(self.e.keep_first(vector, used), scope.activations, self.e.add(place, offset))

    def add(self, scope: Scope, features: Index, a: Index, b: Index, total: Index) -> None:
        """total = a + b, for the features of a branch at places of the activations."""

        def body(offset: Index, used: Index) -> None:
            terms = [self.e.load(scope.activations, self.e.add(place, offset)) for place in (a, b)]
            self.e.store(self.e.fadd(*terms), scope.activations, self.e.add(total, offset))

        self.each_vector(scope, "add", features, body)

    # Transposed copies

    def transpose(self, scope: Scope, matrix: Matrix, copy: int) -> None:
        """Write the transposed weights of a matrix to a place, in rows padded to vectors."""

        def emit(inside: Scope, sizes: Sequence[Index], places: Sequence[Index]) -> None:
            self._transpose(inside, *sizes, *places)

        self.kernel(scope, "transpose{}", None, (matrix.rows, matrix.columns), (matrix.offset, copy), emit)

    def _transpose(self, scope: Scope, rows: Index, columns: Index, offset: Index, copy: Index) -> None:
        """Square blocks; where a short one stands for rows and columns beyond the last, these are the last again."""
        e, lanes, unrolled = self.e, self.lanes, scope.plan.unrolled.transposed_blocks
        row_stride, stride = self.stride(columns), self.stride(rows)

        def row_block(row: Index, height: Index) -> None:
            def column_block(column: Index, width: Index) -> None:
                source = e.add(e.add(offset, e.multiply(row, row_stride)), column)
                if (
                    isinstance(height, int)
                    and isinstance(width, int)
                    and height * width <= scope.plan.policy.one_by_one
                ):
                    target = e.add(e.add(copy, e.multiply(column, stride)), row)
                    for h, c in itertools.product(range(height), range(width)):
                        number = e.load_number(scope.workspace, e.add(source, e.add(e.multiply(h, row_stride), c)))
                        e.store_number(number, scope.workspace, e.add(target, e.add(e.multiply(c, stride), h)))
                    return
                places = [e.add(source, e.multiply(h, row_stride)) for h in self._within(height)]
                vectors = [e.load(scope.workspace, place) for place in places]
                vectors += [e.constant(0)] * (lanes - len(vectors))
                target = e.add(e.add(copy, e.multiply(column, stride)), row)
                columns_of_block = list(zip(e.transpose(vectors), self._within(width), strict=False))
                for vector, c in columns_of_block if isinstance(width, int) else reversed(columns_of_block):
                    e.store(vector, scope.workspace, e.add(target, e.multiply(c, stride)))

            e.vectors("transpose.columns", columns, column_block, unrolled)

        if scope.share is None:
            e.vectors("transpose.rows", rows, row_block, unrolled)
        else:
            self.each_own_vector(scope, "transpose.rows", rows, row_block)

    def _within(self, count: Index) -> list[Index]:
        """The numbers below a count of at most `lanes`.

        Where it is known only at run time, they are `lanes` numbers, the last one repeated.
        """
        if isinstance(count, int):
            return list(range(count))
        last = self.e.subtract(count, 1)
        return [self.e.smaller(number, last) for number in range(self.lanes)]

    # Results

    def add_to_results(self, scope: Scope, totals: Sequence[ir.Value]) -> None:
        """Add to the sum of the losses and the number of right answers, of which each thread has the whole."""

        def add() -> None:
            for index, total in enumerate(totals):
                place = self.e.address(scope.arguments.results, index, DOUBLE)
                self.builder.store(self.builder.fadd(self.builder.load(place, typ=DOUBLE), total), place)

        share = scope.share
        if share is None:
            add()
            return
        with self.builder.if_then(self.builder.icmp_signed("==", share.rank, ir.Constant(I64, 0))):
            add()
