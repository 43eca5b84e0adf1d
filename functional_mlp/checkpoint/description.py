"""What a checkpoint's document says of its tensors, as values and as JSON, and what the tensors are called."""

import json
from typing import Any

import attrs
import cattrs
import torch
from attrs import frozen

from functional_mlp import checks, pytree, trees
from functional_mlp.checkpoint.settings import Settings
from functional_mlp.checkpoint.values import Registry, converter
from functional_mlp.layers.arguments import template
from functional_mlp.layers.base import Layer, Params
from functional_mlp.losses import Loss
from functional_mlp.optimizers import Optimizer
from functional_mlp.random import Key

# Raised by one whenever a file of the new kind could be misread by an older version of the library.
FORMAT = 1

# What the names of tensors begin with that are figures of the history, or of the best state.
HISTORY = "history."
BEST = "best."


@frozen
class Reached:
    """What is left of a `TrainState` without its tensors."""

    learning_rate: float
    step: int
    epoch: int
    key: Key


@frozen
class Member:
    """What a document says of a member of an ensemble; `epochs` are those of its history."""

    optimizer: Optimizer
    progress: Reached
    epochs: int
    settings: Settings
    ended: bool
    best: Reached | None = None
    judged_from: int = 0


@frozen
class Description:
    """What a checkpoint's document says of its tensors; what is left out of it has its default."""

    network: Layer
    optimizer: Optimizer
    loss: Loss | None
    progress: Reached | None
    settings: Settings | None = None
    ended: bool = False
    best: Reached | None = None
    judged_from: int = 0
    members: tuple[Member, ...] = ()


def encoded_description(description: Description, registry: Registry) -> dict[str, Any]:
    """The description as JSON, once it is known to come back as it is."""
    convert = converter(registry)
    encoded: dict[str, Any] = convert.unstructure(description)
    try:
        decoded = convert.structure(json.loads(json.dumps(encoded)), Description)
    except (TypeError, ValueError, cattrs.StructureHandlerNotFoundError) as error:
        raise ValueError(f"save: {description.network!r} and {description.optimizer!r} as JSON: {error}") from error
    defaults = {field.name: field.default for field in attrs.fields(Description)}
    for field in attrs.fields(Description):
        value, again = getattr(description, field.name), getattr(decoded, field.name)
        if value != again:
            raise ValueError(
                f"save: {field.name} {value!r} would be loaded as {again!r}: give the fields of its classes types, "
                "and let them hold numbers, words, tuples and values"
            )
    return {name: value for name, value in encoded.items() if getattr(description, name) != defaults[name]}


def encoded_value(value: Any, registry: Registry) -> Any:
    return json.loads(json.dumps(converter(registry).unstructure(value)))


def check_params(network: Layer, params: Params) -> None:
    """Raise `TypeError` or `ValueError` for params that are not those of the network."""
    leaves = pytree.leaves(params)
    for path, leaf in pytree.items(params):
        checks.float_tensor(f"params{path}", leaf)
    reference = leaves[0] if leaves else None
    trees.like("params", params, "the network's params", template(network, torch.float32), reference=reference)
