"""The steps of a program for a piece of a batch."""

from collections.abc import Callable, Sequence

import attrs

from functional_mlp.engine.batch.division import Division
from functional_mlp.engine.batch.gradients import ParamGradients
from functional_mlp.engine.batch.linear import ForwardPlaces, GradInputPlaces, LinearProducts
from functional_mlp.engine.batch.piece import Activation, Memory, Piece
from functional_mlp.engine.calls import Scope
from functional_mlp.engine.expressions import activation_code
from functional_mlp.engine.kernels import Kernels, reads_input
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.program import Affine, Branch, Pointwise, Step
from functional_mlp.engine.walk import At, Backward
from functional_mlp.layers.elementwise import Elementwise


@attrs.frozen
class Output:
    """The place of a step's output.

    An activation may have been `applied` to it by the product that made it; and the pullback of the one `below`, which
    has made it, is left to the layer that follows. Where its units were divided among threads, its gradient's may be.
    The network's input may be read where it lies `in_data`: its place is then that of its first sample in the order.
    """

    place: Index
    applied: Activation | None = None
    below: Activation | None = None
    by_units: bool = False
    in_data: bool = False


class BatchSteps:
    """Emits steps for pieces of batches; `copies` are the places of transposed weights, by layer."""

    kernels: Kernels
    memory: Memory
    copies: dict[int, int]
    products: LinearProducts
    gradients: ParamGradients | None
    e: Emitter
    builder: ir.IRBuilder

    def __init__(
        self,
        kernels: Kernels,
        memory: Memory,
        copies: dict[int, int],
        products: LinearProducts,
        gradients: ParamGradients | None,
    ) -> None:
        self.kernels, self.memory, self.copies = kernels, memory, copies
        self.products, self.gradients = products, gradients
        self.e, self.builder = kernels.e, kernels.builder

    def reserve(self, features: int) -> int:
        """A new place for features of each sample."""
        return self.memory.reserve(features, self.products.samples)

    # Steps, as the walk meets them

    def affine(self, piece: Piece, step: Affine, at: At, x: Output) -> tuple[Output, Backward[Piece]]:
        """s = w x + b and, if it is short, the activation that follows."""
        s, above = self.reserve(step.out_features), None
        if isinstance(at.following, Pointwise) and self.kernels.has_short_value(at.following.layer):
            kept = reads_input(at.following.layer)
            above = Activation(at.following, s, self.reserve(step.out_features) if kept else s)
        matrix, copy = self.kernels.layout.matrices[step.number], self.copies.get(step.number, 0)
        forwards = matrix.input_major or piece.scope.plan.adds_lanes_of(matrix)
        weights, by_output = matrix.offset if forwards else copy, copy if matrix.input_major else matrix.offset
        y = 0 if above is None else above.y
        begin, end = piece.begin, piece.end
        by_units = not at.needs_grad and self._divides_units(piece, step)  # who needs it needs the weights of all units
        if by_units:
            begin, end = Division(self.kernels, piece.scope, step.out_features).rows((begin, end), piece.whole)
        if by_units and not x.in_data:
            self.kernels.wait_for_threads(piece.scope)
        places = ForwardPlaces(begin, end, x.place, weights, matrix.bias_offset, s, y)
        layer = None if above is None else above.step.layer
        self.products.forward(piece, step, layer, places, by_units=by_units, in_data=x.in_data)
        if by_units:
            self.kernels.wait_for_threads(piece.scope)

        def backward(back: Piece, grad: int) -> int | None:
            grad_x = None
            if at.needs_grad:
                grad_x = self.reserve(step.in_features)
                self._grad_input(back, step, at, x, grad, by_output, grad_x)
            self._grad_params(back, step, x, grad, by_units=by_units)
            return grad_x

        return Output(s, applied=above, by_units=by_units), backward

    def takes_data(self, piece: Piece, step: Step) -> bool:
        """Whether a network's first step takes the samples as they lie in the data: each thread needs all of them."""
        are_few = self.products.samples <= piece.scope.plan.policy.most_samples_in_data
        return are_few and isinstance(step, Affine) and self._divides_units(piece, step)

    def _divides_units(self, piece: Piece, step: Affine) -> bool:
        """Whether threads may divide the units of a layer among them, and not the samples."""
        matrix = self.kernels.layout.matrices[step.number]
        return piece.scope.plan.divides_units_of(matrix, self.products.samples)

    def _grad_input(self, back: Piece, step: Affine, at: At, x: Output, grad: int, weights: int, grad_x: int) -> None:
        """The gradient of a layer's input, on the way back or, where it has to wait for other threads, later.

        Parameters
        ----------
        back
            The piece.
        step
            The layer.
        at
            Where the layer stands.
        x
            Its input.
        grad
            The place of the gradient of its output.
        weights
            The place of its weights by output.
        grad_x
            The place of what is made.
        """
        layer, s, y = (None, 0, 0) if x.below is None else (x.below.step.layer, x.below.s, x.below.y)

        def make(piece: Piece, begin: Index, end: Index, *, by_units: bool) -> None:
            places = GradInputPlaces(begin, end, grad, weights, grad_x, s, y)
            self.products.grad_input(piece, step, layer, places, by_units=by_units)

        # Within a branch it is added to another one at once. Weights that lie as they are needed are not copied: they
        # may have been updated when the gradient is made.
        matrix = self.kernels.layout.matrices[step.number]
        if back.waiting is None or not x.by_units or len(at.path) > 1 or not matrix.input_major:
            make(back, back.begin, back.end, by_units=False)
            return

        def make_own(piece: Piece) -> None:
            division = Division(self.kernels, piece.scope, step.in_features)
            make(piece, *division.rows((back.begin, back.end), piece.end), by_units=True)
            self.kernels.wait_for_threads(piece.scope)  # it is whole, and nobody needs the copy of the weights any more

        back.waiting.append(make_own)

    def _grad_params(self, piece: Piece, step: Affine, x: Output, grad: int, *, by_units: bool) -> None:
        gradients = self.gradients
        assert gradients is not None, "there is no way back"

        def make(piece: Piece) -> None:
            transposed = step.number in self.copies
            gradients.emit(piece, step, x.place, grad, transposed=transposed, by_units=by_units, in_data=x.in_data)

        if piece.waiting is None:
            make(piece)
        else:
            piece.waiting.append(make)

    def pointwise(self, piece: Piece, step: Pointwise, at: At, x: Output) -> tuple[Output, Backward[Piece]]:
        activation = x.applied
        if activation is None:
            activation = Activation(step, x.place, self.reserve(step.features))
            self._activate(piece, activation)
        short = self.kernels.has_short_pullback(step.layer)
        if at.needs_grad and short and isinstance(at.following, Affine):
            output = Output(activation.y, below=activation, by_units=x.by_units)
            return output, lambda back, grad: grad  # pulled back by that layer

        def backward(back: Piece, grad: int) -> int | None:
            return self._pull_back(back, activation, grad) if at.needs_grad else None

        return Output(activation.y), backward

    def sum_of_outputs(self, piece: Piece, step: Branch, at: At, x: Output, inner: Output) -> Output:
        return Output(self.sum_of_grads(piece, step, at, x.place, inner.place))

    def sum_of_grads(self, piece: Piece, step: Branch, at: At, grad: int, inner: int) -> int:
        total = self.reserve(step.features)

        def add(scope: Scope, features: Index, places: Sequence[Index]) -> None:
            self.kernels.add(scope, features, *places)

        self._each_sample(piece, "add", None, step.features, (grad, inner, total), add)
        return total

    # Activations

    def _activate(self, piece: Piece, activation: Activation) -> None:
        layer, features = activation.step.layer, activation.step.features

        def emit(scope: Scope, features: Index, places: Sequence[Index]) -> None:
            self.kernels.activate(scope, layer, features, *places)

        self._each_sample(piece, "value", layer, features, (activation.s, activation.y), emit)

    def _pull_back(self, piece: Piece, activation: Activation, grad: int) -> int:
        layer, features = activation.step.layer, activation.step.features
        grad_in = self.reserve(features)

        def emit(scope: Scope, features: Index, places: Sequence[Index]) -> None:
            self.kernels.pull_back(scope, layer, features, *places)

        self._each_sample(piece, "pullback", layer, features, (activation.s, activation.y, grad, grad_in), emit)
        return grad_in

    def _each_sample(
        self,
        piece: Piece,
        name: str,
        layer: Elementwise | None,
        features: int,
        places: tuple[int, ...],
        emit: Callable[[Scope, Index, Sequence[Index]], None],
    ) -> None:
        """emit(scope, features, places of a sample's rows) for each sample, in place or in a function.

        Parameters
        ----------
        piece
            The samples.
        name
            What the kernel does.
        layer
            The activation that it is of, if any.
        features
            How many features a sample has.
        places
            Where those of the first sample lie.
        emit
            Emits it.
        """
        self.builder.comment(f"{name}: {layer!r}")

        def loop(scope: Scope, sizes: Sequence[Index], values: Sequence[Index]) -> None:
            (features,), (begin, end, *places) = sizes, values
            e, stride = self.e, self.kernels.stride(features)

            def sample(r: Index) -> None:
                emit(scope, features, [e.add(place, e.multiply(r, stride)) for place in places])

            e.loop(f"{name}.sample", begin, end, 1, sample)

        values = (piece.begin, piece.end, *places)
        self.kernels.kernel(piece.scope, f"{name}{{}}", activation_code(layer), (features,), values, loop)
