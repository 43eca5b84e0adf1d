"""Groups: members of an ensemble that are trained together, and which engine trains them."""

import functools
from collections.abc import Hashable

import attrs

from functional_mlp import engines
from functional_mlp.engines import Group
from functional_mlp.ensemble.stacked import StackedRun, stacked_layer
from functional_mlp.state import Job, Member


def grouped(job: Job) -> tuple[list[Group], bool]:
    """The groups of an ensemble, and whether they run on the fused engine.

    Raises `ValueError` with the reason where that engine is asked for and cannot run a member.
    """
    fused = engines.choose(job) == "fused"
    return engines.fused_groups(job) if fused else _reference_groups(job), fused


def _reference_groups(job: Job) -> list[Group]:
    """Members whose epochs are the same operations, stacked; members by themselves where layers cannot be."""
    layer = stacked_layer(job)
    if layer is None:
        return [engines.reference_group(job, number) for number in range(len(job.members))]
    return [
        engines.group(job, numbers, functools.partial(StackedRun, layer)) for numbers in engines.same_kind(job, _kind)
    ]


def _kind(member: Member) -> Hashable:
    """What members of one `StackedRun` have in common: one rule for all, with an array of learning rates."""
    start = member.start
    rule = attrs.evolve(member.optimizer, learning_rate=1.0)
    # 0.0 and −0.0 are equal, and are written differently.
    weighted = member.data.weights is not None
    return len(member.data), weighted, rule, repr(rule), start.epoch, start.optimizer_state.step
