"""Prefetches: rows of data that are soon to be read are asked for where there are more than a core's caches hold.

In the order of an epoch each row lies anywhere, and is known long before it is needed.
"""

from functional_mlp.engine.calls import Scope
from functional_mlp.engine.kernels import Kernels
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.llvm.target import LINE_BYTES
from functional_mlp.engine.llvm.types import I64
from functional_mlp.engine.program import TrainingProgram


class Prefetch:
    """Emits what asks for the rows at positions of the order."""

    def __init__(self, kernels: Kernels, program: TrainingProgram, scope: Scope) -> None:
        self._kernels, self._program, self._arguments = kernels, program, scope.arguments
        self._most_lines = scope.plan.policy.most_lines_fetched
        number = kernels.real.size
        bytes_of_row = (program.in_features + program.target_stride) * number + 8
        fewest = ir.Constant(I64, -(-scope.plan.policy.fewest_bytes_fetched // bytes_of_row))
        self._are_far = kernels.builder.icmp_signed(">=", self._arguments.samples, fewest)

    def fetch(self, position: Index) -> None:
        """Ask for the row at a position, where there is one and the data are large."""
        e, b = self._kernels.e, self._kernels.builder
        place = e.index(position)
        with b.if_then(b.and_(self._are_far, b.icmp_signed("<", place, self._arguments.samples))):
            row = b.load(e.address(self._arguments.order, place, I64), typ=I64, align=8)
            self._fetch(self._arguments.inputs, row, self._program.in_features)
            self._fetch(self._arguments.targets, row, self._program.target_stride)
            e.fetch(self._arguments.labels, e.multiply(row, 8 // self._kernels.real.size))

    def _fetch(self, base: ir.Value, row: ir.Value, features: int) -> None:
        e, line = self._kernels.e, LINE_BYTES // self._kernels.real.size
        start = e.multiply(row, features)
        last = [features - 1] if features else []  # in a line of its own, where the row begins amid one
        for offset in [*range(0, features - 1, line), *last][: self._most_lines]:
            e.fetch(base, e.add(start, offset))
