"""Passes forward over the validation data of a group's members, one member after the other."""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from functional_mlp.engine.members.program import MembersLayout
from functional_mlp.engine.passes import Evaluation, Figures, nothing
from functional_mlp.engine.policy import Policy
from functional_mlp.engine.program import LossProgram
from functional_mlp.forks import cached_property
from functional_mlp.state import Member


class Validations:
    """The passes of a group; members that have the same validation data take turns with one workspace."""

    def __init__(self, program: LossProgram, layout: MembersLayout, members: Sequence[Member], policy: Policy) -> None:
        self._program, self._layout, self._members, self._policy = program, layout, members, policy
        self.rows: int = max(0 if member.validation is None else len(member.validation) for member in members)

    @cached_property
    def _evaluations(self) -> list[Evaluation | None]:
        """Each member's pass."""
        data = {id(member.validation): member.validation for member in self._members}
        made = {key: None if own is None else Evaluation(self._program, own, self._policy) for key, own in data.items()}
        return [made[id(member.validation)] for member in self._members]

    @cached_property
    def are_short(self) -> bool:
        """Whether all members have validation data, and a pass over them is one call."""
        return all(evaluation is not None and evaluation.is_short for evaluation in self._evaluations)

    @cached_property
    def tables(self) -> Any:
        """What native code is told of the passes, a row a member (see `functional_mlp.engine.validation`)."""
        entries = [entry for evaluation in self._evaluations if evaluation is not None for entry in evaluation.table]
        return (ctypes.c_int64 * len(entries))(*entries)

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """Pairs of the places of each parameter: in units among a member's, and in the workspace of a pass."""
        (there, *_) = [evaluation.layout.places for evaluation in self._evaluations if evaluation is not None]
        columns = [np.concatenate([place.ravel() for place in places]) for places in (self._layout.places, there)]
        return np.stack(columns, 1)

    def figures(self, member: int, losses: Sequence[float], right: Sequence[float]) -> Figures:
        """The losses and accuracies of a member's passes, given the sums of the losses and the right answers."""
        evaluation = self._evaluations[member]
        assert evaluation is not None, "there is data to be passed forward"
        return evaluation.rows.figures(losses, right)

    def measure(self, member: int, params: Any) -> Figures:
        """The loss and the accuracy of a pass with a member's params; NaN where there is nothing to validate on."""
        evaluation = self._evaluations[member]
        if evaluation is None:
            return nothing(1)
        metrics = evaluation.metrics(evaluation.packed(params))
        return (metrics.loss,), (metrics.accuracy,)
