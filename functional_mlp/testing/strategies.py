"""What to draw: tensors in awkward memory, keys, data sets, losses and optimizers; networks have their own module.

Every strategy shrinks towards what is quickest to read: zeros in contiguous memory, `key(0)`, one sample, `SGD`.
"""

import functools
import math
from typing import Any

import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from torch import Tensor

from functional_mlp import checks, random
from functional_mlp.datasets import Dataset
from functional_mlp.losses import BinaryCrossEntropy, CrossEntropy, Huber, Loss, MeanSquaredError, PoissonDeviance
from functional_mlp.optimizers import SGD, Adam, AdamW, BatchGD, Lion, Momentum, Nesterov, Optimizer, RMSProp
from functional_mlp.testing.layouts import SHARING, Layout, contiguous, layouts_of
from functional_mlp.testing.targets import TARGET_KINDS, accepted_kinds, targets

Shape = tuple[int, ...]

# Beyond this many numbers a tensor is drawn from one seed: shrinking number by number would take too long.
NUMBERS_AT_MOST = 64


@functools.cache
def numbers(low: float = -4.0, high: float = 4.0) -> SearchStrategy[float]:
    """Multiples of 1/16 between two ends, 0 first: short to read, and added and subtracted without rounding."""
    return st.integers(math.ceil(16 * low), math.floor(16 * high)).map(_sixteenth)


@functools.cache
def numbers_off_kinks(low: float = -4.0, high: float = 4.0) -> SearchStrategy[float]:
    """Odd multiples of 1/16, which are at least 1/16 away from 0, ±1/2, ±1, …: where activations have kinks."""
    return st.integers(math.ceil((16 * low - 1) / 2), math.floor((16 * high - 1) / 2)).map(_odd_sixteenth)


def _sixteenth(n: int) -> float:
    return n / 16


def _odd_sixteenth(n: int) -> float:
    return (2 * n + 1) / 16


def tensors(
    shape: Shape | SearchStrategy[Shape],
    dtype: torch.dtype = torch.float32,
    *,
    elements: SearchStrategy[float] | None = None,
    awkward: bool = True,
) -> SearchStrategy[Tensor]:
    """Tensors of a shape; with `awkward`, some lie in memory in ways that code forgets about.

    Those are expanded tensors and overlapping windows (one number in several places), strided ones, slices at an
    offset into a larger tensor, columns of a wider one, transposed ones, and negated views (whose memory holds the
    numbers with the other sign). `elements` are by default multiples of 1/16 between −4 and 4.

    >>> from hypothesis import given
    >>> @given(tensors((2, 3)))
    ... def addition_commutes(x):
    ...     assert torch.equal(x + 1, 1 + x)
    >>> addition_commutes()
    """
    return _tensors(shape, dtype, numbers() if elements is None else elements, awkward)


# To make a strategy takes longer than to draw from it.
_kept = functools.lru_cache(maxsize=1024)


@_kept
@st.composite
def _tensors(
    draw: DrawFn,
    shape: Shape | SearchStrategy[Shape],
    dtype: torch.dtype,
    elements: SearchStrategy[float],
    awkward: bool,
) -> Tensor:
    size = shape if isinstance(shape, tuple) else draw(shape)
    layout = draw(layouts(len(size), dtype, sharing=True)) if awkward else contiguous
    return layout(draw(_contiguous_tensors(size, dtype, elements)))


@_kept
@st.composite
def _contiguous_tensors(draw: DrawFn, shape: Shape, dtype: torch.dtype, elements: SearchStrategy[float]) -> Tensor:
    count = math.prod(shape)
    drawn = draw(_lists(elements, min(count, NUMBERS_AT_MOST)))
    for number in filter(math.isfinite, drawn):
        checks.in_range("tensors: a number of elements", number, dtype)
    numbers = torch.tensor(drawn, dtype=dtype)
    if count > NUMBERS_AT_MOST:
        places = random.uniform(draw(keys()), (count,), 0, NUMBERS_AT_MOST, dtype=torch.float64).long()
        numbers = numbers[places]
    return numbers.reshape(shape)


@_kept
def _lists(elements: SearchStrategy[float], count: int) -> SearchStrategy[list[float]]:
    return st.lists(elements, min_size=count, max_size=count)


@functools.cache
def layouts(dimensions: int, dtype: torch.dtype, *, sharing: bool = False) -> SearchStrategy[Layout]:
    """The functions that put a tensor into memory in another way and, unless `sharing`, leave its numbers alone."""
    possible = [layout for layout in layouts_of(dimensions, dtype) if sharing or layout not in SHARING]
    return st.sampled_from([contiguous, *possible])


def keys() -> SearchStrategy[random.Key]:
    """Random keys.

    >>> from hypothesis import given
    >>> @given(keys())
    ... def splitting_is_deterministic(key):
    ...     assert key.split() == key.split()
    >>> splitting_is_deterministic()
    """
    return st.builds(random.key, st.integers(0, 2**32 - 1))


@st.composite
def datasets(
    draw: DrawFn,
    network: Any,
    loss: Any = None,
    *,
    max_size: int = 8,
    dtype: torch.dtype = torch.float32,
) -> Dataset:
    """Data that a network can learn from: its sizes, and with a loss only targets that the loss takes.

    Targets are values, fractions, one-hot, probabilities or class indices; some have weights.

    >>> import functional_mlp as fm
    >>> from hypothesis import given
    >>> @given(datasets(fm.Linear(3, 2), fm.CrossEntropy()))
    ... def fits(data):
    ...     assert data.inputs.shape == (len(data), 3)
    >>> fits()
    """
    max_size = checks.integer("datasets: max_size", max_size, minimum=1)
    if network.in_features is None or network.out_features is None:
        raise ValueError(
            f"datasets: network must have in_features and out_features, got {network!r}: begin with Linear"
        )
    size = draw(st.integers(1, max_size))
    kinds = list(TARGET_KINDS) if loss is None else accepted_kinds(loss, network.out_features)
    kind = draw(st.sampled_from(kinds))
    inputs = draw(tensors((size, network.in_features), dtype))
    weights = draw(st.none() | tensors((size,), dtype, elements=st.integers(1, 4).map(float)))
    return Dataset(inputs, draw(targets(kind, size, network.out_features, dtype)), weights)


def losses() -> SearchStrategy[Loss]:
    """The library's losses."""
    return st.sampled_from(
        [
            MeanSquaredError(),
            CrossEntropy(),
            CrossEntropy(label_smoothing=0.1),
            BinaryCrossEntropy(),
            Huber(),
            PoissonDeviance(),
        ]
    )


@functools.cache
def optimizers(max_learning_rate: float = 0.5) -> SearchStrategy[Optimizer]:
    """The library's optimizers, with their constants."""
    rates = st.integers(1, 16).map(lambda n: max_learning_rate * n / 16)
    betas = st.sampled_from([0.9, 0.0, 0.5, 0.99])
    batch_sizes = st.integers(1, 8)
    return st.one_of(
        st.builds(SGD, rates),
        st.builds(BatchGD, rates, batch_sizes),
        st.builds(Momentum, rates, beta=betas),
        st.builds(Nesterov, rates, momentum=betas),
        st.builds(Adam, rates, beta1=betas, beta2=betas),
        st.builds(AdamW, rates, beta1=betas, weight_decay=st.sampled_from([0.01, 0.0, 0.1])),
        st.builds(RMSProp, rates, decay=betas),
        st.builds(Lion, rates, beta1=betas, beta2=betas, weight_decay=st.sampled_from([0.0, 0.1])),
    )
