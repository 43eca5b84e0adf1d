"""Passes forward over validation data, between the epochs of one native call.

What native code is told of a pass is a table of 64-bit numbers: the address of the function `evaluate` of the network,
those of its workspace and of the inputs, targets and labels, and the number of rows.
"""

import torch

from functional_mlp.engine.calls import Arguments
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.llvm.types import DOUBLE, I64, POINTER, Real

FUNCTION, WORKSPACE, INPUTS, TARGETS, LABELS, ROWS = range(6)
ENTRIES = 6


class Validation:
    """Emits what parameters in training have to do with a pass, and the pass."""

    def __init__(self, builder: ir.IRBuilder, dtype: torch.dtype, lanes: int) -> None:
        self.builder, self.e = builder, Emitter(builder, Real(dtype), lanes)

    def copy(self, params: ir.Value, table: ir.Value, size: int) -> None:
        """Copy parameters, `size` numbers, to the workspace of the pass."""
        e, there = self.e, self._pointer(table, WORKSPACE)
        e.copy("params", 0, size, (params, 0), (there, 0))
        e.stored.forget_all()

    def gather(self, numbers: ir.Value, distance: int, table: ir.Value, places: ir.Value, count: ir.Value) -> None:
        """Copy parameters from places at a distance: pairs of places, here and there, are given."""
        e, there = self.e, self._pointer(table, WORKSPACE)

        def one(i: Index) -> None:
            pair = e.multiply(i, 2)
            here, its = (self._entry(places, e.add(pair, which)) for which in range(2))
            e.store_number(e.load_number(numbers, e.multiply(here, distance)), there, its)

        e.loop("params", 0, count, 1, one)

    def emit(self, table: ir.Value, results: ir.Value) -> None:
        """Pass the rows forward; the sum of the losses and the number of right answers are added to the results."""
        b, zero = self.builder, ir.Constant(I64, 0)
        types = list(Arguments.types(divided=False).values())
        function = b.inttoptr(self._entry(table, FUNCTION), ir.PointerType(ir.FunctionType(ir.VoidType(), types)))
        workspace, inputs, targets, labels = (
            self._pointer(table, which) for which in (WORKSPACE, INPUTS, TARGETS, LABELS)
        )
        rows = self._entry(table, ROWS)
        arguments = Arguments(
            workspace=workspace,
            inputs=inputs,
            targets=targets,
            labels=labels,
            order=ir.Constant(POINTER, None),
            first=zero,
            last=rows,
            samples=rows,
            step=zero,
            learning_rate=ir.Constant(DOUBLE, 0.0),
            strength=ir.Constant(DOUBLE, 0.0),
            results=results,
        )
        b.call(function, arguments.values())

    def _entry(self, table: ir.Value, which: Index) -> ir.Value:
        return self.builder.load(self.e.address(table, which, I64), typ=I64, align=8)

    def _pointer(self, table: ir.Value, which: int) -> ir.Value:
        return self.builder.inttoptr(self._entry(table, which), POINTER)
