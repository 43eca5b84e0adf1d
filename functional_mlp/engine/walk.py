"""One pass over the steps of a program, forward and back, whatever emits them.

The forward pass goes through the steps and collects what emits their backward passes, which go the other way. What a
step is made of is the emitter's; the order, the branches, and where a gradient is of use are decided here.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import attrs

from functional_mlp.engine.program import Affine, Branch, Pointwise, Step, affine_steps

# A step's place in the nest of branches.
Path = tuple[int, ...]


@attrs.frozen
class At:
    """Where a step stands: its path, the step that follows it, and whether the gradient of its input is of use."""

    path: Path
    following: Step | None
    needs_grad: bool


Scope = TypeVar("Scope")
OfScope = TypeVar("OfScope", contravariant=True)
Value = TypeVar("Value")

# From the place of the gradient of an output to that of the input; `None` where it is of no use.
Backward = Callable[[Scope, int], int | None]


class StepEmitter(Protocol[OfScope, Value]):
    """Emits steps. A forward pass returns the output, and what emits the backward pass.

    Outputs are what the emitter makes of them; gradients are places.
    """

    def affine(self, scope: OfScope, step: Affine, at: At, x: Value) -> tuple[Value, Backward[OfScope]]:
        """s = w x + b."""

    def pointwise(self, scope: OfScope, step: Pointwise, at: At, s: Value) -> tuple[Value, Backward[OfScope]]:
        """y = σ(s)."""

    def sum_of_outputs(self, scope: OfScope, step: Branch, at: At, x: Value, inner: Value) -> Value:
        """x + steps(x)."""

    def sum_of_grads(self, scope: OfScope, step: Branch, at: At, grad: int, inner: int) -> int:
        """The gradient of x, of which there are two parts."""


def forward(
    emitter: StepEmitter[Scope, Value],
    scope: Scope,
    steps: Sequence[Step],
    x: Value,
    at: Path = (),
    needs_grad: bool = False,
) -> tuple[Value, Backward[Scope]]:
    """Emit the forward pass of steps; returns the output, and what emits the backward pass.

    Parameters
    ----------
    emitter
        What emits a step.
    scope
        Where it emits.
    steps
        The steps.
    x
        The input of the first step.
    at
        The place of the steps in the nest of branches.
    needs_grad
        Whether the gradient of x is of use: that of the data is not.
    """
    backwards: list[Backward[Scope]] = []
    for index, (step, following) in enumerate(zip(steps, (*steps[1:], None), strict=True)):
        here = At((*at, index), following, needs_grad)
        if isinstance(step, Affine):
            x, backward = emitter.affine(scope, step, here, x)
        elif isinstance(step, Pointwise):
            x, backward = emitter.pointwise(scope, step, here, x)
        else:
            x, backward = _branch(emitter, scope, step, here, x)
        backwards.append(backward)
        needs_grad = needs_grad or bool(affine_steps((step,)))
    return x, _in_reverse(backwards)


def _branch(
    emitter: StepEmitter[Scope, Value], scope: Scope, step: Branch, at: At, x: Value
) -> tuple[Value, Backward[Scope]]:
    inner, inner_backward = forward(emitter, scope, step.steps, x, at.path, at.needs_grad)
    y = emitter.sum_of_outputs(scope, step, at, x, inner)

    def backward(scope: Scope, grad: int) -> int | None:
        inner_grad = inner_backward(scope, grad)
        if not at.needs_grad or inner_grad is None:
            return None
        return emitter.sum_of_grads(scope, step, at, grad, inner_grad)

    return y, backward


def _in_reverse(backwards: Sequence[Backward[Scope]]) -> Backward[Scope]:
    """The last step comes first, and nothing is done where it is of no use."""

    def backward(scope: Scope, grad: int) -> int | None:
        place: int | None = grad
        for step_backward in reversed(backwards):
            if place is not None:
                place = step_backward(scope, place)
        return place

    return backward
