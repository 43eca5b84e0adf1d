"""The losses of several samples at once, one in each lane: a vector holds one feature of all of them."""

from collections.abc import Sequence

from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.features import FeaturesNamespace
from functional_mlp.engine.llvm.types import DOUBLE
from functional_mlp.engine.loss import LossOfSamples
from functional_mlp.engine.program import LossProgram


class LossesSideBySide(LossOfSamples):
    """Emits the losses of samples; labels are integers of the size of the reals."""

    def __init__(self, program: LossProgram, xp: FeaturesNamespace) -> None:
        super().__init__(program, xp, ir.VectorType(DOUBLE, xp.emitter.lanes))

    def _splat(self, number: ir.Value) -> ir.Value:
        return number

    def _features(self, index: int) -> ir.Value:
        return self.e.integers(index)

    def _as_double(self, value: object) -> ir.Value:
        return self._extended(self.xp.vectors(value)[0])

    def _largest(self, outputs: Sequence[ir.Value]) -> ir.Value:
        (best, *others), place = outputs, self.e.integers(0)
        for i, number in enumerate(others, start=1):
            best, place = self._larger(best, place, number, self.e.integers(i))
        return place
