"""Networks and params that are rounded in another way, to measure what rounding does to a training run."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from functional_mlp import pytree, random
from functional_mlp.layers.base import Layer, Params, Tape
from functional_mlp.layers.combinators import Residual, Sequential
from functional_mlp.random import Key
from functional_mlp.testing.trees import largest

# How far numbers are moved, in ε: what a few operations round, an activation's own error included.
NUDGE = 8

# What becomes of a number that a layer computes, by the size of what it is computed from.
Rounded = Callable[[Tensor, Tensor], Tensor]


def nudged_params(params: Any, seed: int) -> Any:
    """Params with every number moved up or down by 8 ε of itself, or of the largest of all where it is 0.

    >>> (nudged_params((torch.tensor([1.0]),), 0)[0] - 1).abs() / torch.finfo(torch.float32).eps
    tensor([8.])
    """
    size = max((largest(leaf[leaf.isfinite()]) for leaf in pytree.leaves(params)), default=0.0)
    return pytree.map(lambda leaf: leaf + _nudge(leaf, torch.where(leaf == 0, size, leaf.abs()), seed), params)


def nudged_network(network: Layer, seed: int) -> Layer:
    """A network whose layers move each result, forward and backward, up or down by 8 ε of its operands.

    An operation inside a layer may be on larger numbers than those that come out, as in 1 + tanh(s): its operands
    are taken to be of the size of 1 and of the layer's inputs. An exact 0 stays 0.
    """

    def rounding(place: int) -> Rounded:
        return lambda tensor, size: torch.where(tensor == 0, tensor, tensor + _nudge(tensor, size, seed + place))

    return _with_rounding(network, rounding)


def flushed_network(network: Layer) -> Layer:
    """A network in which numbers below the smallest normal one count as zero, as on the fused engine.

    Answers turn by it: of the outputs -1e-39 and 0.0 the second is the largest, of 0.0 and 0.0 the first.
    """

    def flushed(tensor: Tensor, size: Tensor) -> Tensor:
        return tensor.where(~(tensor.abs() < torch.finfo(tensor.dtype).tiny), 0)  # NaN stays

    return _with_rounding(network, lambda place: flushed)


def _with_rounding(network: Layer, rounding: Callable[[int], Rounded], place: int = 0) -> Layer:
    if type(network) is Sequential:
        return Sequential(*(_with_rounding(layer, rounding, place + i) for i, layer in enumerate(network)))
    if type(network) is Residual:
        return Residual(_with_rounding(network.layer, rounding, place))
    return Rounding(network, rounding(place))


@frozen(repr=False)
class Rounding(Layer):
    """A layer whose outputs and gradients are rounded: a function of them and of the size of their operands."""

    layer: Layer
    rounded: Rounded

    @property
    def keeps_features(self) -> bool:  # type: ignore[override]
        return self.layer.keeps_features

    @property
    def in_features(self) -> int | None:
        return self.layer.in_features

    @property
    def out_features(self) -> int | None:
        return self.layer.out_features

    @property
    def nesting_depth(self) -> int:
        return self.layer.nesting_depth

    def init(self, key: Key, *, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None) -> Params:
        return self.layer.init(key, dtype=dtype, device=device)

    def forward(self, params: Params, x: Tensor) -> tuple[Tensor, Tape]:
        y, tape = self.layer.forward(params, x)
        size = 1 + x.abs().amax()
        return self.rounded(y, size), (tape, size)

    def backward(self, params: Params, tape: Tape, grad_out: Tensor) -> tuple[Params, Tensor]:
        inner, size = tape
        size = size * grad_out.abs().amax()
        gradients = self.layer.backward(params, inner, grad_out)
        moved: tuple[Params, Tensor] = pytree.map(lambda grad: self.rounded(grad, size), gradients)
        return moved


def _nudge(tensor: Tensor, size: Tensor, seed: int) -> Tensor:
    signs = _signs(tuple(tensor.shape), seed, tensor.dtype).to(tensor.device)
    return NUDGE * torch.finfo(tensor.dtype).eps * size * signs


@functools.lru_cache(maxsize=4096)
def _signs(shape: tuple[int, ...], seed: int, dtype: torch.dtype) -> Tensor:
    return random.uniform(random.key(seed), shape, -1.0, 1.0, dtype=dtype).sign()
