"""The products of matrices of which an epoch of minibatches is made: tiles of rows times vectors, kept in registers."""

import functools
import itertools
from collections.abc import Callable, Sequence

import attrs

from functional_mlp.engine.batch.factors import Factor
from functional_mlp.engine.calls import Scope
from functional_mlp.engine.kernels import Kernels
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.llvm.types import I64
from functional_mlp.engine.plan import PAIR

# What a processor does: these products of vectors in a cycle, each of which takes these cycles until its sum may be
# added to, and a cycle for a turn of the loop along the depth. That holds for x86-64 since Haswell (2013) and for large
# cores of ARM; a processor that differs has tiles of another height than is best for it, and the same results.
PRODUCTS_OF_A_CYCLE = 2
CYCLES_OF_A_PRODUCT = 4
CYCLES_OF_A_TURN = 1

# What is done with a vector of a product, at a row and an offset within it.
Finish = Callable[[Index, Index, ir.Value], None]


@attrs.frozen(eq=False, kw_only=True)
class Product:
    """finish(row, v, start(v) + Σₖ left[row, k] right[k, v]) for all rows, and the vectors v of all columns.

    v is the offset of a vector within a row. The rows are given by the first one and the one after the last. `right` is
    a place, counted from the workspace, with the distance between its rows. Where the number of rows is known only at
    run time, tiles are made for `usual_rows`. Without a start, sums begin with 0, or go on from those that `so_far` has
    at a row and an offset. Where vectors are to be `updated` with those of the product, it says where they are.
    Of columns whose number is known, those of `own_columns` alone are made: whole pairs of vectors, but at the end.
    """

    name: str
    rows: tuple[Index, Index]
    columns: Index
    depth: Index
    left: Factor
    right: tuple[Index, Index]
    start: Callable[[Index], ir.Value] | None
    finish: Finish
    usual_rows: int
    so_far: Callable[[Index, Index], ir.Value] | None = None
    updated: Callable[[Index, Index], Index] | None = None
    own_columns: tuple[Index, Index] | None = None


class TiledProducts:
    """Emits products."""

    kernels: Kernels
    e: Emitter

    def __init__(self, kernels: Kernels) -> None:
        self.kernels, self.e = kernels, kernels.e

    def emit(self, scope: Scope, product: Product) -> None:
        """Emit a product, for each pair of vectors of its columns."""

        def block(first: Index, width: int) -> None:
            self._tiles(scope, product, first, width)

        self._column_blocks(product, block)

    def _tiles(self, scope: Scope, product: Product, first: Index, width: int) -> None:
        """The tiles of all rows, for `width` vectors of columns."""
        e, name, (begin, end) = self.e, product.name, product.rows
        rows = e.subtract(end, begin)
        height = _tile_height(rows, width, product.usual_rows, scope.plan.sums_in_registers // width)

        def tile(row: Index, height: int) -> None:
            self._tile(scope, product, row, height, [e.add(first, v * self.kernels.lanes) for v in range(width)])

        if isinstance(rows, int):
            e.blocks(f"{name}.rows", rows, height, tile, 1)
            return
        for size in (height, *(rest for rest in scope.plan.heights_of_rests if rest < height)):
            whole = e.builder.sub(end, e.builder.urem(e.subtract(end, begin), ir.Constant(I64, size)))
            e.loop(f"{name}.rows", begin, whole, size, functools.partial(tile, height=size))
            begin = whole
        e.loop(f"{name}.row", begin, end, 1, lambda row: tile(row, 1))

    def _tile(self, scope: Scope, product: Product, row: Index, height: int, offsets: Sequence[Index]) -> None:
        """A tile of the product: `height` rows of the vectors at some offsets, each in a register."""
        e, width = self.e, len(offsets)
        right, right_stride = product.right
        ahead = scope.plan.rows_fetched_ahead if scope.plan.fetches else None
        if product.so_far is not None:
            begin = [product.so_far(e.add(row, h), offset) for h in range(height) for offset in offsets]
        else:
            begin = [e.constant(0) if product.start is None else product.start(offset) for offset in offsets] * height
        rows = product.left.rows(row, height)

        def along(k: Index, *sums: ir.Value) -> list[ir.Value]:
            row_of_right = e.add(right, e.multiply(k, right_stride))
            if ahead is not None:
                row_ahead = e.add(right, e.multiply(e.add(k, ahead), right_stride))
                for offset in offsets:
                    e.fetch(scope.workspace, e.add(row_ahead, offset))
            vectors_of_right = [e.load(scope.workspace, e.add(row_of_right, offset)) for offset in offsets]
            results = []
            for h, factor in enumerate(product.left.numbers(rows, k, ahead)):
                for v, vector in enumerate(vectors_of_right):
                    results.append(e.multiply_add(factor, vector, sums[h * width + v]))
            return results

        if product.updated is not None and ahead is not None:
            for h, offset in itertools.product(range(height), offsets):
                e.fetch(scope.workspace, product.updated(e.add(row, h), offset), to_write=True)
        sums = e.loop(f"{product.name}.depth", 0, product.depth, 1, along, begin)
        for h in range(height):
            for v, offset in enumerate(offsets):
                product.finish(e.add(row, h), offset, sums[h * width + v])

    def _column_blocks(self, product: Product, block: Callable[[Index, int], None]) -> None:
        """block(offset, vectors) for the columns, two vectors at a time; the last, which may be short, stands alone."""
        e, lanes, name = self.e, self.kernels.lanes, f"{product.name}.columns"
        count = self.kernels.vectors(product.columns)
        if not isinstance(count, int):
            e.blocks(name, count, PAIR, lambda v, size: block(e.multiply(v, lanes), PAIR if size == PAIR else 1), 1)
            return
        tail = count % PAIR or PAIR
        looped = count - tail

        def pair(first: Index) -> None:
            block(first, PAIR)

        begin, end = product.own_columns or (0, product.columns)
        e.loop(name, begin, e.smaller(end, looped * lanes), PAIR * lanes, pair)
        if product.own_columns is None:
            block(looped * lanes, tail)
            return
        with e.builder.if_then(e.builder.icmp_signed("==", e.index(end), e.index(product.columns))):
            block(looped * lanes, tail)


def _tile_height(rows: Index, width: int, usual_rows: int, most: int) -> int:
    """How many rows a tile has: as many as the registers hold, fewer where that leaves fewer rows over."""
    total = rows if isinstance(rows, int) else usual_rows

    def cost(height: int) -> float:
        """Cycles a step of the depth."""

        def tile(height: int) -> float:
            return max(height * width / PRODUCTS_OF_A_CYCLE, CYCLES_OF_A_PRODUCT) + CYCLES_OF_A_TURN

        left = total % height
        rest = (tile(left) if left else 0) if isinstance(rows, int) else left * tile(1)
        return total // height * tile(height) + rest

    return min(range(min(most, total), 0, -1), key=cost)
