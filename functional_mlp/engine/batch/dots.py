"""Products of samples with few units, whose weights lie in rows of inputs: sums over the lanes.

A vector holds inputs there, and not units, which would fill little of it: with 100 inputs and three units, a sample
takes 39 products of vectors of eight, and not 100.
"""

import functools
from collections.abc import Sequence

from functional_mlp.engine.batch.matmul import Product
from functional_mlp.engine.calls import Scope
from functional_mlp.engine.kernels import Kernels
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.indices import Index


class DotProducts:
    """Emits products whose columns, no more than a vector has lanes, lie one after the other: right[v, k].

    Those on the left lie in rows of the workspace. What is finished of a row is one vector, whose lanes beyond the
    columns may hold anything.
    """

    def __init__(self, kernels: Kernels) -> None:
        self._kernels, self._e = kernels, kernels.e

    def emit(self, scope: Scope, product: Product) -> None:
        """Emit a product, for some rows at a time."""
        e, (begin, end) = self._e, product.rows
        height = scope.plan.sums_in_registers // product.columns
        whole = e.subtract(end, e.builder.urem(e.index(e.subtract(end, begin)), e.index(height)))
        tile = functools.partial(self._tile, scope, product)
        e.loop(f"{product.name}.rows", begin, whole, height, functools.partial(tile, height=height))
        e.loop(f"{product.name}.row", whole, end, 1, functools.partial(tile, height=1))

    def _tile(self, scope: Scope, product: Product, row: Index, height: int) -> None:
        """`height` rows of the product: the sums of each row and column are the lanes of a register."""
        e, lanes, columns, depth = self._e, self._kernels.lanes, product.columns, product.depth
        right, right_stride = product.right
        rows = product.left.rows(row, height)

        def add(used: int, k: Index, *sums: ir.Value) -> list[ir.Value]:
            of_columns = [
                e.keep_first(e.load(scope.workspace, e.add(e.add(right, v * right_stride), k)), used)
                for v in range(columns)
            ]
            of_rows = [e.load(scope.workspace, e.add(start, k)) for start in rows]
            return [
                e.multiply_add(of_rows[h], of_columns[v], sums[h * columns + v])
                for h in range(height)
                for v in range(columns)
            ]

        full = depth - depth % lanes
        sums: Sequence[ir.Value] = [e.constant(0)] * (height * columns)
        sums = e.loop(f"{product.name}.depth", 0, full, lanes, functools.partial(add, lanes), sums)
        sums = sums if full == depth else add(depth - full, full, *sums)
        for h in range(height):
            total = e.row_sums(sums[h * columns : (h + 1) * columns])
            product.finish(e.add(row, h), 0, total if product.start is None else e.fadd(total, product.start(0)))
