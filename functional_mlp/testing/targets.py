"""The kinds of targets that losses take."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from torch import Tensor

from functional_mlp import random
from functional_mlp.targets import one_hot

# Targets of a dtype, in the shape (samples, features) of integers between 0 and 128 that they are made of.
Targets = Callable[[Tensor, torch.dtype], Tensor]

INTEGERS = 128


def _values(integers: Tensor, dtype: torch.dtype) -> Tensor:
    """Any numbers, shaped like the predictions."""
    return (integers - INTEGERS // 2).to(dtype) / 16


def _probabilities(integers: Tensor, dtype: torch.dtype) -> Tensor:
    """Numbers between 0 and 1, positive or all but one 0, that sum to 1 over the features."""
    weights = (1 + integers % 8).to(dtype)
    certain = integers[:, :1] == INTEGERS
    weights = torch.where(certain, one_hot(integers[:, -1] % integers.shape[1], integers.shape[1], dtype), weights)
    return weights / weights.sum(1, keepdim=True)


def _fractions(integers: Tensor, dtype: torch.dtype) -> Tensor:
    """Numbers between 0 and 1, both included, each on its own."""
    return integers.to(dtype) / INTEGERS


def _classes(integers: Tensor, dtype: torch.dtype) -> Tensor:
    """Class indices, one a sample."""
    return integers[:, 0] % integers.shape[1]


def _one_hot(integers: Tensor, dtype: torch.dtype) -> Tensor:
    """Class indices as rows with a single 1."""
    return one_hot(_classes(integers, dtype), integers.shape[1], dtype)


TARGET_KINDS: dict[str, Targets] = {
    "probabilities": _probabilities,
    "one_hot": _one_hot,
    "fractions": _fractions,
    "values": _values,
    "classes": _classes,
}


@functools.cache
def targets(kind: str, samples: int, features: int, dtype: torch.dtype) -> SearchStrategy[Tensor]:
    """Targets of a kind."""
    count = samples * features
    integers = st.lists(st.integers(0, INTEGERS), min_size=count, max_size=count)
    return integers.map(
        lambda drawn: TARGET_KINDS[kind](torch.tensor(drawn, dtype=torch.int64).reshape(samples, features), dtype)
    )


def targets_of_key(kind: str, key: random.Key, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """Targets of a kind from a key, with the ends of what the kind admits among them."""
    draws = random.uniform(key, shape, -16, INTEGERS + 16, dtype=torch.float64)
    return TARGET_KINDS[kind](draws.round().clamp(0, INTEGERS).long(), dtype)


def kinds_of_all(wanted: Sequence[str], function: str) -> set[str]:
    """Kinds that are asked for; `ValueError` where one is unknown.

    >>> kinds_of_all(["values", "classes"], "check_loss") == {"classes", "values"}
    True
    """
    unknown = set(wanted) - TARGET_KINDS.keys()
    if unknown:
        raise ValueError(f"{function}: targets must be kinds out of {list(TARGET_KINDS)}, got {sorted(unknown)}")
    return set(wanted)


def accepted_kinds(loss: Any, features: int) -> list[str]:
    """The kinds that a loss gives a finite value for; the others it refuses, or they lie outside its domain.

    >>> from functional_mlp import MeanSquaredError
    >>> accepted_kinds(MeanSquaredError(), 3)
    ['probabilities', 'one_hot', 'fractions', 'values']
    """
    probes = {
        "probabilities": torch.full((1, features), 1 / features, dtype=torch.float64),
        "one_hot": one_hot(torch.tensor([0]), features, torch.float64),
        "fractions": torch.linspace(0.25, 1, features, dtype=torch.float64).unsqueeze(0),
        "values": torch.full((1, features), -1.5, dtype=torch.float64),
        "classes": torch.tensor([0]),
    }
    return [kind for kind, probe in probes.items() if _is_finite(loss, features, probe)]


def _is_finite(loss: Any, features: int, targets: Tensor) -> bool:
    predictions = torch.full((1, features), 0.5, dtype=torch.float64)
    try:
        return bool(loss.value(predictions, targets).isfinite().all())
    except (TypeError, ValueError, RuntimeError, IndexError):
        return False
