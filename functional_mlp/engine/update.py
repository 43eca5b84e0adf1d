"""The optimizer's rule, where it is emitted."""

import contextlib
from collections.abc import Iterator, Sequence

import attrs

from functional_mlp.engine.calls import Scope
from functional_mlp.engine.expressions import slope
from functional_mlp.engine.kernels import Kernels
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.llvm.operands import Multiple, Outer, Scalar, Weights
from functional_mlp.engine.llvm.types import DOUBLE, I64
from functional_mlp.engine.llvm.vector import Scalars, VectorNamespace
from functional_mlp.engine.program import TrainingProgram
from functional_mlp.operands import Operand
from functional_mlp.penalties import Penalty


class Rule:
    """The optimizer's rule, applied to vectors of parameters where they lie."""

    def __init__(
        self, kernels: Kernels, program: TrainingProgram, scope: Scope, scalars: Scalars, step_number: ir.Value
    ) -> None:
        self._kernels, self._optimizer, self._penalty = kernels, program.optimizer, program.penalty
        self._scope = scope
        self._xp = VectorNamespace(kernels.e, scalars)
        self._step = self._xp.scalar(step_number, "step")
        self._learning_rate = self._xp.scalar(scope.arguments.learning_rate, "learning_rate")
        self._strength = strength_in(self._xp, scope)
        self._slots = range(1, 1 + len(program.optimizer.slots()))

    def apply(
        self,
        place: Index,
        param: ir.Value,
        grad: ir.Value | tuple[ir.Value, ir.Value],
        distance: int | None = None,
        *,
        of_weights: bool,
    ) -> ir.Value:
        """Update the vector of parameters at a place, and what the rule remembers of it; returns the new vector.

        The penalty is added to the gradient `of_weights` alone. What slot k remembers lies k `distance`s after the
        place; a distance that is not given is the size of the array of all parameters.
        A gradient may be a pair (factor, array), for their product. Lanes beyond a row's columns may come to hold
        anything; who reads the weights ignores them.
        """
        kernels, workspace, xp = self._kernels, self._scope.workspace, self._xp
        e, size = kernels.e, distance or kernels.layout.size
        gradient: Operand = Outer(xp, *grad) if isinstance(grad, tuple) else xp.array(grad)
        if of_weights and self._penalty is not None:
            gradient = penalized(self._penalty, xp, self._strength, grad, param, self._step)
        slots = [xp.array(e.load(workspace, e.add(place, size * slot))) for slot in self._slots]
        rule = self._optimizer.rule
        updated, *remembered = rule(xp, self._step, self._learning_rate, xp.array(param), gradient, *slots)
        (vector,) = xp.vectors(updated)
        e.store(vector, workspace, place)
        for slot, value in zip(self._slots, remembered, strict=True):
            e.store(xp.vectors(value)[0], workspace, e.add(place, size * slot))
        return vector

    def update(self, place: Index, grad: ir.Value, *, of_weights: bool) -> None:
        """Update the vector of parameters at a place with its gradient."""
        self.apply(place, self._kernels.e.load(self._scope.workspace, place), grad, of_weights=of_weights)


def strength_in(xp: VectorNamespace, scope: Scope) -> Scalar:
    """The strength of the penalty that a function is handed."""
    return xp.scalar(scope.arguments.strength, "strength")


def penalized(
    penalty: Penalty,
    xp: VectorNamespace,
    strength: Scalar,
    grad: ir.Value | tuple[ir.Value, ir.Value],
    weights: ir.Value,
    step: Scalar | None = None,
) -> Operand:
    """The gradient of a vector of weights with the penalty's added.

    Parameters
    ----------
    penalty
        What is added to the loss for the size of the weights.
    xp
        The namespace in which it is evaluated.
    strength
        Its strength.
    grad
        The gradient of the loss, or a pair whose product it is.
    weights
        The vector.
    step
        The number of the update, where it is known.
    """
    added = slope(penalty, xp, strength, Weights(xp, weights, step))
    if not isinstance(grad, tuple):
        return xp.array(xp.emitter.fadd(grad, xp.vectors(added)[0]))
    factor, array = grad
    if isinstance(added, Multiple):
        return Outer(xp, factor, array, added)
    return xp.array(xp.emitter.fused_multiply_add(factor, array, xp.vectors(added)[0]))


def penalize(kernels: Kernels, program: TrainingProgram, scope: Scope, gradients: int) -> None:
    """Add what the penalty adds to the gradients of all weights; those of the parameters lie at a place."""
    penalty, e = program.penalty, kernels.e
    if penalty is None:
        return

    def emit(inside: Scope, sizes: Sequence[Index], places: Sequence[Index]) -> None:
        (size,), (offset,) = sizes, places
        first, last = kernels.own_part(inside, kernels.layout.size, kernels.lanes)
        xp = VectorNamespace(e, Scalars(e))
        strength = strength_in(xp, inside)
        xp.vectors(strength)  # ahead of the loop, all of which it holds for
        begin, end = e.larger(e.subtract(first, offset), 0), e.smaller(e.subtract(last, offset), size)

        def body(i: Index) -> None:
            place = e.add(offset, i)
            at = e.add(gradients, place)
            grad, weights = (e.load(inside.workspace, where) for where in (at, place))
            (vector,) = xp.vectors(penalized(penalty, xp, strength, grad, weights))
            e.store(vector, inside.workspace, at)

        e.loop("penalty", begin, end, kernels.lanes, body)

    with kernels.table(scope) as inside:
        for matrix in kernels.layout.matrices:
            size = matrix.bias_offset - matrix.offset
            kernels.kernel(inside, "penalty{}", program.penalty_code, (size,), (matrix.offset,), emit)


@contextlib.contextmanager
def rule_after(kernels: Kernels, program: TrainingProgram, scope: Scope, batch: ir.Value) -> Iterator[Rule]:
    """The rule for the update after a batch of this epoch, counted from 0.

    Its scalars are emitted in a block ahead of the one that goes on.
    """
    builder = kernels.builder
    scalars = ir.IRBuilder(builder.block)
    update = builder.append_basic_block("update")
    builder.position_at_end(update)
    number = scalars.add(scalars.add(scope.arguments.step, batch), ir.Constant(I64, 1))
    yield Rule(kernels, program, scope, Scalars(kernels.e.at(scalars)), scalars.sitofp(number, DOUBLE))
    scalars.branch(update)


@attrs.frozen(eq=False)
class Pending:
    """The update of the sample before the one at a position: its rule, and where the activations of that sample are."""

    rule: Rule
    position: Index
    activations: ir.Value
