"""One step, or one pass forward, as one short native call from Python.

The function of a program works on a workspace that it changes. Here the numbers of a state are read from one place and
written to another, so that the state stays what it is, and a workspace belongs to a call for as long as it takes. What
a call is told lies in a table beside the workspace, and the native function is given its address alone: each argument
that ctypes hands over costs about a tenth of a microsecond, as much as the arithmetic of a small network.
"""

import ast
import ctypes
import functools
from collections.abc import Hashable, Mapping
from typing import Any, Generic, NamedTuple

import attrs
import torch
from llvmlite import ir
from torch import Tensor

from functional_mlp.engine import session
from functional_mlp.engine.barrier import alone
from functional_mlp.engine.calls import Arguments
from functional_mlp.engine.compiling import NetworkSource, Outputs
from functional_mlp.engine.expressions import strength_of
from functional_mlp.engine.functions import begin, compiled
from functional_mlp.engine.llvm import target as machine
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.records import (
    FIELD_SIZE,
    Double,
    Integer,
    Item,
    Kind,
    Pointer,
    format_of,
    records_of,
    types_of,
)
from functional_mlp.engine.llvm.types import DOUBLE, I64, Real
from functional_mlp.engine.plan import plan_of
from functional_mlp.engine.policy import Policy
from functional_mlp.engine.program import Program, TrainingProgram


class Said(NamedTuple, Generic[Item]):
    """What every call says.

    `source` and `destination` are the addresses of the numbers before, and of those after, which are the outputs where
    the function only passes forward; `inputs` and `targets` those of the rows, and of their targets, where it reads
    any. `labels` is that of the rows' labels; a single row's is `label`, and lies in the table. `step` and
    `learning_rate` are those of the update.
    """

    source: Pointer[Item]
    destination: Pointer[Item]
    inputs: Pointer[Item]
    targets: Pointer[Item]
    labels: Pointer[Item]
    label: Integer[Item]
    step: Integer[Item]
    learning_rate: Double[Item]


class Kept(NamedTuple, Generic[Item]):
    """What belongs to a table."""

    workspace: Pointer[Item]
    order: Pointer[Item]
    strength: Double[Item]


class Results(NamedTuple, Generic[Item]):
    """What comes out."""

    loss_sum: Double[Item]
    right: Double[Item]


class Table(NamedTuple, Generic[Item]):
    """The argument of `once`: a table of what is said, what is kept, and what comes out."""

    table: Pointer[Item]


FIELDS = [*types_of(Said, Kept, Results)]
_SAID, _KEPT, _RESULTS = format_of(Said), format_of(Kept), format_of(Results)
_KEPT_AT, _RESULTS_AT = _SAID.size, _SAID.size + _KEPT.size
_LABEL_AT = FIELD_SIZE * FIELDS.index("label")


@attrs.frozen
class OnceSource(NetworkSource):
    """A program's function, with `once`, which passes `rows` rows through it, by a table."""

    rows: int

    @property
    def is_short(self) -> bool:
        return self.plan.rows_per_call >= self.plan.policy.fewest_steps_in_a_call * self.rows

    @property
    def what(self) -> Hashable:
        return self.rows, self.program

    @property
    def key(self) -> str | None:
        key = super().key
        return None if key is None else f"once {self.rows} {key}"

    @property
    def functions(self) -> Mapping[str, tuple[Kind, ...]]:
        return {"once": (Table,)}

    def emit(self) -> ir.Module:
        program, plan, rows = self.program, self.plan, ir.Constant(I64, self.rows)
        module = NetworkSource(program, plan).emit()
        b, ((table,),) = begin(module, "once", *self.functions["once"])
        e = Emitter(b, Real(program.dtype), plan.lanes)

        def place(name: str) -> ir.Value:
            return e.address(table, FIELDS.index(name), I64)

        loaded = (b.load(place(name), typ=kind) for name, kind in types_of(Said, Kept).items())
        said, kept = records_of(loaded, Said, Kept)
        e.copy("copy", 0, self.numbers, (said.source, 0), (kept.workspace, 0))
        for name in Results._fields:
            b.store(ir.Constant(DOUBLE, 0.0), place(name))
        arguments = Arguments(
            workspace=kept.workspace,
            inputs=said.inputs,
            targets=said.targets,
            labels=said.labels,
            order=kept.order,
            first=ir.Constant(I64, 0),
            last=rows,
            samples=rows,
            step=said.step,
            learning_rate=said.learning_rate,
            strength=kept.strength,
            results=place(Results._fields[0]),
        )
        share = alone(b) if plan.divided else ()
        outputs = Outputs(said.destination) if program.kind == "predict" else ()
        b.call(module.get_global(program.kind), [*arguments, *share, *outputs])
        if isinstance(program, TrainingProgram):
            e.copy("copy", 0, self.numbers, (kept.workspace, 0), (said.destination, 0))
        b.ret_void()
        return module


class Desk:
    """The memory that one call works in: a workspace, and the table that says what to do there."""

    __slots__ = ("_kept", "address", "labels", "table")

    def __init__(self, workspace_size: int, dtype: torch.dtype, order: Tensor, strength: float) -> None:
        workspace = session.new_workspace(workspace_size, dtype)
        self.table: bytearray = bytearray(FIELD_SIZE * len(FIELDS))
        view = (ctypes.c_char * len(self.table)).from_buffer(self.table)
        kept = Kept(workspace=workspace.data_ptr(), order=order.data_ptr(), strength=strength)
        _KEPT.pack_into(self.table, _KEPT_AT, *kept)
        self.address: int = ctypes.addressof(view)
        self.labels: int = self.address + _LABEL_AT
        self._kept = workspace, order, view


# A call, and the question whether a tensor is one that it can read, in Python. They are written into what needs them:
# to call a function for either takes a tenth of a microsecond.
_CALL = """\
if not is_unchanged():
    check_unchanged()
try:
    desk = desks.pop()
except IndexError:
    desk = new_desk()
pack(desk.table, 0, {said})
once(desk.address)
{results} = unpack(desk.table, results_at)
desks.append(desk)
"""
_PLAIN = (
    "type({x}) is Tensor and {x}.dtype is dtype and {x}.shape == {shape} and {x}.is_cpu and {x}.layout is strided"
    " and {x}.is_contiguous() and not {x}.is_neg()"
)


class Call:
    """The function of a program for a number of rows, which `run` calls from state to state; threads may at once."""

    def __init__(self, program: Program, rows: int, policy: Policy) -> None:
        target = machine.host()
        self._code = compiled(OnceSource(program, plan_of(program, target, policy), rows), target)
        self.layout, self.size = self._code.source.layout, self._code.source.numbers
        order = torch.arange(rows, device="cpu")
        strength = strength_of(program.penalty) if isinstance(program, TrainingProgram) else 0.0
        self._desks: list[Desk] = []  # those that no call works at: to take one, and to put it back, is one operation
        self._names = {
            "is_unchanged": program.is_surely_unchanged,
            "check_unchanged": program.check_unchanged,
            "desks": self._desks,
            "new_desk": functools.partial(Desk, self._code.workspace_size, program.dtype, order, strength),
            "pack": _SAID.pack_into,
            "once": self._code.functions["once"],
            "unpack": _RESULTS.unpack_from,
            "results_at": _RESULTS_AT,
            "Tensor": Tensor,
            "dtype": program.dtype,
            "strided": torch.strided,
        }
        self.run = self.written(_RUN)

    def written(self, text: str, **names: Any) -> Any:
        """The function that a text defines in Python, of `names` and of what stands there for calls and questions.

        `CALL(source=…, destination=…, …)`, with the fields of `Said` by name, or `CALL(*said)` passes rows through the
        native function; the fields of `Results` are then known by their names. `desk.labels` is the address of a single
        row's label. `PLAIN(x, shape)` says whether native code can read an object as it is: a tensor of a shape, in the
        usual layout.
        """
        known = self._names | names
        function = ast.fix_missing_locations(_InPlace().visit(ast.parse(text)))
        exec(compile(function, "<once>", "exec"), known)
        return known[function.body[0].name]


class _InPlace(ast.NodeTransformer):
    """Writes calls and questions in their place."""

    def visit_Expr(self, node: ast.Expr) -> Any:
        call = node.value
        if not isinstance(call, ast.Call) or ast.unparse(call.func) != "CALL":
            return self.generic_visit(node)
        named = {str(keyword.arg): ast.unparse(keyword.value) for keyword in call.keywords}
        said = Said(**named) if named else map(ast.unparse, call.args)
        return ast.parse(_CALL.format(said=", ".join(said), results=", ".join(Results._fields))).body

    def visit_Call(self, node: ast.Call) -> Any:
        if ast.unparse(node.func) != "PLAIN":
            return self.generic_visit(node)
        x, shape = map(ast.unparse, node.args)
        return ast.parse(_PLAIN.format(x=x, shape=shape), mode="eval").body


_RUN = """
def run(said):
    CALL(*said)
    return loss_sum
"""
