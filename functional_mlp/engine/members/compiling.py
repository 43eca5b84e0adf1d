"""Compiled epochs of groups of members."""

import ctypes
import functools
from collections.abc import Callable

import attrs

from functional_mlp.engine.compiling import Code, begin, load, note_workspace
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm import target as machine
from functional_mlp.engine.llvm.emitter import denormals_flushed
from functional_mlp.engine.members.epoch import MembersEpoch
from functional_mlp.engine.members.program import MembersArguments, MembersProgram
from functional_mlp.engine.policy import MembersPolicy
from functional_mlp.engine.program import CannotFuseError

_C_TYPES = [ctypes.c_void_p] * 3 + [ctypes.c_int64] * 3 + [ctypes.c_void_p]


def emit(program: MembersProgram, policy: MembersPolicy) -> ir.Module:
    """The LLVM module with the function `epoch`."""
    module = ir.Module(name="functional_mlp.ensemble")
    names = [field.name for field in attrs.fields(MembersArguments)]
    function, builder = begin(module, "epoch", dict(zip(names, MembersArguments.TYPES, strict=True)))
    with denormals_flushed(builder):
        size = MembersEpoch(program, policy, builder, MembersArguments(*function.args)).emit()
    builder.ret_void()
    note_workspace(module, size)
    return module


@attrs.frozen(eq=False)
class Function:
    """A compiled epoch, and the size of the workspace it needs, in numbers."""

    call: Callable[..., None]
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
    return Function(code.function("epoch", _C_TYPES), code.workspace_size, code)


def _emit_or_refuse(program: MembersProgram, policy: MembersPolicy) -> ir.Module:
    try:
        return emit(program, policy)
    except Exception as error:  # whatever an expression of a user's does with arrays that it does not expect
        kind = program.rule.kind.__name__
        raise CannotFuseError(f"{kind} does not take a number for each member: {error}") from error
