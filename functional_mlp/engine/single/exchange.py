"""What threads that divide the units of wide layers among them tell each other, sample by sample.

Each thread has a workspace of its own, one after the other in memory, and passes each sample through the network with
it. Of a wide layer it meets its own columns alone, whole blocks of them: it updates them, and makes their part of s. It
writes these to the first thread's workspace, and once all have met, reads what the others have written there. On the
way back it adds up the products of its columns with their gradients, a sum for each block, and once all have met,
these sums in their order. So the bits do not depend on the number of threads, which is why such a layer is divided
into blocks on one thread, too. All else every thread does for itself.
"""

import contextlib
import functools
import itertools
from collections.abc import Iterator
from typing import Any

from functional_mlp.engine.calls import Scope
from functional_mlp.engine.kernels import Kernels
from functional_mlp.engine.layout import Matrix
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.llvm.types import I64
from functional_mlp.engine.plan import Plan
from functional_mlp.engine.workspace import workspace_size


class Exchange:
    """Emits what goes from thread to thread; `divided` are the numbers of the layers whose units they divide.

    What they write lies from a place on, up to `end`.
    """

    kernels: Kernels
    e: Emitter
    builder: ir.IRBuilder
    unit: int
    end: int

    def __init__(self, kernels: Kernels, plan: Plan, start: int) -> None:
        self.kernels, self.e, self.builder = kernels, kernels.e, kernels.builder
        self.unit, self.end = plan.policy.product_width * kernels.lanes, start
        self.divided: set[int] = {m.step.number for m in kernels.layout.matrices if plan.divides(m)}
        self._outputs = {m.step.number: self._reserve(m.columns) for m in self._matrices()}
        self._grads = {m.step.number: self._reserve(m.rows, -(-m.columns // self.unit)) for m in self._matrices()}

    def _matrices(self) -> list[Matrix]:
        return [matrix for matrix in self.kernels.layout.matrices if matrix.step.number in self.divided]

    def _reserve(self, features: int, rows: int = 1) -> int:
        place = self.end
        self.end += rows * int(self.kernels.padded(features))
        return place

    def places(self, number: int) -> tuple[int, int]:
        """Where the outputs of a layer are written, and the sums of its blocks."""
        return self._outputs.get(number, 0), self._grads.get(number, 0)

    def own_workspace(self, workspace: ir.Value, rank: ir.Value) -> ir.Value:
        """The workspace of a thread, given the first one's."""
        return self.e.address(workspace, self.e.multiply(rank, self._size()))

    def _size(self) -> ir.Value:
        return self.builder.load(workspace_size(self.builder.module), typ=I64)

    # A layer

    def outputs(self, scope: Scope, features: Index, s: Index, place: Index) -> None:
        """Write this thread's part of s, and read the others'."""
        own, shared = (scope.activations, s), (self.first(scope), place)
        begin, end = self.kernels.own_part(scope, features, self.unit)
        self.e.copy("write", begin, end, own, shared)
        self.kernels.wait_for_threads(scope)
        self.e.copy("read", 0, self.kernels.padded(features), shared, own)
        if len(self.divided) == 1:  # nobody is to write again before all have read; otherwise they meet in between
            self.kernels.wait_for_threads(scope)

    def first(self, scope: Scope) -> ir.Value:
        """The first thread's workspace, to which all write."""
        assert scope.share is not None
        distance = self.e.multiply(scope.share.rank, self._size())
        return self.e.address(scope.workspace, self.builder.neg(distance))

    def place_of_block(self, place: Index, number: Index, rows: Index) -> Index:
        """Where the sums of a block lie."""
        return self.e.add(place, self.e.multiply(number, self.kernels.padded(rows)))

    def grads(self, scope: Scope, rows: Index, columns: Index, grad_x: Index, place: Index) -> None:
        """The sum of the sums of all blocks, which the threads have written from a place on."""
        self.kernels.wait_for_threads(scope)
        e, first = self.e, self.first(scope)
        padded = e.add(columns, self.unit - 1)
        blocks = padded // self.unit if isinstance(padded, int) else self.builder.udiv(padded, e.index(self.unit))

        def one(v: Index) -> None:
            def add(number: Index, total: ir.Value) -> list[ir.Value]:
                at = self.place_of_block(place, number, rows)
                return [e.fadd(total, e.load(first, e.add(at, v)))]

            (total,) = e.loop("blocks", 1, blocks, 1, add, [e.load(first, e.add(place, v))])
            e.store(e.keep_first(total, e.subtract(rows, v)), scope.activations, e.add(grad_x, v))

        e.loop("grads", 0, self.kernels.padded(rows), self.kernels.lanes, one)

    # An epoch

    def take_parameters(self, scope: Scope, size: int) -> None:
        """Copy `size` numbers, the parameters and what is remembered of them, from the first thread's workspace."""
        first = self.first(scope)
        self.kernels.wait_for_threads(scope)
        with self._elsewhere(scope):
            self.e.copy("take", 0, size, (first, 0), (scope.workspace, 0))
        self.kernels.wait_for_threads(scope)

    def give_parameters(self, scope: Scope, arrays: int) -> None:
        """Copy this thread's columns of the parameters, and of the slots, to the first thread's workspace."""
        e, first, lanes = self.e, self.first(scope), self.kernels.lanes

        def copy(place: Index) -> None:
            e.store(e.load(scope.workspace, place), first, place)

        def copy_from(start: int, v: Index) -> None:
            copy(e.add(start, v))

        with self._elsewhere(scope):
            for matrix, array in itertools.product(self._matrices(), range(arrays)):
                begin, end = self.kernels.own_part(scope, matrix.columns, self.unit)
                start = array * self.kernels.layout.size

                copy_row = functools.partial(e.loop, "own", begin, end, lanes)

                def row(r: Index, start: int = start, matrix: Matrix = matrix, copy_row: Any = copy_row) -> None:
                    at = e.add(start + matrix.offset, e.multiply(r, matrix.stride))
                    copy_row(lambda v: copy(e.add(at, v)))

                e.loop("give", 0, matrix.rows, 1, row)
                if matrix.step.bias:
                    copy_row(functools.partial(copy_from, start + matrix.bias_offset))

    @contextlib.contextmanager
    def _elsewhere(self, scope: Scope) -> Iterator[None]:
        """What is emitted runs on all threads but the first."""
        assert scope.share is not None
        with self.builder.if_then(self.builder.icmp_signed("!=", scope.share.rank, ir.Constant(I64, 0))):
            yield
