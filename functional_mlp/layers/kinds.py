"""Of which kind of the library's a layer is, for whoever writes down the equations that it computes by."""

from typing import TypeGuard, TypeVar

from functional_mlp.layers.adapting import Adapted
from functional_mlp.layers.base import Layer
from functional_mlp.value import replaced

_Kind = TypeVar("_Kind", bound=Layer)
_PASSES = ("apply", "vjp", "forward", "backward", "backward_params")


def has_passes_of(layer: Layer, kind: type[_Kind]) -> TypeGuard[_Kind]:
    """Whether a layer is of a kind and has its passes, so that the equations of the kind are those of the layer.

    >>> from functional_mlp import Linear
    >>> class Doubled(Linear):
    ...     def forward(self, params, x):
    ...         y, tape = super().forward(params, x)
    ...         return 2 * y, tape
    ...     def backward(self, params, tape, grad_out):
    ...         return super().backward(params, tape, 2 * grad_out)
    >>> has_passes_of(Linear(2, 1), Linear), has_passes_of(Doubled(2, 1), Linear)
    (True, False)
    """
    return isinstance(layer, kind) and not replaced(layer, kind, _PASSES)


def name_of(layer: Layer) -> str:
    """The name of a layer's class: of its own, where it is adapted."""
    return type(layer.layer if isinstance(layer, Adapted) else layer).__name__
