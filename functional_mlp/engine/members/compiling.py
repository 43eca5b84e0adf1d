"""The code of a group of members."""

from collections.abc import Hashable, Mapping

import attrs

from functional_mlp.engine.epochs import EpochsOfMembers, Turn, emit_epochs, emit_shuffle, is_given
from functional_mlp.engine.functions import Source, begin
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.denormals import denormals_flushed
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.llvm.records import Kind
from functional_mlp.engine.llvm.types import I64, POINTER
from functional_mlp.engine.members.epoch import MembersEpoch
from functional_mlp.engine.members.plan import MembersPlan
from functional_mlp.engine.members.program import MemberData, MembersArguments, MembersLayout, MembersProgram
from functional_mlp.engine.program import CannotFuseError
from functional_mlp.engine.shuffle import KEY
from functional_mlp.engine.validation import Validation
from functional_mlp.engine.workspace import note_workspace
from functional_mlp.forks import cached_property


@attrs.frozen
class GroupSource(Source):
    """A program of members, and how its code is made. There are the functions `epoch` and `epochs`."""

    program: MembersProgram
    plan: MembersPlan

    @cached_property
    def layout(self) -> MembersLayout:
        """Where the parameters lie in the workspace."""
        return MembersLayout.of(self.program.program, self.plan.units)

    @property
    def what(self) -> Hashable:
        return self.program

    @property
    def key(self) -> str | None:
        return f"members {self.program!r} {self.plan!r}" if self.program.is_ours else None

    @property
    def functions(self) -> Mapping[str, tuple[Kind, ...]]:
        return {"epoch": (MembersArguments,), "epochs": (EpochsOfMembers,)}

    def check_unchanged(self) -> None:
        self.program.check_unchanged()

    def emit(self) -> ir.Module:
        """The LLVM module; `CannotFuseError` where a user's expressions do not take a number for each member."""
        if self.program.is_ours:
            return self._module()
        try:
            return self._module()
        except Exception as error:  # whatever an expression of a user's does with arrays that it does not expect
            kind = self.program.rule.kind.__name__
            raise CannotFuseError(f"{kind} does not take a number for each member: {error}") from error

    def _module(self) -> ir.Module:
        module = ir.Module(name="functional_mlp.ensemble")
        b, (arguments,) = begin(module, "epoch", *self.functions["epoch"])
        with denormals_flushed(b, self.plan.architecture):
            size = MembersEpoch(self.program, self.plan, b, arguments).emit()
        b.ret_void()
        emit_epochs(module, self.functions["epochs"], self.program.batch_size, self._turn)
        note_workspace(module, size)
        return module

    def _turn(self, turn: Turn[EpochsOfMembers[ir.Value]]) -> None:
        """Emit a turn of `epochs`, which draws the orders of the `members` that there are and calls `epoch`.

        Orders are drawn where the pointers say that they lie, and stay as they are where `keys` is null. After each
        epoch follow the passes forward that `validations` tells of, a row a member (see
        `functional_mlp.engine.validation`), unless it is null; `places` says where the `parameters` lie, here and
        there. Keys, scalars and results of an epoch follow those of the one before: its own results, and two numbers a
        member of the passes.
        """
        places = self.plan.members  # of members in a group; it may have fewer
        e, b, own = turn.e, turn.e.builder, turn.arguments
        keys = e.address(own.keys, e.multiply(turn.number, own.members), KEY)

        def draw(member: Index) -> None:
            place = e.address(own.pointers, e.add(MemberData._fields.index("order") * places, member), POINTER)
            order = b.load(place, typ=POINTER, align=8)
            emit_shuffle(b, own.shuffle, order, e.address(keys, member, KEY), own.samples)

        with b.if_then(is_given(b, own.keys)):
            e.loop("draw.member", 0, own.members, 1, draw)
        count = places * (1 + len(self.program.rule.per_member))
        scalars = e.address(own.scalars, e.multiply(turn.number, count))
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
        b.call(b.module.get_global("epoch"), arguments)

        def pass_forward(member: Index) -> None:
            validation = Validation(b, self.program.program.dtype, self.plan.lanes)
            table = validation.row(own.validations, member)
            numbers = validation.e.address(own.workspace, member)
            validation.gather(numbers, places, table, own.places, own.parameters)
            validation.emit(table, e.address(results, e.add(2 * places, e.multiply(member, 2))))

        with b.if_then(is_given(b, own.validations)):
            e.loop("validate.member", 0, own.members, 1, pass_forward)
