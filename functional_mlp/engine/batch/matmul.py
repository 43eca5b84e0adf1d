"""The products of matrices of which an epoch of minibatches is made: tiles of rows times vectors, kept in registers."""

from collections.abc import Callable

from llvmlite import ir

from functional_mlp.engine.kernels import Kernels
from functional_mlp.engine.llvm.emitter import I64, Index

# What is done with a vector of a product, at a row and an offset within it.
Finish = Callable[[Index, Index, ir.Value], None]


class TiledProducts:
    """Emits products."""

    def __init__(self, kernels: Kernels) -> None:
        self.kernels, self.e = kernels, kernels.e

    def emit(
        self,
        name: str,
        rows: Index,
        columns: Index,
        depth: Index,
        left: tuple[Index, Index, Index],
        right: tuple[Index, Index],
        start: Callable[[Index], ir.Value] | None,
        finish: Finish,
        usual_rows: int,
    ) -> None:
        """finish(row, v, start(v) + Σₖ left[row, k] right[k, v]) for all rows, and the vectors v of all columns.

        `left` is a place with the distances between its rows and along the depth, `right` a place with the
        distance between its rows. v is the offset of a vector within a row. Where the number of rows is a value, tiles
        are made for `usual_rows`.
        """
        e, lanes = self.e, self.kernels.lanes
        place, row_stride, depth_stride = left
        right_place, right_stride = right

        def tile(row: Index, height: int, first: Index, width: int) -> None:
            """A tile of the product, in `height` times `width` registers."""
            offsets = [e.add(first, v * lanes) for v in range(width)]
            begin = [e.constant(0) if start is None else start(offset) for offset in offsets]

            def along(k: Index, *sums: ir.Value) -> list[ir.Value]:
                row_of_right = e.add(right_place, e.multiply(k, right_stride))
                vectors_of_right = [e.load(self.kernels.workspace, e.add(row_of_right, offset)) for offset in offsets]
                results = []
                for h in range(height):
                    at = e.add(e.multiply(e.add(row, h), row_stride), e.multiply(k, depth_stride))
                    factor = e.broadcast(self.kernels.workspace, e.add(place, at))
                    for v, vector in enumerate(vectors_of_right):
                        results.append(e.multiply_add(factor, vector, sums[h * width + v]))
                return results

            sums = e.loop(f"{name}.depth", 0, depth, 1, along, begin * height)
            for h in range(height):
                for v, offset in enumerate(offsets):
                    finish(e.add(row, h), offset, sums[h * width + v])

        def column_block(first: Index, width: int) -> None:
            height = self._tile_height(rows, width, usual_rows)
            if isinstance(rows, int):
                e.blocks(f"{name}.rows", rows, height, lambda row, size: tile(row, size, first, width), 1)
                return
            whole = self.e.builder.sub(rows, self.e.builder.urem(rows, ir.Constant(I64, height)))
            e.loop(f"{name}.rows", 0, whole, height, lambda row: tile(row, height, first, width))
            e.loop(f"{name}.row", whole, rows, 1, lambda row: tile(row, 1, first, width))

        self._column_blocks(name, columns, column_block)

    def _column_blocks(self, name: str, columns: Index, block: Callable[[Index, int], None]) -> None:
        """block(offset, vectors) for the columns, two vectors at a time; the last, which may be short, stands alone."""
        e, lanes = self.e, self.kernels.lanes
        count = self.kernels.vectors(columns)
        if not isinstance(count, int):
            e.blocks(f"{name}.columns", count, 2, lambda v, size: block(e.multiply(v, lanes), 2 if size == 2 else 1), 1)
            return
        tail = 1 if count % 2 else 2
        looped = count - tail

        def pair(first: Index) -> None:
            block(first, 2)

        e.loop(f"{name}.columns", 0, looped * lanes, 2 * lanes, pair)
        block(looped * lanes, tail)

    def _tile_height(self, rows: Index, width: int, usual_rows: int) -> int:
        """How many rows a tile has: as many as the registers hold, fewer where that leaves fewer rows over."""
        registers = self.kernels.policy.registers
        most = (registers - registers // 4) // width
        total = rows if isinstance(rows, int) else usual_rows

        def cost(height: int) -> float:
            """Cycles a step of the depth: two products each, and no fewer than the latency of one."""

            def tile(height: int) -> float:
                return max(height * width / 2, 4) + 1

            left = total % height
            rest = (tile(left) if left else 0) if isinstance(rows, int) else left * tile(1)
            return total // height * tile(height) + rest

        return min(range(min(most, total), 0, -1), key=cost)
