"""A network as the engine sees it: a list of steps, and where their numbers lie in memory.

`lower` turns the nest of layers into steps; `Layout` gives every parameter, activation and gradient its place in
one workspace. Matrices are stored in rows padded to whole vectors, in the orientation that needs fewer of them:

    input-major    a row an input, the outputs in the lanes      (wide outputs)
    output-major   a row an output, the inputs in the lanes      (a narrow last layer)
"""

import contextlib
import functools
from collections.abc import Callable, Hashable, Iterator
from typing import Any, ClassVar, Literal, TypeVar

import attrs
import optree
import torch
from attrs import field
from torch import Tensor

from functional_mlp import pytree
from functional_mlp.engine.expressions import activation_code, is_ours, loss_code, penalty_code, rule_code
from functional_mlp.layers.base import Layer
from functional_mlp.layers.combinators import Residual, Sequential
from functional_mlp.layers.elementwise import Elementwise
from functional_mlp.layers.linear import Linear
from functional_mlp.losses import BinaryCrossEntropy, CrossEntropy, Loss, PoissonDeviance
from functional_mlp.operands import NotInAlgebraError
from functional_mlp.optimizers import Optimizer
from functional_mlp.penalties import Penalty
from functional_mlp.value import replaced

# More than any data set has: row numbers and their sums stay well within 64 bits.
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
    def values(self) -> list[object]:
        """The values whose expressions the code is made of."""
        return [step.layer for step in pointwise_steps(self.steps)]

    @property
    def codes(self) -> list[tuple[str, str]]:
        """For each expression, what it did when the program was made, and what it does now."""
        return [(step.code, activation_code(step.layer)) for step in pointwise_steps(self.steps)]

    @property
    def is_ours(self) -> bool:
        """Whether all expressions are the library's own, and so change with its source alone."""
        return all(is_ours(type(value)) for value in self.values)

    def check_unchanged(self) -> None:
        """Raise `CannotFuseError` where an expression does something else than when the program was made."""
        if any(before != now for before, now in self.codes):
            raise CannotFuseError("an expression has changed since the run began: start another one")

    def with_loss(self, loss: Loss, class_targets: bool, weighted: bool = False) -> "LossProgram":
        """The program of these steps that measures a loss."""
        sizes = self.in_features, self.out_features
        return LossProgram(self.steps, *sizes, self.dtype, loss, class_targets, weighted)


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
    def values(self) -> list[object]:
        return [*super().values, self.loss]

    @property
    def codes(self) -> list[tuple[str, str]]:
        return [*super().codes, (self.loss_code, loss_code(self.loss, self.out_features))]

    def with_update(self, optimizer: Optimizer, batch_size: int, penalty: Penalty | None) -> "TrainingProgram":
        """The program of these steps and this loss that trains the network."""
        return TrainingProgram(
            self.steps,
            self.in_features,
            self.out_features,
            self.dtype,
            self.loss,
            self.class_targets,
            self.weighted,
            optimizer,
            batch_size,
            penalty,
        )


@attrs.frozen(cache_hash=True)
class TrainingProgram(LossProgram):
    """The steps of a network, the loss of its outputs, and the update after each batch."""

    kind: ClassVar[Kind] = "epoch"

    optimizer: Optimizer = field(eq=False)
    batch_size: int
    penalty: Penalty | None = field(default=None, eq=False)
    rule_code: str = field(init=False, repr=False)
    penalty_code: str = field(init=False, repr=False)

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
    def values(self) -> list[object]:
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


def lower(
    network: Layer,
    loss: Loss,
    optimizer: Optimizer,
    *,
    batch_size: int,
    class_targets: bool,
    dtype: torch.dtype,
    weighted: bool = False,
    penalty: Penalty | None = None,
) -> TrainingProgram:
    """The program that trains a network; raises `CannotFuseError` for what has no expressions in the array algebra."""
    values = (network, loss, optimizer, penalty)
    return _known(_trained, values, (min(batch_size, MOST_SAMPLES), class_targets, weighted, dtype))


def lower_loss(
    network: Layer, loss: Loss, *, class_targets: bool, dtype: torch.dtype, weighted: bool = False
) -> LossProgram:
    """As `lower`, the program that measures the loss of a network."""
    return _known(_measured, (network, loss), (class_targets, weighted, dtype))


def lower_steps(network: Layer, *, dtype: torch.dtype) -> Program:
    """As `lower`, the program that passes inputs forward through a network."""
    return _known(_passed, (network,), (dtype,))


def _trained(
    network: Layer,
    loss: Loss,
    optimizer: Optimizer,
    penalty: Penalty | None,
    batch_size: int,
    class_targets: bool,
    weighted: bool,
    dtype: torch.dtype,
) -> TrainingProgram:
    program = lower_loss(network, loss, class_targets=class_targets, dtype=dtype, weighted=weighted)
    _require_expressions(optimizer, Optimizer)
    check_penalty_expressions(penalty)
    with _refused_where_not_in_algebra():
        return program.with_update(optimizer, batch_size, penalty)


def _measured(network: Layer, loss: Loss, class_targets: bool, weighted: bool, dtype: torch.dtype) -> LossProgram:
    program = lower_steps(network, dtype=dtype)
    _check_loss(loss)
    with _refused_where_not_in_algebra():
        return program.with_loss(loss, class_targets, weighted)


def _passed(network: Layer, dtype: torch.dtype) -> Program:
    if network.in_features is None:
        raise CannotFuseError(f"{network!r} does not say how many features it takes: start it with a Linear layer")
    steps: list[Step] = []
    with _refused_where_not_in_algebra():
        features = _lower(network, network.in_features, steps, [0])
        return Program(tuple(steps), network.in_features, features, dtype)


@contextlib.contextmanager
def _refused_where_not_in_algebra() -> Iterator[None]:
    try:
        yield
    except NotInAlgebraError as error:
        raise CannotFuseError(str(error)) from error


_AnyProgram = TypeVar("_AnyProgram", bound=Program)


@attrs.frozen
class Exactly:
    """A value known by which object it is, for values that are equal may differ in the sign of a zero."""

    value: Any = field(eq=False)
    identity: int = field(init=False)

    @identity.default
    def _identity(self) -> int:
        return id(self.value)


def _known(make: Callable[..., _AnyProgram], values: tuple[Any, ...], settings: tuple[Hashable, ...]) -> _AnyProgram:
    """The program that `make` makes of values and settings.

    It is made once, unless others can change its expressions: then it is made anew, for they may do something else now.
    """
    return _made_once(make, tuple(map(Exactly, values)), settings) or make(*values, *settings)


@functools.lru_cache(maxsize=1024)
def _made_once(
    make: Callable[..., _AnyProgram], values: tuple[Exactly, ...], settings: tuple[Hashable, ...]
) -> _AnyProgram | None:
    program = make(*(exactly.value for exactly in values), *settings)
    return program if program.is_ours else None


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


def check_penalty_expressions(penalty: Penalty | None) -> None:
    """Raise `CannotFuseError` unless a penalty, where there is one, is made of its expressions."""
    if penalty is not None:
        _require_expressions(penalty, Penalty)


def _check_loss(loss: Loss) -> None:
    _require_expressions(loss, Loss)
    known = (Loss, CrossEntropy, BinaryCrossEntropy, PoissonDeviance)
    if type(loss).encode not in [cls.encode for cls in known]:
        raise CannotFuseError(f"{loss!r} encodes its targets in a way of its own, which the engine cannot follow")


def _require_expressions(value: Any, base: Any) -> None:
    """Raise unless a value is what its base makes of its expressions, for the engine reads these alone."""
    for name in replaced(value, base, base.DERIVED):
        raise CannotFuseError(
            f"{value!r} defines {name} itself, and the engine reads only its expressions in the array algebra"
        )


def takes_classes(loss: Loss, targets: Tensor) -> bool:
    """Whether targets are class indices that a loss takes as they are: whatever else it takes is values."""
    return targets.ndim == 1 and isinstance(loss, CrossEntropy)


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
            rows, columns = (step.in_features, step.out_features)[:: 1 if input_major else -1]
            stride = distance_of_rows(columns, lanes)
            bias_offset = offset + rows * stride
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


# Rows at a distance of a multiple of 2 KB lie on few lines of a cache, and drive each other out of it: products of a
# matrix 1024 wide take 1.3 of the time so.
CROWDED = 512


def distance_of_rows(features: int, lanes: int) -> int:
    """The numbers from a row of features to the next: whole vectors, and one more where rows would be `CROWDED`."""
    padded = lanes * vectors(features, lanes)
    return padded if padded % CROWDED else padded + lanes


def vectors(features: int, lanes: int) -> int:
    """The number of vectors that hold some features."""
    return -(-features // lanes)
