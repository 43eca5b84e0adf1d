"""One step, or one pass forward, as one short native call from Python.

The function of a program works on a workspace that it changes. Here the numbers of a state are read from one place and
written to another, so that the state stays what it is, and a workspace belongs to a call for as long as it takes. What
a call is told lies in a table beside the workspace, and the native function is given its address alone: each argument
that ctypes hands over costs about a tenth of a microsecond, as much as the arithmetic of a small network.
"""

import ctypes
import functools
import re
import struct
from textwrap import indent
from typing import Any

import torch
from llvmlite import ir
from torch import Tensor

from functional_mlp.engine import compiling, session
from functional_mlp.engine.barrier import alone
from functional_mlp.engine.calls import Arguments
from functional_mlp.engine.expressions import strength_of
from functional_mlp.engine.functions import begin, load
from functional_mlp.engine.layout import Layout
from functional_mlp.engine.llvm import target as machine
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.types import DOUBLE, I64, POINTER, Real
from functional_mlp.engine.plan import Plan, plan_of
from functional_mlp.engine.policy import Policy
from functional_mlp.engine.program import Program, TrainingProgram

# The fields of a table, of 64 bits each: what every call says anew, what belongs to the table, what comes out.
SAID = {
    "source": POINTER,
    "destination": POINTER,
    "inputs": POINTER,
    "targets": POINTER,
    "labels": POINTER,
    "label": I64,
    "step": I64,
    "learning_rate": DOUBLE,
}
KEPT = {"workspace": POINTER, "order": POINTER, "strength": DOUBLE}
RESULTS = {"loss_sum": DOUBLE, "right": DOUBLE}
FIELDS = [*SAID, *KEPT, *RESULTS]

FIELD_SIZE = 8
_SAID, _KEPT, _RESULT = struct.Struct("=QQQQQqqd"), struct.Struct("=QQd"), struct.Struct("=d")
_KEPT_AT, _RESULT_AT = FIELD_SIZE * len(SAID), FIELD_SIZE * (len(SAID) + len(KEPT))
_LABEL_AT = FIELD_SIZE * FIELDS.index("label")


def emit(program: Program, plan: Plan, rows: int) -> ir.Module:
    """The module of a program's function, with `once`, which passes `rows` rows through it, by a table."""
    module = compiling.emit(program, plan)
    function = module.get_global(program.kind)
    once, builder = begin(module, "once", {"table": POINTER})
    (table,) = once.args
    e = Emitter(builder, Real(program.dtype), plan.lanes)

    def place(name: str) -> ir.Value:
        return e.address(table, FIELDS.index(name), I64)

    told = {name: builder.load(place(name), typ=kind) for name, kind in {**SAID, **KEPT}.items()}
    workspace, numbers = told["workspace"], numbers_of(program, plan)
    e.copy("copy", 0, numbers, (told["source"], 0), (workspace, 0))
    for name in RESULTS:
        builder.store(ir.Constant(DOUBLE, 0.0), place(name))
    arguments = Arguments(
        workspace=workspace,
        inputs=told["inputs"],
        targets=told["targets"],
        labels=told["labels"],
        order=told["order"],
        first=ir.Constant(I64, 0),
        last=ir.Constant(I64, rows),
        samples=ir.Constant(I64, rows),
        step=told["step"],
        learning_rate=told["learning_rate"],
        strength=told["strength"],
        results=place("loss_sum"),
        share=alone(builder) if plan.divided else None,
    )
    more = [told["destination"]] if program.kind == "predict" else []
    builder.call(function, [*arguments.values(), *more])
    if isinstance(program, TrainingProgram):
        e.copy("copy", 0, numbers, (workspace, 0), (told["destination"], 0))
    builder.ret_void()
    return module


def numbers_of(program: Program, plan: Plan) -> int:
    """The size of what a call reads: the parameters, and in training the optimizer's slots."""
    slots = len(program.optimizer.slots()) if isinstance(program, TrainingProgram) else 0
    return Layout.of(program, plan.lanes).size * (1 + slots)


class Desk:
    """The memory that one call works in: a workspace, and the table that says what to do there."""

    __slots__ = ("_kept", "address", "labels", "table")

    def __init__(self, workspace_size: int, dtype: torch.dtype, order: Tensor, strength: float) -> None:
        workspace = session.new_workspace(workspace_size, dtype)
        self.table = bytearray(FIELD_SIZE * len(FIELDS))
        view = (ctypes.c_char * len(self.table)).from_buffer(self.table)
        _KEPT.pack_into(self.table, _KEPT_AT, workspace.data_ptr(), order.data_ptr(), strength)
        self.address = ctypes.addressof(view)
        self.labels = self.address + _LABEL_AT
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
(loss_sum,) = unpack(desk.table, result_at)
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
        plan = plan_of(program, target, policy)
        self.layout = Layout.of(program, plan.lanes)
        self.size = numbers_of(program, plan)
        key = f"once {rows} {program.kind} {program!r} {plan!r}" if program.is_ours else None
        self._code = load((program, rows, target), key, lambda: emit(program, plan, rows), target)
        short = plan.rows_per_call >= policy.fewest_steps_in_a_call * rows
        order = torch.arange(rows, device="cpu")
        strength = strength_of(program.penalty) if isinstance(program, TrainingProgram) else 0.0
        self._desks: list[Desk] = []  # those that no call works at: to take one, and to put it back, is one operation
        self._names = {
            "is_unchanged": program.is_surely_unchanged,
            "check_unchanged": program.check_unchanged,
            "desks": self._desks,
            "new_desk": functools.partial(Desk, self._code.workspace_size, program.dtype, order, strength),
            "pack": _SAID.pack_into,
            "once": self._code.function("once", [POINTER], short=short),
            "unpack": _RESULT.unpack_from,
            "result_at": _RESULT_AT,
            "Tensor": Tensor,
            "dtype": program.dtype,
            "strided": torch.strided,
        }
        self.run = self.written(_RUN)

    def written(self, text: str, **names: Any) -> Any:
        """The function that a text defines in Python, of `names` and of what stands there for calls and questions.

        The line `CALL(source, destination, inputs, targets, labels, label, step, learning_rate)` passes rows through
        the native function, after which `loss_sum` is the sum of their losses. `PLAIN(x, shape)` says whether native
        code can read an object as it is: a tensor of a shape, in the usual layout.

        What a call is told
        -------------------
        source, destination
            The addresses of the numbers before, and of those after, which are the outputs where it only passes forward.
        inputs, targets
            The addresses of the rows, and of their targets, where the function reads any.
        labels, label
            The address of the rows' labels: `desk.labels` is that of `label`, for a single row.
        step, learning_rate
            Those of the update.
        """
        text = re.sub(r"PLAIN\((\w+), (\w+)\)", lambda found: _PLAIN.format(x=found[1], shape=found[2]), text)
        text = re.sub(r"( *)CALL\((.*)\)\n", lambda found: indent(_CALL.format(said=found[2]), found[1]), text)
        known = self._names | names
        exec(text, known)
        return known[text.split("(")[0].split()[-1]]


_RUN = """
def run(source, destination, inputs, targets, labels, step, learning_rate):
    CALL(source, destination, inputs, targets, labels, -1, step, learning_rate)
    return loss_sum
"""
