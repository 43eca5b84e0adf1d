"""An epoch of many networks at once: one member a lane.

Every number of a network is a vector that holds this number of each member, so that there are no sums over lanes
and no padding: the code is that of one network, number by number, with a loop over the rows of each matrix. The
members share the program; weights, data, order and hyperparameters are each lane's own.

Weights are stored input-major, a row an input. Both passes take a few rows at a time, whose inputs, and the sums
for whose gradients, stay in registers while the outputs go by: each weight is loaded once in a pass, in the order
in which it lies in memory.
"""

from collections.abc import Callable, Sequence

import attrs
from llvmlite import ir
from torch import Tensor

from functional_mlp.engine.emitter import DOUBLE, I64, POINTER, Body, Emitter, Index, Real
from functional_mlp.engine.lanes import LaneNamespace, LaneRule, LaneScalars, Uniform
from functional_mlp.engine.program import Affine, Branch, Pointwise, Program, Step, affine_steps
from functional_mlp.engine.vector import Outer, Scalar

# Units that are treated one after the other in the body of a loop.
UNROLLED = 5
# The most rows of a matrix that are met at a time.
MOST_ROWS = 8

# Continues a backward pass from the place of the gradient with respect to an output.
Backward = Callable[[int], int | None]
# Uses x δ, the gradient of the parameter at a place: update(place, parameter, x, δ).
Update = Callable[[Index, ir.Value, ir.Value, ir.Value], None]


@attrs.frozen
class EnsembleProgram:
    """All that the code for an ensemble depends on, the target aside; the program's own optimizer is not read."""

    program: Program
    rule: LaneRule


@attrs.frozen(eq=False)
class LaneArguments:
    """The arguments of the compiled function.

    `pointers` holds, a number a lane, the addresses of the members' inputs, targets, labels and orders; `scalars`
    their learning rates and what else differs between their optimizers; `results` the sums of their losses and
    the numbers of samples that were right, which are both added to.
    """

    workspace: ir.Value
    pointers: ir.Value
    scalars: ir.Value
    first: ir.Value
    last: ir.Value
    step: ir.Value
    results: ir.Value

    TYPES = (POINTER, POINTER, POINTER, I64, I64, I64, POINTER)


INPUTS, TARGETS, LABELS, ORDERS = range(4)


@attrs.frozen
class LaneLayout:
    """The places of the parameters, counted in vectors: for each linear layer its weights, then its biases."""

    steps: tuple[Affine, ...]
    weights: tuple[int, ...]
    biases: tuple[int, ...]
    size: int

    @classmethod
    def of(cls, program: Program) -> "LaneLayout":
        steps, weights, biases, place = tuple(affine_steps(program.steps)), [], [], 0
        for step in steps:
            weights.append(place)
            biases.append(place + step.in_features * step.out_features)
            place = biases[-1] + (step.out_features if step.bias else 0)
        return cls(steps, tuple(weights), tuple(biases), place)

    def views(self, vectors: Tensor, lane: int) -> list[Tensor]:
        """The leaves of a member's params, in order and in their own shapes, as views of (size, lanes)."""
        views = []
        for step, weight, bias in zip(self.steps, self.weights, self.biases, strict=True):
            views.append(vectors[weight:bias, lane].unflatten(0, (step.in_features, step.out_features)).T)
            if step.bias:
                views.append(vectors[bias : bias + step.out_features, lane])
        return views


class EnsembleEpoch:
    """Emits the epoch of an ensemble into a function."""

    def __init__(self, program: EnsembleProgram, lanes: int, builder: ir.IRBuilder, arguments: LaneArguments) -> None:
        self.program, self.rule = program.program, program.rule
        self.layout = LaneLayout.of(self.program)
        self.real = Real(self.program.dtype)
        self.e = Emitter(builder, self.real, lanes)
        self.builder, self.arguments, self.lanes = builder, arguments, lanes
        self.xp = LaneNamespace(self.e, LaneScalars(self.e))
        self.doubles = ir.VectorType(DOUBLE, lanes)
        self.gradients = self.layout.size * (1 + len(self.rule.slots()))
        self.update: Update = self._accumulate
        self.end = self.gradients + (0 if self.program.batch_size == 1 else self.layout.size)

    def emit(self) -> int:
        """Emit the function's body; returns the size of the workspace, in numbers."""
        arguments, e, b = self.arguments, self.e, self.builder
        batch_size = self.program.batch_size
        body = self._sample_step if batch_size == 1 else self._batch_step
        zero = ir.Constant(self.doubles, [ir.Constant(DOUBLE, 0.0)] * self.lanes)
        totals = e.loop("epoch.position", arguments.first, arguments.last, batch_size, body, [zero, zero])
        for index, total in enumerate(totals):
            place = e.address(arguments.results, index * self.lanes, DOUBLE)
            b.store(b.fadd(b.load(place, typ=self.doubles, align=8), total), place, align=8)
        return self.end * self.lanes

    def load(self, place: Index) -> ir.Value:
        return self.e.load(self.arguments.workspace, self.e.multiply(place, self.lanes))

    def store(self, value: ir.Value, place: Index) -> None:
        self.e.store(value, self.arguments.workspace, self.e.multiply(place, self.lanes))

    def units(self, name: str, count: int, body: Body, carried: Sequence[ir.Value] = ()) -> list[ir.Value]:
        """carried = body(unit, *carried) for so many units, several in the body of a loop."""

        def several(first: Index, *values: ir.Value) -> Sequence[ir.Value]:
            now: Sequence[ir.Value] = values
            for offset in range(UNROLLED):
                now = body(self.e.add(first, offset), *now) or ()
            return now

        rest = count % UNROLLED
        now: Sequence[ir.Value] = self.e.loop(name, 0, count - rest, UNROLLED, several, carried)
        for unit in range(count - rest, count):
            now = body(unit, *now) or ()
        return list(now)

    # Steps of the optimizer

    def _sample_step(self, position: Index, loss_sum: ir.Value, right: ir.Value) -> Sequence[ir.Value]:
        """A sample of each member, and their updates: Algorithm 1 of the paper."""
        scalars, after = self._scalars_block()
        self.update = self._rule(LaneScalars(self.e.at(scalars)), position)
        totals = self._sample(position, None, loss_sum, right)
        scalars.branch(after)
        return totals

    def _batch_step(self, start: Index, loss_sum: ir.Value, right: ir.Value) -> Sequence[ir.Value]:
        """A batch of each member: gradients are added up, and applied after the last sample."""
        e, b = self.e, self.builder
        scalars, after = self._scalars_block()
        size = ir.Constant(I64, self.program.batch_size)
        end = b.add(start, size)
        end = b.select(b.icmp_signed("<", end, self.arguments.last), end, self.arguments.last)
        samples = b.sitofp(b.sub(end, start), self.real.type)
        scale = e.splat(b.fdiv(self.real.constant(1), samples))

        self.update = self._accumulate

        def sample(position: Index, *totals: ir.Value) -> Sequence[ir.Value]:
            return self._sample(position, scale, *totals)

        def apply(i: Index) -> None:
            update(i, self.load(i), e.constant(1), self.load(e.add(self.gradients, i)))

        self.units("gradients.clear", self.layout.size, lambda i: self.store(e.constant(0), e.add(self.gradients, i)))
        totals = e.loop("batch.position", start, end, 1, sample, [loss_sum, right])
        update = self._rule(LaneScalars(e.at(scalars)), scalars.sdiv(start, size))
        self.units("parameters", self.layout.size, apply)
        scalars.branch(after)
        return totals

    def _accumulate(self, place: Index, param: ir.Value, x: ir.Value, delta: ir.Value) -> None:
        place = self.e.add(self.gradients, place)
        self.store(self.e.multiply_add(x, delta, self.load(place)), place)

    def _scalars_block(self) -> tuple[ir.IRBuilder, ir.Block]:
        """A place for scalars ahead of all that uses them, and the block after it, which is now emitted into."""
        scalars = ir.IRBuilder(self.builder.block)
        after = self.builder.append_basic_block("step")
        self.builder.position_at_end(after)
        return scalars, after

    def _rule(self, scalars: LaneScalars, number: Index) -> Update:
        """What applies the optimizers' rule in the update of a number, counted from 0 in the epoch."""
        e, builder = self.e, scalars.builder
        xp = LaneNamespace(e, scalars)
        number = builder.add(builder.add(self.arguments.step, e.index(number)), ir.Constant(I64, 1))
        step = Uniform(xp, scalars, builder.sitofp(number, DOUBLE), "step")
        rates, *rest = (self._scalar(xp, scalars, i, name) for i, name in enumerate(("rate", *self.rule.per_lane)))
        rule = self.rule.expression(dict(zip(self.rule.per_lane, rest, strict=True)))
        slots = range(1, 1 + len(self.rule.slots()))

        def update(place: Index, param: ir.Value, x: ir.Value, delta: ir.Value) -> None:
            places = [e.add(place, self.layout.size * slot) for slot in slots]
            remembered = [xp.array(self.load(where)) for where in places]
            updated = rule(xp, step, rates, xp.array(param), Outer(xp, x, delta), *remembered)
            for where, value in zip((place, *places), updated, strict=True):
                self.store(xp.vectors(value)[0], where)

        return update

    def _scalar(self, xp: LaneNamespace, scalars: LaneScalars, index: int, name: str) -> Scalar:
        """A row of the table of scalars."""
        place = self.e.at(scalars.builder).address(self.arguments.scalars, index * self.lanes, DOUBLE)
        return Scalar(xp, scalars.builder.load(place, typ=self.doubles, align=8), name)

    # One sample of each member

    def _sample(
        self, position: Index, scale: ir.Value | None, loss_sum: ir.Value, right: ir.Value
    ) -> Sequence[ir.Value]:
        """Both passes; `self.update` meets every gradient, times `scale`."""
        rows = self._rows(position)
        x = self._load_inputs(rows)
        prediction, backward = self._forward(self.program.steps, x, needs_grad=False)
        grad, loss, is_right = self._loss(rows, prediction, scale)
        backward(grad)
        return [self.builder.fadd(loss_sum, loss), self.builder.fadd(right, is_right)]

    def reserve(self, features: int) -> int:
        """A new place in the workspace for so many features."""
        place = self.end
        self.end += features
        return place

    def _rows(self, position: Index) -> list[ir.Value]:
        """The row of its data that each member comes to."""
        b, e = self.builder, self.e
        return [
            b.load(e.address(self._pointer(ORDERS, lane), position, I64), typ=I64, align=8)
            for lane in range(self.lanes)
        ]

    def _pointer(self, table: int, lane: int) -> ir.Value:
        """The address of a member's inputs, targets, labels or order."""
        place = self.e.address(self.arguments.pointers, table * self.lanes + lane, POINTER)
        return self.builder.load(place, typ=POINTER, align=8)

    def _gathered(self, pointers: Sequence[ir.Value], offset: Index) -> ir.Value:
        """The vector of the numbers at an offset from an address a lane."""
        vector = ir.Constant(self.e.vector_type, ir.Undefined)
        for lane, pointer in enumerate(pointers):
            number = self.e.load_number(pointer, offset)
            vector = self.builder.insert_element(vector, number, ir.Constant(I64, lane))
        return vector

    def _row_addresses(self, table: int, rows: Sequence[ir.Value], columns: int) -> list[ir.Value]:
        e = self.e
        return [e.address(self._pointer(table, lane), e.multiply(row, columns)) for lane, row in enumerate(rows)]

    def _load_inputs(self, rows: Sequence[ir.Value]) -> int:
        features = self.program.in_features
        x, addresses = self.reserve(features), self._row_addresses(INPUTS, rows, features)

        def body(i: Index) -> None:
            self.store(self._gathered(addresses, i), self.e.add(x, i))

        self.units("inputs", features, body)
        return x

    # Passes

    def _forward(self, steps: tuple[Step, ...], x: int, needs_grad: bool) -> tuple[int, Backward]:
        """Emit the forward pass of steps; returns the place of the output, and what emits the backward pass.

        `needs_grad` says whether the gradient with respect to x is of use.
        """
        backwards: list[Backward] = []
        for step in steps:
            if isinstance(step, Affine):
                x, backward = self._affine(step, x, needs_grad)
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
        e, xp = self.e, self.xp
        y = self.reserve(step.features)
        self.builder.comment(f"value: {step.layer!r}")

        def value(i: Index) -> None:
            self.store(xp.vectors(step.layer.value(xp, xp.array(self.load(e.add(s, i)))))[0], e.add(y, i))

        self.units("value", step.features, value)

        def backward(grad: int) -> int | None:
            if not needs_grad:
                return None
            grad_in = self.reserve(step.features)
            self.builder.comment(f"pullback: {step.layer!r}")

            def pullback(i: Index) -> None:
                arrays = [xp.array(self.load(e.add(place, i))) for place in (s, y, grad)]
                self.store(xp.vectors(step.layer.pullback(xp, *arrays))[0], e.add(grad_in, i))

            self.units("pullback", step.features, pullback)
            return grad_in

        return y, backward

    def _branch(self, step: Branch, x: int, needs_grad: bool) -> tuple[int, Backward]:
        inner, inner_backward = self._forward(step.steps, x, needs_grad)
        y = self._sum(x, inner, step.features)

        def backward(grad: int) -> int | None:
            inner_grad = inner_backward(grad)
            return None if not needs_grad or inner_grad is None else self._sum(grad, inner_grad, step.features)

        return y, backward

    def _sum(self, a: int, b: int, features: int) -> int:
        e, total = self.e, self.reserve(features)

        def add(i: Index) -> None:
            self.store(e.fadd(self.load(e.add(a, i)), self.load(e.add(b, i))), e.add(total, i))

        self.units("add", features, add)
        return total

    def _affine(self, step: Affine, x: int, needs_grad: bool) -> tuple[int, Backward]:
        e, outputs = self.e, step.out_features
        weight, bias = self.layout.weights[step.number], self.layout.biases[step.number]
        s, name = self.reserve(outputs), f"linear{step.number}"
        self.builder.comment(f"forward: {step}")

        def start(j: Index) -> None:
            self.store(self.load(e.add(bias, j)) if step.bias else e.constant(0), e.add(s, j))

        def forward_rows(i: Index, rows: int) -> None:
            xs = [self.load(e.add(x, e.add(i, k))) for k in range(rows)]
            first = e.add(weight, e.multiply(i, outputs))

            def output(j: Index) -> None:
                total = self.load(e.add(s, j))
                for k in range(rows):
                    total = e.multiply_add(self.load(e.add(e.add(first, k * outputs), j)), xs[k], total)
                self.store(total, e.add(s, j))

            self.units(f"{name}.output", outputs, output)

        self.units(f"{name}.bias", outputs, start)
        e.blocks(f"{name}.input", step.in_features, rows_at_once(step.in_features), forward_rows, 1)

        def backward(delta: int) -> int | None:
            grad_x = self.reserve(step.in_features) if needs_grad else None
            self.builder.comment(f"backward: {step}")

            def backward_rows(i: Index, rows: int) -> None:
                xs = [self.load(e.add(x, e.add(i, k))) for k in range(rows)]
                first = e.add(weight, e.multiply(i, outputs))

                def output(j: Index, *sums: ir.Value) -> Sequence[ir.Value]:
                    delta_j = self.load(e.add(delta, j))
                    places = [e.add(e.add(first, k * outputs), j) for k in range(rows)]
                    weights = [self.load(place) for place in places]
                    totals = [e.multiply_add(w, delta_j, total) for w, total in zip(weights, sums, strict=False)]
                    for place, param, x_k in zip(places, weights, xs, strict=True):
                        self.update(place, param, x_k, delta_j)
                    return totals

                zeros = [e.constant(0)] * (0 if grad_x is None else rows)
                sums = self.units(f"{name}.output", outputs, output, zeros)
                for k, total in enumerate(sums):
                    assert grad_x is not None
                    self.store(total, e.add(e.add(grad_x, k), i))

            def bias_update(j: Index) -> None:
                place = e.add(bias, j)
                self.update(place, self.load(place), e.constant(1), self.load(e.add(delta, j)))

            e.blocks(f"{name}.input", step.in_features, rows_at_once(step.in_features), backward_rows, 1)
            if step.bias:
                self.units(f"{name}.bias", outputs, bias_update)
            return grad_x

        return s, backward

    # The loss

    def _loss(
        self, rows: Sequence[ir.Value], prediction: int, scale: ir.Value | None
    ) -> tuple[int, ir.Value, ir.Value]:
        """The place of the loss's gradient, the loss and whether the sample is right, as doubles."""
        e, b, xp, features = self.e, self.builder, self.xp, self.program.out_features
        b.comment(f"loss: {self.program.loss!r}")
        y = [self.load(prediction + i) for i in range(features)]
        labels = self._labels(rows)
        target = self._one_hot(labels) if self.program.class_targets else self._targets(rows)
        arrays = xp.features(y), xp.features(target)
        grad = self.reserve(features)
        for i, vector in enumerate(xp.vectors(self.program.loss.sample_grad(xp, *arrays), features)):
            self.store(vector if scale is None else e.fmul(vector, scale), grad + i)
        loss = xp.vectors(self.program.loss.sample_value(xp, *arrays))[0]
        loss = loss if self.real.type is DOUBLE else b.fpext(loss, self.doubles)
        return grad, loss, self._is_right(y, labels)

    def _targets(self, rows: Sequence[ir.Value]) -> list[ir.Value]:
        addresses = self._row_addresses(TARGETS, rows, self.program.out_features)
        return [self._gathered(addresses, i) for i in range(self.program.out_features)]

    def _labels(self, rows: Sequence[ir.Value]) -> ir.Value:
        """The label of each member's row, as integers of the size of the reals."""
        b, e = self.builder, self.e
        labels = ir.Constant(e.integers_type, ir.Undefined)
        for lane, row in enumerate(rows):
            label = b.load(e.address(self._pointer(LABELS, lane), row, I64), typ=I64, align=8)
            label = label if self.real.integer == I64 else b.trunc(label, self.real.integer)
            labels = b.insert_element(labels, label, ir.Constant(I64, lane))
        return labels

    def _one_hot(self, labels: ir.Value) -> list[ir.Value]:
        e, b = self.e, self.builder
        return [
            b.select(b.icmp_signed("==", labels, e.integers(i)), e.constant(1), e.constant(0))
            for i in range(self.program.out_features)
        ]

    def _is_right(self, y: Sequence[ir.Value], labels: ir.Value) -> ir.Value:
        """1.0 where the first of the largest outputs is the label's; NaN counts as the largest, as in torch."""
        e, b = self.e, self.builder
        best, place = y[0], e.integers(0)
        for i, number in enumerate(y[1:], start=1):
            better = b.and_(b.fcmp_unordered(">", number, best), b.fcmp_ordered("ord", best, best))
            best, place = b.select(better, number, best), b.select(better, e.integers(i), place)
        one, zero = (ir.Constant(self.doubles, [ir.Constant(DOUBLE, n)] * self.lanes) for n in (1.0, 0.0))
        return b.select(b.icmp_signed("==", place, labels), one, zero)


def rows_at_once(rows: int) -> int:
    """How many rows of a matrix are met at a time: as many as registers hold, and without a rest where that can be."""
    return next((size for size in range(MOST_ROWS, MOST_ROWS // 2, -1) if rows % size == 0), min(rows, MOST_ROWS))
