"""The products of a matrix with a vector, of which an epoch of single samples is made, and the updates within them."""

import functools
from collections.abc import Callable, Sequence

import attrs

from functional_mlp.engine.calls import Scope
from functional_mlp.engine.kernels import Kernels
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.plan import Sharing
from functional_mlp.engine.single.tails import Tail, Tails, VectorsMet
from functional_mlp.engine.update import Pending


@attrs.frozen
class Grid:
    """A matrix in memory, row after row: the weights of a layer, in either orientation, or their `transposed` copy.

    `columns` are those in rows; further ones may be in `tails`. Those of a `divided` one are the threads', in blocks.
    """

    offset: Index
    rows: Index
    columns: Index
    stride: Index
    transposed: bool = False
    tails: Sequence[Tail] = ()
    divided: bool = False


@attrs.frozen(eq=False, kw_only=True)
class Meeting(VectorsMet):
    """A matrix, and the vectors that its product meets."""

    grid: Grid


class Products:
    """Emits products with the activations of a sample, and the pending updates of what they meet.

    Vectors of activations and their gradients are given by their places.
    """

    kernels: Kernels
    e: Emitter
    tails: Tails

    def __init__(self, kernels: Kernels, tails: Tails) -> None:
        self.kernels, self.e, self.tails = kernels, kernels.e, tails

    def bias(
        self,
        scope: Scope,
        has_bias: Index,
        biases: Index,
        delta: Index,
        pending: Pending | None,
        offset: Index,
    ) -> ir.Value:
        """A vector of the biases, after the pending update with the gradient of the output (5); zeros without any.

        Parameters
        ----------
        scope
            Where it is emitted.
        has_bias
            0 or 1.
        biases
            The place of the biases.
        delta
            The place of the gradient.
        offset
            Which vector of each is meant.
        pending
            The update, if any.
        """
        e = self.e

        def updated() -> ir.Value:
            place = e.add(biases, offset)
            bias = e.load(scope.workspace, place)
            if pending is None:
                return bias
            return pending.rule.apply(place, bias, e.load(pending.activations, e.add(delta, offset)), of_weights=False)

        return e.where(has_bias, updated)

    def meet_rows(self, scope: Scope, meeting: Meeting) -> None:
        """For each row r: the rule for w[r] with the gradient along[r] across (4), then result += along[r] w[r].

        `along` and `across` are x and delta for the weights, and delta and x for their transposed copy; the result
        is s for the weights (counted from `start`, the bias), and the gradient of x for the copy.
        """
        grid, brief = meeting.grid, _is_brief(scope, meeting.result)
        rows_at_once = 1 if brief else scope.plan.policy.product_chains

        def block(first: Index, width: int, features: Index) -> None:
            offsets = [self.e.add(first, v * self.kernels.lanes) for v in range(width)]
            self._meet_columns(scope, meeting, offsets, features, rows_at_once)

        if grid.tails and meeting.result is not None:  # first, for their sums take longest
            self.tails.meet(scope, meeting, grid.tails)
        width, unrolled = (1, 0) if brief else (scope.plan.policy.product_width, scope.plan.unrolled.column_blocks)
        self._column_blocks(scope, grid, width, unrolled, block)

    def _meet_columns(
        self, scope: Scope, meeting: Meeting, offsets: Sequence[Index], features: Index, rows_at_once: int
    ) -> None:
        """`meet_rows` for the vectors of columns at some offsets; there are `features` columns from there on.

        The sums of a product are divided into chains, which do not wait for each other.
        """
        e, width, rows, result = self.e, len(offsets), meeting.grid.rows, meeting.result
        chains = max(rows_at_once // width, 1)
        chains = min(chains, rows) if isinstance(rows, int) else chains
        sums = [meeting.start(offset) for offset in offsets]
        sums = [*sums, *[e.constant(0)] * (width * (chains - 1))] if result is not None else []
        meet_row = self._row_meeter(scope, meeting, offsets)

        def meet_several(r: Index, *carried: ir.Value) -> list[ir.Value]:
            sums = list(carried)
            for row in range(rows_at_once):
                meet_row(e.add(r, row), row % chains, sums)
            return sums

        def meet_one(r: Index, *carried: ir.Value) -> list[ir.Value]:
            sums = list(carried)
            meet_row(r, 0, sums)
            return sums

        few = isinstance(rows, int) and rows * width <= scope.plan.unrolled.products
        done = 0 if few else e.rounded_down(rows, rows_at_once)
        sums = e.loop("product", 0, done, rows_at_once, meet_several, sums)
        if isinstance(rows, int):
            for r in range(done, rows):
                meet_row(r, r % chains, sums)
        else:
            sums = e.loop("product.rest", done, rows, 1, meet_one, sums)
        if result is not None:
            for v, offset in enumerate(offsets):
                total = e.keep_first(e.tree_sum(sums[v::width]), e.subtract(features, v * e.lanes))
                e.store(total, scope.activations, e.add(result, offset))

    def _row_meeter(
        self, scope: Scope, meeting: Meeting, offsets: Sequence[Index]
    ) -> Callable[[Index, int, list[ir.Value]], None]:
        """What meets a row: meet(row, chain, sums) updates its vectors, and adds their products to sums of a chain."""
        e, grid, pending = self.e, meeting.grid, meeting.pending
        vectors = [e.load(pending.activations, e.add(meeting.across, v)) for v in offsets] if pending else []

        def meet(r: Index, chain: int, sums: list[ir.Value]) -> None:
            has_result, along = meeting.result is not None, meeting.along
            factor = e.broadcast(scope.activations, e.add(along, r)) if has_result else None
            earlier = e.broadcast(pending.activations, e.add(along, r)) if pending else None
            for v, offset in enumerate(offsets):
                place = self._weight(grid, r, offset)
                weight = e.load(scope.workspace, place)
                if pending is not None:
                    # x first and delta second, so that both copies are rounded alike.
                    gradient = (vectors[v], earlier) if grid.transposed else (earlier, vectors[v])
                    weight = pending.rule.apply(place, weight, gradient, of_weights=True)
                if factor is not None:
                    index = chain * len(offsets) + v
                    sums[index] = e.multiply_add(factor, weight, sums[index])

        return meet

    def _column_blocks(
        self, scope: Scope, grid: Grid, width: int, unrolled: int, block: Callable[[Index, int, Index], None]
    ) -> None:
        """block(offset, vectors, columns from there on) for all columns, at most `width` vectors at a time."""
        e, lanes, columns = self.e, self.kernels.lanes, grid.columns
        if grid.divided:
            self._own_blocks(scope, columns, width, block)
            return
        if isinstance(columns, int):
            e.blocks("columns", columns, width * lanes, lambda i, size: block(i, -(-size // lanes), size), unrolled)
            return
        end = self.kernels.padded(columns)
        whole = e.rounded_down(end, width * lanes)
        e.loop("columns", 0, whole, width * lanes, lambda i: block(i, width, e.subtract(columns, i)))
        if width == 1:
            return
        e.loop("columns.rest", whole, end, lanes, lambda i: block(i, 1, e.subtract(columns, i)))

    def _own_blocks(self, scope: Scope, columns: Index, width: int, block: Callable[[Index, int, Index], None]) -> None:
        """As `_column_blocks`, for the columns that are this thread's: whole blocks, and what is left at the end."""
        e, lanes = self.e, self.kernels.lanes
        unit = scope.plan.policy.product_width * lanes
        first, last = self.kernels.own_part(scope, columns, unit)
        whole = e.smaller(e.rounded_down(columns, unit), last)
        e.loop("columns", first, whole, width * lanes, lambda i: block(i, width, e.subtract(columns, i)))
        rest = e.larger(first, whole)
        e.loop("columns.rest", rest, last, lanes, lambda i: block(i, 1, e.subtract(columns, i)))

    def own_blocks_of(self, scope: Scope, grid: Grid, body: Callable[[Index, Index, Grid], None]) -> None:
        """body(number, offset, block) for the blocks of columns of a divided matrix that are this thread's."""
        e, unit = self.e, scope.plan.policy.product_width * self.kernels.lanes
        first, last = self.kernels.own_part(scope, grid.columns, unit)

        def one(i: Index) -> None:
            columns = e.smaller(e.subtract(grid.columns, i), unit)
            block = Grid(e.add(grid.offset, i), grid.rows, columns, grid.stride)
            body(e.builder.udiv(e.index(i), e.index(unit)), i, block)

        e.loop("block", first, last, unit, one)

    def meet_by_output(self, scope: Scope, meeting: Meeting) -> None:
        """For each output o: the rule for w[o] with the gradient delta[o] x (4), then s[o] = b[o] + w[o] · x.

        Rows are outputs, so `along` is delta and `across` x; the result is s, and `start` the bias.
        """
        e, activations = self.e, scope.activations
        grid, x, delta, s, pending = meeting.grid, meeting.across, meeting.along, meeting.result, meeting.pending

        def meet_vector(first: Index, rows: int, offset: Index, used: Index, *sums: ir.Value) -> list[ir.Value]:
            vector = e.load(activations, e.add(x, offset)) if s is not None else None
            earlier = e.load(pending.activations, e.add(x, offset)) if pending else None
            results = []
            for r in range(rows):
                place = self._weight(grid, e.add(first, r), offset)
                weight = e.load(scope.workspace, place)
                if pending is not None:
                    factor = e.broadcast(pending.activations, e.add(delta, e.add(first, r)))
                    weight = pending.rule.apply(place, weight, (factor, earlier), of_weights=True)
                if vector is not None:
                    results.append(self._add_product(used, vector, weight, sums[r]))
            return results

        def block(first: Index, rows: Index) -> None:
            rows = e.index(rows) if _is_brief(scope, s) else rows
            products = self._row_products(scope, grid, first, rows, meet_vector, sums=s is not None)
            biases = meeting.start(first)
            if s is not None:
                total = e.fadd(self._total(products, rows), biases)
                e.store(e.keep_first(total, rows), activations, e.add(s, first))

        e.blocks("rows", grid.rows, self.kernels.lanes, block, scope.plan.unrolled.row_blocks)

    def grad_by_input(
        self, scope: Scope, grid: Grid, delta: Index, grad_in: Index, results: ir.Value | None = None
    ) -> None:
        """grad_in[i] = w[i] · delta, for a row of the matrix for each input; it may lie elsewhere, in `results`."""
        e, activations = self.e, scope.activations

        def add_vector(first: Index, rows: int, offset: Index, used: Index, *sums: ir.Value) -> list[ir.Value]:
            vector = e.load(activations, e.add(delta, offset))
            weights = [e.load(scope.workspace, self._weight(grid, e.add(first, r), offset)) for r in range(rows)]
            return [self._add_product(used, weight, vector, sums[r]) for r, weight in enumerate(weights)]

        def block(first: Index, rows: Index) -> None:
            products = self._row_products(scope, grid, first, rows, add_vector, sums=True)
            if grid.tails:
                total = self.tails.row_sums(scope, grid.tails, products if grid.columns else [], first, rows, delta)
            else:
                total = self._total(products, rows)
            where = activations if results is None else results
            e.store(e.keep_first(total, rows), where, e.add(grad_in, first))

        e.blocks("inputs", grid.rows, self.kernels.lanes, block, scope.plan.unrolled.row_blocks)

    def grad_by_output(self, scope: Scope, grid: Grid, delta: Index, grad_in: Index) -> None:
        """grad_in = Σ delta[o] w[o], for a row of the matrix for each output."""
        e, activations = self.e, scope.activations

        def block(offset: Index, used: Index) -> None:
            def add_row(o: Index, total: ir.Value) -> list[ir.Value]:
                factor = e.broadcast(activations, e.add(delta, o))
                return [e.multiply_add(e.load(scope.workspace, self._weight(grid, o, offset)), factor, total)]

            total = e.constant(0)
            if isinstance(grid.rows, int) and grid.rows <= self.kernels.lanes:
                for o in range(grid.rows):
                    (total,) = add_row(o, total)
            else:
                (total,) = e.loop("outputs", 0, grid.rows, 1, add_row, [total])
            e.store(e.keep_first(total, used), activations, e.add(grad_in, offset))

        e.vectors("inputs", grid.columns, block, scope.plan.unrolled.grad_vectors)

    def _weight(self, grid: Grid, row: Index, offset: Index) -> Index:
        return self.e.add(self.e.add(grid.offset, self.e.multiply(row, grid.stride)), offset)

    def _add_product(self, used: Index, a: ir.Value, b: ir.Value, total: ir.Value) -> ir.Value:
        """total + a b in the lanes in use."""
        added = self.e.multiply_add(a, b, total)
        if isinstance(used, int) and used >= self.kernels.lanes:
            return added
        return self.e.builder.select(self.e.mask(used), added, total)

    def _row_products(
        self,
        scope: Scope,
        grid: Grid,
        first: Index,
        rows: Index,
        body: Callable[..., list[ir.Value]],
        *,
        sums: bool,
    ) -> list[ir.Value]:
        """The products of up to `lanes` rows, to be given to `_total`.

        Parameters
        ----------
        scope
            Where it is emitted.
        grid
            The matrix.
        first
            The first row.
        rows
            How many rows; where that is known only at run time, they are taken one by one.
        body
            body(first, rows, offset, lanes in use, *sums) adds the products of the vectors at an offset to sums.
        sums
            Whether there are any; otherwise the body is emitted for its updates alone.
        """
        e = self.e
        if isinstance(rows, int):
            start = [e.constant(0)] * rows if sums else []
            return self._over_vectors(scope, grid, rows, functools.partial(body, first, rows), start)

        def row(r: Index, *totals: ir.Value) -> list[ir.Value]:
            product = self._row_products(scope, grid, e.add(first, r), 1, body, sums=sums)
            here = e.builder.icmp_signed("==", e.lane_numbers(), e.splat_integer(r))
            return [e.builder.select(here, e.splat_first(e.row_sums(product)), total) for total in totals]

        return e.loop("row", 0, rows, 1, row, [e.constant(0)] if sums else [])

    def _total(self, products: list[ir.Value], rows: Index) -> ir.Value:
        """The vector with the product of a row in each lane."""
        return self.e.row_sums(products) if isinstance(rows, int) else products[0]

    def _over_vectors(
        self,
        scope: Scope,
        grid: Grid,
        rows: int,
        body: Callable[..., list[ir.Value]],
        carried: list[ir.Value],
    ) -> list[ir.Value]:
        """carried = body(offset, lanes in use, *carried) for the vectors of `rows` rows at once; of many, a loop."""
        e, lanes = self.e, self.kernels.lanes

        def whole(offset: Index, *carried: ir.Value) -> list[ir.Value]:
            return body(offset, lanes, *carried)

        end = self.kernels.padded(grid.columns)
        if isinstance(end, int) and end // lanes * rows <= scope.plan.unrolled.products:
            rest: Sequence[Index] = range(0, end, lanes)
        else:  # the last vector, with lanes to spare, is never in the loop
            last = e.subtract(end, lanes)
            carried, rest = e.loop("vectors", 0, last, lanes, whole, carried), [last]
        for offset in rest:
            carried = body(offset, e.subtract(grid.columns, offset), *carried)
        return carried


def _is_brief(scope: Scope, result: Index | None) -> bool:
    """Whether a product should make little code: where the rule is long, or runs alone, after the last sample."""
    return scope.plan.brief_rule or (result is None and scope.plan.sharing is Sharing.ALL)
