"""Compiled epochs of groups of members."""

import ctypes
import functools
from collections.abc import Callable

import attrs
import torch

from functional_mlp.engine.compiling import KEY, SHUFFLE, Code, begin, emit_shuffle, is_given, load, note_workspace
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm import target as machine
from functional_mlp.engine.llvm.denormals import denormals_flushed
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.llvm.types import DOUBLE, I64, POINTER, Real
from functional_mlp.engine.members.epoch import MembersEpoch
from functional_mlp.engine.members.plan import MembersPlan
from functional_mlp.engine.members.program import ORDERS, MembersArguments, MembersProgram
from functional_mlp.engine.program import CannotFuseError
from functional_mlp.engine.validation import ENTRIES, Validation

_C_TYPES = [ctypes.c_void_p] * 3 + [ctypes.c_int64] * 3 + [ctypes.c_double, ctypes.c_void_p]
_C_TYPES_OF_EPOCHS = [ctypes.c_void_p] * 7 + [ctypes.c_int64] * 5 + [ctypes.c_double, ctypes.c_void_p]


def emit(program: MembersProgram, plan: MembersPlan) -> ir.Module:
    """The LLVM module with the function `epoch`."""
    module = ir.Module(name="functional_mlp.ensemble")
    names = [field.name for field in attrs.fields(MembersArguments)]
    function, builder = begin(module, "epoch", dict(zip(names, MembersArguments.TYPES, strict=True)))
    with denormals_flushed(builder, plan.architecture):
        size = MembersEpoch(program, plan, builder, MembersArguments(*function.args)).emit()
    builder.ret_void()
    emit_epochs(function, program, plan)
    note_workspace(module, size)
    return module


_ARGUMENTS_OF_EPOCHS = {
    "workspace": POINTER,
    "pointers": POINTER,
    "scalars": POINTER,
    "shuffle": ir.PointerType(SHUFFLE),
    "keys": POINTER,
    "validations": POINTER,
    "places": POINTER,
    "members": I64,
    "parameters": I64,
    "count": I64,
    "samples": I64,
    "step": I64,
    "strength": DOUBLE,
    "results": POINTER,
}


def emit_epochs(epoch: ir.Function, program: MembersProgram, plan: MembersPlan) -> None:
    """Emit `epochs`, which draws the orders of the `members` that there are and calls `epoch`, `count` times.

    Orders are drawn where the pointers say that they lie, and stay as they are where `keys` is null. After each epoch
    follow the passes forward that `validations` tells of, a row a member (see `functional_mlp.engine.validation`),
    unless it is null; `places` says where the `parameters` lie, here and there. Keys, scalars and results of an epoch
    follow those of the one before: its own results, and two numbers a member of the passes.
    """
    function, b = begin(epoch.module, "epochs", _ARGUMENTS_OF_EPOCHS)
    own = dict(zip(_ARGUMENTS_OF_EPOCHS, function.args, strict=True))
    members, samples = own["members"], own["samples"]
    e, lanes = Emitter(b, Real(torch.float64), 1), plan.members
    size = ir.Constant(I64, program.batch_size)
    batches = b.udiv(b.add(samples, b.sub(size, ir.Constant(I64, 1))), size)

    def one(i: Index) -> None:
        keys = e.address(own["keys"], e.multiply(i, members), KEY)

        def draw(member: Index) -> None:
            place = e.address(own["pointers"], e.add(ORDERS * lanes, member), POINTER)
            order = b.load(place, typ=POINTER, align=8)
            emit_shuffle(b, own["shuffle"], order, e.address(keys, member, KEY), samples)

        with b.if_then(is_given(b, own["keys"])):
            e.loop("draw.member", 0, members, 1, draw)
        scalars = e.address(own["scalars"], e.multiply(i, lanes * (1 + len(program.rule.per_member))))
        begun = b.add(own["step"], b.mul(batches, e.index(i)))
        results = e.address(own["results"], e.multiply(i, e.add(2 * lanes, e.multiply(members, 2))))
        tables, counts = (own["workspace"], own["pointers"], scalars), (ir.Constant(I64, 0), samples, begun)
        b.call(epoch, [*tables, *counts, own["strength"], results])

        def pass_forward(member: Index) -> None:
            validation = Validation(b, program.program.dtype, plan.lanes)
            table = e.address(own["validations"], e.multiply(member, ENTRIES), I64)
            numbers = validation.e.address(own["workspace"], member)
            validation.gather(numbers, lanes, table, own["places"], own["parameters"])
            validation.emit(table, e.address(results, e.add(2 * lanes, e.multiply(member, 2))))

        with b.if_then(is_given(b, own["validations"])):
            e.loop("validate.member", 0, members, 1, pass_forward)

    e.loop("epoch", 0, own["count"], 1, one)
    b.ret_void()


@attrs.frozen(eq=False)
class Function:
    """A compiled epoch, and the size of the workspace it needs, in numbers."""

    call: Callable[..., None]
    call_epochs: Callable[..., None]
    workspace_size: int
    code: Code


@functools.lru_cache(maxsize=64)
def compiled(program: MembersProgram, plan: MembersPlan, target: machine.Target) -> Function:
    """The machine code of a program: from memory, from the disk, or made.

    Raises `CannotFuseError` where expressions do not take a number for each member, or LLVM cannot make the code.
    """
    program.check_unchanged()
    module = None if program.is_ours else _emit_or_refuse(program, plan)
    key = f"members {program!r} {plan!r}" if module is None else None
    code = load((program, target), key, lambda: emit(program, plan) if module is None else module, target)
    return Function(
        code.function("epoch", _C_TYPES), code.function("epochs", _C_TYPES_OF_EPOCHS), code.workspace_size, code
    )


def _emit_or_refuse(program: MembersProgram, plan: MembersPlan) -> ir.Module:
    try:
        return emit(program, plan)
    except Exception as error:  # whatever an expression of a user's does with arrays that it does not expect
        kind = program.rule.kind.__name__
        raise CannotFuseError(f"{kind} does not take a number for each member: {error}") from error
