"""The steps of a program for the samples of all members, and the products of which they are made."""

from collections.abc import Callable, Sequence
from typing import Protocol

from functional_mlp.engine.layout import vectors
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.emitter import Body, Emitter
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.llvm.stored import StoredVectors
from functional_mlp.engine.llvm.types import Real
from functional_mlp.engine.members.algebra import MembersNamespace, MembersScalars
from functional_mlp.engine.members.plan import MembersPlan
from functional_mlp.engine.members.program import MembersLayout, MembersProgram, Width
from functional_mlp.engine.program import Affine, Branch, Pointwise
from functional_mlp.engine.walk import At, Backward


class Update(Protocol):
    """Uses x δ, the gradient of parameters.

    Parameters
    ----------
    width
        The numbers that a vector holds of each member.
    place
        Where the vector lies.
    param
        The vector.
    x
        A vector, the first factor of the gradient.
    delta
        A vector, the second.
    of_weights
        Whether they are weights, which a penalty counts, or biases.
    """

    def __call__(
        self,
        width: Width,
        place: Index,
        param: ir.Value,
        x: ir.Value,
        delta: ir.Value,
        *,
        of_weights: bool,
    ) -> None: ...


class MembersSteps:
    """Emits steps; whatever meets the gradients of the parameters is handed down through the walk.

    The workspace holds the parameters, what the optimizers remember of them, the gradients of a batch at `gradients`,
    and what is kept of a sample.
    """

    plan: MembersPlan
    builder: ir.IRBuilder
    layout: MembersLayout
    one: Width
    widths: list[Width]
    e: Emitter
    load: Callable[[Index], ir.Value]
    store: Callable[[ir.Value, Index], None]
    gradients: int
    end: int

    def __init__(self, program: MembersProgram, plan: MembersPlan, builder: ir.IRBuilder, workspace: ir.Value):
        self.plan, self.builder = plan, builder
        self.layout = MembersLayout.of(program.program, plan.units)
        self._real, self._workspace = Real(program.program.dtype), workspace
        self._stored = StoredVectors()  # by vectors of all widths
        self.one = self._width(1)
        self.widths = [self.one] if plan.units == 1 else [self._width(plan.units), self.one]
        self.e, self.load, self.store = self.one.e, self.one.load, self.one.store
        self.gradients = self.layout.size * (1 + len(program.rule.slots()))
        self.end = self.gradients + (0 if program.batch_size == 1 else self.layout.size)

    def _width(self, units: int) -> Width:
        e = Emitter(self.builder, self._real, units * self.plan.members, self._stored)
        scalars = MembersScalars(Emitter(self.builder, self._real, self.plan.members))
        return Width(units, self.plan.members, e, MembersNamespace(e, scalars), self._workspace)

    def units(self, name: str, count: int, body: Body, sums: int = 0) -> list[ir.Value]:
        """sums = body(width, unit, *sums) for `count` units, as many at a time as a width holds.

        Returns the sums, which start at 0, over all units.
        """
        carried: list[ir.Value] = []
        start = 0
        for width in self.widths:
            carried = [self._folded(width, total) for total in carried] or [width.e.constant(0)] * sums
            whole = (count - start) // width.units
            unrolled = self.plan.policy.unrolled_units
            many = whole - whole % unrolled

            def several(first: Index, *now: ir.Value, width: Width = width) -> Sequence[ir.Value]:
                for vector in range(self.plan.policy.unrolled_units):
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
            self.e.shuffle(total, total, range(first, first + self.plan.members))
            for first in range(0, total.type.count, self.plan.members)
        ]
        return self.e.tree_sum(parts)

    def reserve(self, features: int) -> int:
        """A new place in the workspace for some features."""
        place = self.end
        self.end += self.layout.units * vectors(features, self.layout.units)
        return place

    # Steps, as the walk meets them

    def affine(self, update: Update, step: Affine, at: At, x: int) -> tuple[int, Backward[Update]]:
        """s = w x + b, a few rows at a time; on the way back, the sums for their inputs and the updates."""
        s = self.reserve(step.out_features)
        self.builder.comment(f"forward: {step}")
        self._forward_product(step, x, s)

        def backward(update: Update, delta: int) -> int | None:
            grad_x = self.reserve(step.in_features) if at.needs_grad else None
            self.builder.comment(f"backward: {step}")
            self._backward_product(update, step, x, delta, grad_x)
            return grad_x

        return s, backward

    def _inputs(self, x: int, i: Index, rows: int) -> dict[int, list[ir.Value]]:
        """The inputs of a few rows, for each width."""
        xs = [self.load(self.e.add(x, self.e.add(i, k))) for k in range(rows)]
        return {width.units: [width.xp.repeated(x_k) for x_k in xs] for width in self.widths}

    def _forward_product(self, step: Affine, x: int, s: int) -> None:
        e, name, outputs = self.e, f"linear{step.number}", step.out_features
        weight, bias = self.layout.weights[step.number], self.layout.biases[step.number]
        stride = self.layout.stride(step)

        def start(width: Width, j: Index) -> None:
            width.store(width.load(e.add(bias, j)) if step.bias else width.e.constant(0), e.add(s, j))

        def forward_rows(i: Index, rows: int) -> None:
            xs, first = self._inputs(x, i, rows), e.add(weight, e.multiply(i, stride))

            def output(width: Width, j: Index) -> None:
                total = width.load(e.add(s, j))
                for k, x_k in enumerate(xs[width.units]):
                    total = width.e.multiply_add(width.load(e.add(e.add(first, k * stride), j)), x_k, total)
                width.store(total, e.add(s, j))

            self.units(f"{name}.output", outputs, output)

        self.units(f"{name}.bias", outputs, start)
        at_once = rows_at_once(step.in_features, self.plan.policy.most_rows_of_members)
        e.blocks(f"{name}.input", step.in_features, at_once, forward_rows, 1)

    def _backward_product(self, update: Update, step: Affine, x: int, delta: int, grad_x: int | None) -> None:
        """grad_x = wᵀ delta (2), where it is of use, and the updates with the gradients (4) and (5)."""
        e, name, outputs = self.e, f"linear{step.number}", step.out_features
        weight, bias = self.layout.weights[step.number], self.layout.biases[step.number]
        stride = self.layout.stride(step)

        def backward_rows(i: Index, rows: int) -> None:
            xs, first = self._inputs(x, i, rows), e.add(weight, e.multiply(i, stride))

            def output(width: Width, j: Index, *sums: ir.Value) -> Sequence[ir.Value]:
                delta_j = width.load(e.add(delta, j))
                places = [e.add(e.add(first, k * stride), j) for k in range(rows)]
                weights = [width.load(place) for place in places]
                totals = [width.e.multiply_add(w, delta_j, total) for w, total in zip(weights, sums, strict=False)]
                for place, param, x_k in zip(places, weights, xs[width.units], strict=True):
                    update(width, place, param, x_k, delta_j, of_weights=True)
                return totals

            sums = self.units(f"{name}.output", outputs, output, 0 if grad_x is None else rows)
            for k, total in enumerate(sums):
                assert grad_x is not None
                self.store(total, e.add(e.add(grad_x, k), i))

        def bias_update(width: Width, j: Index) -> None:
            place = e.add(bias, j)
            param, delta_j = width.load(place), width.load(e.add(delta, j))
            update(width, place, param, width.e.constant(1), delta_j, of_weights=False)

        at_once = rows_at_once(step.in_features, self.plan.policy.most_rows_of_members)
        e.blocks(f"{name}.input", step.in_features, at_once, backward_rows, 1)
        if step.bias:
            self.units(f"{name}.bias", outputs, bias_update)

    def pointwise(self, update: Update, step: Pointwise, at: At, s: int) -> tuple[int, Backward[Update]]:
        e, y = self.e, self.reserve(step.features)
        self.builder.comment(f"value: {step.layer!r}")

        def value(width: Width, i: Index) -> None:
            xp = width.xp
            width.store(xp.vectors(step.layer.value(xp, xp.array(width.load(e.add(s, i)))))[0], e.add(y, i))

        self.units("value", step.features, value)

        def backward(update: Update, grad: int) -> int | None:
            if not at.needs_grad:
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

    def sum_of_outputs(self, update: Update, step: Branch, at: At, x: int, inner: int) -> int:
        return self.sum_of_grads(update, step, at, x, inner)

    def sum_of_grads(self, update: Update, step: Branch, at: At, grad: int, inner: int) -> int:
        e, total = self.e, self.reserve(step.features)

        def add(width: Width, i: Index) -> None:
            width.store(width.e.fadd(width.load(e.add(grad, i)), width.load(e.add(inner, i))), e.add(total, i))

        self.units("add", step.features, add)
        return total


def rows_at_once(rows: int, most: int) -> int:
    """How many rows of a matrix are met at a time: at most `most`, and without a rest where more than half as many do.

    A rest makes the code longer: it is emitted by itself.
    """
    return next((size for size in range(most, most // 2, -1) if rows % size == 0), min(rows, most))
