"""Kernels and the functions that layers share, which keep the code short however long a network is.

A kernel, such as the forward product of a linear layer, is emitted in one of three ways:

- in place: once for each layer, sizes and places known;
- for equal sizes: in a function that layers of equal sizes share; places are its arguments;
- for any size: in a function that all layers share; sizes are arguments as well.

Where there are many calls, their sizes and places lie in a table, a row a call, over which the code loops: a deep
network makes a long table and no more code than a shallow one.
"""

import contextlib
from collections.abc import Callable, Hashable, Iterator, Sequence

import attrs
from llvmlite import ir

from functional_mlp.engine.llvm.emitter import DOUBLE, I64, POINTER, Emitter, Index
from functional_mlp.engine.policy import Policy, Sharing


@attrs.frozen(eq=False)
class Arguments:
    """The arguments of a compiled function.

    Rows `first` to `last` of `order`, of `samples` in all, are passed through the network. `results` holds the
    sum of the losses and the number of samples that were right, and both are added to.
    """

    workspace: ir.Value
    inputs: ir.Value
    targets: ir.Value
    labels: ir.Value
    order: ir.Value
    first: ir.Value
    last: ir.Value
    samples: ir.Value
    step: ir.Value
    learning_rate: ir.Value
    results: ir.Value

    TYPES = (POINTER, POINTER, POINTER, POINTER, POINTER, I64, I64, I64, I64, DOUBLE, POINTER)

    def values(self) -> list[ir.Value]:
        return list(attrs.astuple(self, recurse=False))


@attrs.frozen(eq=False)
class Table:
    """Calls of functions with the same values known when the code runs, and numbers of each call's own."""

    values: tuple[ir.Value, ...]
    rows: list[tuple[ir.Function, list[int]]] = attrs.field(factory=list)


class Calls:
    """Emits kernels at a builder's place."""

    def __init__(self, builder: ir.IRBuilder, e: Emitter, arguments: Arguments, policy: Policy) -> None:
        self.builder, self.e = builder, e
        self.arguments = arguments
        self.activations = arguments.workspace  # where the places of activations and their gradients are counted from
        self.policy = policy
        self._table: Table | None = None
        self._functions: dict[Hashable, ir.Function] = {}

    @property
    def workspace(self) -> ir.Value:
        return self.arguments.workspace

    @contextlib.contextmanager
    def in_functions(self) -> Iterator[None]:
        """Emit what runs seldom, and need not be fast, in functions that equal layers share."""
        before = self.policy
        self.policy = before.in_functions()
        try:
            yield
        finally:
            self.policy = before

    def kernel(
        self, name: str, key: Hashable, sizes: Sequence[int], values: Sequence[Index], emit: Callable[..., None]
    ) -> None:
        """emit(*sizes, *values): in place, or in a function; `{}` in its name stands for the sizes.

        All that the kernel depends on must be in the key, the sizes or the values.
        """
        if self.policy.in_one_piece:
            emit(*sizes, *values)
        elif self.policy.sharing is Sharing.EQUAL_SIZES:
            full_name = name.format("".join(f"_{size}" for size in sizes))
            self.share(full_name, (name, key, *sizes), values, lambda *own: emit(*sizes, *own))
        else:
            self.share(name.format(""), (name, key), (*sizes, *values), emit)

    def share(self, name: str, key: Hashable, values: Sequence[Index], emit: Callable[..., None]) -> None:
        """Emit a call of a function of the arguments and further values, whose body `emit(*values)` emits.

        Calls with equal keys share the function. All that the body depends on must be in the key or the values.
        """
        if self._table is not None:
            self._add_row(self._table, name, key, values, emit)
            return
        constants = [self.e.index(value) for value in values]
        types = [value.type for value in constants]
        self.builder.call(self._function(name, key, types, emit), [*self.arguments.values(), *constants])

    def _function(self, name: str, key: Hashable, types: Sequence[ir.Type], emit: Callable[..., None]) -> ir.Function:
        """The function of a key, with arguments of so many types after those of the compiled function."""
        known = self._functions.get(key)
        if known is not None:
            return known
        b, count = self.builder, len(Arguments.TYPES)
        function_type = ir.FunctionType(ir.VoidType(), [*Arguments.TYPES, *types])
        function = ir.Function(b.module, function_type, b.module.get_unique_name(name))
        function.linkage = "internal"
        self._functions[key] = function
        block, arguments, activations = b.block, self.arguments, self.activations
        b.position_at_end(function.append_basic_block("entry"))
        self.arguments = Arguments(*function.args[:count])
        self.activations = self.arguments.workspace
        emit(*function.args[count:])
        b.ret_void()
        b.position_at_end(block)
        self.arguments, self.activations = arguments, activations
        return function

    # Tables of calls

    @contextlib.contextmanager
    def table(self, *values: ir.Value) -> Iterator[None]:
        """Put the calls of functions into a table, where there are many; nothing else may be emitted meanwhile.

        Their values are numbers, which go into the table, and those of the emitted code that are given here.
        """
        if not self.policy.calls_in_tables:
            yield
            return
        self._table = Table(values)
        try:
            yield
            table = self._table
        finally:
            self._table = None
        self._call_rows(table)

    def _add_row(
        self, table: Table, name: str, key: Hashable, values: Sequence[Index], emit: Callable[..., None]
    ) -> None:
        numbers = [value for value in values if isinstance(value, int)]

        def body(*arguments: ir.Value) -> None:
            *common, row = arguments
            entries = (self.builder.load(self.e.address(row, entry, I64), typ=I64) for entry in range(len(numbers)))
            emit(*[next(entries) if isinstance(v, int) else common[table.values.index(v)] for v in values])

        types = [*(value.type for value in table.values), POINTER]
        self._table = None  # the function's own calls are no part of the table
        table.rows.append((self._function(name, (key, *types), types, body), numbers))
        self._table = table

    def _call_rows(self, table: Table) -> None:
        """Emit the table and the loop over its calls."""
        if not table.rows:
            return
        b, columns = self.builder, max(len(numbers) for _, numbers in table.rows)
        numbers_type = ir.ArrayType(I64, columns)
        row_type = ir.LiteralStructType([POINTER, numbers_type])
        rows = [
            ir.Constant(row_type, [function, ir.Constant(numbers_type, [*numbers, *[0] * (columns - len(numbers))])])
            for function, numbers in table.rows
        ]
        constant = ir.GlobalVariable(b.module, ir.ArrayType(row_type, len(rows)), b.module.get_unique_name("calls"))
        constant.global_constant, constant.linkage = True, "internal"
        constant.initializer = ir.Constant(constant.value_type, rows)
        # All functions of a table are of one type: they take its values, and the address of their own numbers.
        function_type = table.rows[0][0].function_type

        def call(i: Index) -> None:
            row = self.e.address(constant, i, row_type)
            function = b.load(row, typ=ir.PointerType(function_type))
            numbers = self.e.address(row, 1, I64)
            b.call(function, [*self.arguments.values(), *table.values, numbers])

        self.e.loop("calls", 0, len(rows), 1, call)
