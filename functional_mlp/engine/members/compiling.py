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
from functional_mlp.engine.llvm.emitter import Emitter, Index
from functional_mlp.engine.llvm.types import I64, POINTER, Real
from functional_mlp.engine.members.epoch import MembersEpoch
from functional_mlp.engine.members.program import ORDERS, MembersArguments, MembersProgram
from functional_mlp.engine.policy import MembersPolicy
from functional_mlp.engine.program import CannotFuseError

_C_TYPES = [ctypes.c_void_p] * 3 + [ctypes.c_int64] * 3 + [ctypes.c_void_p]
_C_TYPES_OF_EPOCHS = [ctypes.c_void_p] * 5 + [ctypes.c_int64] * 4 + [ctypes.c_void_p]


def emit(program: MembersProgram, policy: MembersPolicy) -> ir.Module:
    """The LLVM module with the function `epoch`."""
    module = ir.Module(name="functional_mlp.ensemble")
    names = [field.name for field in attrs.fields(MembersArguments)]
    function, builder = begin(module, "epoch", dict(zip(names, MembersArguments.TYPES, strict=True)))
    with denormals_flushed(builder):
        size = MembersEpoch(program, policy, builder, MembersArguments(*function.args)).emit()
    builder.ret_void()
    emit_epochs(function, program, policy)
    note_workspace(module, size)
    return module


_ARGUMENTS_OF_EPOCHS = {
    "workspace": POINTER,
    "pointers": POINTER,
    "scalars": POINTER,
    "shuffle": ir.PointerType(SHUFFLE),
    "keys": POINTER,
    "drawn": I64,
    "count": I64,
    "samples": I64,
    "step": I64,
    "results": POINTER,
}


def emit_epochs(epoch: ir.Function, program: MembersProgram, policy: MembersPolicy) -> None:
    """Emit `epochs`, which draws the orders of the first `drawn` members and calls `epoch`, `count` times.

    Orders are drawn where the pointers say that they lie, and stay as they are where `keys` is null. Keys, scalars and
    results of an epoch follow those of the one before.
    """
    function, b = begin(epoch.module, "epochs", _ARGUMENTS_OF_EPOCHS)
    workspace, pointers, scalars, shuffle, keys, drawn, count, samples, step, results = function.args
    e, members = Emitter(b, Real(torch.float64), 1), policy.members
    size = ir.Constant(I64, program.batch_size)
    batches = b.udiv(b.add(samples, b.sub(size, ir.Constant(I64, 1))), size)

    def one(i: Index) -> None:
        own_keys = e.address(keys, e.multiply(i, drawn), KEY)

        def draw(member: Index) -> None:
            place = e.address(pointers, e.add(ORDERS * members, member), POINTER)
            emit_shuffle(b, shuffle, b.load(place, typ=POINTER, align=8), e.address(own_keys, member, KEY), samples)

        with b.if_then(is_given(b, keys)):
            e.loop("draw.member", 0, drawn, 1, draw)
        own_scalars = e.address(scalars, e.multiply(i, members * (1 + len(program.rule.per_member))))
        begun = b.add(step, b.mul(batches, e.index(i)))
        own_results = e.address(results, e.multiply(i, 2 * members))
        b.call(epoch, [workspace, pointers, own_scalars, ir.Constant(I64, 0), samples, begun, own_results])

    e.loop("epoch", 0, count, 1, one)
    b.ret_void()


@attrs.frozen(eq=False)
class Function:
    """A compiled epoch, and the size of the workspace it needs, in numbers."""

    call: Callable[..., None]
    call_epochs: Callable[..., None]
    workspace_size: int
    code: Code


@functools.lru_cache(maxsize=64)
def compiled(program: MembersProgram, policy: MembersPolicy, target: machine.Target) -> Function:
    """The machine code of a program: from memory, from the disk, or made.

    Raises `CannotFuseError` where expressions do not take a number for each member, or LLVM cannot make the code.
    """
    program.check_unchanged()
    module = None if program.is_ours else _emit_or_refuse(program, policy)
    key = f"members {program!r} {policy!r}" if module is None else None
    code = load((program, target), key, lambda: emit(program, policy) if module is None else module, target)
    return Function(
        code.function("epoch", _C_TYPES), code.function("epochs", _C_TYPES_OF_EPOCHS), code.workspace_size, code
    )


def _emit_or_refuse(program: MembersProgram, policy: MembersPolicy) -> ir.Module:
    try:
        return emit(program, policy)
    except Exception as error:  # whatever an expression of a user's does with arrays that it does not expect
        kind = program.rule.kind.__name__
        raise CannotFuseError(f"{kind} does not take a number for each member: {error}") from error
