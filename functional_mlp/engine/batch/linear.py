"""The products of linear layers with the samples of a piece; those over the samples are in `gradients.py`.

A product makes each vector of its result once, so a short activation is applied there: that of a layer's output in the
forward product, and the pullback of the one below in the product with the gradient.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import attrs

from functional_mlp.engine.batch.division import Division
from functional_mlp.engine.batch.dots import DotProducts
from functional_mlp.engine.batch.factors import Factor, Samples, Stored
from functional_mlp.engine.batch.matmul import Product, TiledProducts
from functional_mlp.engine.batch.piece import Piece
from functional_mlp.engine.calls import Scope
from functional_mlp.engine.expressions import activation_code
from functional_mlp.engine.kernels import Kernels, Sizes, fields_of, reads_input, sizes_of
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.program import Affine
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


Places = TypeVar("Places")


def linear_kernel(
    kernels: Kernels,
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
    kernels
        The assembler.
    piece
        The samples.
    name
        What the kernel does.
    step
        The layer that it is for.
    variant
        Which of the ways to do it.
    places
        The places that it works on.
    emit
        Emits it.
    """
    kernels.builder.comment(f"{name}: {step}")
    kind_of_places = type(places)

    def body(inside: Scope, sizes: Sequence[Index], values: Sequence[Index]) -> None:
        emit(inside, Sizes(*sizes), kind_of_places(*values))

    kernel_name = f"linear{{}}.{name}"
    kernels.kernel(piece.scope, kernel_name, variant, sizes_of(step), fields_of(places), body)


class LinearProducts:
    """Emits the products of linear layers that make rows of samples, for pieces of at most `samples` samples."""

    kernels: Kernels
    samples: int
    e: Emitter
    products: TiledProducts
    dots: DotProducts

    def __init__(self, kernels: Kernels, samples: int) -> None:
        self.kernels, self.samples, self.e = kernels, samples, kernels.e
        self.products, self.dots = TiledProducts(kernels), DotProducts(kernels)

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
        scope
            Where it is emitted.
        place
            The place of all rows.
        offset
            That of the vector among them.
        v
            The first of the row's features in the vector.
        features
            How many features the row has.
        value
            The vector.
        """
        in_use = self.e.subtract(features, v) if isinstance(v, int) or not isinstance(features, int) else self.e.lanes
        self.e.store(self.e.keep_first(value, in_use), scope.workspace, self.e.add(place, offset))

    def forward(
        self,
        piece: Piece,
        step: Affine,
        above: Elementwise | None,
        places: ForwardPlaces,
        *,
        by_units: bool,
        in_data: bool,
    ) -> None:
        """s = w x + b, and y = σ(s).

        Parameters
        ----------
        piece
            The samples.
        step
            The layer.
        above
            The activation σ, if it is applied here.
        places
            Where the numbers are.
        by_units
            Whether threads make their own units, of all samples.
        in_data
            Whether the place of x is that of the first sample in the order of the data.
        """
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

            left: Factor = Stored(e, scope.workspace, at.x, in_stride, 1)
            if in_data:
                left = Samples(e, scope.arguments, at.x, sizes.inputs)
            product = Product(
                name="forward",
                rows=(at.begin, at.end),
                columns=sizes.outputs,
                depth=sizes.inputs,
                left=left,
                right=(at.weights, in_stride if adds_lanes else out_stride),
                start=bias,
                finish=finish,
                usual_rows=self.samples,
                own_columns=Division(self.kernels, scope, sizes.outputs).units() if by_units else None,
            )
            (self.dots if adds_lanes else self.products).emit(scope, product)

        variant = f"{activation_code(above)} {by_units} {in_data}"
        linear_kernel(self.kernels, piece, "forward", step, variant, places, emit)

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
                left=Stored(e, scope.workspace, at.grad, out_stride, 1),
                right=(at.weights, in_stride),
                start=None,
                finish=finish,
                usual_rows=self.samples,
                own_columns=Division(self.kernels, scope, sizes.inputs).units() if by_units else None,
            )
            self.products.emit(scope, product)

        linear_kernel(self.kernels, piece, "grad_input", step, f"{activation_code(below)} {by_units}", places, emit)
