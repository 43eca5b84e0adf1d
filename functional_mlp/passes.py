"""The two passes of a network, and their straight code for inputs of the kinds that come again and again."""

import functools
from collections.abc import Callable
from typing import Any

import attrs
import torch
from torch import Tensor

from functional_mlp import pytree
from functional_mlp.forks import cached_property
from functional_mlp.layers.adapting import Adapted
from functional_mlp.layers.base import Layer, Params, with_all_inside
from functional_mlp.losses import Loss
from functional_mlp.penalties import Penalty
from functional_mlp.reads import Reads, Unchanged, never_sure
from functional_mlp.recording import Recorded, Recording
from functional_mlp.unpacking import Packing, Unpacking, packing, unpacking
from functional_mlp.usual import is_usual
from functional_mlp.value import EXPRESSIONS, is_ours

# What is given of the passes: the loss, and its gradient.
Gradients = tuple[Tensor, Params]
# The passes, for params and inputs that are known to fit, and targets that are yet to be checked.
Passes = Callable[[Params, Tensor, Tensor], Gradients]
# The same, with what calls a function that looks at numbers.
_Function = Callable[[Params, Tensor, Tensor, Callable[..., Tensor]], Gradients]

# The functions that the passes call of layers, losses and penalties.
_CALLED = (
    *(*EXPRESSIONS, "forward", "backward", "backward_params"),
    *("checked_targets", "batch_value_and_grad", "batch_value", "batch_grad", "sample_values"),
    *("total", "added_to_grads", "added_to"),
)
# Shapes, dtypes and devices for which straight code is kept: those that came last. That of one takes 8 kB, and 1 ms to
# make where a call takes 0.2 (the paper's network); the number was chosen.
MOST_KINDS = 64


@attrs.define
class _Kind:
    """Inputs of one shape and dtype on one device, and the straight code for them, once there is one."""

    has_come: bool = False
    written: Passes | None = None


def _new_kind(shape: torch.Size, dtype: torch.dtype, device: torch.device) -> _Kind:
    return _Kind()


class WrittenPasses:
    """The passes as a function says, in straight code for inputs of a kind that has come before.

    Only the library's own layers, losses and penalties are sure to call the same functions of torch each time. Where
    torch does something unusual, nothing is recorded, and nothing that was recorded is used.
    """

    def __init__(self, function: _Function, network: Layer, loss: Loss, penalty: Penalty | None) -> None:
        self._function = function
        self._network, self._loss, self._penalty = network, loss, penalty
        self._kinds = functools.lru_cache(MOST_KINDS)(_new_kind)

    def __reduce__(self) -> tuple[Any, ...]:  # without the code, whose parts not all can be pickled
        return type(self), (self._function, self._network, self._loss, self._penalty)

    def __call__(self, params: Params, x: Tensor, targets: Tensor) -> Gradients:
        if not (is_usual() and self._unchanged()):
            return self._as_is(params, x, targets)
        kind = self._kinds(x.shape, x.dtype, x.device)
        if kind.written is not None:
            return kind.written(params, x, targets)
        if kind.has_come and isinstance(targets, Tensor):
            return self._record(kind, params, x, targets)
        kind.has_come = True
        return self._as_is(params, x, targets)

    def _as_is(self, params: Params, x: Tensor, targets: Tensor) -> Gradients:
        return self._function(params, x, targets, _call)

    def _record(self, kind: _Kind, params: Params, x: Tensor, targets: Tensor) -> Gradients:
        leaves, structure = pytree.flatten(params)
        recording = Recording([*leaves, x, targets])
        *leaves, x, targets = recording.inputs
        with recording:
            gradients = self._function(structure.unflatten(leaves), x, targets, recording.aside)
        results, structure_of_results = pytree.flatten(gradients)
        recorded = recording.function(results)
        if recorded is None:
            kind.written = self._as_is
        else:
            kind.written = _of_trees(recorded, unpacking(structure), packing(structure_of_results))
        return gradients

    @cached_property
    def _unchanged(self) -> Unchanged:
        """Whether the functions of the layers, the loss and the penalty are those of the library."""
        values = *with_all_inside(self._network), self._loss, self._penalty
        kinds = {type(value) for value in values if value is not None}
        if Adapted in kinds or not all(map(is_ours, kinds)):
            return never_sure
        return Reads.of(dict.fromkeys(kinds, ()), _CALLED).unchanged()


def _of_trees(recorded: Recorded, unpacked: Unpacking, packed: Packing) -> Passes:
    """What was seen of the leaves, for the trees that they come in."""

    def passes(params: Params, x: Tensor, targets: Tensor) -> Gradients:
        gradients: Gradients = packed(recorded(*(unpacked(params) or ()), x, targets))
        return gradients

    return passes


def _call(function: Callable[..., Tensor], *arguments: Tensor) -> Tensor:
    return function(*arguments)
