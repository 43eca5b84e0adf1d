"""Groups: members of an ensemble that are trained together, and which engine trains them."""

import functools
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Protocol

import attrs
from torch import Tensor

from functional_mlp import forks, runs
from functional_mlp.ensemble.arguments import Member, Plan
from functional_mlp.ensemble.stacked import StackedRun, stacked_layer
from functional_mlp.evaluation import Metrics
from functional_mlp.optimizers import OptimizerState

# Called now and then in an epoch; it raises to end it.
Check = Callable[[], None]
# The mean loss and the accuracy of each member in an epoch.
Outcomes = Sequence[tuple[float, float]]


class GroupRun(Protocol):
    """The training of a group: a state for each member, that every epoch takes one epoch on."""

    @property
    def epochs_at_once(self) -> int:
        """How many epochs one call of `epochs` had best be given: those of some milliseconds."""

    def epochs(self, orders: Sequence[Sequence[Tensor]], first: int, check: Check) -> list[Outcomes]:
        """Run epochs from number `first` on, each with an order for every member."""

    def is_finite(self, indices: Sequence[int]) -> bool:
        """Whether all numbers of some members' states at this moment are finite."""

    def restore(self, snapshot: Any) -> None:
        """Go back to the states of a snapshot."""

    def snapshot(self) -> Any:
        """The states at this moment, in whatever form is quick to keep."""

    def state(self, snapshot: Any, index: int) -> OptimizerState:
        """The state of the group's member `index` in a snapshot."""

    def evaluate(self, index: int) -> Metrics:
        """Loss and accuracy of member `index` over its validation set."""


@attrs.frozen(eq=False)
class Group:
    """Members of an ensemble, by their numbers in it, and what starts their training."""

    numbers: tuple[int, ...]
    members: tuple[Member, ...]
    start: Callable[[], GroupRun]


class LoneRun:
    """The training of a member by itself, on either engine, as the run of a group of one."""

    def __init__(self, plan: Plan, engine: runs.EngineName, member: Member) -> None:
        self._member = member
        state = member.state.optimizer_state
        self._run = runs.start(engine, plan.network, plan.loss, member.optimizer, state, member.data, plan.batch_size)

    @property
    def epochs_at_once(self) -> int:
        return self._run.epochs_at_once

    def epochs(self, orders: Sequence[Sequence[Tensor]], first: int, check: Check) -> list[Outcomes]:
        rates = self._member.learning_rates[first : first + len(orders)]
        own = [order for (order,) in orders]
        if len(own) == 1:
            return [[self._run.epoch(own[0], rates[0], lambda done: check())]]
        return [[outcome] for outcome in self._run.epochs(own, rates)]

    def is_finite(self, indices: Sequence[int]) -> bool:
        return self._run.is_finite()

    def restore(self, snapshot: Any) -> None:
        self._run.restore(snapshot)

    def snapshot(self) -> Any:
        return self._run.snapshot()

    def state(self, snapshot: Any, index: int) -> OptimizerState:
        return self._run.state(snapshot)

    def evaluate(self, index: int) -> Metrics:
        assert self._member.validation is not None
        return self._run.evaluate(self._member.validation)


def grouped(plan: Plan) -> tuple[list[Group], bool]:
    """The groups of an ensemble, and whether they run on the fused engine.

    Raises `ValueError` with the reason where that engine is asked for and cannot run a member.
    """
    if plan.engine == "reference" or not _fuses(plan):
        return _reference_groups(plan), False
    with forks.importing:
        from functional_mlp.engine.members import running as members_running  # LLVM is loaded when it is used

    groups: list[Group] = []
    for numbers in _split(plan, members_running.kind_of):
        program = members_running.program_of(plan, [plan.members[number] for number in numbers])
        start = functools.partial(members_running.MembersRun, plan, program)
        divided = members_running.groups_of_members(plan, program, numbers)
        groups += [_group(plan, own, start) for own in divided]
        if not divided:
            groups += [_alone(plan, number, plan.engine) for number in numbers]
    return groups, True


def _fuses(plan: Plan) -> bool:
    from functional_mlp import engine as fused

    inputs = plan.members[0].data.inputs
    for number, optimizer in enumerate(dict.fromkeys(member.optimizer for member in plan.members)):
        reason = fused.explain(plan.network, plan.loss, optimizer, dtype=inputs.dtype, device=inputs.device)
        if reason is not None and plan.engine == "fused":
            raise ValueError(
                f"fit_ensemble: engine='fused' cannot run member {number}: {reason}; pass engine='reference' or 'auto'"
            )
        if reason is not None:
            fused.warn_of_fallback(reason)
            return False
    return plan.engine == "fused" or fused.is_faster(plan.network, plan.batch_size)


def _reference_groups(plan: Plan) -> list[Group]:
    """Members whose epochs are the same operations, stacked; members by themselves where layers cannot be."""
    layer = stacked_layer(plan.network, plan.loss, plan.members[0].optimizer)
    if layer is None:
        return [_alone(plan, number, "reference") for number in range(len(plan.members))]

    def kind(member: Member) -> Hashable:
        # The rule is evaluated for all members at once, with their learning rates alone an array. 0.0 and −0.0 are
        # equal, and are written differently.
        rule = attrs.evolve(member.optimizer, learning_rate=1.0)
        return len(member.data), rule, repr(rule)

    return [
        _group(plan, numbers, lambda members: StackedRun(layer, plan.network, plan.loss, plan.batch_size, members))
        for numbers in _split(plan, kind)
    ]


def _split(plan: Plan, kind: Callable[[Member], Hashable]) -> Iterable[tuple[int, ...]]:
    """The numbers of the members, those of one kind together."""
    kinds: dict[Hashable, list[int]] = {}
    for number, member in enumerate(plan.members):
        kinds.setdefault(kind(member), []).append(number)
    return map(tuple, kinds.values())


def _group(plan: Plan, numbers: tuple[int, ...], start: Callable[[tuple[Member, ...]], GroupRun]) -> Group:
    members = tuple(plan.members[number] for number in numbers)
    return Group(numbers, members, lambda: start(members))


def _alone(plan: Plan, number: int, engine: runs.EngineName) -> Group:
    return _group(plan, (number,), lambda members: LoneRun(plan, engine, members[0]))
