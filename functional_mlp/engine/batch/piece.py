"""Pieces of batches, and where the numbers of their samples lie."""

from collections.abc import Callable
from typing import Protocol

import attrs

from functional_mlp.engine.calls import Scope
from functional_mlp.engine.layout import distance_of_rows
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.program import Pointwise

RowOf = Callable[[Index], ir.Value]  # the row of the data that a sample of a piece is


class Update(Protocol):
    """Uses the gradient of the vector of parameters at a place, which are weights or biases."""

    def __call__(self, place: Index, grad: ir.Value, *, of_weights: bool) -> None: ...


@attrs.frozen(eq=False)
class Piece:
    """Samples that pass through the network together: where that is emitted, which they are, and of which batch.

    Gradients of parameters are met by `update` where the code is in one piece, and there is but one piece a batch.
    Where they wait for other threads, what makes them is put down in `waiting`; there are then `whole` samples, of
    which those from `begin` to `end` are this thread's.
    """

    scope: Scope
    begin: Index
    end: ir.Value
    batch: ir.Value | None = None
    update: Update | None = None
    waiting: "list[Callable[[Piece], None]] | None" = None
    whole: ir.Value | None = None


@attrs.frozen
class Activation:
    """An activation and the places of its input, which is that of its output where no pullback reads it, and output."""

    step: Pointwise
    s: Index
    y: Index


class Memory:
    """The places of the workspace, given out one after the other."""

    end: int

    def __init__(self, lanes: int, end: int) -> None:
        self._lanes, self.end = lanes, end

    def reserve(self, features: int, rows: int) -> int:
        """A new place for `rows` rows of features."""
        place = self.end
        self.end += rows * self.stride(features)
        return place

    def stride(self, features: int) -> int:
        """The distance between rows of features."""
        return distance_of_rows(features, self._lanes)
