"""The numbers on the left of a product of matrices: those of the workspace, or the data's own rows.

Threads that divide the units of a first layer all need the whole batch. Each reads the rows of a small one where they
lie in the data: of a copy, each core would make a part, and others would wait for it and read it.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import attrs

from functional_mlp.engine.calls import Arguments
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.llvm.types import I64


class Factor(Protocol):
    """The factor on the left."""

    def rows(self, row: Index, height: int) -> Sequence[Index]:
        """Emit, ahead of the loop along the depth, where `height` rows from a row on are."""

    def numbers(self, rows: Sequence[Index], k: Index, ahead: int | None) -> Iterator[ir.Value]:
        """The number of each of these rows at a depth, in all lanes.

        Those `ahead` along the depth may be asked for, unless that is None.
        """


@attrs.frozen(eq=False)
class Stored:
    """Numbers of the workspace at a place, with the distances between rows and along the depth."""

    e: Emitter
    workspace: ir.Value
    place: Index
    row_stride: Index
    depth_stride: Index

    def rows(self, row: Index, height: int) -> Sequence[Index]:
        e = self.e  # where the distance is known only at run time, LLVM would multiply in each turn of the loop
        return [e.add(self.place, e.multiply(e.add(row, h), self.row_stride)) for h in range(height)]

    def numbers(self, rows: Sequence[Index], k: Index, ahead: int | None) -> Iterator[ir.Value]:
        e = self.e
        if ahead is not None and self.depth_stride != 1:  # else the processor sees for itself what comes next
            e.fetch(self.workspace, e.add(rows[0], e.multiply(e.add(k, ahead), self.depth_stride)))
        for row in rows:
            yield e.broadcast(self.workspace, e.add(row, e.multiply(k, self.depth_stride)))


@attrs.frozen(eq=False)
class Samples:
    """Rows of the data, `first` the position of the first of them in the order: a row of the factor each.

    None is asked for ahead, which gained nothing.
    """

    e: Emitter
    arguments: Arguments[ir.Value]
    first: Index
    features: Index

    def rows(self, row: Index, height: int) -> Sequence[Index]:
        return [self._start(self.e.add(row, h)) for h in range(height)]

    def numbers(self, rows: Sequence[Index], k: Index, ahead: int | None) -> Iterator[ir.Value]:
        for row in rows:
            yield self.e.broadcast(self.arguments.inputs, self.e.add(row, k))

    def _start(self, sample: Index) -> Index:
        """Where a sample begins."""
        e = self.e
        position = e.address(self.arguments.order, e.add(self.first, sample), I64)
        return e.multiply(e.builder.load(position, typ=I64, align=8), self.features)


class TransposedSamples(Samples):
    """The same, a step along the depth each."""

    def rows(self, row: Index, height: int) -> Sequence[Index]:
        return [self.e.add(row, h) for h in range(height)]

    def numbers(self, rows: Sequence[Index], k: Index, ahead: int | None) -> Iterator[ir.Value]:
        first = self.e.add(self._start(k), rows[0])
        for h in range(len(rows)):  # side by side: one address is enough, where LLVM would add to it for each row
            yield self.e.broadcast(self.arguments.inputs, self.e.add(first, h))
