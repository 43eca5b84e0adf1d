"""What a layer is.

A layer is a frozen value with three pure functions, where `params` is a pytree of tensors and shapes are
written `(..., features)` for any number of leading dimensions, none included:

    layer.init(key, *, dtype, device)   -> params
    layer.apply(params, x)              -> y                         y = f(params, x)
    layer.vjp(params, x, grad_out)      -> (grad_params, grad_x)     the transposed Jacobian of f, applied

A combinator wants the work of the forward pass kept for the backward pass, so there are two more, and a third for the
first layer of a network, of whose input nobody asks the gradient:

    layer.forward(params, x)                      -> (y, tape)
    layer.backward(params, tape, grad_out)        -> (grad_params, grad_x)
    layer.backward_params(params, tape, grad_out) -> grad_params

Either pair defines the other. A layer written for its own sake gives `apply` and `vjp`, and its tape is its
input; the library's layers give `forward` and `backward`, the bare mathematics, and get `apply` and `vjp`
with all checks.
"""

import html
from collections.abc import Iterator
from typing import Any, ClassVar

import attrs
import torch
from attrs import frozen
from torch import Tensor

from functional_mlp import checks, markup
from functional_mlp.from_type import drawn
from functional_mlp.layers.arguments import check_init_arguments, checked_arguments, template
from functional_mlp.layers.summary import Row, count_parameters, table
from functional_mlp.pytree import Params as Params
from functional_mlp.random import Key
from functional_mlp.value import Value

Tape = Any


@drawn
@frozen(repr=False)
class Layer(Value):
    """The base class of layers; see the module's docstring for the functions a subclass gives.

    `in_features` and `out_features` are the sizes of the last dimension of input and output, `None` where
    any size fits. `keeps_features` says that the output has the size of the input, whatever it is.

    >>> import functional_mlp as fm
    >>> class Double(fm.Layer):
    ...     def apply(self, params, x):
    ...         return 2 * x
    ...     def vjp(self, params, x, grad_out):
    ...         return (), 2 * grad_out
    >>> network = fm.Sequential(fm.Linear(3, 2), Double())
    >>> network.apply(network.init(fm.random.key(0)), torch.zeros(3))
    tensor([0., 0.])
    """

    keeps_features: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        for first, second in (("apply", "vjp"), ("forward", "backward")):
            if (getattr(cls, first) is getattr(Layer, first)) != (getattr(cls, second) is getattr(Layer, second)):
                raise TypeError(f"layer {cls.__name__} defines one of {first} and {second}: define both")
        if _place(cls, "backward") < _place(cls, "backward_params"):  # what it inherits is a part of another function
            cls.backward_params = Layer.backward_params  # type: ignore[method-assign]

    @property
    def in_features(self) -> int | None:
        return None

    @property
    def out_features(self) -> int | None:
        return None

    @property
    def nesting_depth(self) -> int:
        """How deep layers are nested in this one: 1 where it has none inside."""
        deepest, pending = 1, [(1, layer) for layer in _layers_in(self)]
        while pending:  # and no recursion, for it may be deeper than Python's
            above, layer = pending.pop()
            if type(layer).nesting_depth is Layer.nesting_depth:
                deepest = max(deepest, above + 1)
                pending += [(above + 1, inner) for inner in _layers_in(layer)]
            else:
                deepest = max(deepest, above + layer.nesting_depth)
        return deepest

    def init(self, key: Key, *, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None) -> Params:
        """New parameters, `()` where the layer has none; `device="meta"` gives their shapes alone."""
        check_init_arguments(key, dtype, device)
        return ()

    def apply(self, params: Params, x: Tensor) -> Tensor:
        """The output for inputs `(..., in_features)`: a tensor `(..., out_features)`.

        Raises `TypeError` or `ValueError` for params and inputs that do not fit the layer, or each other.
        """
        self._require_definition()
        params, x = checked_arguments(self, params, x)
        return self.forward(params, x)[0]

    def vjp(self, params: Params, x: Tensor, grad_out: Tensor) -> tuple[Params, Tensor]:
        """The vector-Jacobian product: from ∂ℓ/∂y, shaped like the output, to ∂ℓ/∂params and ∂ℓ/∂x.

        Gradients of the params have their structure, and are summed over the leading dimensions.
        """
        self._require_definition()
        params, x = checked_arguments(self, params, x)
        y, tape = self.forward(params, x)
        checks.like("grad_out", grad_out, "the output", y)
        return self.backward(params, tape, grad_out.detach())

    def forward(self, params: Params, x: Tensor) -> tuple[Tensor, Tape]:
        """The output, and what `backward` needs; params and inputs are taken to fit."""
        return self.apply(params, x), x

    def backward(self, params: Params, tape: Tape, grad_out: Tensor) -> tuple[Params, Tensor]:
        """What `vjp` returns, from the tape of `forward`."""
        return self.vjp(params, tape, grad_out)

    def backward_params(self, params: Params, tape: Tape, grad_out: Tensor) -> Params:
        """The gradients of the params alone, without the work that those of the inputs would be."""
        return self.backward(params, tape, grad_out)[0]

    def _require_definition(self) -> None:
        if type(self).forward is Layer.forward:
            raise TypeError(f"layer {self!r} defines no functions: give it apply and vjp, or forward and backward")

    def summary(self) -> str:
        """A table of the layers with their output sizes and numbers of parameters, and the total.

        >>> import functional_mlp as fm
        >>> print(fm.Sequential(fm.Linear(2, 25), fm.ReLU(), fm.Linear(25, 2)).summary())
        layer          output  parameters
        ---------------------------------
        Linear(2, 25)      25          75
        ReLU()             25           0
        Linear(25, 2)       2          52
        ---------------------------------
        total                         127
        """
        return table(self.summary_rows(self.in_features))

    def _repr_html_(self) -> str | None:
        """What a notebook shows: the table of `summary` for layers made of others, and their formulas."""
        if self.nesting_depth == 1:
            return None
        rows = self.summary_rows(self.in_features)
        total = sum(parameters for _, _, parameters in rows)
        cells = [(label, "" if size is None else size, parameters) for label, size, parameters in rows]
        shown = markup.table(f"{total:,} parameters", ["layer", "output", "parameters"], cells)
        formulas = self._repr_latex_()
        if formulas is None:
            return shown
        return f"{shown}\n<details><summary>formulas</summary>{html.escape(formulas)}</details>"

    def summary_rows(self, in_features: int | None) -> list[Row]:
        """The rows of `summary` for inputs of a given size: label, output size, number of parameters."""
        size = in_features if self.keeps_features else self.out_features
        return [(repr(self), size, count_parameters(template(self, torch.float32)))]


def _place(cls: type, name: str) -> int:
    """How far up among the bases of a class the one is that defines a function."""
    return next(place for place, base in enumerate(cls.__mro__) if name in vars(base))


def with_all_inside(layer: Layer) -> Iterator[Layer]:
    """A layer, and those inside it, however deep."""
    pending = [layer]
    while pending:  # and no recursion: each would pass through all levels above it
        layer = pending.pop()
        yield layer
        pending += _layers_in(layer)


def _layers_in(layer: Layer) -> Iterator[Layer]:
    """The layers among the fields of one, alone or in a tuple."""
    for field in attrs.fields(type(layer)):
        value = getattr(layer, field.name)
        yield from (item for item in (value if isinstance(value, tuple) else (value,)) if isinstance(item, Layer))
