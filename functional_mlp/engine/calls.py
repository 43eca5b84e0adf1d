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
from typing import Generic, NamedTuple

import attrs

from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.llvm.records import Double, Integer, Item, Pointer, records_of, types_of
from functional_mlp.engine.llvm.types import I64, POINTER
from functional_mlp.engine.plan import Plan, Sharing


class Arguments(NamedTuple, Generic[Item]):
    """The arguments of the function of a network: an epoch, or a pass forward.

    Rows `first` to `last` of `order`, of `samples` in all, are passed through the network; updates are counted from
    `step`, with this learning rate, and this strength of the penalty. `results` holds the sum of the losses and the
    number of samples that were right, and both are added to.
    """

    workspace: Pointer[Item]
    inputs: Pointer[Item]
    targets: Pointer[Item]
    labels: Pointer[Item]
    order: Pointer[Item]
    first: Integer[Item]
    last: Integer[Item]
    samples: Integer[Item]
    step: Integer[Item]
    learning_rate: Double[Item]
    strength: Double[Item]
    results: Pointer[Item]


class Share(NamedTuple, Generic[Item]):
    """What a thread is told where several run a function: its `rank`, the number of `threads`, and their `team`."""

    rank: Integer[Item]
    threads: Integer[Item]
    team: Pointer[Item]


@attrs.frozen(eq=False)
class Table:
    """Calls of functions with the same values known when the code runs, and numbers of each call's own."""

    values: tuple[ir.Value, ...]
    rows: list[tuple[ir.Function, list[int]]] = attrs.field(factory=list)


@attrs.frozen(eq=False)
class Scope:
    """Where code is emitted: the `arguments` of its function, and what places and calls mean there.

    Where the work is divided among threads, each is told its `share`. Places of activations, and of their gradients,
    are counted from `activations`, those of parameters from the workspace. `plan` says how code is shared; calls of
    functions go into the `table`, where there is one.
    """

    arguments: Arguments[ir.Value]
    share: Share[ir.Value] | None
    activations: ir.Value
    plan: Plan
    table: Table | None = None

    @classmethod
    def of_function(cls, plan: Plan, arguments: Arguments[ir.Value], share: Share[ir.Value] | None = None) -> "Scope":
        return cls(arguments, share, arguments.workspace, plan)

    @property
    def workspace(self) -> ir.Value:
        return self.arguments.workspace

    @property
    def given(self) -> list[ir.Value]:
        """What the function has been given, and gives to those that it calls."""
        return [*self.arguments, *(self.share or ())]

    def counted_from(self, activations: ir.Value) -> "Scope":
        """The same with activations elsewhere."""
        return attrs.evolve(self, activations=activations)

    def in_functions(self) -> "Scope":
        """For what runs seldom and need not be fast: at least equal layers share functions."""
        return attrs.evolve(self, plan=self.plan.in_functions())


# Emits the body of a function, given its further arguments.
Body = Callable[[Scope, Sequence[Index]], None]
# Emits a kernel, given its sizes and its values.
Emit = Callable[[Scope, Sequence[Index], Sequence[Index]], None]


class Calls:
    """Emits kernels at a builder's place."""

    builder: ir.IRBuilder
    e: Emitter

    def __init__(self, builder: ir.IRBuilder, e: Emitter) -> None:
        self.builder, self.e = builder, e
        self._functions: dict[Hashable, ir.Function] = {}

    def kernel(
        self,
        scope: Scope,
        name: str,
        key: Hashable,
        sizes: Sequence[int],
        values: Sequence[Index],
        emit: Emit,
    ) -> None:
        """emit(scope, sizes, values): in place, or in a function, as the plan says.

        Parameters
        ----------
        scope
            Where the kernel, or the call of its function, is emitted.
        name
            That of the function; `{}` stands for the sizes.
        key
            With the sizes and the values, all that the kernel depends on.
        sizes
            Numbers that a function for any size takes as arguments, and one for equal sizes knows.
        values
            What a function takes as arguments.
        emit
            Emits the kernel.
        """
        if scope.plan.in_one_piece:
            emit(scope, sizes, values)
        elif scope.plan.sharing is Sharing.EQUAL_SIZES:
            full_name = name.format("".join(f"_{size}" for size in sizes))
            self.share(scope, full_name, (name, key, *sizes), values, lambda inside, own: emit(inside, sizes, own))
        else:
            count = len(sizes)

            def body(inside: Scope, own: Sequence[Index]) -> None:
                emit(inside, own[:count], own[count:])

            self.share(scope, name.format(""), (name, key), (*sizes, *values), body)

    def share(self, scope: Scope, name: str, key: Hashable, values: Sequence[Index], body: Body) -> None:
        """Emit a call of a function of the arguments and further values, whose body `body(scope, values)` emits.

        Parameters
        ----------
        scope
            Where the call is emitted.
        name
            That of the function.
        key
            Calls with equal keys share the function. With the values, it is all that the body depends on.
        values
            What the function takes after the arguments of the compiled one.
        body
            Emits the body.
        """
        if scope.table is not None:
            self._add_row(scope, scope.table, name, key, values, body)
            return
        constants = [self.e.index(value) for value in values]
        function = self._function(scope, name, key, [value.type for value in constants], body)
        self.e.call(function, [*scope.given, *constants])

    def _function(self, scope: Scope, name: str, key: Hashable, types: Sequence[ir.Type], body: Body) -> ir.Function:
        """The function of a key, with arguments of some types after those of the compiled function."""
        known = self._functions.get(key)
        if known is not None:
            return known
        b, kinds = self.builder, [Arguments] if scope.share is None else [Arguments, Share]
        given = types_of(*kinds).values()
        function_type = ir.FunctionType(ir.VoidType(), [*given, *types])
        function = ir.Function(b.module, function_type, b.module.get_unique_name(name))
        function.linkage = "internal"
        self._functions[key] = function
        block = b.block
        b.position_at_end(function.append_basic_block("entry"))
        body(Scope.of_function(scope.plan, *records_of(function.args, *kinds)), function.args[len(given) :])
        b.ret_void()
        b.position_at_end(block)
        return function

    # Tables of calls

    @contextlib.contextmanager
    def table(self, scope: Scope, *values: ir.Value) -> Iterator[Scope]:
        """A scope whose calls of functions go into a table, where there are many; nothing else may be emitted in it.

        Their values are numbers, which go into the table, and those of the emitted code that are given here.
        """
        if not scope.plan.calls_in_tables:
            yield scope
            return
        table = Table(values)
        yield attrs.evolve(scope, table=table)
        self._call_rows(scope, table)

    def _add_row(
        self,
        scope: Scope,
        table: Table,
        name: str,
        key: Hashable,
        values: Sequence[Index],
        body: Body,
    ) -> None:
        """Add a call to the table of a scope, as a row of it.

        Takes the arguments of `share`, and this one.

        Parameters
        ----------
        table
            The table that the scope has.
        """
        numbers = [value for value in values if isinstance(value, int)]

        def body_of_row(inside: Scope, arguments: Sequence[Index]) -> None:
            *common, row = arguments
            entries = (self.builder.load(self.e.address(row, entry, I64), typ=I64) for entry in range(len(numbers)))
            body(inside, [next(entries) if isinstance(v, int) else common[table.values.index(v)] for v in values])

        types = [*(value.type for value in table.values), POINTER]
        table.rows.append((self._function(scope, name, (key, *types), types, body_of_row), numbers))

    def _call_rows(self, scope: Scope, table: Table) -> None:
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
            self.e.call(function, [*scope.given, *table.values, numbers])

        self.e.loop("calls", 0, len(rows), 1, call)
