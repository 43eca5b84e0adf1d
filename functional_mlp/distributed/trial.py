"""A trial of what ranks were given, before training: values whose words are the same may compute different numbers."""

from typing import Any

import torch
from torch import Tensor

from functional_mlp import pytree
from functional_mlp.backprop import value_and_grad
from functional_mlp.state import Job

# The rows that are tried.
ROWS = 8
# How far the figures of two ranks may be apart: processors of two kinds round differently, in float64 by far less.
RELATIVE, ABSOLUTE = 1e-6, 1e-12


def tried(job: Job) -> dict[str, Tensor]:
    """Figures of the network, loss, penalty and optimizer on the first rows: each needs those before it to agree.

    All is computed in float64 on the CPU. A tensor's figures are the sums of its positive and of its negative numbers.
    """
    (member,) = job.members
    state = pytree.map(_widened, member.start.optimizer_state)
    inputs, targets = _widened(member.data.inputs[:ROWS]), _widened(member.data.targets[:ROWS])
    outputs = job.network.apply(state.params, inputs)
    found = value_and_grad(job.network, job.loss)(state.params, inputs, targets)
    penalized = value_and_grad(job.network, job.loss, job.penalty)(state.params, inputs, targets)
    stepped = member.optimizer.update(state, penalized[1])
    steps = pytree.map(torch.sub, stepped.params, state.params)
    return {
        "network": _figures(outputs),
        "network or loss": _figures(found),
        "penalty": _figures(penalized),
        "optimizer": _figures(steps),
    }


def first_difference(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> str | None:
    """The first argument whose figures differ by more than rounding, if there is one."""
    for name, figures in ours.items():
        if not torch.allclose(figures, theirs[name], rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True):
            return name
    return None


def _widened(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu()
    return tensor.double() if tensor.is_floating_point() else tensor


def _figures(tree: Any) -> Tensor:
    sums = [part.sum() for leaf in pytree.leaves(tree) for part in (leaf.clamp(min=0), leaf.clamp(max=0))]
    return torch.stack(sums) if sums else torch.zeros(0)
