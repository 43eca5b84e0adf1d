"""An epoch of many networks at once, the members of a group.

Every number of a network is a vector that holds this number of each member, so that there are no sums over lanes
and no padding: the code is that of one network, number by number, with a loop over the rows of each matrix. The
members share the program; weights, data, order and hyperparameters are each member's own.

Weights are stored input-major, a row an input. Both passes take a few rows at a time, whose inputs, and the sums
for whose gradients, stay in registers while the outputs go by: each weight is loaded once in a pass, in the order
in which it lies in memory. Where there are fewer members than lanes, a vector holds the numbers of two outputs side
by side; an odd one at the end is treated by itself.
"""

import functools
from collections.abc import Callable, Sequence

from llvmlite import ir

from functional_mlp.engine.kernels import Backward, in_reverse
from functional_mlp.engine.llvm.emitter import DOUBLE, I64, POINTER, Body, Emitter, Index, Real
from functional_mlp.engine.llvm.vector import Outer, Scalar
from functional_mlp.engine.members.algebra import MembersNamespace, MembersScalars, Uniform
from functional_mlp.engine.members.program import (
    INPUTS,
    LABELS,
    ORDERS,
    TARGETS,
    MembersArguments,
    MembersLayout,
    MembersProgram,
    Width,
)
from functional_mlp.engine.policy import MembersPolicy
from functional_mlp.engine.program import Affine, Branch, Pointwise, Step, affine_steps, vectors

# Uses x δ, the gradient of the parameters at a place: update(width, place, parameters, x, δ).
Update = Callable[[Width, Index, ir.Value, ir.Value, ir.Value], None]


class MembersEpoch:
    """Emits the epoch of a group of members into a function."""

    def __init__(
        self, program: MembersProgram, policy: MembersPolicy, builder: ir.IRBuilder, arguments: MembersArguments
    ) -> None:
        self.program, self.rule, self.policy = program.program, program.rule, policy
        self.layout = MembersLayout.of(self.program, policy.units)
        self.real = Real(self.program.dtype)
        self.builder, self.arguments, self.members = builder, arguments, policy.members
        self.one = self._width(1)
        self.widths = [self.one] if policy.units == 1 else [self._width(policy.units), self.one]
        self.e, self.xp, self.load, self.store = (self.one.e, self.one.xp, self.one.load, self.one.store)
        self.doubles = ir.VectorType(DOUBLE, policy.members)
        self.gradients = self.layout.size * (1 + len(self.rule.slots()))
        self.update: Update = self._accumulate
        self.end = self.gradients + (0 if self.program.batch_size == 1 else self.layout.size)

    def emit(self) -> int:
        """Emit the function's body; returns the size of the workspace, in numbers."""
        arguments, e, b = self.arguments, self.e, self.builder
        batch_size = self.program.batch_size
        body = self._sample_step if batch_size == 1 else self._batch_step
        zero = ir.Constant(self.doubles, [ir.Constant(DOUBLE, 0.0)] * self.members)
        totals = e.loop("epoch.position", arguments.first, arguments.last, batch_size, body, [zero, zero])
        for index, total in enumerate(totals):
            place = e.address(arguments.results, index * self.members, DOUBLE)
            b.store(b.fadd(b.load(place, typ=self.doubles, align=8), total), place, align=8)
        return self.end * self.members

    def _width(self, units: int) -> Width:
        e = Emitter(self.builder, self.real, units * self.members)
        scalars = MembersScalars(Emitter(self.builder, self.real, self.members))
        return Width(units, self.members, e, MembersNamespace(e, scalars), self.arguments.workspace)

    def units(self, name: str, count: int, body: Body, sums: int = 0) -> list[ir.Value]:
        """sums = body(width, unit, *sums) for so many units, as many at a time as a width holds.

        Returns the sums, which start at 0, over all units.
        """
        carried: list[ir.Value] = []
        start = 0
        for width in self.widths:
            carried = [self._folded(width, total) for total in carried] or [width.e.constant(0)] * sums
            whole = (count - start) // width.units
            unrolled = self.policy.unrolled_units
            many = whole - whole % unrolled

            def several(first: Index, *now: ir.Value, width: Width = width) -> Sequence[ir.Value]:
                for vector in range(self.policy.unrolled_units):
                    now = tuple(body(width, width.e.add(first, vector * width.units), *now) or ())
                return now

            step = unrolled * width.units
            carried = self.e.loop(name, start, start + many * width.units, step, several, carried)
            for vector in range(many, whole):
                carried = list(body(width, start + vector * width.units, *carried) or ())
            start += whole * width.units
        return carried

    def _folded(self, width: Width, total: ir.Value) -> ir.Value:
        """The sum over the units side by side in a vector, where the width is narrower than that vector."""
        parts = [
            self.e.shuffle(total, total, range(first, first + self.members))
            for first in range(0, total.type.count, self.members)
        ]
        return self.e.tree_sum(parts)

    # Steps of the optimizer

    def _sample_step(self, position: Index, loss_sum: ir.Value, right: ir.Value) -> Sequence[ir.Value]:
        """A sample of each member, and their updates: Algorithm 1 of the paper."""
        scalars, after = self._scalars_block()
        self.update = self._rule(MembersScalars(self.e.at(scalars)), position)
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

        def clear(width: Width, i: Index) -> None:
            width.store(width.e.constant(0), e.add(self.gradients, i))

        def apply(width: Width, i: Index) -> None:
            update(width, i, width.load(i), width.e.constant(1), width.load(e.add(self.gradients, i)))

        self.units("gradients.clear", self.layout.size, clear)
        totals = e.loop("batch.position", start, end, 1, sample, [loss_sum, right])
        update = self._rule(MembersScalars(e.at(scalars)), scalars.sdiv(start, size))
        self.units("parameters", self.layout.size, apply)
        scalars.branch(after)
        return totals

    def _accumulate(self, width: Width, place: Index, param: ir.Value, x: ir.Value, delta: ir.Value) -> None:
        place = self.e.add(self.gradients, place)
        width.store(width.e.multiply_add(x, delta, width.load(place)), place)

    def _scalars_block(self) -> tuple[ir.IRBuilder, ir.Block]:
        """A place for scalars ahead of all that uses them, and the block after it, which is now emitted into."""
        scalars = ir.IRBuilder(self.builder.block)
        after = self.builder.append_basic_block("step")
        self.builder.position_at_end(after)
        return scalars, after

    def _rule(self, scalars: MembersScalars, number: Index) -> Update:
        """What applies the optimizers' rule in the update of a number, counted from 0 in the epoch."""
        e, builder = self.e, scalars.builder
        names = ("learning_rate", *(f"self.{name}" for name in self.rule.per_member))
        number = builder.add(builder.add(self.arguments.step, e.index(number)), ir.Constant(I64, 1))
        number = builder.sitofp(number, DOUBLE)
        slots = range(1, 1 + len(self.rule.slots()))
        rules = {}
        for width in self.widths:
            xp = MembersNamespace(width.e, scalars)
            rates, *rest = (self._scalar(xp, scalars, index, name) for index, name in enumerate(names))
            expression = self.rule.expression(dict(zip(self.rule.per_member, rest, strict=True)))
            rules[width.units] = (xp, functools.partial(expression, xp, Uniform(xp, scalars, number, "step"), rates))

        def update(width: Width, place: Index, param: ir.Value, x: ir.Value, delta: ir.Value) -> None:
            places = [e.add(place, self.layout.size * slot) for slot in slots]
            xp, rule = rules[width.units]
            remembered = [xp.array(width.load(where)) for where in places]
            updated = rule(xp.array(param), Outer(xp, x, delta), *remembered)
            for where, value in zip((place, *places), updated, strict=True):
                width.store(xp.vectors(value)[0], where)

        return update

    def _scalar(self, xp: MembersNamespace, scalars: MembersScalars, index: int, name: str) -> Scalar:
        """A row of the table of scalars."""
        builder = scalars.builder

        def make() -> ir.Value:
            place = self.e.at(builder).address(self.arguments.scalars, index * self.members, DOUBLE)
            return builder.load(place, typ=self.doubles, align=8)

        return Scalar(xp, scalars.once(name, make), name)

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
        self.end += self.layout.units * vectors(features, self.layout.units)
        return place

    def _rows(self, position: Index) -> list[ir.Value]:
        """The row of its data that each member comes to."""
        b, e = self.builder, self.e
        return [
            b.load(e.address(self._pointer(ORDERS, member), position, I64), typ=I64, align=8)
            for member in range(self.members)
        ]

    def _pointer(self, table: int, member: int) -> ir.Value:
        """The address of a member's inputs, targets, labels or order."""
        place = self.e.address(self.arguments.pointers, table * self.members + member, POINTER)
        return self.builder.load(place, typ=POINTER, align=8)

    def _gathered(self, pointers: Sequence[ir.Value], offset: Index) -> ir.Value:
        """The vector of the numbers at an offset from an address a member."""
        vector = ir.Constant(self.e.vector_type, ir.Undefined)
        for member, pointer in enumerate(pointers):
            number = self.e.load_number(pointer, offset)
            vector = self.builder.insert_element(vector, number, ir.Constant(I64, member))
        return vector

    def _row_addresses(self, table: int, rows: Sequence[ir.Value], columns: int) -> list[ir.Value]:
        e = self.e
        return [e.address(self._pointer(table, member), e.multiply(row, columns)) for member, row in enumerate(rows)]

    def _load_inputs(self, rows: Sequence[ir.Value]) -> int:
        features = self.program.in_features
        x, addresses = (self.reserve(features), self._row_addresses(INPUTS, rows, features))

        def body(i: Index) -> None:
            self.store(self._gathered(addresses, i), self.e.add(x, i))

        self.e.loop("inputs", 0, features, 1, body)
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

        return x, in_reverse(backwards)

    def _pointwise(self, step: Pointwise, s: int, needs_grad: bool) -> tuple[int, Backward]:
        e, y = self.e, self.reserve(step.features)
        self.builder.comment(f"value: {step.layer!r}")

        def value(width: Width, i: Index) -> None:
            xp = width.xp
            width.store(xp.vectors(step.layer.value(xp, xp.array(width.load(e.add(s, i)))))[0], e.add(y, i))

        self.units("value", step.features, value)

        def backward(grad: int) -> int | None:
            if not needs_grad:
                return None
            grad_in = y  # whatever used the output has had its backward pass: its place is free
            self.builder.comment(f"pullback: {step.layer!r}")

            def pullback(width: Width, i: Index) -> None:
                xp = width.xp
                arrays = [xp.array(width.load(e.add(place, i))) for place in (s, y, grad)]
                width.store(xp.vectors(step.layer.pullback(xp, *arrays))[0], e.add(grad_in, i))

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

        def add(width: Width, i: Index) -> None:
            width.store(width.e.fadd(width.load(e.add(a, i)), width.load(e.add(b, i))), e.add(total, i))

        self.units("add", features, add)
        return total

    def _affine(self, step: Affine, x: int, needs_grad: bool) -> tuple[int, Backward]:
        e, outputs = self.e, step.out_features
        weight, bias = self.layout.weights[step.number], self.layout.biases[step.number]
        s, stride, name = self.reserve(outputs), self.layout.stride(step), f"linear{step.number}"
        at_once = rows_at_once(step.in_features, self.policy.most_rows)
        self.builder.comment(f"forward: {step}")

        def inputs(i: Index, rows: int) -> dict[int, list[ir.Value]]:
            """The inputs of a few rows, for each width."""
            xs = [self.load(e.add(x, e.add(i, k))) for k in range(rows)]
            return {width.units: [width.xp.repeated(x_k) for x_k in xs] for width in self.widths}

        def start(width: Width, j: Index) -> None:
            width.store(width.load(e.add(bias, j)) if step.bias else width.e.constant(0), e.add(s, j))

        def forward_rows(i: Index, rows: int) -> None:
            xs, first = inputs(i, rows), e.add(weight, e.multiply(i, stride))

            def output(width: Width, j: Index) -> None:
                total = width.load(e.add(s, j))
                for k, x_k in enumerate(xs[width.units]):
                    total = width.e.multiply_add(width.load(e.add(e.add(first, k * stride), j)), x_k, total)
                width.store(total, e.add(s, j))

            self.units(f"{name}.output", outputs, output)

        self.units(f"{name}.bias", outputs, start)
        e.blocks(f"{name}.input", step.in_features, at_once, forward_rows, 1)

        def backward(delta: int) -> int | None:
            grad_x = self.reserve(step.in_features) if needs_grad else None
            self.builder.comment(f"backward: {step}")

            def backward_rows(i: Index, rows: int) -> None:
                xs, first = inputs(i, rows), e.add(weight, e.multiply(i, stride))

                def output(width: Width, j: Index, *sums: ir.Value) -> Sequence[ir.Value]:
                    delta_j = width.load(e.add(delta, j))
                    places = [e.add(e.add(first, k * stride), j) for k in range(rows)]
                    weights = [width.load(place) for place in places]
                    totals = [width.e.multiply_add(w, delta_j, total) for w, total in zip(weights, sums, strict=False)]
                    for place, param, x_k in zip(places, weights, xs[width.units], strict=True):
                        self.update(width, place, param, x_k, delta_j)
                    return totals

                sums = self.units(f"{name}.output", outputs, output, 0 if grad_x is None else rows)
                for k, total in enumerate(sums):
                    assert grad_x is not None
                    self.store(total, e.add(e.add(grad_x, k), i))

            def bias_update(width: Width, j: Index) -> None:
                place = e.add(bias, j)
                self.update(width, place, width.load(place), width.e.constant(1), width.load(e.add(delta, j)))

            e.blocks(f"{name}.input", step.in_features, at_once, backward_rows, 1)
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
        for member, row in enumerate(rows):
            label = b.load(e.address(self._pointer(LABELS, member), row, I64), typ=I64, align=8)
            label = label if self.real.integer == I64 else b.trunc(label, self.real.integer)
            labels = b.insert_element(labels, label, ir.Constant(I64, member))
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
            best, place = (b.select(better, number, best), b.select(better, e.integers(i), place))
        one, zero = (ir.Constant(self.doubles, [ir.Constant(DOUBLE, n)] * self.members) for n in (1.0, 0.0))
        return b.select(b.icmp_signed("==", place, labels), one, zero)


def rows_at_once(rows: int, most: int) -> int:
    """How many rows of a matrix are met at a time: at most so many, and without a rest where that can be."""
    return next((size for size in range(most, most // 2, -1) if rows % size == 0), min(rows, most))
