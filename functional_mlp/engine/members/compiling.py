"""Compiled epochs of groups of members."""

import functools
from collections.abc import Callable

import attrs

from functional_mlp.engine.epochs import (
    EPOCHS_OF_MEMBERS,
    KEY,
    EpochsOfMembers,
    Turn,
    emit_epochs,
    emit_shuffle,
    is_given,
)
from functional_mlp.engine.functions import Code, begin, load
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm import target as machine
from functional_mlp.engine.llvm.denormals import denormals_flushed
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.llvm.types import I64, POINTER
from functional_mlp.engine.members.epoch import MembersEpoch
from functional_mlp.engine.members.plan import MembersPlan
from functional_mlp.engine.members.program import ORDERS, MembersArguments, MembersProgram
from functional_mlp.engine.program import CannotFuseError
from functional_mlp.engine.validation import ENTRIES, Validation
from functional_mlp.engine.workspace import note_workspace


def emit(program: MembersProgram, plan: MembersPlan) -> ir.Module:
    """The LLVM module with the function `epoch`."""
    module = ir.Module(name="functional_mlp.ensemble")
    function, builder = begin(module, "epoch", MembersArguments.types())
    with denormals_flushed(builder, plan.architecture):
        size = MembersEpoch(program, plan, builder, MembersArguments(*function.args)).emit()
    builder.ret_void()
    _emit_epochs(function, program, plan)
    note_workspace(module, size)
    return module


def _emit_epochs(epoch: ir.Function, program: MembersProgram, plan: MembersPlan) -> None:
    """Emit `epochs`, whose turn draws the orders of the `members` that there are and calls `epoch`.

    Orders are drawn where the pointers say that they lie, and stay as they are where `keys` is null. After each epoch
    follow the passes forward that `validations` tells of, a row a member (see `functional_mlp.engine.validation`),
    unless it is null; `places` says where the `parameters` lie, here and there. Keys, scalars and results of an epoch
    follow those of the one before: its own results, and two numbers a member of the passes.
    """
    places = plan.members  # of members in a group; it may have fewer

    def one(turn: Turn[EpochsOfMembers[ir.Value]]) -> None:
        e, b, own = turn.e, turn.e.builder, turn.arguments
        keys = e.address(own.keys, e.multiply(turn.number, own.members), KEY)

        def draw(member: Index) -> None:
            place = e.address(own.pointers, e.add(ORDERS * places, member), POINTER)
            order = b.load(place, typ=POINTER, align=8)
            emit_shuffle(b, own.shuffle, order, e.address(keys, member, KEY), own.samples)

        with b.if_then(is_given(b, own.keys)):
            e.loop("draw.member", 0, own.members, 1, draw)
        scalars = e.address(own.scalars, e.multiply(turn.number, places * (1 + len(program.rule.per_member))))
        step = turn.step()
        results = e.address(own.results, e.multiply(turn.number, e.add(2 * places, e.multiply(own.members, 2))))
        arguments = MembersArguments(
            workspace=own.workspace,
            pointers=own.pointers,
            scalars=scalars,
            first=ir.Constant(I64, 0),
            last=own.samples,
            step=step,
            strength=own.strength,
            results=results,
        )
        b.call(epoch, arguments.values())

        def pass_forward(member: Index) -> None:
            validation = Validation(b, program.program.dtype, plan.lanes)
            table = e.address(own.validations, e.multiply(member, ENTRIES), I64)
            numbers = validation.e.address(own.workspace, member)
            validation.gather(numbers, places, table, own.places, own.parameters)
            validation.emit(table, e.address(results, e.add(2 * places, e.multiply(member, 2))))

        with b.if_then(is_given(b, own.validations)):
            e.loop("validate.member", 0, own.members, 1, pass_forward)

    emit_epochs(epoch.module, EPOCHS_OF_MEMBERS, program.batch_size, one, divided=False)


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
        code.function("epoch", MembersArguments.types().values()),
        code.function("epochs", EPOCHS_OF_MEMBERS),
        code.workspace_size,
        code,
    )


def _emit_or_refuse(program: MembersProgram, plan: MembersPlan) -> ir.Module:
    try:
        return emit(program, plan)
    except Exception as error:  # whatever an expression of a user's does with arrays that it does not expect
        kind = program.rule.kind.__name__
        raise CannotFuseError(f"{kind} does not take a number for each member: {error}") from error
