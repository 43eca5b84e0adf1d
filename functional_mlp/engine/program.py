"""A network as the engine sees it: a list of steps, and where their numbers lie in memory.

`lower` turns the nest of layers into steps; `Layout` gives every parameter, activation and gradient its place in
one workspace. Matrices are stored in rows padded to whole vectors, in the orientation that needs fewer of them:

    input-major    a row an input, the outputs in the lanes      (wide outputs)
    output-major   a row an output, the inputs in the lanes      (a narrow last layer)
"""

import functools
from collections.abc import Hashable
from typing import Any

import attrs
import optree
import torch
from attrs import field
from torch import Tensor

from functional_mlp import pytree
from functional_mlp.engine.expressions import activation_code, is_ours, loss_code, rule_code
from functional_mlp.engine.operands import NotInAlgebraError
from functional_mlp.layers.base import Layer
from functional_mlp.layers.combinators import Residual, Sequential
from functional_mlp.layers.elementwise import Elementwise
from functional_mlp.layers.linear import Linear
from functional_mlp.losses import CrossEntropy, Loss
from functional_mlp.optimizers import Optimizer
from functional_mlp.value import replaced

# No data set has so many; row numbers and their sums stay well within 64 bits.
MOST_SAMPLES = 1 << 48


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


@attrs.frozen(cache_hash=True)
class Program:
    """All that the machine code depends on, the target and the number of lanes aside.

    Programs are equal where their expressions do the same, as they did when the programs were made.
    """

    steps: tuple[Step, ...]
    in_features: int
    out_features: int
    loss: Loss = field(eq=False)
    optimizer: Optimizer = field(eq=False)
    batch_size: int
    class_targets: bool
    dtype: torch.dtype
    loss_code: str = field(init=False, repr=False)
    rule_code: str = field(init=False, repr=False)

    @loss_code.default
    def _loss_code(self) -> str:
        return loss_code(self.loss, self.out_features)

    @rule_code.default
    def _rule_code(self) -> str:
        return rule_code(self.optimizer)

    def __str__(self) -> str:
        lines = [f"{self.in_features} inputs", *_describe(self.steps, ""), f"loss {self.loss!r}"]
        batch = "each sample" if self.batch_size == 1 else f"each batch of {self.batch_size}"
        return "\n".join([*lines, f"after {batch} {self.optimizer!r}"])

    @property
    def is_ours(self) -> bool:
        """Whether all expressions are the library's own, and so change with its source alone."""
        layers = [step.layer for step in pointwise_steps(self.steps)]
        return all(is_ours(type(value)) for value in (self.loss, self.optimizer, *layers))

    def check_unchanged(self) -> None:
        """Raise `CannotFuseError` where an expression does something else than when the program was made."""
        codes = [(step.code, activation_code(step.layer)) for step in pointwise_steps(self.steps)]
        codes.append((self.loss_code, loss_code(self.loss, self.out_features)))
        codes.append((self.rule_code, rule_code(self.optimizer)))
        if any(before != now for before, now in codes):
            raise CannotFuseError("an expression has changed since the run began: start another one")


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


def lower(
    network: Layer,
    loss: Loss,
    optimizer: Optimizer,
    *,
    batch_size: int,
    class_targets: bool,
    dtype: torch.dtype,
) -> Program:
    """The program of a network; raises `CannotFuseError` for what has no expressions in the array algebra."""
    whole = Exactly(network, id(network))
    parts = [Exactly(value, (type(value), repr(value))) for value in (loss, optimizer)]
    known = _lowered_once(whole, *parts, batch_size, class_targets, dtype)
    return known or _lowered(network, loss, optimizer, batch_size, class_targets, dtype)


@attrs.frozen
class Exactly:
    """A value known by a key, for values that are equal may differ in the sign of a zero."""

    value: Any = field(eq=False)
    key: Hashable


@functools.lru_cache(maxsize=256)
def _lowered_once(
    network: Exactly,
    loss: Exactly,
    optimizer: Exactly,
    batch_size: int,
    class_targets: bool,
    dtype: torch.dtype,
) -> Program | None:
    """The program of a network, `None` where it has to be made anew because others can change its expressions."""
    program = _lowered(network.value, loss.value, optimizer.value, batch_size, class_targets, dtype)
    return program if program.is_ours else None


def _lowered(
    network: Layer,
    loss: Loss,
    optimizer: Optimizer,
    batch_size: int,
    class_targets: bool,
    dtype: torch.dtype,
) -> Program:
    if network.in_features is None:
        raise CannotFuseError(f"{network!r} does not say how many features it takes: start it with a Linear layer")
    steps: list[Step] = []
    batch_size = min(batch_size, MOST_SAMPLES)
    try:
        features = _lower(network, network.in_features, steps, [0])
        _check_loss(loss)
        _require_expressions(optimizer, Optimizer)
        return Program(tuple(steps), network.in_features, features, loss, optimizer, batch_size, class_targets, dtype)
    except NotInAlgebraError as error:
        raise CannotFuseError(str(error)) from error


def _lower(layer: Layer, features: int, steps: list[Step], count: list[int]) -> int:
    """Append the steps of a layer for inputs of a size; returns the size of its output."""
    if type(layer) is Sequential:
        for inner in layer:
            features = _lower(inner, features, steps, count)
        return features
    if type(layer) is Residual:
        inner_steps: list[Step] = []
        if _lower(layer.layer, features, inner_steps, count) != features:
            raise CannotFuseError(f"{layer!r} does not keep the number of its features, {features}")
        steps.append(Branch(tuple(inner_steps), features))
        return features
    if type(layer) is Linear:
        steps.append(Affine(count[0], layer.in_features, layer.out_features, layer.bias))
        count[0] += 1
        return layer.out_features
    if isinstance(layer, Elementwise):
        _require_expressions(layer, Elementwise)
        steps.append(Pointwise(layer, features))
        return features
    raise CannotFuseError(
        f"{layer!r} is neither Linear, Elementwise, Sequential nor Residual: "
        "only layers written in the array algebra can be fused"
    )


def _check_loss(loss: Loss) -> None:
    _require_expressions(loss, Loss)
    if type(loss).encode not in (Loss.encode, CrossEntropy.encode):
        raise CannotFuseError(f"{loss!r} encodes its targets in a way of its own, which the engine cannot follow")


def _require_expressions(value: Any, base: Any) -> None:
    """Raise unless a value is what its base makes of its expressions, for the engine reads these alone."""
    for name in replaced(value, base, base.DERIVED):
        raise CannotFuseError(
            f"{value!r} defines {name} itself, and the engine reads only its expressions in the array algebra"
        )


@attrs.frozen
class Matrix:
    """The place of a layer's parameters within an array of all of them: rows of `stride` numbers, then the bias."""

    step: Affine
    input_major: bool
    offset: int
    stride: int
    bias_offset: int
    end: int

    @property
    def rows(self) -> int:
        return self.step.in_features if self.input_major else self.step.out_features

    @property
    def columns(self) -> int:
        return self.step.out_features if self.input_major else self.step.in_features


class Places:
    """The leaves of trees like the params, within one array."""

    @functools.cached_property
    def places(self) -> tuple[Tensor, ...]:
        """For each leaf, in order and in its shape, where its numbers lie in the array."""
        raise NotImplementedError

    def pack(self, tree: Any, array: Tensor) -> optree.PyTreeSpec:
        """Write the leaves of a tree into an array; returns the tree's structure."""
        leaves, structure = pytree.flatten(tree)
        for place, leaf in zip(self.places, leaves, strict=True):
            array[place] = leaf.detach()
        return structure

    def are_finite(self, array: Tensor) -> bool:
        """Whether all numbers of the leaves are finite; those of the padding between them are of no account."""
        return all(bool(array[place].isfinite().all()) for place in self.places)

    def unpack(self, array: Tensor, structure: optree.PyTreeSpec) -> Any:
        """The tree of a structure that an array holds, in tensors of its own."""
        return structure.unflatten(array.take(place) for place in self.places)


@attrs.frozen
class Layout(Places):
    """The parameters of a program in one array of `size` numbers, padded with zeros to vectors of `lanes`."""

    lanes: int
    matrices: tuple[Matrix, ...]
    size: int

    @classmethod
    def of(cls, program: Program, lanes: int) -> "Layout":
        matrices = []
        offset = 0
        for step in affine_steps(program.steps):
            by_input = step.in_features * vectors(step.out_features, lanes)
            by_output = step.out_features * vectors(step.in_features, lanes)
            input_major = by_input <= by_output
            stride = lanes * vectors(step.out_features if input_major else step.in_features, lanes)
            bias_offset = offset + lanes * min(by_input, by_output)
            end = bias_offset + (lanes * vectors(step.out_features, lanes) if step.bias else 0)
            matrices.append(Matrix(step, input_major, offset, stride, bias_offset, end))
            offset = end
        return cls(lanes, tuple(matrices), offset)

    @functools.cached_property
    def places(self) -> tuple[Tensor, ...]:
        numbers, places = torch.arange(self.size, device="cpu"), []
        for matrix in self.matrices:
            rows = numbers[matrix.offset : matrix.bias_offset].view(matrix.rows, matrix.stride)[:, : matrix.columns]
            places.append((rows.T if matrix.input_major else rows).contiguous())
            if matrix.step.bias:
                places.append(numbers[matrix.bias_offset : matrix.bias_offset + matrix.step.out_features])
        return tuple(places)


def vectors(features: int, lanes: int) -> int:
    """The number of vectors that hold some features."""
    return -(-features // lanes)
