"""An epoch of many networks at once, the members of a group.

Every number of a network is a vector that holds this number of each member, so that there are no sums over lanes
and no padding: the code is that of one network, number by number, with a loop over the rows of each matrix. The
members share the program; weights, data, order and hyperparameters are each member's own.

Weights are stored input-major, a row an input. Both passes take a few rows at a time, and keep the inputs of these
rows, and the sums of their gradients, in registers while the outputs go by: each weight is loaded once in a pass, in
the order in which it lies in memory. Where there are fewer members than lanes, a vector holds the numbers of two
outputs side by side; an odd one at the end is treated by itself.
"""

import functools
from collections.abc import Sequence

from functional_mlp.engine import walk
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.llvm.operands import Outer, Scalar
from functional_mlp.engine.llvm.types import DOUBLE, I64, POINTER
from functional_mlp.engine.members.algebra import MembersNamespace, MembersRule, MembersScalars, Uniform
from functional_mlp.engine.members.plan import MembersPlan
from functional_mlp.engine.members.program import (
    MemberData,
    MembersArguments,
    MembersProgram,
    Width,
)
from functional_mlp.engine.members.steps import MembersSteps, Update
from functional_mlp.engine.program import LossProgram
from functional_mlp.engine.side_by_side import LossesSideBySide
from functional_mlp.engine.update import penalized
from functional_mlp.operands import Operand
from functional_mlp.penalties import Penalty


class MembersEpoch:
    """Emits the epoch of a group of members into a function."""

    program: LossProgram
    rule: MembersRule
    batch_size: int
    penalty: Penalty | None
    builder: ir.IRBuilder
    arguments: MembersArguments[ir.Value]
    members: int
    steps: MembersSteps
    e: Emitter
    xp: MembersNamespace
    doubles: ir.VectorType

    def __init__(
        self, program: MembersProgram, plan: MembersPlan, builder: ir.IRBuilder, arguments: MembersArguments[ir.Value]
    ) -> None:
        self.program, self.rule, self.batch_size = program.program, program.rule, program.batch_size
        self.penalty = program.penalty
        self.builder, self.arguments, self.members = builder, arguments, plan.members
        self.steps = MembersSteps(program, plan, builder, arguments.workspace)
        self.e, self.xp = self.steps.one.e, self.steps.one.xp
        self.doubles = ir.VectorType(DOUBLE, plan.members)

    def emit(self) -> int:
        """Emit the function's body; returns the size of the workspace, in numbers."""
        arguments, e, b = self.arguments, self.e, self.builder
        body = self._sample_step if self.batch_size == 1 else self._batch_step
        zero = ir.Constant(self.doubles, [ir.Constant(DOUBLE, 0.0)] * self.members)
        totals = e.loop("epoch.position", arguments.first, arguments.last, self.batch_size, body, [zero, zero])
        for index, total in enumerate(totals):
            place = e.address(arguments.results, index * self.members, DOUBLE)
            b.store(b.fadd(b.load(place, typ=self.doubles, align=8), total), place, align=8)
        return self.steps.end * self.members

    # Steps of the optimizer

    def _sample_step(self, position: Index, loss_sum: ir.Value, right: ir.Value) -> Sequence[ir.Value]:
        """A sample of each member, and their updates: Algorithm 1 of the paper."""
        scalars, after = self._scalars_block()
        update = self._rule(MembersScalars(self.e.at(scalars)), position)
        totals = self._sample(update, position, None, loss_sum, right)
        scalars.branch(after)
        return totals

    def _batch_step(self, start: Index, loss_sum: ir.Value, right: ir.Value) -> Sequence[ir.Value]:
        """A batch of each member: gradients are added up, and applied after the last sample."""
        e, b = self.e, self.builder
        scalars, after = self._scalars_block()
        size = ir.Constant(I64, self.batch_size)
        end = b.add(start, size)
        end = b.select(b.icmp_signed("<", end, self.arguments.last), end, self.arguments.last)
        samples = b.sitofp(b.sub(end, start), self.steps.one.e.real.type)
        scale = e.splat(b.fdiv(self.steps.one.e.real.constant(1), samples))

        def sample(position: Index, *totals: ir.Value) -> Sequence[ir.Value]:
            return self._sample(self._accumulate, position, scale, *totals)

        def clear(width: Width, i: Index) -> None:
            width.store(width.e.constant(0), e.add(self.steps.gradients, i))

        self.steps.units("gradients.clear", self.steps.layout.size, clear)
        totals = e.loop("batch.position", start, end, 1, sample, [loss_sum, right])
        if self.penalty is not None:
            self._penalize(self.penalty, MembersScalars(e.at(scalars)))
        update = self._rule(MembersScalars(e.at(scalars)), scalars.sdiv(start, size))

        def apply(width: Width, i: Index) -> None:
            param, grad = width.load(i), width.load(e.add(self.steps.gradients, i))
            update(width, i, param, width.e.constant(1), grad, of_weights=False)  # the gradient has the penalty's

        self.steps.units("parameters", self.steps.layout.size, apply)
        scalars.branch(after)
        return totals

    def _penalize(self, penalty: Penalty, scalars: MembersScalars) -> None:
        """Add what the penalty adds to the gradients of the weights of a batch."""
        layout = self.steps.layout
        for weights, biases in zip(layout.weights, layout.biases, strict=True):

            def add(width: Width, i: Index, first: int = weights) -> None:
                place = self.e.add(first, i)
                at = self.e.add(self.steps.gradients, place)
                xp = MembersNamespace(width.e, scalars)
                grad = penalized(penalty, xp, self._strength(xp, scalars), width.load(at), width.load(place))
                width.store(xp.vectors(grad)[0], at)

            self.steps.units("penalty", biases - weights, add)

    def _accumulate(
        self, width: Width, place: Index, param: ir.Value, x: ir.Value, delta: ir.Value, *, of_weights: bool
    ) -> None:
        """Add a gradient to those of the batch. Takes the arguments of `Update`."""
        place = self.e.add(self.steps.gradients, place)
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
        for width in self.steps.widths:
            xp = MembersNamespace(width.e, scalars)
            rates, *rest = (self._scalar(xp, scalars, index, name) for index, name in enumerate(names))
            expression = self.rule.expression(dict(zip(self.rule.per_member, rest, strict=True)))
            step = Uniform(xp, scalars, number, "step")
            rules[width.units] = (xp, step, functools.partial(expression, xp, step, rates))

        def update(
            width: Width, place: Index, param: ir.Value, x: ir.Value, delta: ir.Value, *, of_weights: bool
        ) -> None:
            """Apply the optimizers' rule. Takes the arguments of `Update`."""
            places = [e.add(place, self.steps.layout.size * slot) for slot in slots]
            xp, step, rule = rules[width.units]
            grad: Operand = Outer(xp, x, delta)
            if of_weights and self.penalty is not None:
                grad = penalized(self.penalty, xp, self._strength(xp, scalars), (x, delta), param, step)
            remembered = [xp.array(width.load(where)) for where in places]
            updated = rule(xp.array(param), grad, *remembered)
            for where, value in zip((place, *places), updated, strict=True):
                width.store(xp.vectors(value)[0], where)

        return update

    def _strength(self, xp: MembersNamespace, scalars: MembersScalars) -> Scalar:
        return Uniform(xp, scalars, self.arguments.strength, "strength")

    def _scalar(self, xp: MembersNamespace, scalars: MembersScalars, index: int, name: str) -> Scalar:
        """A row of the table of scalars."""
        builder = scalars.builder

        def make() -> ir.Value:
            place = self.e.at(builder).address(self.arguments.scalars, index * self.members, DOUBLE)
            return builder.load(place, typ=self.doubles, align=8)

        return Scalar(xp, scalars.once(name, make), name)

    # One sample of each member

    def _sample(
        self,
        update: Update,
        position: Index,
        scale: ir.Value | None,
        loss_sum: ir.Value,
        right: ir.Value,
    ) -> Sequence[ir.Value]:
        """Both passes; `update` meets every gradient, times `scale`."""
        rows = self._rows(position)
        x = self._load_inputs(rows)
        prediction, backward = walk.forward(self.steps, update, self.program.steps, x)
        grad, loss, is_right = self._loss(rows, prediction, scale)
        backward(update, grad)
        return [self.builder.fadd(loss_sum, loss), self.builder.fadd(right, is_right)]

    def _rows(self, position: Index) -> list[ir.Value]:
        """The row of its data that each member comes to."""
        b, e = self.builder, self.e
        return [
            b.load(e.address(self._pointer("order", member), position, I64), typ=I64, align=8)
            for member in range(self.members)
        ]

    def _pointer(self, name: str, member: int) -> ir.Value:
        """An address of a member's data."""
        row = MemberData._fields.index(name)
        place = self.e.address(self.arguments.pointers, row * self.members + member, POINTER)
        return self.builder.load(place, typ=POINTER, align=8)

    def _gathered(self, pointers: Sequence[ir.Value], offset: Index) -> ir.Value:
        """The vector of the numbers at an offset from an address a member."""
        vector = ir.Constant(self.e.vector_type, ir.Undefined)
        for member, pointer in enumerate(pointers):
            number = self.e.load_number(pointer, offset)
            vector = self.builder.insert_element(vector, number, ir.Constant(I64, member))
        return vector

    def _row_addresses(self, name: str, rows: Sequence[ir.Value], columns: int) -> list[ir.Value]:
        e = self.e
        return [e.address(self._pointer(name, member), e.multiply(row, columns)) for member, row in enumerate(rows)]

    def _load_inputs(self, rows: Sequence[ir.Value]) -> int:
        features = self.program.in_features
        x, addresses = (self.steps.reserve(features), self._row_addresses("inputs", rows, features))

        def body(i: Index) -> None:
            self.steps.store(self._gathered(addresses, i), self.e.add(x, i))

        self.e.loop("inputs", 0, features, 1, body)
        return x

    # The loss

    def _loss(
        self, rows: Sequence[ir.Value], prediction: int, scale: ir.Value | None
    ) -> tuple[int, ir.Value, ir.Value]:
        """The place of the loss's gradient, the loss and whether the sample is right, as doubles.

        The weight of a sample that has one counts in all three, which are 0 where it is.
        """
        features = self.program.out_features
        y = [self.steps.load(prediction + i) for i in range(features)]
        labels = self._labels(rows)
        targets = None if self.program.class_targets else self._targets(rows)
        weight = self._weights(rows) if self.program.weighted else None
        grad = self.steps.reserve(features)
        losses = LossesSideBySide(self.program, self.xp)
        loss, right = losses.outcome(
            y, targets, lambda: labels, weight, scale, lambda i, vector: self.steps.store(vector, grad + i)
        )
        return grad, loss, right

    def _targets(self, rows: Sequence[ir.Value]) -> list[ir.Value]:
        addresses = self._row_addresses("targets", rows, self.program.target_stride)
        return [self._gathered(addresses, i) for i in range(self.program.out_features)]

    def _weights(self, rows: Sequence[ir.Value]) -> ir.Value:
        """The weight of each member's row, the last number of its targets."""
        return self._gathered(
            self._row_addresses("targets", rows, self.program.target_stride), self.program.target_features
        )

    def _labels(self, rows: Sequence[ir.Value]) -> ir.Value:
        """The label of each member's row, as integers of the size of the reals."""
        b, e = self.builder, self.e
        labels = ir.Constant(e.integers_type, ir.Undefined)
        for member, row in enumerate(rows):
            label = b.load(e.address(self._pointer("labels", member), row, I64), typ=I64, align=8)
            label = label if self.steps.one.e.real.integer == I64 else b.trunc(label, self.steps.one.e.real.integer)
            labels = b.insert_element(labels, label, ir.Constant(I64, member))
        return labels
