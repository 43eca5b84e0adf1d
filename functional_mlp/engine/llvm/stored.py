"""Vectors that were stored a moment ago, which need not be loaded again.

A load that follows a store to the same place takes longer than most operations, so the value is used instead. What is
known of a place holds within a block, and until something may have been written there: a number or another vector that
overlaps it, whatever lies at an offset that is not known yet, or anything by a function. Places that are counted from
different bases never overlap: parameters, activations, data and results lie apart.
"""

import attrs

from functional_mlp.engine.llvm import ir


@attrs.frozen(eq=False)
class Stored:
    """A vector of `lanes` numbers that a block has stored."""

    block: ir.Block
    vector: ir.Value
    lanes: int


class StoredVectors:
    """What is known of the memory of a function, by base and offset; offsets are counted in numbers."""

    def __init__(self) -> None:
        self._known: dict[ir.Value, dict[int, Stored]] = {}
        self._most_lanes = 1

    def find(self, base: ir.Value, offset: object, lanes: int, block: ir.Block) -> ir.Value | None:
        """The vector at an offset, if it is known in a block."""
        stored = self._known.get(base, {}).get(offset) if isinstance(offset, int) else None
        return stored.vector if stored is not None and (stored.block, stored.lanes) == (block, lanes) else None

    def note(self, base: ir.Value, offset: object, vector: ir.Value, lanes: int, block: ir.Block) -> None:
        """A vector is stored at an offset."""
        self.forget(base, offset, lanes)
        if isinstance(offset, int):
            self._known.setdefault(base, {})[offset] = Stored(block, vector, lanes)
            self._most_lanes = max(self._most_lanes, lanes)

    def forget(self, base: ir.Value, offset: object, count: int) -> None:
        """`count` numbers are written from an offset on."""
        known = self._known.get(base)
        if not known:
            return
        if not isinstance(offset, int):
            known.clear()
            return
        for start in range(offset - self._most_lanes + 1, offset + count):
            stored = known.get(start)
            if stored is not None and start + stored.lanes > offset:
                del known[start]

    def forget_all(self) -> None:
        """Anything may be written."""
        self._known.clear()
