"""The products of a matrix with a vector, of which an epoch of single samples is made, and the updates within them."""

from collections.abc import Callable

import attrs
from llvmlite import ir

from functional_mlp.engine.emitter import Index
from functional_mlp.engine.kernels import Kernels, Rule

# Vector operations of one product that are emitted one after the other before a loop is made of them.
UNROLLED = 128
# Sums of a product that run side by side, to hide the latency of the additions.
CHAINS = 8


@attrs.frozen(eq=False)
class Pending:
    """The update of the sample before the one at a position: its rule, and where the activations of that sample are."""

    rule: Rule
    position: Index
    activations: ir.Value


@attrs.frozen
class Grid:
    """A matrix in memory, row after row: the weights of a layer, in either orientation, or their `transposed` copy."""

    offset: Index
    rows: int
    columns: int
    stride: int
    transposed: bool = False


class Products:
    """Emits products with the activations of a sample, and the pending updates of what they meet.

    Vectors of activations and their gradients are given by their places.
    """

    def __init__(self, kernels: Kernels) -> None:
        self.kernels, self.e = kernels, kernels.e

    @property
    def _unrolled(self) -> int:
        return UNROLLED if self.kernels.in_one_piece else UNROLLED // 4

    def bias(self, biases: Index | None, offset: Index, delta: Index, pending: Pending | None) -> ir.Value:
        """A vector of the biases, after the pending update with the gradient of the output (5)."""
        e = self.e
        if biases is None:
            return e.constant(0)
        place = e.add(biases, offset)
        bias = e.load(self.kernels.workspace, place)
        if pending is None:
            return bias
        return pending.rule.apply(place, bias, e.load(pending.activations, e.add(delta, offset)))

    def meet_rows(
        self,
        grid: Grid,
        along: Index,
        across: Index,
        result: Index | None,
        pending: Pending | None,
        start: Callable[[Index], ir.Value],
    ) -> None:
        """For each row r: the rule for w[r] with the gradient along[r] across (4), then result += along[r] w[r].

        `along` and `across` are x and delta for the weights, and delta and x for their transposed copy; the result
        is s for the weights (counted from `start`, the bias), and the gradient of x for the copy.
        """
        e, lanes = self.e, self.kernels.lanes
        activations = self.kernels.activations

        def block(first: Index, features: int) -> None:
            width = self.kernels.vectors(features)
            chains = min(CHAINS // width, grid.rows)
            offsets = [e.add(first, v * lanes) for v in range(width)]
            sums = [start(offset) for offset in offsets]
            sums = [*sums, *[e.constant(0)] * (width * (chains - 1))] if result is not None else []
            vectors = [e.load(pending.activations, e.add(across, offset)) for offset in offsets] if pending else []

            def meet_row(r: Index, chain: int, sums: list[ir.Value]) -> None:
                factor = e.broadcast(activations, e.add(along, r)) if result is not None else None
                earlier = e.broadcast(pending.activations, e.add(along, r)) if pending else None
                for v, offset in enumerate(offsets):
                    place = self._weight(grid, r, offset)
                    weight = e.load(self.kernels.workspace, place)
                    if pending is not None:
                        # x first and delta second, so that both copies are rounded alike.
                        gradient = (vectors[v], earlier) if grid.transposed else (earlier, vectors[v])
                        weight = pending.rule.apply(place, weight, gradient)
                    if factor is not None:
                        sums[chain * width + v] = e.multiply_add(factor, weight, sums[chain * width + v])

            def meet_several(r: Index, *carried: ir.Value) -> list[ir.Value]:
                sums = list(carried)
                for row in range(CHAINS):
                    meet_row(e.add(r, row), row % chains, sums)
                return sums

            done = 0 if grid.rows * width <= self._unrolled else grid.rows - grid.rows % CHAINS
            sums = e.loop("product", 0, done, CHAINS, meet_several, sums)
            for r in range(done, grid.rows):
                meet_row(r, r % chains, sums)
            if result is not None:
                for v, offset in enumerate(offsets):
                    total = e.keep_first(e.tree_sum(sums[v::width]), features - v * lanes)
                    e.store(total, activations, e.add(result, offset))

        e.blocks("columns", grid.columns, 4 * lanes, block, 2)

    def meet_by_output(
        self, grid: Grid, x: Index, delta: Index, s: Index | None, pending: Pending | None, biases: Index | None
    ) -> None:
        """For each output o: the rule for w[o] with the gradient delta[o] x (4), then s[o] = b[o] + w[o] · x."""
        e = self.e
        activations = self.kernels.activations

        def block(first: Index, rows: int) -> None:
            def meet_vector(offset: Index, *sums: ir.Value) -> list[ir.Value]:
                vector = e.load(activations, e.add(x, offset)) if s is not None else None
                earlier = e.load(pending.activations, e.add(x, offset)) if pending else None
                results = []
                for r in range(rows):
                    place = self._weight(grid, e.add(first, r), offset)
                    weight = e.load(self.kernels.workspace, place)
                    if pending is not None:
                        factor = e.broadcast(pending.activations, e.add(delta, e.add(first, r)))
                        weight = pending.rule.apply(place, weight, (factor, earlier))
                    if vector is not None:
                        results.append(self._add_product(grid, offset, vector, weight, sums[r]))
                return results

            sums = self._over_vectors(grid, rows, meet_vector, [e.constant(0)] * rows if s is not None else [])
            bias = self.bias(biases, first, delta, pending)
            if s is not None:
                e.store(e.keep_first(e.fadd(e.row_sums(sums), bias), rows), activations, e.add(s, first))

        e.blocks("rows", grid.rows, self.kernels.lanes, block, 2)

    def grad_by_input(self, grid: Grid, delta: Index, grad_in: Index) -> None:
        """grad_in[i] = w[i] · delta, for a row of the matrix for each input."""
        e, activations = self.e, self.kernels.activations

        def block(first: Index, rows: int) -> None:
            def add_vector(offset: Index, *sums: ir.Value) -> list[ir.Value]:
                vector = e.load(activations, e.add(delta, offset))
                weights = [
                    e.load(self.kernels.workspace, self._weight(grid, e.add(first, r), offset)) for r in range(rows)
                ]
                return [self._add_product(grid, offset, weight, vector, sums[r]) for r, weight in enumerate(weights)]

            sums = self._over_vectors(grid, rows, add_vector, [e.constant(0)] * rows)
            e.store(e.keep_first(e.row_sums(sums), rows), activations, e.add(grad_in, first))

        e.blocks("inputs", grid.rows, self.kernels.lanes, block, 2)

    def grad_by_output(self, grid: Grid, delta: Index, grad_in: Index) -> None:
        """grad_in = Σ delta[o] w[o], for a row of the matrix for each output."""
        e, activations = self.e, self.kernels.activations

        def block(offset: Index, used: int) -> None:
            def add_row(o: Index, total: ir.Value) -> list[ir.Value]:
                factor = e.broadcast(activations, e.add(delta, o))
                return [e.multiply_add(e.load(self.kernels.workspace, self._weight(grid, o, offset)), factor, total)]

            total = e.constant(0)
            if grid.rows <= self.kernels.lanes:
                for o in range(grid.rows):
                    (total,) = add_row(o, total)
            else:
                (total,) = e.loop("outputs", 0, grid.rows, 1, add_row, [total])
            e.store(e.keep_first(total, used), activations, e.add(grad_in, offset))

        e.blocks("inputs", grid.columns, self.kernels.lanes, block, 4)

    def _weight(self, grid: Grid, row: Index, offset: Index) -> Index:
        return self.e.add(self.e.add(grid.offset, self.e.multiply(row, grid.stride)), offset)

    def _add_product(self, grid: Grid, offset: Index, a: ir.Value, b: ir.Value, total: ir.Value) -> ir.Value:
        """total + a b in the lanes that hold weights at an offset of a row; in a loop these are all."""
        added = self.e.multiply_add(a, b, total)
        used = grid.columns - offset if isinstance(offset, int) else self.kernels.lanes
        if used >= self.kernels.lanes:
            return added
        return self.e.builder.select(self.e.mask(used), added, total)

    def _over_vectors(
        self, grid: Grid, rows: int, body: Callable[..., list[ir.Value]], carried: list[ir.Value]
    ) -> list[ir.Value]:
        """carried = body(offset, *carried) for the vectors of so many rows at once; a loop where there are many."""
        lanes = self.kernels.lanes
        looped = grid.stride // lanes * rows > self._unrolled
        last = grid.stride - lanes if looped else 0  # the last vector, with lanes to spare, is never in the loop
        carried = self.e.loop("vectors", 0, last, lanes, body, carried)
        for offset in range(last, grid.stride, lanes):
            carried = body(offset, *carried)
        return carried
