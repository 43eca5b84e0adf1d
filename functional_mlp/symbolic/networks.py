"""The forward and the backward pass of layers, in LaTeX."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from functional_mlp.layers.base import Layer
from functional_mlp.layers.combinators import Residual, Sequential
from functional_mlp.layers.elementwise import Elementwise
from functional_mlp.layers.kinds import has_passes_of, name_of
from functional_mlp.layers.linear import Linear
from functional_mlp.symbolic.spelling import operator

Line = tuple[str, str, str]
# The letters that stand in the equations of every network.
IN_NETWORKS = ("x", "s", "w", "b", "ℓ")


def of_layer(layer: Layer, define: Callable[[Any, str], list[Line]]) -> list[Line]:
    """The equations of a layer; `define` gives those of an activation by its name, each of which is there once."""
    names = _names(layer)
    passes = Passes(names)
    output = passes.through(layer, "x^{(0)}")
    is_in = ("", "") if layer.in_features is None else (r"\in", rf"\mathbb{{R}}^{{{layer.in_features}}}")
    lines = [("x^{(0)}", is_in[0], rf"{is_in[1]} \quad \text{{(input)}}"), *passes.forward]
    lines.append((gradient(output), "=", rf"\nabla \ell({output}) \quad (1)"))
    lines += [line for lines_of_one in reversed(passes.backward) for line in lines_of_one]
    for activation, name in names.items():
        lines += define(activation, name)
    return lines


def _names(layer: Layer) -> dict[Elementwise, str]:
    """What the activations of a layer are called: by their class, and numbered where there are several of one."""
    names: dict[Elementwise, str] = {}
    activations = activations_in(layer)
    classes = [type(activation).__name__ for activation in activations]
    for place, (activation, cls) in enumerate(zip(activations, classes, strict=True)):
        number = f"_{{{classes[: place + 1].count(cls)}}}" if classes.count(cls) > 1 else ""
        names[activation] = operator(cls) + number
    return names


def activations_in(layer: Layer) -> list[Elementwise]:
    """The activations of a layer, each once."""
    return list(dict.fromkeys(_activations(layer)))


def _activations(layer: Layer) -> Iterator[Elementwise]:
    if has_passes_of(layer, Sequential):
        yield from itertools.chain.from_iterable(map(_activations, layer.layers))
    elif has_passes_of(layer, Residual):
        yield from _activations(layer.layer)
    elif has_passes_of(layer, Elementwise):
        yield layer


def gradient(of: str) -> str:
    return rf"\frac{{\partial \ell}}{{\partial {of}}}"


@attrs.define
class Passes:
    """The lines of both passes, written down layer by layer; those of the backward pass are read from the last."""

    names: dict[Elementwise, str]
    forward: list[Line] = attrs.field(factory=list)
    backward: list[list[Line]] = attrs.field(factory=list)
    linear: int = 0
    number: int = 0

    def through(self, layer: Layer, x: str) -> str:
        """Write down a layer with an input; returns its output's name."""
        if has_passes_of(layer, Sequential):
            for inner in layer.layers:
                x = self.through(inner, x)
            return x
        if has_passes_of(layer, Residual):
            return self._residual(layer, x)
        if has_passes_of(layer, Linear):
            return self._linear(layer, x)
        return self._other(layer, x)

    def _new(self, letter: str) -> str:
        self.number += 1
        return f"{letter}^{{({self.number})}}"

    def _linear(self, layer: Linear, x: str) -> str:
        self.linear += 1
        w, b, s = (f"{letter}^{{({self.linear})}}" for letter in "wbs")
        sizes = rf"\quad {w} \in \mathbb{{R}}^{{{layer.out_features} \times {layer.in_features}}}"
        bias = f" + {b}" if layer.bias else ""
        self.forward.append((s, "=", f"{w} \\, {x}{bias}, {sizes}"))
        lines = [(gradient(w), "=", rf"{gradient(s)} \, {_transposed(x)} \quad (4)")]
        if layer.bias:
            lines.append((gradient(b), "=", rf"{gradient(s)} \quad (5)"))
        lines.append((gradient(x), "=", rf"{_transposed(w)} \, {gradient(s)} \quad (2)"))
        self.backward.append(lines)
        return s

    def _other(self, layer: Layer, x: str) -> str:
        y = self._new("x")
        if has_passes_of(layer, Elementwise):
            name = self.names[layer]
            back = rf"{gradient(y)} \odot {name}'({x}) \quad (3)"
        else:
            name = operator(name_of(layer))
            back = rf"\left(\frac{{\partial {y}}}{{\partial {x}}}\right)^{{\top}} {gradient(y)}"
        self.forward.append((y, "=", rf"{name}({x})"))
        self.backward.append([(gradient(x), "=", back)])
        return y

    def _residual(self, layer: Residual, x: str) -> str:
        first = len(self.backward)
        inner = self.through(layer.layer, x)
        y = self._new("x")
        self.forward.append((y, "=", f"{x} + {inner}"))
        # The gradient of x comes through the layer, and past it: no equation alone.
        *others, (left, relation, through) = self.backward[first]
        formula = through.partition(r" \quad ")[0]
        self.backward[first] = [*others, (left, relation, f"{formula} + {gradient(y)}")]
        self.backward.append([(gradient(inner), "=", gradient(y))])
        return y


def _transposed(x: str) -> str:
    return rf"({x})^{{\top}}"
