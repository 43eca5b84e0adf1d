"""The optimizer's rule, where it is emitted."""

import contextlib
from collections.abc import Iterator

import attrs
from llvmlite import ir

from functional_mlp.engine.calls import Scope
from functional_mlp.engine.kernels import Kernels
from functional_mlp.engine.llvm.emitter import DOUBLE, I64, Index
from functional_mlp.engine.llvm.vector import Outer, Scalars, VectorNamespace
from functional_mlp.optimizers import Optimizer


class Rule:
    """The optimizer's rule, applied to vectors of parameters where they lie."""

    def __init__(
        self, kernels: Kernels, optimizer: Optimizer, scope: Scope, scalars: Scalars, step_number: ir.Value
    ) -> None:
        self._kernels, self._optimizer, self._scope = kernels, optimizer, scope
        self._xp = VectorNamespace(kernels.e, scalars)
        self._step = self._xp.scalar(step_number, "step")
        self._learning_rate = self._xp.scalar(scope.arguments.learning_rate, "learning_rate")
        self._slots = range(1, 1 + len(optimizer.slots()))

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
        kernels, workspace, xp = self._kernels, self._scope.workspace, self._xp
        e, size = kernels.e, distance or kernels.layout.size
        gradient = Outer(xp, *grad) if isinstance(grad, tuple) else xp.array(grad)
        slots = [xp.array(e.load(workspace, e.add(place, size * slot))) for slot in self._slots]
        rule = self._optimizer.rule
        updated, *remembered = rule(xp, self._step, self._learning_rate, xp.array(param), gradient, *slots)
        (vector,) = xp.vectors(updated)
        e.store(vector, workspace, place)
        for slot, value in zip(self._slots, remembered, strict=True):
            e.store(xp.vectors(value)[0], workspace, e.add(place, size * slot))
        return vector

    def update(self, place: Index, grad: ir.Value) -> None:
        """Update the vector of parameters at a place with its gradient."""
        self.apply(place, self._kernels.e.load(self._scope.workspace, place), grad)


@contextlib.contextmanager
def rule_after(kernels: Kernels, optimizer: Optimizer, scope: Scope, batch: ir.Value) -> Iterator[Rule]:
    """The rule for the update after a batch of this epoch, counted from 0.

    Its scalars are emitted in a block ahead of the one that goes on.
    """
    builder = kernels.builder
    scalars = ir.IRBuilder(builder.block)
    update = builder.append_basic_block("update")
    builder.position_at_end(update)
    number = scalars.add(scalars.add(scope.arguments.step, batch), ir.Constant(I64, 1))
    yield Rule(kernels, optimizer, scope, Scalars(kernels.e.at(scalars)), scalars.sitofp(number, DOUBLE))
    scalars.branch(update)


@attrs.frozen(eq=False)
class Pending:
    """The update of the sample before the one at a position: its rule, and where the activations of that sample are."""

    rule: Rule
    position: Index
    activations: ir.Value
