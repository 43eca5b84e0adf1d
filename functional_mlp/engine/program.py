"""A network as the engine sees it: a list of steps, the loss of their outputs, and the update after each batch."""

from collections.abc import Callable
from typing import ClassVar, Literal

import attrs
import torch
from attrs import field

from functional_mlp.engine.expressions import activation_code, change_of, loss_code, penalty_code, rule_code
from functional_mlp.forks import cached_property
from functional_mlp.layers.elementwise import Elementwise
from functional_mlp.losses import Loss
from functional_mlp.optimizers import Optimizer
from functional_mlp.penalties import Penalty
from functional_mlp.value import Value, is_ours


class CannotFuseError(ValueError):
    """The reason why the engine cannot run a network, loss or optimizer."""


@attrs.frozen
class Affine:
    """s = w x + b; `number` counts the linear layers from 0."""

    number: int
    in_features: int
    out_features: int
    bias: bool

    def __str__(self) -> str:
        bias = " + b" if self.bias else ""
        return f"linear{self.number}: {self.in_features} -> {self.out_features}, s = w x{bias}"


@attrs.frozen
class Pointwise:
    """y = σ(s) for each feature; layers that do the same now are equal."""

    layer: Elementwise = field(eq=False)
    features: int
    code: str = field(init=False, repr=False)

    @code.default
    def _code(self) -> str:
        return activation_code(self.layer)


@attrs.frozen
class Branch:
    """y = x + steps(x)."""

    steps: "tuple[Step, ...]"
    features: int


Step = Affine | Pointwise | Branch

# The name of the function that is made of a program.
Kind = Literal["epoch", "evaluate", "predict"]


@attrs.frozen(cache_hash=True)
class Program:
    """The steps of a network. A pass forward depends on no more, the target and the number of lanes aside.

    Programs are equal where their expressions do the same, as they did when the programs were made. Those with more to
    do than to pass forward add it to the steps.
    """

    kind: ClassVar[Kind] = "predict"

    steps: tuple[Step, ...]
    in_features: int
    out_features: int
    dtype: torch.dtype

    def __str__(self) -> str:
        return "\n".join([f"{self.in_features} inputs", *_describe(self.steps, "")])

    @property
    def values(self) -> list[Value]:
        """The values whose expressions the code is made of."""
        return [step.layer for step in pointwise_steps(self.steps)]

    @property
    def codes(self) -> list[tuple[str, str]]:
        """For each expression, its code when the program was made, and its code now."""
        return [(step.code, activation_code(step.layer)) for step in pointwise_steps(self.steps)]

    @property
    def is_ours(self) -> bool:
        """Whether all expressions are the library's own, and so change with its source alone."""
        return all(is_ours(type(value)) for value in self.values)

    @cached_property
    def is_surely_unchanged(self) -> Callable[[], bool]:
        """A quick test of whether all that the expressions read is still what it was when this was first asked for."""
        return change_of(self.values)

    def check_unchanged(self) -> None:
        """Raise `CannotFuseError` where an expression does something else than when the program was made."""
        if not self.is_surely_unchanged() and any(before != now for before, now in self.codes):
            raise CannotFuseError("an expression has changed since the run began: start another one")

    def with_loss(self, loss: Loss, class_targets: bool, weighted: bool = False) -> "LossProgram":
        """The program of these steps that measures a loss."""
        return LossProgram(
            steps=self.steps,
            in_features=self.in_features,
            out_features=self.out_features,
            dtype=self.dtype,
            loss=loss,
            class_targets=class_targets,
            weighted=weighted,
        )


@attrs.frozen(cache_hash=True)
class LossProgram(Program):
    """The steps of a network, and the loss of its outputs.

    A row of the targets holds a number an output, or none where they are classes, and then its weight if it has one.
    """

    kind: ClassVar[Kind] = "evaluate"

    loss: Loss = field(eq=False)
    class_targets: bool
    weighted: bool
    loss_code: str = field(init=False, repr=False)

    @loss_code.default
    def _loss_code(self) -> str:
        return loss_code(self.loss, self.out_features)

    def __str__(self) -> str:
        return f"{super().__str__()}\nloss {self.loss!r}{', weighted' if self.weighted else ''}"

    @property
    def target_features(self) -> int:
        """How many numbers of a row of the targets are values."""
        return 0 if self.class_targets else self.out_features

    @property
    def target_stride(self) -> int:
        """How many numbers a row of the targets holds."""
        return self.target_features + int(self.weighted)

    @property
    def values(self) -> list[Value]:
        return [*super().values, self.loss]

    @property
    def codes(self) -> list[tuple[str, str]]:
        return [*super().codes, (self.loss_code, loss_code(self.loss, self.out_features))]

    def with_update(self, optimizer: Optimizer, batch_size: int, penalty: Penalty | None) -> "TrainingProgram":
        """The program of these steps and this loss that trains the network."""
        return TrainingProgram(
            steps=self.steps,
            in_features=self.in_features,
            out_features=self.out_features,
            dtype=self.dtype,
            loss=self.loss,
            class_targets=self.class_targets,
            weighted=self.weighted,
            optimizer=optimizer,
            batch_size=batch_size,
            penalty=penalty,
        )


@attrs.frozen(cache_hash=True)
class TrainingProgram(LossProgram):
    """The steps of a network, the loss of its outputs, and the update after each batch."""

    kind: ClassVar[Kind] = "epoch"

    optimizer: Optimizer = field(eq=False, repr=False)
    batch_size: int
    penalty: Penalty | None = field(default=None, eq=False, repr=False)
    rule_code: str = field(init=False)
    penalty_code: str = field(init=False)

    @rule_code.default
    def _rule_code(self) -> str:
        return rule_code(self.optimizer)

    @penalty_code.default
    def _penalty_code(self) -> str:
        return penalty_code(self.penalty)

    def __str__(self) -> str:
        batch = "each sample" if self.batch_size == 1 else f"each batch of {self.batch_size}"
        penalty = "" if self.penalty is None else f"\npenalty {self.penalty!r}"
        return f"{super().__str__()}{penalty}\nafter {batch} {self.optimizer!r}"

    @property
    def values(self) -> list[Value]:
        return [*super().values, self.optimizer, *([] if self.penalty is None else [self.penalty])]

    @property
    def codes(self) -> list[tuple[str, str]]:
        own = [(self.rule_code, rule_code(self.optimizer)), (self.penalty_code, penalty_code(self.penalty))]
        return [*super().codes, *own]


def _describe(steps: tuple[Step, ...], indent: str) -> list[str]:
    lines = []
    for step in steps:
        if isinstance(step, Affine):
            lines.append(f"{indent}{step}")
        elif isinstance(step, Pointwise):
            lines.append(f"{indent}{step.layer!r}: {step.features}")
        else:
            lines += [f"{indent}x +", *_describe(step.steps, indent + "  ")]
    return lines


def all_steps(steps: tuple[Step, ...]) -> list[Step]:
    """Steps and those of their branches, in order, a branch after its own."""
    found: list[Step] = []
    for step in steps:
        found += all_steps(step.steps) if isinstance(step, Branch) else ()
        found.append(step)
    return found


def affine_steps(steps: tuple[Step, ...]) -> list[Affine]:
    """The linear layers of a program, in order."""
    return [step for step in all_steps(steps) if isinstance(step, Affine)]


def pointwise_steps(steps: tuple[Step, ...]) -> list[Pointwise]:
    """The activations of a program, in order."""
    return [step for step in all_steps(steps) if isinstance(step, Pointwise)]
