"""Passes forward over validation data, between the epochs of one native call."""

from typing import Annotated, Generic, NamedTuple

import torch

from functional_mlp.engine.calls import Arguments
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.llvm.records import Integer, Item, Pointer, types_of
from functional_mlp.engine.llvm.types import DOUBLE, I64, POINTER, Real

EVALUATE = ir.FunctionType(ir.VoidType(), list(types_of(Arguments).values()))


class HeldOut(NamedTuple, Generic[Item]):
    """What native code is told of a pass, in a table of 64-bit numbers.

    These are the address of the network's `function` for passes that measure a loss, those of its workspace and of the
    inputs, targets and labels, and the number of rows.
    """

    function: Annotated[Item, ir.PointerType(EVALUATE)]
    workspace: Pointer[Item]
    inputs: Pointer[Item]
    targets: Pointer[Item]
    labels: Pointer[Item]
    rows: Integer[Item]


class Validation:
    """Emits what parameters in training have to do with a pass, and the pass."""

    def __init__(self, builder: ir.IRBuilder, dtype: torch.dtype, lanes: int) -> None:
        self.builder, self.e = builder, Emitter(builder, Real(dtype), lanes)

    def row(self, tables: ir.Value, index: Index) -> ir.Value:
        """The table of a number among tables that lie one after the other."""
        return self.e.address(tables, self.e.multiply(index, len(HeldOut._fields)), I64)

    def copy(self, params: ir.Value, table: ir.Value, size: int) -> None:
        """Copy parameters, `size` numbers, to the workspace of the pass."""
        e, there = self.e, self._told(table, "workspace")
        e.copy("params", 0, size, (params, 0), (there, 0))
        e.stored.forget_all()

    def gather(self, numbers: ir.Value, distance: int, table: ir.Value, places: ir.Value, count: ir.Value) -> None:
        """Copy parameters from places at a distance: pairs of places, here and there, are given."""
        e, there = self.e, self._told(table, "workspace")

        def one(i: Index) -> None:
            pair = e.multiply(i, 2)
            here, its = (self._entry(places, e.add(pair, which)) for which in range(2))
            e.store_number(e.load_number(numbers, e.multiply(here, distance)), there, its)

        e.loop("params", 0, count, 1, one)

    def emit(self, table: ir.Value, results: ir.Value) -> None:
        """Pass the rows forward; the sum of the losses and the number of right answers are added to the results."""
        zero = ir.Constant(I64, 0)
        told = HeldOut(*(self._told(table, name) for name in HeldOut._fields))
        arguments = Arguments(
            workspace=told.workspace,
            inputs=told.inputs,
            targets=told.targets,
            labels=told.labels,
            order=ir.Constant(POINTER, None),
            first=zero,
            last=told.rows,
            samples=told.rows,
            step=zero,
            learning_rate=ir.Constant(DOUBLE, 0.0),
            strength=ir.Constant(DOUBLE, 0.0),
            results=results,
        )
        self.builder.call(told.function, arguments)

    def _entry(self, table: ir.Value, which: Index) -> ir.Value:
        return self.builder.load(self.e.address(table, which, I64), typ=I64, align=8)

    def _told(self, table: ir.Value, name: str) -> ir.Value:
        """A field of a table."""
        kind, entry = types_of(HeldOut)[name], self._entry(table, HeldOut._fields.index(name))
        return entry if kind == I64 else self.builder.inttoptr(entry, kind)
