"""Groups of members at work, and the memory that they run in."""

import ctypes
import itertools
import math
from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor

from functional_mlp import pytree
from functional_mlp.engine.epochs import EpochsOfMembers
from functional_mlp.engine.expressions import strength_of
from functional_mlp.engine.functions import compiled
from functional_mlp.engine.llvm.target import Target, host
from functional_mlp.engine.lowering import MOST_SAMPLES, check_penalty_expressions, lower_loss, takes_classes
from functional_mlp.engine.members.algebra import MembersRule, real_numbers_aside
from functional_mlp.engine.members.compiling import GroupSource
from functional_mlp.engine.members.plan import MembersPlan, gain_from_groups, members_plan_of
from functional_mlp.engine.members.program import MemberData, MembersArguments, MembersProgram
from functional_mlp.engine.members.validation import Validations
from functional_mlp.engine.orders import Orders
from functional_mlp.engine.passes import nothing, program_of_pass
from functional_mlp.engine.policy import Policy
from functional_mlp.engine.program import CannotFuseError
from functional_mlp.engine.rows import Rows
from functional_mlp.engine.session import code_to_run, new_workspace
from functional_mlp.forks import cached_property
from functional_mlp.optimizers import OptimizerState
from functional_mlp.pages import Pages
from functional_mlp.state import Job, Keys, Member, Outcome, Rates, Tick

Snapshot = tuple[Tensor, int, list[float]]


def kind_of(member: Member) -> Hashable:
    """What members of one `MembersRun` have in common; their optimizers may differ in real numbers."""
    start = member.start
    return (
        len(member.data),
        member.data.targets.ndim,
        member.data.weights is not None,
        real_numbers_aside(member.optimizer),
        start.epoch,
        start.optimizer_state.step,
    )


def groups_of_members(job: Job, numbers: Sequence[int], policy: Policy) -> list[tuple[int, ...]]:
    """Members of one kind, divided into groups that fill vectors; none where that does not pay.

    The engine for a single network has its own ways to fill vectors. It is the faster one for few members, and for
    networks of which half as many as a vector has lanes do not fit into a core's first cache; and the one that keeps
    the code of deep networks short; and where code for many cannot be made; and that which copies rows of mapped files.
    """
    datasets = {id(data): data for data in (job.members[number].data for number in numbers)}
    if any(Pages.of(data.inputs, data.targets) for data in datasets.values()):
        return []
    program, target = program_of(job, [job.members[number] for number in numbers]), host()
    optimizer = job.members[numbers[0]].optimizer
    alone = program.program.with_update(optimizer, program.batch_size, program.penalty)
    if not gain_from_groups(alone, len(numbers), target, policy):
        return []
    plan = _plan_of(program, target, policy)
    try:
        compiled(GroupSource(program, plan), target)
        held_out = {id(data): data for data in (job.members[number].validation for number in numbers)}
        for data in held_out.values():
            if data is not None:
                code_to_run(program_of_pass(program.program, data), policy)
    except CannotFuseError:
        return []
    count = math.ceil(len(numbers) / plan.members)
    bounds = [round(index * len(numbers) / count) for index in range(count + 1)]
    return [tuple(numbers[first:last]) for first, last in itertools.pairwise(bounds)]


def _plan_of(program: MembersProgram, target: Target, policy: Policy) -> MembersPlan:
    return members_plan_of(program.program, len(program.rule.slots()), program.batch_size, target, policy)


def program_of(job: Job, members: Sequence[Member]) -> MembersProgram:
    """The program of members of one kind."""
    data = members[0].data
    program = lower_loss(
        job.network,
        job.loss,
        class_targets=takes_classes(job.loss, data.targets),
        dtype=data.inputs.dtype,
        weighted=data.weights is not None,
    )
    rule = MembersRule.of([member.optimizer for member in members])
    check_penalty_expressions(job.penalty)
    return MembersProgram(program, rule, min(job.batch_size, MOST_SAMPLES), job.penalty)


class MembersRun:
    """The training of a group on the fused engine: epochs change the workspace in place.

    A group that is not full is filled up with members that see what the first one sees, with weights of zero; nobody
    looks at what they make of it.
    A snapshot is a copy of the workspace's parameters and slots, with the step and the number of epochs.
    """

    def __init__(self, job: Job, members: tuple[Member, ...], policy: Policy) -> None:
        self._members = members
        self._program = program = program_of(job, members)
        self._strength = strength_of(program.penalty)
        target = host()
        plan = _plan_of(program, target, policy)
        self._size = plan.members
        self._code = compiled(GroupSource(program, plan), target)
        self._layout = self._code.source.layout
        self._names = ("params", *program.rule.slots())
        self._rows_per_call, self._most_epochs_per_call = plan.rows_per_call, plan.policy.most_epochs_per_call
        self._samples = len(members[0].data)
        self._step = members[0].start.optimizer_state.step
        self._steps = -(-self._samples // job.batch_size)  # of an epoch
        self._learning_rates = [member.start.optimizer_state.learning_rate for member in members]
        self._workspace = new_workspace(self._code.workspace_size, program.program.dtype)
        self._numbers = self._workspace[: self._layout.size * self._size * len(self._names)]
        self._rows = {id(member.data): Rows.of(member.data, job.loss) for member in members}
        self._orders = Orders(len(members), self._samples, shuffled=job.shuffle, policy=policy)
        self._validations = Validations(program.program, self._layout, members, policy)
        self._pointers, self._constants = self._data_pointers(), self._constants_of_members()
        for index, member in enumerate(members):
            for name, vectors in zip(self._names, self._arrays(self._numbers), strict=True):
                self._layout.pack(getattr(member.start.optimizer_state, name), vectors[:, index])

    def _arrays(self, numbers: Tensor) -> list[Tensor]:
        """The parameters and the slots, each (numbers, members)."""
        arrays = numbers.view(len(self._names), self._layout.size, self._size)
        return list(arrays)

    def _data_pointers(self) -> Any:
        """The table of addresses."""
        columns = [
            MemberData(**self._rows[id(member.data)].pointers._asdict(), order=order.data_ptr())
            for member, order in zip(self._members, self._orders.memory, strict=True)
        ]
        table = [address for row in zip(*self._filled_up(columns), strict=True) for address in row]
        return (ctypes.c_int64 * len(table))(*table)

    def _filled_up(self, items: Sequence[Any]) -> list[Any]:
        """Items of the members and, where the group is not full, the first one again for each that fills it up."""
        return [*items, *[items[0]] * (self._size - len(items))]

    @cached_property
    def _validates_within(self) -> bool:
        """Whether the call that trains makes the passes over the validation data as well."""
        return self._samples <= self._rows_per_call and self._validations.are_short

    @property
    def epochs_at_once(self) -> int:
        if self._validations.rows and not self._validates_within:
            return 1
        rows = self._samples + self._validations.rows
        return max(1, min(self._rows_per_call // rows, self._most_epochs_per_call))

    @property
    def check_unchanged(self) -> Callable[[], None]:
        return self._program.check_unchanged

    def epochs_ahead(self, wanted: int) -> int:
        return 1

    def epochs(
        self, keys: Keys, learning_rates: Rates, tick: Tick, validated: Collection[int], *, each: bool = False
    ) -> tuple[list[Outcome], list[Snapshot]]:
        assert not each or len(keys) == 1, "each epoch of a group is looked at in a call of its own"
        self._program.check_unchanged()
        self._learning_rates = list(learning_rates[-1])
        scalars = self._scalars_of_epochs(learning_rates)
        results = (ctypes.c_double * (self._results_of_an_epoch * len(keys)))()
        within = bool(validated) and self._validates_within
        tick(0.0)
        if self._samples <= self._rows_per_call:
            self._run_epochs(keys, scalars, results, within=within)
        else:
            self._run_long_epochs(keys, scalars, results, tick)
        self._step += len(keys) * self._steps
        everyone = range(len(self._members))
        return [self._outcome(member, results, member in validated, within) for member in everyone], [self.snapshot()]

    def _run_epochs(self, keys: Keys, scalars: Tensor, results: Any, *, within: bool) -> None:
        """Run epochs in one call, with their validation where it is `within` it."""
        validations = self._validations if within else None
        self._code.functions["epochs"](
            *EpochsOfMembers(
                workspace=self._workspace.data_ptr(),
                pointers=self._pointers,
                scalars=scalars.data_ptr(),
                shuffle=self._orders.shuffle,
                keys=self._orders.keys(itertools.chain.from_iterable(keys)),
                validations=None if validations is None else validations.tables,
                places=None if validations is None else validations.places.ctypes.data,
                members=len(self._members),
                parameters=0 if validations is None else len(validations.places),
                turns=len(keys),
                samples=self._samples,
                step=self._step,
                strength=self._strength,
                results=results,
            )
        )

    @property
    def _results_of_an_epoch(self) -> int:
        """The losses and right answers of a full group, and those of each member's validation data."""
        return 2 * self._size + 2 * len(self._members)

    def _run_long_epochs(self, keys: Keys, scalars: Tensor, results: Any, tick: Tick) -> None:
        """Run epochs, each in several calls, for a native call cannot be interrupted."""
        distance = self._results_of_an_epoch * ctypes.sizeof(ctypes.c_double)
        for done, own in enumerate(keys):
            self._orders.draw(own)
            for first in range(0, self._samples, self._rows_per_call):
                last = min(first + self._rows_per_call, self._samples)
                arguments = MembersArguments(
                    workspace=self._workspace.data_ptr(),
                    pointers=self._pointers,
                    scalars=scalars[done].data_ptr(),
                    first=first,
                    last=last,
                    step=self._step + done * self._steps,
                    strength=self._strength,
                    results=ctypes.addressof(results) + done * distance,
                )
                self._code.functions["epoch"](*arguments)
                tick(done + last / self._samples)

    def _outcome(self, member: int, results: Any, validated: bool, within: bool) -> Outcome:
        """What all epochs of a call have come to for a member."""
        size, distance = self._size, self._results_of_an_epoch
        first = 2 * (size + member)
        trained = self._rows[id(self._members[member].data)].figures(
            results[member::distance], results[size + member :: distance]
        )
        if not validated or not self._validations.rows:
            held_out = nothing(len(trained[0]))
        elif within:
            held_out = self._validations.figures(member, results[first::distance], results[first + 1 :: distance])
        else:
            assert len(trained[0]) == 1, "several epochs are validated within the call that trains them alone"
            held_out = self._validations.measure(member, self._tree(self._arrays(self._numbers)[0], member))
        return Outcome(*trained, *held_out)

    def _scalars_of_epochs(self, learning_rates: Rates) -> Tensor:
        """For each epoch the members' learning rates, and what else differs between their optimizers."""
        rates = torch.tensor([self._filled_up(rates) for rates in learning_rates], dtype=torch.float64, device="cpu")
        constants = self._constants.expand(len(rates), *self._constants.shape)
        return torch.cat([rates.unsqueeze(1), constants], 1)

    def _constants_of_members(self) -> Tensor:
        """What differs between the members' optimizers beside the learning rate: (numbers, size)."""
        members = self._filled_up(self._members)
        rest = [
            [float(getattr(member.optimizer, name)) for member in members] for name in self._program.rule.per_member
        ]
        return torch.tensor(rest, dtype=torch.float64, device="cpu").view(-1, self._size)

    def is_finite(self, members: Sequence[int]) -> bool:
        if math.isfinite(self._numbers.sum().item()):
            return True
        return all(self._layout.are_finite(vectors[:, list(members)]) for vectors in self._arrays(self._numbers))

    def snapshot(self) -> Snapshot:
        return self._numbers.clone(), self._step, self._learning_rates

    def restore(self, snapshot: Snapshot) -> None:
        numbers, self._step, self._learning_rates = snapshot
        self._numbers.copy_(numbers)

    def state(self, snapshot: Snapshot, member: int) -> OptimizerState:
        numbers, step, rates = snapshot
        initial = self._members[member].start.optimizer_state
        trees = {name: self._tree(v, member) for name, v in zip(self._names, self._arrays(numbers), strict=True)}
        return attrs.evolve(initial, step=step, learning_rate=rates[member], **trees)

    def _tree(self, vectors: Tensor, index: int) -> Any:
        """A member's tree, in tensors of its own."""
        structure = pytree.structure(self._members[index].start.optimizer_state.params)
        return self._layout.unpack(vectors[:, index], structure)
