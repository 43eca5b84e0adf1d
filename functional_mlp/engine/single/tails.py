"""The last columns of matrices, packed so that rows share vectors.

A row of 25 weights takes two vectors of 16 lanes, the second little more than half full. While an epoch of single
samples goes on, columns 16 to 23 are therefore kept in vectors of two rows, and column 24 in vectors of sixteen: those
of the weights, and those of what the optimizer remembers of them. Where m rows share a vector, lane k m + i holds the
tail's column k of the i-th. So the m factors of the rows, over and over, and the numbers across, each m times, stand
where they are needed.
"""

from collections.abc import Callable, Sequence

import attrs

from functional_mlp.engine.calls import Scope
from functional_mlp.engine.kernels import Kernels
from functional_mlp.engine.layout import Matrix
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.plan import Plan
from functional_mlp.engine.update import Pending

# A vector of a result is made of the sums of its tails by a shuffle, which takes two vectors: no layer has more tails.
# Without tails an epoch takes 1.00 to 1.01 of the time (paper with momentum), 1.07 (paper with Adam), 1.05 to 1.06
# (16-37-37-4 with momentum) and 1.08 (8-33-33-4 with momentum).
MOST_TAILS = 2


@attrs.frozen(eq=False, kw_only=True)
class VectorsMet:
    """The vectors of a product with a matrix, by their places, and the update of the matrix that is pending.

    Each row of the matrix is multiplied with a number of `along`, and added to the result, which begins with what
    `start` gives for each offset. The gradient of a row is a number of `along` times `across`.
    """

    along: Index
    across: Index
    result: Index | None
    pending: Pending | None
    start: Callable[[Index], ir.Value]


@attrs.frozen
class Tail:
    """Columns `first` to `first + columns` of a matrix, packed at a place.

    What a slot of the optimizer holds of them lies `distance` numbers further on.
    """

    matrix: Matrix
    first: int
    columns: int
    place: int
    distance: int


def tail_sizes(columns: int, lanes: int) -> list[int]:
    """The columns beyond the last full vector as at most `MOST_TAILS` powers of two; none where it takes more.

    >>> tail_sizes(25, 16), tail_sizes(32, 16), tail_sizes(31, 16)
    ([8, 1], [], [])
    """
    rest = columns % lanes
    sizes = [1 << bit for bit in reversed(range(rest.bit_length())) if rest >> bit & 1]
    return sizes if len(sizes) <= MOST_TAILS else []


class Tails:
    """Emits the packing of tails, and their part of the products of a matrix with a vector.

    Rules without memory have none: they keep transposed copies, which gain more. Where functions are shared, or a rule
    is long, code is to be short, and there are none either.

    They lie from a place of the workspace on, up to `end`.
    """

    kernels: Kernels
    e: Emitter
    end: int

    def __init__(self, kernels: Kernels, plan: Plan, slots: int, start: int) -> None:
        self.kernels, self.e = kernels, kernels.e
        self._arrays = 1 + slots
        matrices = [matrix for matrix in kernels.layout.matrices if matrix.input_major and plan.packs_tails]
        found = [(matrix, size) for matrix in matrices for size in tail_sizes(matrix.columns, kernels.lanes)]
        distance = sum(self._size(matrix, columns) for matrix, columns in found)
        self.end = start + self._arrays * distance
        self._of: dict[int, list[Tail]] = {}
        for matrix, columns in found:
            before = self._of.setdefault(matrix.offset, [])
            first = matrix.columns - matrix.columns % kernels.lanes + sum(tail.columns for tail in before)
            before.append(Tail(matrix, first, columns, start, distance))
            start += self._size(matrix, columns)

    def of(self, scope: Scope, offset: Index) -> Sequence[Tail]:
        """The tails of the matrix at an offset."""
        return self._of.get(offset, ()) if isinstance(offset, int) and scope.plan.packs_tails else ()

    def _size(self, matrix: Matrix, columns: int) -> int:
        return self.kernels.padded(matrix.rows * columns)

    def pack(self, scope: Scope) -> None:
        """Copy the tails from their matrices."""
        self._copy(scope, lambda matrix, packed: (matrix, packed))

    def unpack(self, scope: Scope) -> None:
        """Copy the tails to their matrices."""
        self._copy(scope, lambda matrix, packed: (packed, matrix))

    def _copy(self, scope: Scope, direction: Callable[[Index, Index], tuple[Index, Index]]) -> None:
        """Copy each number of the tails; `direction` puts its place in the matrix and the packed one in order."""
        e, workspace = self.e, scope.workspace
        for tail in (tail for tails in self._of.values() for tail in tails):
            together = self._rows_together(tail)
            for array in range(self._arrays):
                start = array * self.kernels.layout.size + tail.matrix.offset + tail.first
                packed = array * tail.distance + tail.place

                def body(row: Index, size: Index, tail: Tail = tail, start: int = start, packed: int = packed) -> None:
                    for i in range(size):
                        for k in range(tail.columns):
                            in_matrix = e.add(start + k, e.multiply(e.add(row, i), tail.matrix.stride))
                            in_tail = e.add(packed + k * self._rows_together(tail) + i, e.multiply(row, tail.columns))
                            source, target = direction(in_matrix, in_tail)
                            e.store_number(e.load_number(workspace, source), workspace, target)

                e.blocks("tail", tail.matrix.rows, together, body, 0)

    def _rows_together(self, tail: Tail) -> int:
        return self.e.lanes // tail.columns

    # Products

    def meet(self, scope: Scope, vectors: VectorsMet, tails: Sequence[Tail]) -> None:
        """The part of `Products.meet_rows` for the columns of the tails, which make a vector of the result."""
        e, first = self.e, tails[0].first
        total = vectors.start(first)
        sums = [self._meet_tail(scope, vectors, tail) for tail in tails]
        lanes = [
            number * e.lanes + k * self._rows_together(tail)
            for number, tail in enumerate(tails)
            for k in range(tail.columns)
        ]
        products = e.shuffle(sums[0], sums[-1], lanes + [0] * (e.lanes - len(lanes)))
        total = e.keep_first(e.fadd(products, total), len(lanes))
        assert vectors.result is not None, "tails are met where there is a result"
        e.store(total, scope.activations, e.add(vectors.result, first))

    def _meet_tail(self, scope: Scope, vectors: VectorsMet, tail: Tail) -> ir.Value:
        """For each lane, the product of the column that it belongs to with the vector along the rows."""
        e, together = self.e, self._rows_together(tail)
        along, pending = vectors.along, vectors.pending
        vector = self._spread(tail, pending.activations, vectors.across) if pending else None
        chains = scope.plan.policy.tail_chains
        sums = [e.constant(0)] * chains
        for number, row in enumerate(range(0, tail.matrix.rows, together)):
            place = tail.place + number * e.lanes
            weight = e.load(scope.workspace, place)
            if pending is not None:
                earlier = e.load_repeated(pending.activations, e.add(along, row), together)
                weight = pending.rule.apply(place, weight, (earlier, vector), tail.distance, of_weights=True)
            factor = e.load_repeated(scope.activations, e.add(along, row), together)
            before = sums[number % chains]
            in_use = [row + lane % together < tail.matrix.rows for lane in range(e.lanes)]
            sums[number % chains] = e.select_lanes(in_use, e.multiply_add(factor, weight, before), before)
        return e.group_sums(e.tree_sum(sums), together)

    def row_sums(
        self,
        scope: Scope,
        tails: Sequence[Tail],
        products: Sequence[ir.Value],
        first: Index,
        rows: int,
        delta: Index,
    ) -> ir.Value:
        """`Emitter.row_sums` of the products of rows with a vector, and those of their tails.

        Parameters
        ----------
        scope
            Where it is emitted.
        tails
            The tails of the matrix.
        products
            Those of the columns that no tail has; none where tails have all.
        first
            The first row.
        rows
            How many rows.
        delta
            The place of the vector.
        """
        e = self.e
        level: list[ir.Value | None] = [*products, *[None] * (e.lanes - len(products))]
        while len(level) > 1:
            level = e.fold(level)
            for tail in tails:
                if self._rows_together(tail) * len(level) == e.lanes:
                    level = self._add_tail(scope, tail, level, rows, first, delta)
        (total,) = level
        assert total is not None, "each row has a product"
        return total

    def _add_tail(
        self,
        scope: Scope,
        tail: Tail,
        level: Sequence[ir.Value | None],
        rows: int,
        first: Index,
        delta: Index,
    ) -> list[ir.Value | None]:
        """A stage of the sums with the products of a tail added; the vectors of both hold the same number of rows.

        Parameters
        ----------
        scope
            Where it is emitted.
        tail
            The tail.
        level
            The sums of the stage before.
        rows
            How many rows.
        first
            The first row.
        delta
            The place of the vector.
        """
        e = self.e
        vector = self._spread(tail, scope.activations, delta)
        result = list(level)
        for number in range(-(-rows // self._rows_together(tail))):
            place = e.add(tail.place + number * e.lanes, e.multiply(first, tail.columns))
            weight, total = e.load(scope.workspace, place), level[number]
            result[number] = e.fmul(weight, vector) if total is None else e.multiply_add(weight, vector, total)
        return result

    def _spread(self, tail: Tail, base: ir.Value, across: Index) -> ir.Value:
        """The numbers across a tail, each as often as rows share a vector."""
        e, together = self.e, self._rows_together(tail)
        start = tail.first % e.lanes
        vector = e.load(base, e.add(across, tail.first - start))
        return e.shuffle(vector, vector, [start + lane // together for lane in range(e.lanes)])
