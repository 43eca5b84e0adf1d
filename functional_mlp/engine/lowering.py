"""From a nest of layers to a list of steps: the programs of a network, each made once."""

import contextlib
import functools
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, TypeVar

import attrs
import torch
from attrs import field
from torch import Tensor

from functional_mlp.engine.program import (
    Affine,
    Branch,
    CannotFuseError,
    LossProgram,
    Pointwise,
    Program,
    Step,
    TrainingProgram,
)
from functional_mlp.layers.base import Layer
from functional_mlp.layers.combinators import Residual, Sequential
from functional_mlp.layers.elementwise import Elementwise
from functional_mlp.layers.linear import Linear
from functional_mlp.losses import BinaryCrossEntropy, CrossEntropy, Loss, PoissonDeviance
from functional_mlp.operands import NotInAlgebraError
from functional_mlp.optimizers import Optimizer
from functional_mlp.penalties import Penalty
from functional_mlp.state import Job, Member
from functional_mlp.value import replaced

# More than any data set has: row numbers and their sums stay well within 64 bits.
MOST_SAMPLES = 1 << 48


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
    """The program that trains a network; raises `CannotFuseError` for what has no expressions in the array algebra.

    Parameters
    ----------
    network
        What is trained.
    loss
        What training minimizes.
    optimizer
        How a gradient changes the parameters.
    penalty
        What is added to the loss for the size of the weights, if anything.
    batch_size
        Samples an update.
    class_targets
        Whether targets are class indices; otherwise they are values.
    dtype
        That of all numbers, float32 or float64.
    weighted
        Whether samples have weights.
    """
    return _known(
        _trained,
        {"network": network, "loss": loss, "optimizer": optimizer, "penalty": penalty},
        batch_size=min(batch_size, MOST_SAMPLES),
        class_targets=class_targets,
        weighted=weighted,
        dtype=dtype,
    )


def lower_member(job: Job, member: Member) -> TrainingProgram:
    """As `lower`, the program that trains a member of a job."""
    return lower(
        job.network,
        job.loss,
        member.optimizer,
        batch_size=job.batch_size,
        class_targets=takes_classes(job.loss, member.data.targets),
        dtype=member.data.inputs.dtype,
        weighted=member.data.weights is not None,
        penalty=job.penalty,
    )


def lower_loss(
    network: Layer, loss: Loss, *, class_targets: bool, dtype: torch.dtype, weighted: bool = False
) -> LossProgram:
    """As `lower`, the program that measures the loss of a network."""
    values = {"network": network, "loss": loss}
    return _known(_measured, values, class_targets=class_targets, weighted=weighted, dtype=dtype)


def lower_steps(network: Layer, *, dtype: torch.dtype) -> Program:
    """As `lower`, the program that passes inputs forward through a network."""
    return _known(_passed, {"network": network}, dtype=dtype)


def _trained(
    *,
    network: Layer,
    loss: Loss,
    optimizer: Optimizer,
    penalty: Penalty | None,
    batch_size: int,
    class_targets: bool,
    weighted: bool,
    dtype: torch.dtype,
) -> TrainingProgram:
    """The program that `lower` gives, made anew. Takes the arguments of `lower`."""
    program = lower_loss(network, loss, class_targets=class_targets, dtype=dtype, weighted=weighted)
    _require_expressions(optimizer, Optimizer)
    check_penalty_expressions(penalty)
    with _refused_where_not_in_algebra():
        return program.with_update(optimizer, batch_size, penalty)


def _measured(*, network: Layer, loss: Loss, class_targets: bool, weighted: bool, dtype: torch.dtype) -> LossProgram:
    program = lower_steps(network, dtype=dtype)
    _check_loss(loss)
    with _refused_where_not_in_algebra():
        return program.with_loss(loss, class_targets, weighted)


def _passed(*, network: Layer, dtype: torch.dtype) -> Program:
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


def _known(make: Callable[..., _AnyProgram], values: Mapping[str, Any], **settings: Hashable) -> _AnyProgram:
    """The program that `make` makes of values and settings: once, unless it may do something else now."""
    made = _made_once(make, tuple((name, Exactly(value)) for name, value in values.items()), **settings)
    return made if made.is_surely_unchanged() else make(**values, **settings)


@functools.lru_cache(maxsize=1024)
def _made_once(
    make: Callable[..., _AnyProgram], values: tuple[tuple[str, Exactly], ...], **settings: Hashable
) -> _AnyProgram:
    return make(**{name: exactly.value for name, exactly in values}, **settings)


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
