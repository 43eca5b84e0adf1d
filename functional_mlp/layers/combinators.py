"""Layers made of layers."""

from collections.abc import Iterator
from typing import overload

import torch
from attrs import field, frozen
from torch import Tensor

from functional_mlp.checks import Integer
from functional_mlp.forks import cached_property
from functional_mlp.from_type import drawn
from functional_mlp.layers.adapting import as_layer
from functional_mlp.layers.arguments import check_init_arguments
from functional_mlp.layers.base import Layer, Params, Tape
from functional_mlp.layers.nesting import depth_over
from functional_mlp.random import Key


@drawn
@frozen(repr=False, init=False)
class Sequential(Layer):
    """The composition of layers, first to last; itself a layer.

    `params` is a tuple with one entry a layer. Back-propagation (section III-B of the paper) is `backward`:
    it carries ∂ℓ/∂x⁽ˡ⁾ from the last layer to the first.

    Raises `ValueError` at construction where a layer's output does not have the size that the next one takes, and
    where layers are nested more than `MOST_LEVELS` deep.

    >>> import functional_mlp as fm
    >>> network = fm.Sequential(fm.Linear(2, 3), fm.ReLU()) + fm.Sequential(fm.Linear(3, 1))
    >>> network
    Sequential(Linear(2, 3), ReLU(), Linear(3, 1))
    >>> len(network), network[1], network[:2]
    (3, ReLU(), Sequential(Linear(2, 3), ReLU()))
    """

    layers: tuple[Layer, ...] = field()

    def __init__(self, *layers: Layer) -> None:
        self.__attrs_init__(tuple(as_layer(f"Sequential: layer {i}", layer) for i, layer in enumerate(layers)))

    @layers.validator
    def _check_layers(self, attribute: object, layers: tuple[Layer, ...]) -> None:
        if not layers:
            raise ValueError("Sequential needs at least one layer, got none")
        depth_over("Sequential", layers)
        features, source = None, 0
        for index, layer in enumerate(layers):
            if None not in (features, layer.in_features) and features != layer.in_features:
                raise ValueError(
                    f"Sequential: layer {index}, {layer!r}, takes {layer.in_features} features, but layer {source}, "
                    f"{layers[source]!r}, gives {features}: make the sizes equal"
                )
            if not layer.keeps_features or layer.out_features is not None:
                features, source = layer.out_features, index

    def _arguments(self) -> list[str]:
        return [repr(layer) for layer in self.layers]

    # Kept, for each level of a nest asks the level below: sizes are found at construction, and again after pickling.

    @cached_property
    def keeps_features(self) -> bool:  # a constant of the class elsewhere
        return all(layer.keeps_features for layer in self.layers)

    @cached_property
    def in_features(self) -> int | None:
        for layer in self.layers:
            if layer.in_features is not None or not layer.keeps_features:
                return layer.in_features
        return None

    @cached_property
    def out_features(self) -> int | None:
        for layer in reversed(self.layers):
            if layer.out_features is not None or not layer.keeps_features:
                return layer.out_features
        return None

    @cached_property
    def nesting_depth(self) -> int:
        return depth_over("Sequential", self.layers)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        """What networks are looked up by, again and again; it takes a while for deep ones."""
        return hash(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    @overload
    def __getitem__(self, index: Integer) -> Layer: ...

    @overload
    def __getitem__(self, index: slice) -> "Sequential": ...

    def __getitem__(self, index: Integer | slice) -> "Layer | Sequential":
        return Sequential(*self.layers[index]) if isinstance(index, slice) else self.layers[index]

    def __add__(self, other: object) -> "Sequential":
        if not isinstance(other, Sequential):
            return NotImplemented
        return Sequential(*self.layers, *other.layers)

    def init(
        self, key: Key, *, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> tuple[Params, ...]:
        check_init_arguments(key, dtype, device)
        keys = key.split(len(self.layers))
        return tuple(
            layer.init(layer_key, dtype=dtype, device=device)
            for layer, layer_key in zip(self.layers, keys, strict=True)
        )

    def forward(self, params: tuple[Params, ...], x: Tensor) -> tuple[Tensor, tuple[Tape, ...]]:
        tapes = []
        for layer, layer_params in zip(self.layers, params, strict=True):
            x, tape = layer.forward(layer_params, x)
            tapes.append(tape)
        return x, tuple(tapes)

    def backward(
        self, params: tuple[Params, ...], tape: tuple[Tape, ...], grad_out: Tensor
    ) -> tuple[tuple[Params, ...], Tensor]:
        grads = list(params)
        for index in reversed(range(len(self.layers))):
            grads[index], grad_out = self.layers[index].backward(params[index], tape[index], grad_out)
        return tuple(grads), grad_out

    def backward_params(
        self, params: tuple[Params, ...], tape: tuple[Tape, ...], grad_out: Tensor
    ) -> tuple[Params, ...]:
        grads = list(params)
        for index in reversed(range(1, len(self.layers))):
            grads[index], grad_out = self.layers[index].backward(params[index], tape[index], grad_out)
        grads[0] = self.layers[0].backward_params(params[0], tape[0], grad_out)
        return tuple(grads)

    def summary_rows(self, in_features: int | None) -> list[tuple[str, int | None, int]]:
        rows: list[tuple[str, int | None, int]] = []
        for layer in self.layers:
            rows += layer.summary_rows(in_features)
            in_features = rows[-1][1]
        return rows


def _inner_layer(layer: Layer) -> Layer:
    return as_layer("Residual: layer", layer)


@frozen(repr=False, cache_hash=True)
class Residual(Layer):
    """x + layer(x), with the params of the layer. He et al., "Deep residual learning", 2015.

    Raises `ValueError` where the layer's output does not have the shape of its input, and where layers are nested more
    than `MOST_LEVELS` deep.

    >>> import functional_mlp as fm
    >>> Residual(fm.ReLU()).apply((), torch.tensor([-1.0, 2.0]))
    tensor([-1.,  4.])
    """

    layer: Layer = field(converter=_inner_layer)

    @layer.validator
    def _check_layer(self, attribute: object, layer: Layer) -> None:
        depth_over("Residual", (layer,))
        sizes = (layer.in_features, layer.out_features)
        if None not in sizes and sizes[0] != sizes[1]:
            raise ValueError(
                f"Residual: {layer!r} takes {sizes[0]} features and gives {sizes[1]}: the two must be equal"
            )

    keeps_features = True

    @cached_property
    def in_features(self) -> int | None:
        return self.layer.in_features if self.layer.in_features is not None else self.layer.out_features

    @property
    def out_features(self) -> int | None:
        return self.in_features

    @cached_property
    def nesting_depth(self) -> int:
        return depth_over("Residual", (self.layer,))

    def init(self, key: Key, *, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None) -> Params:
        return self.layer.init(key, dtype=dtype, device=device)

    def forward(self, params: Params, x: Tensor) -> tuple[Tensor, Tape]:
        y, tape = self.layer.forward(params, x)
        if y.shape != x.shape:
            raise ValueError(
                f"{self!r} got inputs of shape {tuple(x.shape)}, and its layer gives {tuple(y.shape)}: "
                "the two must be equal"
            )
        return x + y, tape

    def backward(self, params: Params, tape: Tape, grad_out: Tensor) -> tuple[Params, Tensor]:
        grad_params, grad_x = self.layer.backward(params, tape, grad_out)
        return grad_params, grad_out + grad_x

    def backward_params(self, params: Params, tape: Tape, grad_out: Tensor) -> Params:
        return self.layer.backward_params(params, tape, grad_out)

    def summary_rows(self, in_features: int | None) -> list[tuple[str, int | None, int]]:
        inner = self.layer.summary_rows(in_features)
        return [("Residual:", None, 0), *[(f"  {label}", size, count) for label, size, count in inner]]
