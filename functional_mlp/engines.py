"""What an engine offers to training, and which engine a run gets: the only door to the fused engine.

LLVM is loaded when the fused engine is first used.
"""

import functools
from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Any, Literal, Protocol, TypeVar

import attrs
import torch
from torch import Tensor

from functional_mlp import checks, imports
from functional_mlp import engine as fused
from functional_mlp.datasets import Dataset
from functional_mlp.engine.policy import MEASURED, Policy
from functional_mlp.layers.arguments import checked_arguments
from functional_mlp.layers.base import Layer, Params
from functional_mlp.losses import Loss
from functional_mlp.metrics import Metrics, measure, outputs
from functional_mlp.optimizers import Optimizer, OptimizerState
from functional_mlp.penalties import Penalty
from functional_mlp.reference import ReferenceRun
from functional_mlp.state import EngineName, Job, Keys, Member, Outcome, Rates, Tick

Snapshot = Any
Result = TypeVar("Result")


class Run(Protocol):
    """Members in training: a state for each, which every epoch takes one epoch on. Members are counted from 0."""

    @property
    def epochs_at_once(self) -> int:
        """How many epochs one call of `epochs` is best given: they take some milliseconds."""

    def epochs_ahead(self, wanted: int) -> int:
        """How many where the state after each is given: they take about one, or are `wanted` whatever these show."""

    def epochs(
        self, keys: Keys, learning_rates: Rates, tick: Tick, validated: Collection[int], *, each: bool = False
    ) -> tuple[Sequence[Outcome], Sequence[Snapshot]]:
        """Run epochs one after the other, each with the key of an order, and a learning rate, for every member.

        Returns each member's outcome, and the snapshot after the last epoch, or those after `each` one. After each
        epoch the validation data of the members that are `validated`, where they have any, are passed forward.
        """

    @property
    def check_unchanged(self) -> Callable[[], None]:
        """Raises `ValueError` where code has an expression that has changed since the run began, as `epochs` does."""

    def is_finite(self, members: Sequence[int]) -> bool:
        """Whether all numbers of some members' states at this moment are finite."""

    def snapshot(self) -> Snapshot:
        """The states at this moment, in whatever form is quick to keep."""

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to the states of a snapshot."""

    def state(self, snapshot: Snapshot, member: int) -> OptimizerState:
        """A member's state in a snapshot, in tensors of its own."""


# Starts the training of the members of a job.
Start = Callable[[Job, tuple[Member, ...]], Run]


@attrs.frozen(eq=False)
class Group:
    """Members of a job that are trained together, by their numbers in it, and what starts their training.

    It can be pickled where the values of the job can: another process may train it.
    """

    numbers: tuple[int, ...]
    members: tuple[Member, ...]
    start: Callable[[], Run]


def choose(job: Job, policy: Policy = MEASURED) -> Literal["reference", "fused"]:
    """The engine of a job: the fused one where it is asked for, or can run all members.

    Raises `ValueError` with the reason where the fused engine is asked for and cannot run them.
    """
    if job.engine == "reference":
        return "reference"
    numbers: dict[Optimizer, int] = {}
    for number, member in enumerate(job.members):
        numbers.setdefault(member.optimizer, number)
    for number in numbers.values():
        reason = fused.explain_member(job, job.members[number], policy)
        if reason is not None and job.engine == "fused":
            which = "this" if len(job.members) == 1 else f"member {number}"
            raise ValueError(f"engine='fused' cannot run {which}: {reason}; pass engine='reference' or 'auto'")
        if reason is not None:
            fused.warn_of_fallback(reason)
            return "reference"
    return "fused"


def lone_group(job: Job, policy: Policy = MEASURED) -> Group:
    """The group of a job's one member, on the engine that `choose` names."""
    return reference_group(job, 0, policy) if choose(job, policy) == "reference" else fused_group(job, 0, policy)


def reference_group(job: Job, number: int, policy: Policy = MEASURED) -> Group:
    """One member on the reference engine."""
    return group(job, (number,), _start_reference, policy)


def fused_group(job: Job, number: int, policy: Policy = MEASURED) -> Group:
    """One member on the fused engine; on the reference, with a warning, where its code turns out not to be made."""
    return group(job, (number,), functools.partial(_start_fused, policy), policy)


def _start_reference(job: Job, members: tuple[Member, ...]) -> Run:
    return ReferenceRun(job, *members)


def _start_fused(policy: Policy, job: Job, members: tuple[Member, ...]) -> Run:
    def native() -> Run:
        (member,) = members
        return fused.start(job, member, policy)

    return _or_reference(job.engine, native, lambda: ReferenceRun(job, *members))


def fused_groups(job: Job, policy: Policy = MEASURED) -> list[Group]:
    """All members on the fused engine: those of one kind together where that is faster, the others alone."""
    with imports.importing():
        from functional_mlp.engine.members import running

    groups: list[Group] = []
    for numbers in same_kind(job, running.kind_of):
        together = running.groups_of_members(job, numbers, policy)
        start = functools.partial(running.MembersRun, policy=policy)
        groups += [group(job, own, start, policy) for own in together]
        groups += [] if together else [fused_group(job, number, policy) for number in numbers]
    return groups


def group(job: Job, numbers: tuple[int, ...], start: Start, policy: Policy = MEASURED) -> Group:
    """Some members of a job, and what starts their training; `policy` says whether their orders are drawn natively."""
    members = tuple(job.members[number] for number in numbers)
    own = attrs.evolve(job, members=members)
    return Group(numbers, members, functools.partial(_start, start, own, policy))


def _start(start: Start, job: Job, policy: Policy) -> Run:
    rows = sum(len(member.data) * (job.epochs - member.start.epoch) for member in job.members)
    if job.shuffle and rows >= policy.fewest_rows_drawn_natively:
        fused.draw_natively(policy)
    return start(job, job.members)


def processor() -> str:
    """The processor that the fused engine makes code for here: on another one the bits of its results may differ."""
    with imports.importing():
        from functional_mlp.engine.llvm import target

    return repr(target.host())


def same_kind(job: Job, kind: Callable[[Member], Hashable]) -> list[tuple[int, ...]]:
    """The numbers of a job's members, those of one kind together."""
    kinds: dict[Hashable, list[int]] = {}
    for number, member in enumerate(job.members):
        kinds.setdefault(kind(member), []).append(number)
    return [tuple(numbers) for numbers in kinds.values()]


def fused_steps(
    network: Layer,
    loss: Loss,
    optimizer: Optimizer,
    penalty: Penalty | None,
    dtype: torch.dtype,
    policy: Policy = MEASURED,
) -> Any | None:
    """The `FusedSteps` of an `Online`; None, with a warning where native code fails on this machine, if there are none.

    Takes the arguments of `FusedSteps`.
    """
    reason = fused.explain_by(policy, network, loss, optimizer, penalty=penalty, dtype=dtype)
    if reason is None:
        try:
            return fused.steps(network, loss, optimizer, penalty, dtype, policy)
        except fused.CannotMakeCodeError as error:
            reason = str(error)
    fused.warn_of_fallback(reason)
    return None


def predict(network: Layer, params: Params, x: Tensor, engine: EngineName, policy: Policy = MEASURED) -> Tensor:
    """The network's outputs for inputs (..., in_features), by an engine as a policy has it run, or the faster one."""
    if not _passes_fused("predict", network, None, x, engine, policy):
        return outputs(network, params, x)
    params, x = checked_arguments(network, params, x)
    checks.features(f"{network!r}", x, network.in_features)
    return _or_reference(engine, lambda: fused.predict(network, params, x, policy), lambda: outputs(network, params, x))


def evaluate(
    network: Layer, loss: Loss, params: Params, data: Dataset, engine: EngineName, policy: Policy = MEASURED
) -> Metrics:
    """Loss and accuracy; all arguments are taken to fit each other.

    Parameters
    ----------
    network
        What is measured.
    loss
        What judges its outputs.
    params
        The network's.
    data
        What it is measured on.
    engine
        The name of the engine, as `predict` takes it.
    policy
        What the fused engine decides by.
    """
    if not _passes_fused("evaluate", network, loss, data.inputs, engine, policy):
        return measure(network, loss, params, data)
    return _or_reference(
        engine,
        lambda: fused.evaluate(network, loss, params, data, policy),
        lambda: measure(network, loss, params, data),
    )


def _passes_fused(name: str, network: Layer, loss: Loss | None, x: Tensor, engine: EngineName, policy: Policy) -> bool:
    """Whether a pass forward runs on the fused engine; `ValueError` where it is asked for and cannot.

    Parameters
    ----------
    name
        That of the caller's function, for the message.
    network
        What passes forward.
    loss
        The loss that is made of the outputs, if any.
    x
        The inputs.
    engine
        The name of the engine, as `predict` takes it.
    policy
        What the fused engine decides by.
    """
    checks.float_tensor("inputs", x)
    if engine == "reference":
        return False
    if engine == "auto" and not fused.is_faster_forward(network, x.shape[:-1].numel(), policy):
        return False
    reason = fused.explain_forward(network, loss, x, policy)
    if reason is not None and engine == "fused":
        raise ValueError(f"{name}: engine='fused' cannot run this: {reason}; pass engine='reference' or 'auto'")
    return reason is None


def _or_reference(engine: EngineName, native: Callable[[], Result], reference: Callable[[], Result]) -> Result:
    """What native code gives; what the reference does, with a warning, where code turns out not to be made.

    Raises `ValueError` with the reason where the fused engine is asked for.
    """
    try:
        return native()
    except fused.CannotMakeCodeError as error:
        if engine == "fused":
            raise ValueError(f"engine='fused' cannot run this: {error}; pass engine='reference' or 'auto'") from error
        fused.warn_of_fallback(str(error))
        return reference()
