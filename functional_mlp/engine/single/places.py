"""Where the numbers of a sample lie, laid out ahead of the code that writes and reads them.

The update of a sample runs along with the forward pass of the next, and meets what the sample has left: the input of
each linear layer, and the gradient of its output. So all samples are kept alike, counted from one of two places.
"""

from collections.abc import Mapping

import attrs

from functional_mlp.engine import walk
from functional_mlp.engine.layout import vectors
from functional_mlp.engine.program import Affine, Branch, Pointwise, TrainingProgram
from functional_mlp.engine.walk import At, Backward, Path


@attrs.frozen
class LayerVectors:
    """The places of what updates a linear layer: its input x, and delta, the gradient of its output (4)."""

    x: int
    delta: int


@attrs.frozen
class SamplePlaces:
    """The places of a sample's numbers, from 0 to `end`.

    `outputs` has the places of the steps' outputs, and `grads` of the gradients of their inputs that are needed. `x` is
    the network's input, and `grad` the gradient of its output; at `outcome`, the loss may be kept.
    """

    x: int
    outputs: Mapping[Path, int]
    grad: int
    outcome: int
    grads: Mapping[Path, int]
    layers: Mapping[int, LayerVectors]
    end: int

    @classmethod
    def of(cls, program: TrainingProgram, lanes: int, *, outcome: int) -> "SamplePlaces":
        """The places in the order in which they are written; `outcome` numbers are kept of a loss."""
        layout = _Layout(lanes)
        x = layout.reserve(program.in_features)
        _, backward = walk.forward(layout, None, program.steps, x)
        grad, kept = layout.reserve(program.out_features), layout.reserve(outcome)
        backward(None, grad)
        return cls(x, layout.outputs, grad, kept, layout.grads, layout.layers, layout.end)


class _Layout:
    """Meets the steps as what emits them will, and gives a place to what each writes."""

    def __init__(self, lanes: int) -> None:
        self._lanes, self.end = lanes, 0
        self.outputs: dict[Path, int] = {}
        self.grads: dict[Path, int] = {}
        self.layers: dict[int, LayerVectors] = {}

    def reserve(self, features: int) -> int:
        place = self.end
        self.end += self._lanes * vectors(features, self._lanes)
        return place

    def affine(self, scope: None, step: Affine, at: At, x: int) -> tuple[int, Backward[None]]:
        def backward(scope: None, delta: int) -> int | None:
            self.layers[step.number] = LayerVectors(x, delta)
            return self._grad(at, step.in_features) if at.needs_grad else None

        return self._output(at, step.out_features), backward

    def pointwise(self, scope: None, step: Pointwise, at: At, s: int) -> tuple[int, Backward[None]]:
        def backward(scope: None, grad: int) -> int | None:
            return self._grad(at, step.features) if at.needs_grad else None

        return self._output(at, step.features), backward

    def sum_of_outputs(self, scope: None, step: Branch, at: At, x: int, inner: int) -> int:
        return self._output(at, step.features)

    def sum_of_grads(self, scope: None, step: Branch, at: At, grad: int, inner: int) -> int:
        return self._grad(at, step.features)

    def _output(self, at: At, features: int) -> int:
        self.outputs[at.path] = self.reserve(features)
        return self.outputs[at.path]

    def _grad(self, at: At, features: int) -> int:
        self.grads[at.path] = self.reserve(features)
        return self.grads[at.path]
