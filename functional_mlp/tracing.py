"""One sample seen on its way through a network and back: every quantity of back-propagation, by name.

The names are those of the paper and of `fm.latex`: s⁽ˡ⁾ is what the l-th linear layer gives, x⁽ⁱ⁾ what the i-th other
layer gives, and δ⁽ˡ⁾ is ∂ℓ/∂s⁽ˡ⁾. The numbers of the equations are those of `functional_mlp.backprop`.
"""

from __future__ import annotations

import html
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
import numpy as np
from attrs import define, field, frozen
from torch import Tensor

from functional_mlp import checks, pytree
from functional_mlp.layers.adapting import as_layer
from functional_mlp.layers.arguments import checked_arguments
from functional_mlp.layers.base import Layer, Params
from functional_mlp.layers.combinators import Residual, Sequential
from functional_mlp.layers.elementwise import Elementwise
from functional_mlp.layers.kinds import has_passes_of, name_of
from functional_mlp.layers.linear import Linear, LinearParams
from functional_mlp.losses import Loss

_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@frozen(eq=False)
class Quantity:
    """A line of a trace: `name` = `formula`, by the `equation` of that number, has this `value`.

    `layer` is the heading that it stands under: the place of its layer, counted from 1, and the repr of that layer, but
    of `Linear` only the sizes and of `Residual` only the name; "input" for x⁽⁰⁾, and the repr of the loss for the loss.
    `formula` and `equation` are empty for what was given, and `equation` for what the paper has no number for.
    """

    layer: str
    name: str
    value: Tensor
    formula: str = ""
    equation: str = ""

    def __str__(self) -> str:
        return f"{self.name} = {self.formula}" if self.formula else self.name


@frozen(eq=False, repr=False)
class Trace:
    """What `trace` returns: the quantities of both passes in the order in which they were computed.

    `grads` is the gradient, with the structure of the params: what `value_and_grad` returns for the sample. A trace
    prints as lines of text, and a notebook shows it as a table.
    """

    forward: tuple[Quantity, ...]
    backward: tuple[Quantity, ...]
    grads: Params

    def __getitem__(self, name: str) -> Tensor:
        """The value of a quantity by its name.

        Raises `KeyError` where there is none of this name.
        """
        values = {quantity.name: quantity.value for quantity in (*self.forward, *self.backward)}
        if name not in values:
            raise KeyError(f"the trace has no {name!r}: it has {', '.join(values)}")
        return values[name]

    def __repr__(self) -> str:
        """Both passes, with a heading for each layer.

        >>> import torch, functional_mlp as fm
        >>> params = fm.LinearParams(weight=torch.tensor([[2.0, 3.0]]), bias=torch.tensor([1.0]))
        >>> trace(fm.Linear(2, 1), fm.MeanSquaredError(), params, torch.tensor([1.0, 0.5]), torch.tensor([4.0]))
        forward
          input
            x⁽⁰⁾                          [1.  0.5]
          1. Linear(2, 1)
            w⁽¹⁾                          [[2. 3.]]
            b⁽¹⁾                          [1.]
            s⁽¹⁾ = w⁽¹⁾ x⁽⁰⁾ + b⁽¹⁾       [4.5]
          MeanSquaredError()
            t                             [4.]
            ℓ                             0.25
        backward, with δ⁽ˡ⁾ = ∂ℓ/∂s⁽ˡ⁾
          MeanSquaredError()
            δ⁽¹⁾ = ∇ℓ(s⁽¹⁾)          (1)  [1.]
          1. Linear(2, 1)
            ∂ℓ/∂w⁽¹⁾ = δ⁽¹⁾ (x⁽⁰⁾)ᵀ  (4)  [[1.  0.5]]
            ∂ℓ/∂b⁽¹⁾ = δ⁽¹⁾          (5)  [1.]
            ∂ℓ/∂x⁽⁰⁾ = (w⁽¹⁾)ᵀ δ⁽¹⁾  (2)  [2. 3.]
        """
        width = max(len(str(quantity)) for quantity in (*self.forward, *self.backward))
        return "\n".join(
            line
            for heading, quantities in self._passes()
            for line in (heading, *_lines(quantities, width))
        )  # fmt: skip

    def _repr_html_(self) -> str:
        """A table, for notebooks."""
        rows = []
        for heading, quantities in self._passes():
            rows.append(f"<tr><th colspan='3' style='text-align:left'>{heading}</th></tr>")
            for layer, group in itertools.groupby(quantities, lambda quantity: quantity.layer):
                rows.append(f"<tr><td colspan='3' style='text-align:left'><code>{html.escape(layer)}</code></td></tr>")
                for quantity in group:
                    cells = html.escape(str(quantity)), quantity.equation, f"<pre>{numbers(quantity.value)}</pre>"
                    rows.append(
                        "<tr>" + "".join(f"<td style='text-align:left'>{cell}</td>" for cell in cells) + "</tr>"
                    )
        return f"<table>{''.join(rows)}</table>"

    def _passes(self) -> tuple[tuple[str, tuple[Quantity, ...]], ...]:
        return ("forward", self.forward), ("backward, with δ⁽ˡ⁾ = ∂ℓ/∂s⁽ˡ⁾", self.backward)


def trace(network: Layer, loss: Loss, params: Params, inputs: Tensor, targets: Tensor) -> Trace:
    """Both passes of one sample: each layer's s, x, δ and gradients, with the number of the equation of each.

    Linear layers and the others are counted apart: s⁽ˡ⁾ is what the l-th `Linear` gives, x⁽ⁱ⁾ what the i-th other layer
    gives. Where they take turns x⁽ˡ⁾ = σ(s⁽ˡ⁾); behind two `Linear` in a row the first activation gives x⁽¹⁾ = σ(s⁽²⁾),
    as in `fm.latex`. A layer of your own counts as another one, and so does a subclass of the library's with passes of
    its own: what it gives is shown, without the number of an equation.

    `inputs` is (in_features,), and `targets` what belongs to it: a class index () or values (outputs,), as a row of a
    `Dataset` has them. For a batch, whose gradients are means, there is `value_and_grad`. Raises `ValueError` for more
    than one sample.

    >>> import functional_mlp as fm
    >>> network = fm.Sequential(fm.Linear(2, 3), fm.Tanh(), fm.Linear(3, 2))
    >>> params, data = network.init(fm.random.key(0)), fm.datasets.disk(fm.random.key(1), 5)
    >>> seen = trace(network, fm.MeanSquaredError(), params, data.inputs[0], data.targets[0])
    >>> [f"{quantity} {quantity.equation}" for quantity in seen.backward][:4]
    ['δ⁽²⁾ = ∇ℓ(s⁽²⁾) (1)', '∂ℓ/∂w⁽²⁾ = δ⁽²⁾ (x⁽¹⁾)ᵀ (4)', '∂ℓ/∂b⁽²⁾ = δ⁽²⁾ (5)', '∂ℓ/∂x⁽¹⁾ = (w⁽²⁾)ᵀ δ⁽²⁾ (2)']
    >>> seen["δ⁽¹⁾"].shape
    torch.Size([3])
    """
    layer = as_layer("trace: network", network)
    checks.instance("trace: loss", loss, Loss, "subclass functional_mlp.Loss to write your own")
    checks.float_tensor("trace: inputs", inputs)
    if inputs.ndim != 1:
        shape = tuple(inputs.shape)
        raise ValueError(f"trace: inputs must be one sample (features,), got shape {shape}: pass a row, inputs[0], say")
    params, x = checked_arguments(layer, params, inputs)
    layer.forward(params, x)  # a layer that does not take what it gets says so
    passes = _Passes()
    passes.forward.append(Quantity("input", "x⁽⁰⁾", x))
    output, back = passes.through(layer, params, _Signal("x⁽⁰⁾", x))
    targets = loss.checked_targets(output.value, targets)
    passes.forward.append(Quantity(repr(loss), "t", targets))
    passes.forward.append(Quantity(repr(loss), "ℓ", loss.batch_value(output.value, targets)))
    grad_out = loss.batch_grad(output.value, targets)
    passes.backward.append(Quantity(repr(loss), output.gradient, grad_out, f"∇ℓ({output.name})", "(1)"))
    grads, _ = back(grad_out)
    return Trace(tuple(passes.forward), tuple(passes.backward), grads)


@frozen
class _Signal:
    """What goes from one layer to the next, by name."""

    name: str
    value: Tensor = field(eq=False)

    @property
    def gradient(self) -> str:
        """The name of the loss's gradient with respect to it."""
        return self.name.replace("s", "δ") if self.name.startswith("s") else f"∂ℓ/∂{self.name}"


# The backward pass of a layer: from the gradient of its output to those of its params and of its input.
_Back = Callable[[Tensor], tuple[Params, Tensor]]


@define
class _Passes:
    """Goes through the layers forward, and gives the function that goes back; both write down what they compute."""

    forward: list[Quantity] = field(factory=list)
    backward: list[Quantity] = field(factory=list)
    layers: int = 0
    linears: int = 0
    others: int = 0

    def through(self, layer: Layer, params: Any, x: _Signal) -> tuple[_Signal, _Back]:
        if has_passes_of(layer, Sequential):
            return self._sequential(layer, params, x)
        if has_passes_of(layer, Residual):
            return self._residual(layer, params, x)
        if has_passes_of(layer, Linear):
            return self._linear(layer, params, x)
        return self._other(layer, params, x)

    def _sequential(self, layer: Sequential, params: Any, x: _Signal) -> tuple[_Signal, _Back]:
        backs: list[_Back] = []
        for inner, inner_params in zip(layer.layers, params, strict=True):
            x, back_of_one = self.through(inner, inner_params, x)
            backs.append(back_of_one)

        def back(grad: Tensor) -> tuple[Params, Tensor]:
            grads = list(params)
            for index in reversed(range(len(backs))):
                grads[index], grad = backs[index](grad)
            return tuple(grads), grad

        return x, back

    def _residual(self, layer: Residual, params: Any, x: _Signal) -> tuple[_Signal, _Back]:
        inner, inner_back = self.through(layer.layer, params, x)
        label, y = self._label("Residual"), self._new_x(x.value + inner.value)
        self.forward.append(Quantity(label, y.name, y.value, f"{x.name} + {inner.name}"))

        def back(grad: Tensor) -> tuple[Params, Tensor]:
            self.backward.append(Quantity(label, inner.gradient, grad, y.gradient))
            grads, grad_x = inner_back(grad)
            # The gradient of x comes through the layer, which has just been written down, and past it: by no equation
            # alone.
            through = self.backward.pop()
            formula = f"{through.formula} + {y.gradient}"
            self.backward.append(attrs.evolve(through, value=grad + grad_x, formula=formula, equation=""))
            return grads, grad + grad_x

        return y, back

    def _linear(self, layer: Linear, params: LinearParams, x: _Signal) -> tuple[_Signal, _Back]:
        self.linears += 1
        sizes = (
            f"{type(layer).__name__}({layer.in_features}, {layer.out_features})"  # how it starts is of no interest here
        )
        label, (w, b, s) = self._label(sizes), (f"{letter}{_superscript(self.linears)}" for letter in "wbs")
        value, tape = layer.forward(params, x.value)
        output = _Signal(s, value)
        self.forward.append(Quantity(label, w, params.weight))
        if params.bias is not None:
            self.forward.append(Quantity(label, b, params.bias))
        self.forward.append(Quantity(label, s, value, f"{w} {x.name}" + (f" + {b}" if layer.bias else "")))

        def back(grad: Tensor) -> tuple[Params, Tensor]:
            grads, grad_x = layer.backward(params, tape, grad)
            delta = output.gradient
            self.backward.append(Quantity(label, f"∂ℓ/∂{w}", grads.weight, f"{delta} ({x.name})ᵀ", "(4)"))
            if grads.bias is not None:
                self.backward.append(Quantity(label, f"∂ℓ/∂{b}", grads.bias, delta, "(5)"))
            self.backward.append(Quantity(label, x.gradient, grad_x, f"({w})ᵀ {delta}", "(2)"))
            return grads, grad_x

        return output, back

    def _other(self, layer: Layer, params: Any, x: _Signal) -> tuple[_Signal, _Back]:
        label = self._label(repr(layer))
        name = name_of(layer)
        value, tape = layer.forward(params, x.value)
        y = self._new_x(value)
        theta = f"θ{_superscript(self.others)}"
        self.forward += [Quantity(label, f"{theta}{path}", leaf) for path, leaf in pytree.items(params)]
        self.forward.append(Quantity(label, y.name, value, f"{name}({x.name})"))

        def back(grad: Tensor) -> tuple[Params, Tensor]:
            grads, grad_x = layer.backward(params, tape, grad)
            for path, leaf in pytree.items(grads):
                of = f"{theta}{path}"
                self.backward.append(Quantity(label, f"∂ℓ/∂{of}", leaf, f"(∂{y.name}/∂{of})ᵀ {y.gradient}"))
            formula, equation = f"(∂{y.name}/∂{x.name})ᵀ {y.gradient}", ""
            if has_passes_of(layer, Elementwise):
                formula, equation = f"{y.gradient} ⊙ {name}'({x.name})", "(3)"
            self.backward.append(Quantity(label, x.gradient, grad_x, formula, equation))
            return grads, grad_x

        return y, back

    def _label(self, text: str) -> str:
        self.layers += 1
        return f"{self.layers}. {text}"

    def _new_x(self, value: Tensor) -> _Signal:
        self.others += 1
        return _Signal(f"x{_superscript(self.others)}", value)


def _superscript(number: int) -> str:
    return f"⁽{str(number).translate(_SUPERSCRIPTS)}⁾"


def _lines(quantities: Sequence[Quantity], width: int) -> Iterator[str]:
    """A heading for each layer, and below it the lines of its quantities: one each, more where a value needs them."""
    for layer, group in itertools.groupby(quantities, lambda quantity: quantity.layer):
        yield f"  {layer}"
        for quantity in group:
            start = f"    {quantity!s:<{width}}  {quantity.equation:<3}  "
            first, *others = numbers(quantity.value).split("\n")
            yield start + first
            yield from (" " * len(start) + other for other in others)


def numbers(value: Tensor) -> str:
    """The numbers of a tensor, to four digits behind the point; of a large one, those at its edges.

    >>> import torch
    >>> print(numbers(torch.tensor([[0.25, -1.0], [1 / 3, -0.0]])))
    [[ 0.25   -1.    ]
     [ 0.3333  0.    ]]
    """
    shown = value.detach().cpu().double().numpy() + 0.0  # −0.0 is shown as 0
    return np.array2string(shown, max_line_width=72, precision=4, threshold=40, edgeitems=3, floatmode="maxprec")
