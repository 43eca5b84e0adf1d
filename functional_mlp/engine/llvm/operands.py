"""What expressions compute with where they emit LLVM vectors:

- `Array`: numbers in the lanes of one or more vectors, the features of one sample;
- `Scalar`: one number known when the code runs, such as the step or the learning rate, always a double;
- `Weights`: parameters under a penalty, whose product with a number is a `Multiple`, not formed until it is read;
- `Outer`: a product of a number and an array that is not formed yet, so that a factor is applied to the array once
  for all the numbers;
- `Sum`: a sum over the features that is not formed yet, so that sums over samples can be added lane by lane.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from functional_mlp.engine.llvm import ir
from functional_mlp.operands import Comparison, Operand

if TYPE_CHECKING:
    from functional_mlp.engine.llvm.vector import VectorNamespace


class Array(Operand):
    """The features of one sample, in the lanes of vectors; lanes beyond the features hold anything."""

    xp: "VectorNamespace"
    values: list[ir.Value]
    features: int

    def __init__(self, xp: "VectorNamespace", values: Sequence[ir.Value], features: int) -> None:
        self.xp, self.values, self.features = xp, list(values), features

    @property
    def shape(self) -> tuple[int]:
        return (self.features,)


class Scalar(Operand):
    """A double known when the code runs; `key` tells equal computations."""

    xp: "VectorNamespace"
    value: ir.Value
    key: Any

    def __init__(self, xp: "VectorNamespace", value: ir.Value, key: Any) -> None:
        self.xp, self.value, self.key = xp, value, key


class Weights(Array):
    """A vector of parameters, and the number of the update in which they are read, where that is known."""

    def __init__(self, xp: "VectorNamespace", weights: ir.Value, step: Scalar | None = None) -> None:
        super().__init__(xp, [weights], xp.emitter.lanes)
        self.step = step


class Multiple(Array):
    """number · weights; what multiplies it is applied to the number."""

    def __init__(self, xp: "VectorNamespace", number: Any, weights: Weights) -> None:
        self.xp: VectorNamespace = xp
        self.number, self.weights, self.features = number, weights, weights.features
        self._product: ir.Value | None = None

    @property
    def values(self) -> list[ir.Value]:  # type: ignore[override]
        if self._product is None:
            (weights,) = self.weights.values
            self._product = self.xp.emitter.fmul(self.xp.vectors(self.number)[0], weights)
        return [self._product]


class Outer(Operand):
    """factor · array, one of them with the same number in each lane: a row of an outer product; and `more`, if any.

    What multiplies it is applied to `array`, once for all products with it, and to `more`.
    """

    xp: "VectorNamespace"
    factor: ir.Value
    array: ir.Value
    more: Multiple | None

    def __init__(self, xp: "VectorNamespace", factor: ir.Value, array: ir.Value, more: Multiple | None = None) -> None:
        self.xp, self.factor, self.array, self.more = xp, factor, array, more
        self.product: ir.Value | None = None


class Sum(Operand):
    """The sum over the lanes of one vector."""

    xp: "VectorNamespace"
    lanes: ir.Value

    def __init__(self, xp: "VectorNamespace", lanes: ir.Value) -> None:
        self.xp, self.lanes = xp, lanes


class Condition(Comparison):
    """The outcome of a comparison: vectors of bits for `features` features, or one bit."""

    values: list[ir.Value]
    features: int

    def __init__(self, values: Sequence[ir.Value], features: int = 0) -> None:
        self.values, self.features = list(values), features
