"""Linear layers in an epoch of single samples: their products, and the pending updates of what these meet."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import attrs

from functional_mlp.engine.calls import Scope
from functional_mlp.engine.kernels import Kernels, Sizes, fields_of, sizes_of
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.llvm.types import I64
from functional_mlp.engine.plan import Plan
from functional_mlp.engine.program import Affine, TrainingProgram
from functional_mlp.engine.single.exchange import Exchange
from functional_mlp.engine.single.matvec import Grid, Meeting, Products
from functional_mlp.engine.single.places import LayerVectors
from functional_mlp.engine.update import Pending, rule_after


@attrs.frozen(eq=False)
class Pass:
    """A pass of a sample: where it is emitted, and the update of the sample before, where that is pending."""

    scope: Scope
    pending: Pending | None


@attrs.frozen(eq=False)
class LayerPlaces:
    """The places of a forward product, s = w x + b, whose weights an earlier sample's x and delta may update.

    Where the update runs alone, there is no s.
    """

    x: Index
    delta: Index
    s: Index
    weights: Index
    biases: Index
    shared: Index


@attrs.frozen(eq=False)
class GradPlaces:
    """The places of a backward product, grad_x = wᵀ delta; `weights` may be those of a transposed copy."""

    x: Index
    delta: Index
    grad_x: Index
    weights: Index
    shared: Index = 0


Places = TypeVar("Places", LayerPlaces, GradPlaces)


def places_of_copies(kernels: Kernels, plan: Plan, start: int) -> tuple[dict[int, int], int]:
    """The places of the matrices that are kept transposed, by layer, from a place on; and where they end."""
    places = {}
    for matrix in plan.copied(kernels.layout.matrices):
        places[matrix.step.number] = start
        start += matrix.size_transposed(kernels.lanes)
    return places, start


class SampleLayers:
    """Emits linear layers, given the places of what updates each, and of those matrices that are kept transposed."""

    program: TrainingProgram
    products: Products
    exchange: Exchange
    copies: Mapping[int, int]
    kernels: Kernels
    e: Emitter
    builder: ir.IRBuilder

    def __init__(
        self,
        program: TrainingProgram,
        products: Products,
        exchange: Exchange,
        vectors: Mapping[int, LayerVectors],
        copies: Mapping[int, int],
    ) -> None:
        self.program, self.products, self.exchange, self.copies = program, products, exchange, copies
        self._vectors, self.kernels = vectors, products.kernels
        self.e, self.builder = self.kernels.e, self.kernels.builder

    @contextlib.contextmanager
    def pending(self, scope: Scope, position: Index, activations: ir.Value) -> Iterator[Pending]:
        """The update before a sample, with the activations of the sample that it is due to."""
        earlier = self.builder.sub(self.e.index(position), ir.Constant(I64, 1))
        with rule_after(self.kernels, self.program, scope, earlier) as rule:
            yield Pending(rule, position, activations)

    def meet(self, own: Pass, step: Affine, s: int | None) -> None:
        """The pending update of a layer, and s = w x + b with what comes of it where there is an s."""
        matrix = self.kernels.layout.matrices[step.number]
        vectors, (shared, _) = self._vectors[step.number], self.exchange.places(step.number)
        delta = 0 if own.pending is None else vectors.delta
        places = LayerPlaces(vectors.x, delta, s or 0, matrix.offset, matrix.bias_offset, shared)
        divided = step.number in self.exchange.divided

        def emit(scope: Scope, sizes: Sizes, at: LayerPlaces, pending: Pending | None) -> None:
            def bias(offset: Index) -> ir.Value:
                return self.products.bias(scope, sizes.has_bias, at.biases, at.delta, pending, offset)

            grid, result = (
                self._grid(scope, matrix.input_major, sizes, at.weights, divided),
                None if s is None else at.s,
            )
            along, across = (at.x, at.delta) if matrix.input_major else (at.delta, at.x)
            meeting = Meeting(grid=grid, along=along, across=across, result=result, pending=pending, start=bias)
            meet = self.products.meet_rows if matrix.input_major else self.products.meet_by_output
            meet(scope, meeting)
            if divided and result is not None:
                self.exchange.outputs(scope, sizes.outputs, result, at.shared)

        kind, variant = "update" if s is None else "forward", (matrix.input_major, s is not None, divided)
        self._kernel(own, kind, step, variant, places, emit)

    def _grid(self, scope: Scope, input_major: bool, sizes: Sizes, weights: Index, divided: bool) -> Grid:
        rows, columns = (sizes.inputs, sizes.outputs) if input_major else (sizes.outputs, sizes.inputs)
        tails = self.products.tails.of(scope, weights)
        in_rows = tails[0].first if tails else columns
        return Grid(weights, rows, in_rows, self.kernels.stride(columns), tails=tails, divided=divided)

    def grad_input(self, own: Pass, step: Affine, grad_x: int) -> None:
        """The gradient with respect to a layer's input, wᵀ delta (2)."""
        vectors, copy = self._vectors[step.number], self.copies.get(step.number)
        if copy is not None:
            places = GradPlaces(vectors.x, vectors.delta, grad_x, copy)
            self._kernel(own, "backward", step, ("copy",), places, self._grad_by_copy)
            return
        matrix = self.kernels.layout.matrices[step.number]

        divided = step.number in self.exchange.divided

        def by_matrix(scope: Scope, sizes: Sizes, at: GradPlaces, pending: Pending | None) -> None:
            grid = self._grid(scope, matrix.input_major, sizes, at.weights, divided)
            if divided:
                self._grad_by_blocks(scope, grid, sizes, at)
                return
            multiply = self.products.grad_by_input if matrix.input_major else self.products.grad_by_output
            multiply(scope, grid, at.delta, at.grad_x)

        _, shared = self.exchange.places(step.number)
        places = GradPlaces(vectors.x, vectors.delta, grad_x, matrix.offset, shared)
        alone = attrs.evolve(own, pending=None)  # the forward pass has updated the weights
        self._kernel(alone, "backward", step, (matrix.input_major, divided), places, by_matrix)

    def _grad_by_blocks(self, scope: Scope, grid: Grid, sizes: Sizes, at: GradPlaces) -> None:
        """The product with a divided matrix, block by block."""
        results = self.exchange.first(scope)

        def block(number: Index, offset: Index, own: Grid) -> None:
            place = self.exchange.place_of_block(at.shared, number, sizes.inputs)
            self.products.grad_by_input(scope, own, self.e.add(at.delta, offset), place, results)

        self.products.own_blocks_of(scope, grid, block)
        self.exchange.grads(scope, sizes.inputs, sizes.outputs, at.grad_x, at.shared)

    def _grad_by_copy(self, scope: Scope, sizes: Sizes, at: GradPlaces, pending: Pending | None) -> None:
        """The pending update of a transposed copy, and the product with it."""
        grid = Grid(at.weights, sizes.outputs, sizes.inputs, self.kernels.stride(sizes.inputs), transposed=True)
        meeting = Meeting(
            grid=grid,
            along=at.delta,
            across=at.x,
            result=at.grad_x,
            pending=pending,
            start=lambda offset: self.e.constant(0),
        )
        self.products.meet_rows(scope, meeting)

    def _kernel(
        self,
        own: Pass,
        kind: str,
        step: Affine,
        variant: tuple[bool | str, ...],
        places: Places,
        emit: Callable[[Scope, Sizes, Places, Pending | None], None],
    ) -> None:
        """emit(scope, sizes, places, pending), in place or in a function.

        Parameters
        ----------
        own
            The pass, with the update that is pending in it.
        kind
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
        self.builder.comment(f"{kind}: {step}")
        pending, kind_of_places = own.pending, type(places)
        if own.scope.plan.in_one_piece:
            emit(own.scope, Sizes(*sizes_of(step)), places, pending)
            return
        due: tuple[Index, ...] = () if pending is None else (pending.position, pending.activations)

        def body(inside: Scope, sizes: Sequence[Index], values: Sequence[Index]) -> None:
            activations, *rest = values
            inside = inside.counted_from(activations)
            if not due:
                emit(inside, Sizes(*sizes), kind_of_places(*rest), None)
                return
            with self.pending(inside, *rest[:2]) as in_function:
                emit(inside, Sizes(*sizes), kind_of_places(*rest[2:]), in_function)

        key, values = (variant, bool(due)), (own.scope.activations, *due, *fields_of(places))
        self.kernels.kernel(own.scope, f"linear{{}}.{kind}", key, sizes_of(step), values, body)
