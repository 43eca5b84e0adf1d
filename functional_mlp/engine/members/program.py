"""What the code for a group of members depends on: the program, the arguments, and where numbers lie in memory."""

from collections.abc import Callable
from typing import Generic, NamedTuple

import attrs
import numpy as np
from numpy.typing import NDArray

from functional_mlp.engine.expressions import change_of_kinds, penalty_code
from functional_mlp.engine.layout import Places, vectors
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.llvm.records import Double, Integer, Item, Pointer
from functional_mlp.engine.members.algebra import MembersNamespace, MembersRule
from functional_mlp.engine.program import Affine, CannotFuseError, LossProgram, Program, affine_steps
from functional_mlp.forks import cached_property
from functional_mlp.operands import NotInAlgebraError
from functional_mlp.penalties import Penalty
from functional_mlp.reads import fields_of
from functional_mlp.value import is_ours


@attrs.frozen
class MembersProgram:
    """All that the code for a group depends on, the target aside: what each member computes, and their updates.

    `rule_code` is `None` where the rule does not take numbers that differ between members.
    """

    program: LossProgram
    rule: MembersRule = attrs.field(eq=False)
    batch_size: int
    penalty: Penalty | None = attrs.field(default=None, eq=False, repr=False)
    rule_code: str | None = attrs.field(init=False, repr=False)
    penalty_code: str = attrs.field(init=False)

    @rule_code.default
    def _rule_code(self) -> str | None:
        try:
            return self.rule.code()
        except NotInAlgebraError:
            return None

    @penalty_code.default
    def _penalty_code(self) -> str:
        return penalty_code(self.penalty)

    @property
    def is_ours(self) -> bool:
        """As `Program.is_ours`."""
        ours = self.penalty is None or is_ours(type(self.penalty))
        return ours and self.program.is_ours and is_ours(self.rule.kind)

    @cached_property
    def is_surely_unchanged(self) -> Callable[[], bool]:
        """As `Program.is_surely_unchanged`."""
        values = [*self.program.values, *([] if self.penalty is None else [self.penalty])]
        kinds = [(type(value), fields_of(value)) for value in values]
        return change_of_kinds([*kinds, (self.rule.kind, [shared for _, shared in self.rule.shared])])

    def check_unchanged(self) -> None:
        """As `Program.check_unchanged`; also where the rule does not take numbers that differ between members."""
        if self.rule_code is None:
            raise CannotFuseError(f"{self.rule.kind.__name__} does not take a number for each member")
        if self.is_surely_unchanged():
            return
        self.program.check_unchanged()
        if self.rule_code != self.rule.code() or self.penalty_code != penalty_code(self.penalty):
            raise CannotFuseError("the rule or the penalty has changed since the run began: start another one")


class MembersArguments(NamedTuple, Generic[Item]):
    """The arguments of the epoch of a group.

    `pointers` holds the `MemberData` of the members, field by field, a number a member each; `scalars` their learning
    rates and what else differs between their optimizers; `results` the sums of their losses and the numbers of samples
    that were right, which are both added to. `strength` is that of the penalty.
    """

    workspace: Pointer[Item]
    pointers: Pointer[Item]
    scalars: Pointer[Item]
    first: Integer[Item]
    last: Integer[Item]
    step: Integer[Item]
    strength: Double[Item]
    results: Pointer[Item]


class MemberData(NamedTuple):
    """Where the inputs, the targets, the labels and the order of a member lie."""

    inputs: int
    targets: int
    labels: int
    order: int


@attrs.frozen
class MembersLayout(Places):
    """The places of the parameters, counted in units: for each linear layer its rows of weights, then its biases.

    A row, and the biases, fill whole vectors of `units`, so that every vector lies within a line of the cache.
    """

    units: int
    steps: tuple[Affine, ...]
    weights: tuple[int, ...]
    biases: tuple[int, ...]
    size: int

    @classmethod
    def of(cls, program: Program, units: int) -> "MembersLayout":
        steps, weights, biases, place = tuple(affine_steps(program.steps)), [], [], 0
        for step in steps:
            stride = units * vectors(step.out_features, units)
            weights.append(place)
            biases.append(place + step.in_features * stride)
            place = biases[-1] + (stride if step.bias else 0)
        return cls(units, steps, tuple(weights), tuple(biases), place)

    def stride(self, step: Affine) -> int:
        """The length of a row of weights."""
        return self.units * vectors(step.out_features, self.units)

    @cached_property
    def places(self) -> tuple[NDArray[np.int64], ...]:
        numbers, places = np.arange(self.size), []
        for step, weight, bias in zip(self.steps, self.weights, self.biases, strict=True):
            rows = numbers[weight:bias].reshape(step.in_features, self.stride(step))
            places.append(np.ascontiguousarray(rows[:, : step.out_features].T))
            if step.bias:
                places.append(numbers[bias : bias + step.out_features])
        return tuple(places)


@attrs.frozen(eq=False)
class Width:
    """A width of vectors: each holds `units` units, and a unit is one number for each member.

    Places in memory are counted in units.
    """

    units: int
    members: int
    e: Emitter
    xp: MembersNamespace
    workspace: ir.Value

    def load(self, place: Index) -> ir.Value:
        return self.e.load(self.workspace, self.e.multiply(place, self.members))

    def store(self, value: ir.Value, place: Index) -> None:
        self.e.store(value, self.workspace, self.e.multiply(place, self.members))
