"""What both kinds of epoch are made of: activations, the loss and the optimizer's rule, on places in memory."""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence

import attrs
from llvmlite import ir

from functional_mlp.engine.calls import Arguments, Calls
from functional_mlp.engine.expressions import activation_code
from functional_mlp.engine.lengths import activation_lengths, activations, emitted
from functional_mlp.engine.llvm.emitter import DOUBLE, I64, Emitter, Index, Real
from functional_mlp.engine.llvm.vector import Array, Outer, Scalars, Sum, VectorNamespace
from functional_mlp.engine.policy import Policy
from functional_mlp.engine.program import Layout, Matrix, Program, vectors
from functional_mlp.layers.elementwise import Elementwise

# Continues a backward pass from the place of the gradient of an output to that of the input; None where it is no use.
Backward = Callable[[int], int | None]


def in_reverse(backwards: Sequence[Backward]) -> Backward:
    """The backward pass of steps, from those of each: the last comes first, and nothing is done for no use."""

    def run(grad: int) -> int | None:
        place: int | None = grad
        for backward in reversed(backwards):
            if place is not None:
                place = backward(place)
        return place

    return run


def reads_input(layer: Elementwise) -> bool:
    """Whether the pullback of an activation uses its input s; where it does not, s need not be kept."""
    function = emitted(layer.pullback, 3)
    s = function.args[0]
    return any(s in instruction.operands for block in function.blocks for instruction in block.instructions)


class Kernels(Calls):
    """The kernels of a program, emitted at a builder's place."""

    def __init__(self, program: Program, policy: Policy, builder: ir.IRBuilder, arguments: Arguments) -> None:
        self.program = program
        self.layout = Layout.of(program, policy.lanes)
        self.lanes = policy.lanes
        self.real = Real(program.dtype)
        self._lengths = {activation_code(layer): activation_lengths(layer) for layer in activations(program)}
        super().__init__(builder, Emitter(builder, self.real, policy.lanes), arguments, policy)
        # Losses and activations have no scalars: what little they could compute is emitted in place.
        self.xp = VectorNamespace(self.e, Scalars(self.e))

    def vectors(self, features: Index) -> Index:
        """How many vectors hold so many features."""
        if isinstance(features, int):
            return vectors(features, self.lanes)
        return self.builder.udiv(self.stride(features), self.e.index(self.lanes))

    def stride(self, features: Index) -> Index:
        """How many numbers a row of so many features takes, padded to vectors."""
        return self.e.rounded_down(self.e.add(features, self.lanes - 1), self.lanes)

    def each_vector(self, name: str, features: Index, body: Callable[[Index, Index], None]) -> None:
        """body(offset, lanes in use) for the vectors of so many features."""
        self.e.vectors(name, features, body, self.policy.unrolled.vectors)

    def has_short_value(self, layer: Elementwise) -> bool:
        """Whether an activation makes little code, which can be emitted wherever it is needed."""
        return self._lengths[activation_code(layer)][0] <= self.policy.short

    def has_short_pullback(self, layer: Elementwise) -> bool:
        """The same for its pullback."""
        return self._lengths[activation_code(layer)][1] <= self.policy.short

    def activate(self, layer: Elementwise, features: Index, s: Index, y: Index) -> None:
        """y = σ(s), for the features at two places of the workspace."""

        def body(offset: Index, used: Index) -> None:
            value = self.value(layer, self.e.load(self.activations, self.e.add(s, offset)))
            self._put(value, y, offset, used)

        self.each_vector("value", features, body)

    def pull_back(self, layer: Elementwise, features: Index, s: Index, y: Index, grad: Index, grad_in: Index) -> None:
        """Equation (3) of the paper, grad_in = grad ⊙ σ'(s); lanes beyond the features become 0."""

        def body(offset: Index, used: Index) -> None:
            places = (s, y, grad)
            vectors = [self.e.load(self.activations, self.e.add(place, offset)) for place in places]
            self._put(self.pullback(layer, *vectors), grad_in, offset, used)

        self.each_vector("pullback", features, body)

    def value(self, layer: Elementwise, s: ir.Value) -> ir.Value:
        """σ(s) of a vector."""
        return self.xp.vectors(layer.value(self.xp, self.xp.array(s)))[0]

    def pullback(self, layer: Elementwise, s: ir.Value, y: ir.Value, grad: ir.Value) -> ir.Value:
        """grad ⊙ σ'(s) of vectors."""
        return self.xp.vectors(layer.pullback(self.xp, *map(self.xp.array, (s, y, grad))))[0]

    def _put(self, vector: ir.Value, place: Index, offset: Index, used: Index) -> None:
        self.e.store(self.e.keep_first(vector, used), self.activations, self.e.add(place, offset))

    def add(self, features: Index, a: Index, b: Index, total: Index) -> None:
        """total = a + b, for the features of a branch at places of the workspace."""

        def body(offset: Index, used: Index) -> None:
            terms = [self.e.load(self.activations, self.e.add(place, offset)) for place in (a, b)]
            self.e.store(self.e.fadd(*terms), self.activations, self.e.add(total, offset))

        self.each_vector("add", features, body)

    # The loss

    def loss(self, row: ir.Value, prediction: Index, grad: Index | None, scale: ir.Value | None) -> list[ir.Value]:
        """One sample's loss and whether it is right, as doubles; its gradient times `scale` is stored at `grad`."""
        self.builder.comment(f"loss: {self.program.loss!r}")
        features = self.program.out_features
        count = self.vectors(features)
        y = Array(
            self.xp,
            [self.e.load(self.activations, self.e.add(prediction, v * self.lanes)) for v in range(count)],
            features,
        )
        target = Array(self.xp, self._target(row, count), features)
        if grad is not None:
            gradient = self.program.loss.sample_grad(self.xp, y, target)
            for v, vector in enumerate(self.xp.vectors(gradient, count)):
                scaled = vector if scale is None else self.e.fmul(vector, scale)
                kept = self.e.keep_first(scaled, features - v * self.lanes)
                self.e.store(kept, self.activations, self.e.add(grad, v * self.lanes))
        value = self.program.loss.sample_value(self.xp, y, target)
        return [self._as_double(value), self._is_right(row, prediction)]

    def _target(self, row: ir.Value, count: int) -> list[ir.Value]:
        e, features = self.e, self.program.out_features
        if not self.program.class_targets:
            base = e.multiply(row, features)
            return [
                e.load_first(self.arguments.targets, e.add(base, v * self.lanes), features - v * self.lanes)
                for v in range(count)
            ]
        label = self.builder.load(e.address(self.arguments.labels, row, I64), typ=I64, align=8)
        wanted = e.splat_integer(label)
        one_hot = []
        for v in range(count):
            classes = ir.Constant(
                e.integers_type, [ir.Constant(self.real.integer, v * self.lanes + lane) for lane in range(self.lanes)]
            )
            one_hot.append(
                self.builder.select(self.builder.icmp_signed("==", wanted, classes), e.constant(1), e.constant(0))
            )
        return one_hot

    def _as_double(self, value: object) -> ir.Value:
        """The sample's loss, summed over lanes in double."""
        if isinstance(value, Sum):
            used = min(self.program.out_features, self.lanes)
            lanes = value.lanes
        else:
            lanes, used = self.xp.vectors(value)[0], 1
        total = None
        for lane in range(used) if used <= self.policy.most_outputs_added else ():
            number = self.builder.extract_element(lanes, ir.Constant(I64, lane))
            number = number if number.type == DOUBLE else self.builder.fpext(number, DOUBLE)
            total = number if total is None else self.builder.fadd(total, number)
        if total is None:
            name = f"llvm.vector.reduce.fadd.v{self.lanes}{self.real.suffix}"
            total = self.e.intrinsic(name, [self.real.constant(-0.0), lanes], self.real.type, ["reassoc"])
            total = total if total.type == DOUBLE else self.builder.fpext(total, DOUBLE)
        return total

    def _is_right(self, row: ir.Value, prediction: Index) -> ir.Value:
        """1.0 where the first of the largest outputs is the label's; NaN counts as the largest, as in torch."""
        e, b = self.e, self.builder
        best = e.load_number(self.activations, prediction)

        def body(i: Index, best: ir.Value, place: ir.Value) -> list[ir.Value]:
            number = e.load_number(self.activations, e.add(prediction, i))
            better = b.and_(b.fcmp_unordered(">", number, best), b.fcmp_ordered("ord", best, best))
            return [b.select(better, number, best), b.select(better, e.index(i), place)]

        place: ir.Value = ir.Constant(I64, 0)
        features = self.program.out_features
        if features <= self.policy.most_outputs_compared:
            for i in range(1, features):
                best, place = body(i, best, place)
        else:
            best, place = e.loop("argmax", 1, features, 1, body, [best, place])
        label = b.load(e.address(self.arguments.labels, row, I64), typ=I64, align=8)
        return b.uitofp(b.icmp_signed("==", place, label), DOUBLE)

    # Transposed copies

    def transpose(self, matrix: Matrix, copy: int) -> None:
        """Write the transposed weights of a matrix to a place, in rows padded to vectors."""
        sizes, places = (matrix.rows, matrix.columns), (matrix.offset, copy)
        self.kernel("transpose{}", None, sizes, places, self._transpose)

    def _transpose(self, rows: Index, columns: Index, offset: Index, copy: Index) -> None:
        """Square blocks; where a short one stands for rows and columns beyond the last, these are the last again."""
        e, lanes = self.e, self.lanes
        row_stride, stride = self.stride(columns), self.stride(rows)

        def row_block(row: Index, height: Index) -> None:
            def column_block(column: Index, width: Index) -> None:
                source = e.add(e.add(offset, e.multiply(row, row_stride)), column)
                if isinstance(height, int) and isinstance(width, int) and height * width <= self.policy.one_by_one:
                    target = e.add(e.add(copy, e.multiply(column, stride)), row)
                    for h, c in itertools.product(range(height), range(width)):
                        number = e.load_number(self.workspace, e.add(source, e.add(e.multiply(h, row_stride), c)))
                        e.store_number(number, self.workspace, e.add(target, e.add(e.multiply(c, stride), h)))
                    return
                places = [e.add(source, e.multiply(h, row_stride)) for h in self._within(height)]
                vectors = [e.load(self.workspace, place) for place in places]
                vectors += [e.constant(0)] * (lanes - len(vectors))
                target = e.add(e.add(copy, e.multiply(column, stride)), row)
                columns_of_block = list(zip(e.transpose(vectors), self._within(width), strict=False))
                for vector, c in columns_of_block if isinstance(width, int) else reversed(columns_of_block):
                    e.store(vector, self.workspace, e.add(target, e.multiply(c, stride)))

            e.vectors("transpose.columns", columns, column_block, self.policy.unrolled.transposed_blocks)

        e.vectors("transpose.rows", rows, row_block, self.policy.unrolled.transposed_blocks)

    def _within(self, count: Index) -> list[Index]:
        """The numbers below a count of at most `lanes`; where it is a value, `lanes` numbers, the last one repeated."""
        if isinstance(count, int):
            return list(range(count))
        last = self.e.subtract(count, 1)
        return [self.e.smaller(number, last) for number in range(self.lanes)]

    # The optimizer

    @contextlib.contextmanager
    def rule(self, batch: ir.Value) -> "Iterator[Rule]":
        """The rule for the update after a batch of this epoch, counted from 0.

        Its scalars are emitted in a block ahead of the one that goes on.
        """
        scalars = ir.IRBuilder(self.builder.block)
        update = self.builder.append_basic_block("update")
        self.builder.position_at_end(update)
        number = scalars.add(scalars.add(self.arguments.step, batch), ir.Constant(I64, 1))
        yield Rule(self, Scalars(self.e.at(scalars)), scalars.sitofp(number, DOUBLE))
        scalars.branch(update)

    # Results

    def add_to_results(self, totals: Sequence[ir.Value]) -> None:
        """Add to the sum of the losses and the number of right answers."""
        for index, total in enumerate(totals):
            place = self.e.address(self.arguments.results, index, DOUBLE)
            self.builder.store(self.builder.fadd(self.builder.load(place, typ=DOUBLE), total), place)


class Rule:
    """The optimizer's rule, applied to vectors of parameters where they lie."""

    def __init__(self, kernels: Kernels, scalars: Scalars, step_number: ir.Value) -> None:
        self._kernels = kernels
        self._xp = VectorNamespace(kernels.e, scalars)
        self._step = self._xp.scalar(step_number, "step")
        self._learning_rate = self._xp.scalar(kernels.arguments.learning_rate, "learning_rate")
        self._slots = range(1, 1 + len(kernels.program.optimizer.slots()))

    def apply(
        self,
        place: Index,
        param: ir.Value,
        grad: ir.Value | tuple[ir.Value, ir.Value],
        distance: int | None = None,
    ) -> ir.Value:
        """Update the vector of parameters at a place, and what the rule remembers of it; returns the new vector.

        Each slot's lies a `distance` further on, that of whole arrays where it is not given.
        A gradient may be a pair (factor, array), for their product. Lanes beyond a row's columns may come to hold
        anything; who reads the weights ignores them.
        """
        kernels, xp = self._kernels, self._xp
        e, size = kernels.e, distance or kernels.layout.size
        gradient = Outer(xp, *grad) if isinstance(grad, tuple) else xp.array(grad)
        slots = [xp.array(e.load(kernels.workspace, e.add(place, size * slot))) for slot in self._slots]
        rule = kernels.program.optimizer.rule
        updated, *remembered = rule(xp, self._step, self._learning_rate, xp.array(param), gradient, *slots)
        (vector,) = xp.vectors(updated)
        e.store(vector, kernels.workspace, place)
        for slot, value in zip(self._slots, remembered, strict=True):
            e.store(xp.vectors(value)[0], kernels.workspace, e.add(place, size * slot))
        return vector


@attrs.frozen(eq=False)
class Pending:
    """The update of the sample before the one at a position: its rule, and where the activations of that sample are."""

    rule: Rule
    position: Index
    activations: ir.Value
