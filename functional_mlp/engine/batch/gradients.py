"""The gradients of a linear layer's parameters over the samples of a piece, and what becomes of them.

Where a piece is a whole batch, the parameters are updated as their gradients are made; otherwise these are added up.
"""

import functools
from collections.abc import Callable

import attrs

from functional_mlp.engine.batch.division import Division
from functional_mlp.engine.batch.factors import Factor, Stored, TransposedSamples
from functional_mlp.engine.batch.linear import linear_kernel
from functional_mlp.engine.batch.matmul import Product, TiledProducts
from functional_mlp.engine.batch.piece import Piece, Update
from functional_mlp.engine.calls import Scope
from functional_mlp.engine.kernels import Kernels, Sizes
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.llvm.types import I64
from functional_mlp.engine.program import Affine, TrainingProgram
from functional_mlp.engine.update import rule_after

SoFar = Callable[[Index], ir.Value]  # what the gradient of the vector of parameters at a place has come to


@attrs.frozen(eq=False)
class GradParamsPlaces:
    """For the gradients of the weights (4) and the biases (5), and the update after a batch of a number."""

    count: ir.Value
    x: Index
    grad: Index
    weights: Index
    biases: Index
    batch: ir.Value


class ParamGradients:
    """Emits the gradients of linear layers' parameters.

    With a `training` program each batch is whole, and the parameters are updated; otherwise the gradients are added up
    at `place`, a number for each parameter.
    """

    def __init__(self, kernels: Kernels, training: TrainingProgram | None, place: int) -> None:
        self.kernels, self.training, self.place = kernels, training, place
        self.e: Emitter = kernels.e
        self.products: TiledProducts = TiledProducts(kernels)

    def emit(
        self,
        piece: Piece,
        step: Affine,
        x: Index,
        grad: int,
        *,
        transposed: bool,
        by_units: bool,
        in_data: bool,
    ) -> None:
        """The gradients of the weights (4) and of the biases (5), and the update.

        Parameters
        ----------
        piece
            The samples.
        step
            The layer.
        x
            The place of its input.
        grad
            The place of the gradient of its output.
        transposed
            Whether the weights are kept transposed too.
        by_units
            Whether threads make those of their own units; otherwise those of their own rows.
        in_data
            Whether the place of x is that of the first sample in the order of the data.
        """
        matrix = self.kernels.layout.matrices[step.number]
        # A thread transposes the rows that it has updated, in blocks of `lanes`.
        unit = self.kernels.lanes if transposed else 1

        def gradients(
            scope: Scope, sizes: Sizes, at: GradParamsPlaces, update: Update, so_far: SoFar | None = None
        ) -> None:
            (place, rows), right = (at.x, sizes.inputs), (at.grad, sizes.outputs)
            if not matrix.input_major:
                (place, rows), right = right, (place, rows)
            left: Factor = Stored(self.e, scope.workspace, place, 1, self.kernels.stride(rows))
            if in_data:
                left = TransposedSamples(self.e, scope.arguments, at.x, rows)
            own, columns = self.kernels.own_part(scope, rows, unit), None
            if by_units:
                division = Division(self.kernels, scope, sizes.outputs)
                own, columns = division.rows(own, rows), division.units()
            self._weight_gradient(
                scope, left, right, at, own_rows=own, own_columns=columns, update=update, so_far=so_far
            )
            # Where there are no biases, there are none to go through.
            features = self.e.multiply(sizes.outputs, sizes.has_bias)
            self._bias_gradient(scope, features, sizes.outputs, at, update, so_far)

        def emit(scope: Scope, sizes: Sizes, at: GradParamsPlaces) -> None:
            if self.training is None:
                gradients(scope, sizes, at, *self._accumulated_in(scope))
            elif piece.update is not None:
                gradients(scope, sizes, at, piece.update)
            else:
                with rule_after(self.kernels, self.training, scope, at.batch) as rule:
                    gradients(scope, sizes, at, rule.update)

        places = GradParamsPlaces(piece.end, x, grad, matrix.offset, matrix.bias_offset, piece.batch)
        variant = f"{matrix.input_major} {unit} {by_units} {in_data}"
        linear_kernel(self.kernels, piece, "grad_params", step, variant, places, emit)

    def _accumulated_in(self, scope: Scope) -> tuple[Update, SoFar | None]:
        """What puts the gradients of a piece to those of the pieces before it; and if their sums go on, from what."""

        def so_far(place: Index) -> ir.Value:
            return self.e.load(scope.workspace, self.e.add(self.place, place))

        def keep(place: Index, grad: ir.Value, *, of_weights: bool) -> None:
            self.e.store(grad, scope.workspace, self.e.add(self.place, place))

        def add(place: Index, grad: ir.Value, *, of_weights: bool) -> None:
            keep(place, self.e.fadd(so_far(place), grad), of_weights=of_weights)

        return (keep, so_far) if scope.plan.sums_go_on else (add, None)

    def _weight_gradient(
        self,
        scope: Scope,
        left: Factor,
        right: tuple[Index, Index],
        at: GradParamsPlaces,
        *,
        own_rows: tuple[Index, Index],
        own_columns: tuple[Index, Index] | None,
        update: Update,
        so_far: SoFar | None,
    ) -> None:
        """The update for each vector of the weights.

        Parameters
        ----------
        scope
            Where it is emitted.
        at
            The places of what is read and of what is updated.
        left
            The factor with a row for each row of the matrix, x or the gradient.
        right
            The other factor, with a column for each column of the matrix: its place, and its features.
        own_rows
            The first of the rows that are this thread's, and the end of them.
        own_columns
            Likewise for columns; all of them where it is None.
        update
            Uses the gradient of a vector.
        so_far
            What the sum of a vector goes on from, if from anything.
        """
        e, (columns_place, columns) = self.e, right
        stride = self.kernels.stride(columns)

        def place(row: Index, v: Index) -> Index:
            return e.add(at.weights, e.add(e.multiply(row, stride), v))

        def finish(row: Index, v: Index, value: ir.Value) -> None:
            update(place(row, v), value, of_weights=True)

        product = Product(
            name="grad_weight",
            rows=own_rows,
            columns=columns,
            depth=at.count,
            left=left,
            right=(columns_place, stride),
            start=None,
            finish=finish,
            usual_rows=scope.plan.policy.rows_of_any_matrix,
            so_far=None if so_far is None else lambda row, v: so_far(place(row, v)),
            updated=place,
            own_columns=own_columns,
        )
        self.products.emit(scope, product)

    def _bias_gradient(
        self,
        scope: Scope,
        features: Index,
        outputs: Index,
        at: GradParamsPlaces,
        update: Update,
        so_far: SoFar | None,
    ) -> None:
        """For biases of `features` outputs: the sum of their gradients over the samples (5), in sums side by side.

        Those are sums of parts of the samples, or, where a sum goes on from what it is so far, of several vectors.

        Parameters
        ----------
        scope
            Where it is emitted.
        at
            The places of what is read and of what is updated.
        features
            How many biases there are.
        outputs
            How many outputs the layer has.
        update
            Uses the gradient of a vector.
        so_far
            What the sum of a vector goes on from, if from anything.
        """
        e, stride, policy = self.e, self.kernels.stride(outputs), scope.plan.policy
        chains = policy.bias_chains if so_far is None else 1

        def block(v: Index, width: int) -> None:
            offsets = [e.add(v, number * e.lanes) for number in range(width)]

            def add(r: Index, *sums: ir.Value, chains: int) -> list[ir.Value]:
                places = [
                    e.add(e.add(at.grad, offset), e.multiply(e.add(r, i), stride))
                    for offset in offsets
                    for i in range(chains)
                ]
                return [
                    e.fadd(total, e.load(scope.workspace, place)) for total, place in zip(sums, places, strict=True)
                ]

            begin = [e.constant(0) if so_far is None else so_far(e.add(at.biases, offset)) for offset in offsets]
            whole = self.kernels.builder.and_(at.count, ir.Constant(I64, -chains))
            sums = [value for first in begin for value in (first, *[e.constant(0)] * (chains - 1))]
            sums = e.loop("grad_bias", 0, whole, chains, functools.partial(add, chains=chains), sums)
            totals = [e.tree_sum(sums[i : i + chains]) for i in range(0, len(sums), chains)]
            totals = e.loop("grad_bias", whole, at.count, 1, functools.partial(add, chains=1), totals)
            for offset, total in zip(offsets, totals, strict=True):
                update(e.add(at.biases, offset), total, of_weights=False)

        if so_far is None:
            self.kernels.each_own_vector(scope, "bias", features, lambda v, _: block(v, 1))
            return
        begin, end = self.kernels.own_part(scope, features, e.lanes)
        distance = policy.bias_vectors * e.lanes
        whole = e.add(begin, e.rounded_down(e.subtract(end, begin), distance))
        e.loop("biases", begin, whole, distance, lambda v: block(v, policy.bias_vectors))
        e.loop("bias", whole, end, e.lanes, lambda v: block(v, 1))
