"""How many instructions the expressions of a program make, which is what its code depends on.

However many layers there are, the code holds each different activation, the loss and the optimizer's rule a bounded
number of times.
"""

from collections.abc import Callable
from typing import Any

import torch

from functional_mlp.engine.expressions import slope
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.operands import Array
from functional_mlp.engine.llvm.types import DOUBLE, Real
from functional_mlp.engine.llvm.vector import Scalars, VectorNamespace
from functional_mlp.engine.program import Program, pointwise_steps
from functional_mlp.layers.elementwise import Elementwise
from functional_mlp.losses import Loss
from functional_mlp.optimizers import Optimizer
from functional_mlp.penalties import Penalty

# Of the vectors whose instructions are counted: there are about as many whatever their lanes.
_LANES = 4


def activations(program: Program) -> list[Elementwise]:
    """The different activations."""
    return list({step.code: step.layer for step in pointwise_steps(program.steps)}.values())


def activation_lengths(layer: Elementwise) -> tuple[int, int]:
    """The instructions of an activation and of its pullback, for a vector."""
    return length(emitted(layer.value, 1)), length(emitted(layer.pullback, 3))


def loss_length(loss: Loss, count: int) -> int:
    """About how many instructions a loss and its gradient take, for `count` vectors of outputs."""

    def value_and_grad(vectors: int) -> Callable[..., Any]:
        def expression(xp: VectorNamespace, *operands: Array) -> Any:
            values = [operand.values[0] for operand in operands]
            pair = [Array(xp, part, vectors * _LANES) for part in (values[:vectors], values[vectors:])]
            xp.vectors(loss.sample_grad(xp, *pair), vectors)
            if loss.judges_outputs:
                loss.wrong_outputs(xp, *pair)
            return loss.sample_value(xp, *pair)

        return expression

    one, two = (length(emitted(value_and_grad(n), 2 * n)) for n in (1, 2))
    return one + (two - one) * (count - 1)


def rule_length(optimizer: Optimizer, penalty: Penalty | None, count: int) -> int:
    """The instructions of an optimizer's rule, and of the penalty before it, for `count` vectors of weights.

    Those of the rule's scalars are there once.
    """
    operands = 2 + len(optimizer.slots())

    def rules(xp: VectorNamespace, *vectors: Array) -> Any:
        names = ("step", "learning_rate", "strength")
        step, learning_rate, strength = (xp.scalar(ir.Constant(DOUBLE, 1.0), name) for name in names)
        for first in range(0, len(vectors), operands):
            param, grad, *slots = vectors[first : first + operands]
            if penalty is not None:
                grad = grad + slope(penalty, xp, strength, param)
            updated = optimizer.rule(xp, step, learning_rate, param, grad, *slots)
            for value in updated:
                xp.vectors(value)
        return updated[0]

    one, two = (length(emitted(rules, n * operands)) for n in (1, 2))
    return one + (two - one) * (count - 1)


def rule_length_of_a_vector(optimizer: Optimizer, penalty: Penalty | None) -> int:
    """The instructions for a further vector of weights, without those of the rule's scalars."""
    return rule_length(optimizer, penalty, 2) - rule_length(optimizer, penalty, 1)


def length(function: ir.Function) -> int:
    """The number of instructions of a function."""
    return sum(len(block.instructions) for block in function.blocks)


def emitted(expression: Callable[..., Any], vectors: int) -> ir.Function:
    """A function of `vectors` vectors that an expression emits, to be looked at."""
    real = Real(torch.float32)
    vector = ir.VectorType(real.type, _LANES)
    function = ir.Function(ir.Module(), ir.FunctionType(vector, [vector] * vectors), "expression")
    emitter = Emitter(ir.IRBuilder(function.append_basic_block()), real, _LANES)
    xp = VectorNamespace(emitter, Scalars(emitter))
    (result,) = xp.vectors(expression(xp, *map(xp.array, function.args)))
    emitter.builder.ret(result)
    return function
