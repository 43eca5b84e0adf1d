"""What the functions of a layer are given: checked against the layer's template, without autograd graphs."""

import functools
from collections.abc import Hashable
from typing import Any, Protocol

import torch
from torch import Tensor

from functional_mlp import checks, pytree, random, trees
from functional_mlp.random import Key
from functional_mlp.usual import kept


class Layer(Hashable, Protocol):
    """What is asked of a layer here, by whose name results are kept."""

    def init(self, key: Key, *, dtype: torch.dtype, device: torch.device | str | None) -> Any: ...

    def forward(self, params: Any, x: Tensor) -> tuple[Tensor, Any]: ...


def check_init_arguments(key: Key, dtype: torch.dtype, device: torch.device | str | None) -> None:
    """Raise unless these are what a layer's `init` takes."""
    random.check_key("init: key", key)
    checks.float_dtype("init: dtype", dtype)
    checks.device("init: device", device)


def checked_arguments(layer: Layer, params: Any, x: Tensor) -> tuple[Any, Tensor]:
    """Params and inputs without autograd graphs, once they are known to fit the layer and each other."""
    checks.float_tensor("inputs", x)
    if x.ndim == 0:
        raise ValueError(
            f"inputs must have a last dimension of features, got a 0-d tensor: {layer!r} takes (..., features)"
        )
    expected, form = template(layer, x.dtype), form_of_params(layer, x.dtype, x.device)
    leaves = trees.like("params", params, "the layer's params", expected, reference=x, form=form)
    if trees.are_connected(leaves):
        params = trees.detached(params)
    return params, x.detach() if x.requires_grad else x


def params_dtype(layer: Layer, params: Any) -> torch.dtype:
    """The dtype of params, once they are known to be the layer's; float32 where there are none."""
    leaves = trees.float_leaves("params", params)
    first = leaves[0] if leaves else torch.zeros(0)
    expected = template(layer, first.dtype)
    trees.like("params", params, "the layer's params", expected, reference=first)
    return first.dtype


@kept(256)
def template(layer: Layer, dtype: torch.dtype) -> Any:
    """The layer's params as meta tensors: their structure and shapes, without data."""
    return layer.init(random.key(0), dtype=dtype, device="meta")


@functools.lru_cache(maxsize=256)
def form_of_params(layer: Layer, dtype: torch.dtype, device: torch.device) -> trees.Form:
    """What params of the layer have in common in a dtype, on a device."""
    return trees.Form.of_template(template(layer, dtype), dtype, device)


@kept(256)
def output_of_zeros(layer: Layer, dtype: torch.dtype, shape: torch.Size) -> Tensor | None:
    """What the layer makes of zeros of a shape, with zeros for params; None where it cannot do with zeros."""
    params = pytree.map(lambda leaf: torch.zeros(leaf.shape, dtype=leaf.dtype, device="cpu"), template(layer, dtype))
    try:
        return layer.forward(params, torch.zeros(shape, dtype=dtype, device="cpu"))[0]
    except Exception:  # a layer of a user's own may do anything
        return None
