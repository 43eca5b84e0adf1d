"""What the engine refuses, because it has no expressions in the array algebra or would make too much code."""

from collections.abc import Callable
from typing import Any

from functional_mlp.engine.layout import vectors
from functional_mlp.engine.lengths import activation_lengths, activations, loss_length, rule_length
from functional_mlp.engine.llvm.target import Target
from functional_mlp.engine.plan import lanes_of
from functional_mlp.engine.policy import Policy
from functional_mlp.engine.program import CannotFuseError, LossProgram, Program, TrainingProgram, all_steps


def check_code(program: Program, target: Target, policy: Policy) -> None:
    """Raise `CannotFuseError` for expressions that do what the array algebra has not, or make too much code."""
    lanes = lanes_of(program, target)
    _check_expressions(program, vectors(program.out_features, lanes), policy)
    most = policy.most_output_vectors * lanes
    if isinstance(program, LossProgram) and program.out_features > most:
        raise CannotFuseError(
            f"the loss of {program.out_features} outputs would make too much code: the engine takes at most {most}"
        )


def _check_expressions(program: Program, outputs: int, policy: Policy) -> None:
    steps = len(all_steps(program.steps))
    if steps > policy.most_steps:
        raise CannotFuseError(
            f"a network of {steps} layers would take long to compile: the engine takes {policy.most_steps}"
        )
    layers = activations(program)
    lengths: list[tuple[object, int]] = [(layer, sum(_checked(layer, activation_lengths, layer))) for layer in layers]
    named = [f"{len(layers)} different activations"]
    if isinstance(program, LossProgram):
        lengths.append((program.loss, _checked(program.loss, loss_length, program.loss, outputs)))
        named.append("the loss")
    if isinstance(program, TrainingProgram):
        alone = _checked(program.optimizer, rule_length, program.optimizer, None, policy.rules)
        lengths.append((program.optimizer, alone))
        named.append("the optimizer")
        if program.penalty is not None:
            both = _checked(program.penalty, rule_length, program.optimizer, program.penalty, policy.rules)
            lengths.append((program.penalty, both - alone))
            named.append("the penalty")
    total = sum(length for _, length in lengths)
    if total > policy.most_instructions:
        longest, _ = max(lengths, key=lambda entry: entry[1])
        raise CannotFuseError(
            f"{', '.join(named)} would make too much code, {longest!r} the most of it: together about {total} "
            f"instructions, and the engine takes at most {policy.most_instructions}"
        )


def _checked(value: object, length: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return length(*arguments)
    except Exception as error:  # whatever an expression of a user's does with arrays that it does not expect
        raise CannotFuseError(f"{value!r} is not written in the array algebra: {error}") from error
