"""How many instructions the expressions of a program make, which is what bounds its code.

However many layers there are, the code holds each different activation, the loss and the optimizer's rule a bounded
number of times. What would still make too much code is left to the reference.
"""

from collections.abc import Callable
from typing import Any

import torch
from llvmlite import ir

from functional_mlp.engine.llvm.emitter import DOUBLE, Emitter, Real
from functional_mlp.engine.llvm.vector import Array, Scalars, VectorNamespace
from functional_mlp.engine.program import CannotFuseError, Program, all_steps, pointwise_steps, vectors
from functional_mlp.layers.base import Elementwise
from functional_mlp.losses import Loss
from functional_mlp.optimizers import Optimizer

# The most instructions of a program's expressions. The rule counts so many times: about as often as it is emitted.
MOST_INSTRUCTIONS = 10_000
RULES = 20

# The most linear layers, activations and branches; the code does not grow with them, but the table of its calls does.
MOST_STEPS = 2000

_LANES = 4


def check_expressions(program: Program, lanes: int) -> None:
    """Raise `CannotFuseError` for expressions that do what the array algebra has not, or make too much code."""
    steps = len(all_steps(program.steps))
    if steps > MOST_STEPS:
        raise CannotFuseError(f"a network of {steps} layers would take long to compile: the engine takes {MOST_STEPS}")
    layers, outputs = activations(program), vectors(program.out_features, lanes)
    lengths: list[tuple[object, int]] = [(layer, sum(_checked(layer, activation_lengths, layer))) for layer in layers]
    lengths.append((program.loss, _checked(program.loss, loss_length, program.loss, outputs)))
    lengths.append((program.optimizer, _checked(program.optimizer, rule_length, program.optimizer, RULES)))
    total = sum(length for _, length in lengths)
    if total > MOST_INSTRUCTIONS:
        longest, _ = max(lengths, key=lambda entry: entry[1])
        raise CannotFuseError(
            f"{len(layers)} different activations, the loss and the optimizer would make too much code, {longest!r} "
            f"the most of it: together about {total} instructions, and the engine takes at most {MOST_INSTRUCTIONS}"
        )


def _checked(value: object, length: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return length(*arguments)
    except Exception as error:  # whatever an expression of a user's does with arrays that it does not expect
        raise CannotFuseError(f"{value!r} is not written in the array algebra: {error}") from error


def activations(program: Program) -> list[Elementwise]:
    """The different activations."""
    return list({step.code: step.layer for step in pointwise_steps(program.steps)}.values())


def activation_lengths(layer: Elementwise) -> tuple[int, int]:
    """The instructions of an activation and of its pullback, for a vector."""
    return length(emitted(layer.value, 1)), length(emitted(layer.pullback, 3))


def loss_length(loss: Loss, count: int) -> int:
    """About how many instructions a loss and its gradient take, for so many vectors of outputs."""

    def value_and_grad(vectors: int) -> Callable[..., Any]:
        def expression(xp: VectorNamespace, *operands: Array) -> Any:
            values = [operand.values[0] for operand in operands]
            pair = [Array(xp, part, vectors * _LANES) for part in (values[:vectors], values[vectors:])]
            xp.vectors(loss.sample_grad(xp, *pair), vectors)
            return loss.sample_value(xp, *pair)

        return expression

    one, two = (length(emitted(value_and_grad(n), 2 * n)) for n in (1, 2))
    return one + (two - one) * (count - 1)


def rule_length(optimizer: Optimizer, count: int) -> int:
    """The instructions of an optimizer's rule for so many vectors of parameters, and of its scalars, which are one."""
    operands = 2 + len(optimizer.slots())

    def rules(xp: VectorNamespace, *vectors: Array) -> Any:
        step, learning_rate = (xp.scalar(ir.Constant(DOUBLE, 1.0), name) for name in ("step", "learning_rate"))
        for first in range(0, len(vectors), operands):
            updated = optimizer.rule(xp, step, learning_rate, *vectors[first : first + operands])
            for value in updated:
                xp.vectors(value)
        return updated[0]

    one, two = (length(emitted(rules, n * operands)) for n in (1, 2))
    return one + (two - one) * (count - 1)


def rule_length_of_a_vector(optimizer: Optimizer) -> int:
    """The instructions of an optimizer's rule for a further vector of parameters, without those of its scalars."""
    return rule_length(optimizer, 2) - rule_length(optimizer, 1)


def length(function: ir.Function) -> int:
    """The number of instructions of a function."""
    return sum(len(block.instructions) for block in function.blocks)


def emitted(expression: Callable[..., Any], vectors: int) -> ir.Function:
    """A function of so many vectors that an expression emits, to be looked at."""
    real = Real(torch.float32)
    vector = ir.VectorType(real.type, _LANES)
    function = ir.Function(ir.Module(), ir.FunctionType(vector, [vector] * vectors), "expression")
    emitter = Emitter(ir.IRBuilder(function.append_basic_block()), real, _LANES)
    xp = VectorNamespace(emitter, Scalars(emitter))
    (result,) = xp.vectors(expression(xp, *map(xp.array, function.args)))
    emitter.builder.ret(result)
    return function
