"""The products of linear layers with the samples of a piece.

A product makes each vector of its result once, so a short activation is applied there: that of a layer's output in the
forward product, and the pullback of the one below in the product with the gradient.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import attrs

from functional_mlp.engine.batch.division import Division
from functional_mlp.engine.batch.dots import DotProducts
from functional_mlp.engine.batch.matmul import Product, TiledProducts
from functional_mlp.engine.batch.piece import Piece, Update
from functional_mlp.engine.calls import Scope
from functional_mlp.engine.expressions import activation_code
from functional_mlp.engine.kernels import Kernels, Sizes, fields_of, reads_input, sizes_of
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.llvm.types import I64
from functional_mlp.engine.program import Affine, TrainingProgram
from functional_mlp.engine.update import rule_after
from functional_mlp.layers.elementwise import Elementwise


@attrs.frozen(eq=False)
class ForwardPlaces:
    """For s = w x + b, and y = σ(s). Weights lie by input, or where products are `DotProducts`, by output."""

    begin: Index
    end: ir.Value
    x: Index
    weights: Index
    biases: Index
    s: Index
    y: Index


@attrs.frozen(eq=False)
class GradInputPlaces:
    """For grad_x = wᵀ grad (2), or the gradient of the s under the x = y of the activation below."""

    begin: Index
    end: ir.Value
    grad: Index
    weights: Index
    grad_x: Index
    s: Index
    y: Index


@attrs.frozen(eq=False)
class GradParamsPlaces:
    """For the gradients of the weights (4) and the biases (5), and the update after a batch of a number."""

    count: ir.Value
    x: Index
    grad: Index
    weights: Index
    biases: Index
    batch: ir.Value


Places = TypeVar("Places", ForwardPlaces, GradInputPlaces, GradParamsPlaces)


class LinearProducts:
    """Emits the products of linear layers, for pieces of at most `samples` samples.

    With a `training` program each batch is whole, and the parameters are updated as their gradients are made; otherwise
    these are added up at `gradients`.
    """

    kernels: Kernels
    samples: int
    training: TrainingProgram | None
    gradients: int
    e: Emitter
    builder: ir.IRBuilder
    products: TiledProducts
    dots: DotProducts

    def __init__(
        self, kernels: Kernels, samples: int, training: TrainingProgram | None = None, gradients: int = 0
    ) -> None:
        self.kernels, self.samples, self.training, self.gradients = kernels, samples, training, gradients
        self.e, self.builder = kernels.e, kernels.builder
        self.products, self.dots = TiledProducts(kernels), DotProducts(kernels)

    def _kernel(
        self,
        piece: Piece,
        name: str,
        step: Affine,
        variant: str,
        places: Places,
        emit: Callable[[Scope, Sizes, Places], None],
    ) -> None:
        """emit(scope, sizes, places), in place or in a function.

        Parameters
        ----------
        piece, name, step, variant
            The samples, what the kernel does, for which layer, and in which of the ways that there are.
        places
            The places that it works on.
        emit
            Emits it.
        """
        self.builder.comment(f"{name}: {step}")
        kind_of_places = type(places)

        def body(inside: Scope, sizes: Sequence[Index], values: Sequence[Index]) -> None:
            emit(inside, Sizes(*sizes), kind_of_places(*values))

        kernel_name = f"linear{{}}.{name}"
        self.kernels.kernel(piece.scope, kernel_name, variant, sizes_of(step), fields_of(places), body)

    def _store(
        self,
        scope: Scope,
        place: Index,
        offset: Index,
        v: Index,
        features: Index,
        value: ir.Value,
    ) -> None:
        """Store a vector of a row, with zeros beyond the features; in a loop over known features there are none.

        Parameters
        ----------
        scope, place, offset
            Where it is emitted, the place of all rows, and that of the vector among them.
        v, features
            The first of the row's features in the vector, and how many the row has.
        value
            The vector.
        """
        in_use = self.e.subtract(features, v) if isinstance(v, int) or not isinstance(features, int) else self.e.lanes
        self.e.store(self.e.keep_first(value, in_use), scope.workspace, self.e.add(place, offset))

    def forward(
        self, piece: Piece, step: Affine, above: Elementwise | None, places: ForwardPlaces, *, by_units: bool
    ) -> None:
        """s = w x + b, and y = σ(s) of the activation above; threads may make their own units, of all samples."""
        e, keeps_s = self.e, above is None or reads_input(above)
        adds_lanes = piece.scope.plan.adds_lanes_of(self.kernels.layout.matrices[step.number])

        def emit(scope: Scope, sizes: Sizes, at: ForwardPlaces) -> None:
            in_stride, out_stride = self.kernels.stride(sizes.inputs), self.kernels.stride(sizes.outputs)

            def bias(v: Index) -> ir.Value:
                return e.where(sizes.has_bias, lambda: e.load(scope.workspace, e.add(at.biases, v)))

            def finish(row: Index, v: Index, value: ir.Value) -> None:
                offset = e.add(e.multiply(row, out_stride), v)
                if keeps_s:
                    self._store(scope, at.s, offset, v, sizes.outputs, value)
                if above is not None:
                    self._store(scope, at.y, offset, v, sizes.outputs, self.kernels.value(above, value))

            product = Product(
                name="forward",
                rows=(at.begin, at.end),
                columns=sizes.outputs,
                depth=sizes.inputs,
                left=(at.x, in_stride, 1),
                right=(at.weights, in_stride if adds_lanes else out_stride),
                start=bias,
                finish=finish,
                usual_rows=self.samples,
                own_columns=Division(self.kernels, scope, sizes.outputs).units() if by_units else None,
            )
            (self.dots if adds_lanes else self.products).emit(scope, product)

        self._kernel(piece, "forward", step, f"{activation_code(above)} {by_units}", places, emit)

    def grad_input(
        self, piece: Piece, step: Affine, below: Elementwise | None, places: GradInputPlaces, *, by_units: bool
    ) -> None:
        """The gradient with respect to x (2), or to the input s of the activation below, whose output y is x (3).

        Threads may make those of their own units of x, of all samples.
        """
        e = self.e

        def emit(scope: Scope, sizes: Sizes, at: GradInputPlaces) -> None:
            in_stride, out_stride = self.kernels.stride(sizes.inputs), self.kernels.stride(sizes.outputs)

            def finish(row: Index, v: Index, value: ir.Value) -> None:
                offset = e.add(e.multiply(row, in_stride), v)
                if below is not None:
                    s_below, y_below = (e.load(scope.workspace, e.add(place, offset)) for place in (at.s, at.y))
                    value = self.kernels.pullback(below, s_below, y_below, value)
                self._store(scope, at.grad_x, offset, v, sizes.inputs, value)

            product = Product(
                name="grad_input",
                rows=(at.begin, at.end),
                columns=sizes.inputs,
                depth=sizes.outputs,
                left=(at.grad, out_stride, 1),
                right=(at.weights, in_stride),
                start=None,
                finish=finish,
                usual_rows=self.samples,
                own_columns=Division(self.kernels, scope, sizes.inputs).units() if by_units else None,
            )
            self.products.emit(scope, product)

        self._kernel(piece, "grad_input", step, f"{activation_code(below)} {by_units}", places, emit)

    def grad_params(self, piece: Piece, step: Affine, x: int, grad: int, *, transposed: bool, by_units: bool) -> None:
        """The gradients of the weights (4) and of the biases (5), and the update.

        Parameters
        ----------
        piece, step
            The samples, and the layer.
        x, grad
            The places of its input, and of the gradient of its output.
        transposed
            Whether the weights are kept transposed too.
        by_units
            Whether threads make those of their own units; otherwise those of their own rows.
        """
        matrix = self.kernels.layout.matrices[step.number]
        # A thread transposes the rows that it has updated, in blocks of `lanes`.
        unit = self.kernels.lanes if transposed else 1

        def gradients(scope: Scope, sizes: Sizes, at: GradParamsPlaces, update: Update) -> None:
            left, right = (at.x, sizes.inputs), (at.grad, sizes.outputs)
            if not matrix.input_major:
                left, right = right, left
            own, columns = self.kernels.own_part(scope, left[1], unit), None
            if by_units:
                division = Division(self.kernels, scope, sizes.outputs)
                own, columns = division.rows(own, left[1]), division.units()
            self._weight_gradient(scope, left, right, at, own, columns, update)
            # Where there are no biases, there are none to go through.
            self._bias_gradient(scope, self.e.multiply(sizes.outputs, sizes.has_bias), sizes.outputs, at, update)

        def emit(scope: Scope, sizes: Sizes, at: GradParamsPlaces) -> None:
            if self.training is None:
                gradients(scope, sizes, at, self._accumulate_in(scope))
            elif piece.update is not None:
                gradients(scope, sizes, at, piece.update)
            else:
                with rule_after(self.kernels, self.training, scope, at.batch) as rule:
                    gradients(scope, sizes, at, rule.update)

        places = GradParamsPlaces(piece.end, x, grad, matrix.offset, matrix.bias_offset, piece.batch)
        self._kernel(piece, "grad_params", step, f"{matrix.input_major} {unit} {by_units}", places, emit)

    def _accumulate_in(self, scope: Scope) -> Update:
        def accumulate(place: Index, grad: ir.Value, *, of_weights: bool) -> None:
            place = self.e.add(self.gradients, place)
            self.e.store(self.e.fadd(self.e.load(scope.workspace, place), grad), scope.workspace, place)

        return accumulate

    def _weight_gradient(
        self,
        scope: Scope,
        left: tuple[Index, Index],
        right: tuple[Index, Index],
        at: GradParamsPlaces,
        own_rows: tuple[Index, Index],
        own_columns: tuple[Index, Index] | None,
        update: Update,
    ) -> None:
        """The update for each vector of the weights.

        Parameters
        ----------
        scope, at
            Where it is emitted, and the places.
        left, right
            What is multiplied: the places of x and of the gradient, in the order of the matrix, with their features.
        own_rows, own_columns
            Which of the weights are this thread's; all columns where there are none.
        update
            Uses the gradient of a vector.
        """
        e, (rows_place, rows), (columns_place, columns) = self.e, left, right
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
            left=(rows_place, 1, self.kernels.stride(rows)),
            right=(columns_place, stride),
            start=None,
            finish=finish,
            usual_rows=scope.plan.policy.rows_of_any_matrix,
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
    ) -> None:
        """For biases of `features` outputs: the sum of their gradients over the samples (5), in sums side by side."""
        e, stride = self.e, self.kernels.stride(outputs)

        def body(v: Index, used: Index) -> None:
            def add(r: Index, total: ir.Value) -> ir.Value:
                place = e.add(e.add(at.grad, v), e.multiply(r, stride))
                return e.fadd(total, e.load(scope.workspace, place))

            def add_several(r: Index, *sums: ir.Value) -> list[ir.Value]:
                return [add(e.add(r, i), total) for i, total in enumerate(sums)]

            def add_one(r: Index, total: ir.Value) -> list[ir.Value]:
                return [add(r, total)]

            chains = scope.plan.policy.bias_chains
            whole = self.builder.and_(at.count, ir.Constant(I64, -chains))
            sums = e.loop("grad_bias", 0, whole, chains, add_several, [e.constant(0)] * chains)
            (total,) = e.loop("grad_bias", whole, at.count, 1, add_one, [e.tree_sum(sums)])
            update(e.add(at.biases, v), total, of_weights=False)

        self.kernels.each_own_vector(scope, "bias", features, body)
