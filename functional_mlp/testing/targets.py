"""The kinds of targets that losses take."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from torch import Tensor

from functional_mlp.losses import one_hot

Targets = Callable[[int, int, torch.dtype], SearchStrategy[Tensor]]


@functools.cache
def _values(samples: int, features: int, dtype: torch.dtype) -> SearchStrategy[Tensor]:
    """Any numbers, shaped like the predictions."""
    count = samples * features
    numbers = st.lists(st.integers(-64, 64), min_size=count, max_size=count)
    return numbers.map(lambda n: torch.tensor(n, dtype=dtype).reshape(samples, features) / 16)


@functools.cache
def _probabilities(samples: int, features: int, dtype: torch.dtype) -> SearchStrategy[Tensor]:
    """Positive numbers that sum to 1 over the features."""
    count = samples * features
    weights = st.lists(st.integers(1, 8), min_size=count, max_size=count)
    return weights.map(lambda n: torch.tensor(n, dtype=dtype).reshape(samples, features)).map(
        lambda weight: weight / weight.sum(1, keepdim=True)
    )


@functools.cache
def _classes(samples: int, features: int, dtype: torch.dtype) -> SearchStrategy[Tensor]:
    """Class indices, one a sample."""
    return st.lists(st.integers(0, features - 1), min_size=samples, max_size=samples).map(torch.tensor)


@functools.cache
def _one_hot(samples: int, features: int, dtype: torch.dtype) -> SearchStrategy[Tensor]:
    """Class indices as rows with a single 1."""
    return _classes(samples, features, dtype).map(lambda classes: one_hot(classes, features, dtype))


TARGET_KINDS: dict[str, Targets] = {
    "probabilities": _probabilities,
    "one_hot": _one_hot,
    "values": _values,
    "classes": _classes,
}


def accepted_kinds(loss: Any, features: int) -> list[str]:
    """The kinds that a loss gives a finite value for; the others it refuses, or they lie outside its domain.

    >>> from functional_mlp import MeanSquaredError
    >>> accepted_kinds(MeanSquaredError(), 3)
    ['probabilities', 'one_hot', 'values']
    """
    probes = {
        "probabilities": torch.full((1, features), 1 / features, dtype=torch.float64),
        "one_hot": one_hot(torch.tensor([0]), features, torch.float64),
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
