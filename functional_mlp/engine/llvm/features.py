"""The array algebra where a vector holds one feature, of a sample in each lane.

The features of samples are a list of vectors, so that sums and maxima over them are elementwise, and no lane is idle.
"""

from collections.abc import Sequence
from typing import Any

from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.operands import Array
from functional_mlp.engine.llvm.vector import VectorNamespace
from functional_mlp.operands import NotInAlgebraError, Operand


class FeaturesNamespace(VectorNamespace):
    """The array namespace `xp` for samples side by side."""

    def features(self, values: Sequence[ir.Value]) -> Array:
        """The features of the samples, a vector each."""
        return Array(self, values, len(values))

    def sum(self, x: Any) -> Operand:
        total, *rest = _feature_vectors(x)
        for value in rest:
            total = self.emitter.fadd(total, value)
        return self.features([total])

    def max(self, x: Any) -> Operand:
        largest, *rest = _feature_vectors(x)
        for value in rest:
            largest = self.emitter.of_vector("maximum", largest, value)
        return self.features([largest])


def _feature_vectors(x: Any) -> list[ir.Value]:
    if not isinstance(x, Array):
        raise NotInAlgebraError("xp.sum and xp.max run over the features of an array")
    return x.values
