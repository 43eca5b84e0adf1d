"""What to draw: tensors in awkward memory, keys, layers, networks, data sets, losses and optimizers.

Every strategy shrinks towards what is quickest to read: the tensor of zeros, contiguous; `key(0)`;
`Linear(1, 1)`; one sample; `SGD(0.5)`.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from torch import Tensor

from functional_mlp import checks, initializers, random
from functional_mlp.datasets import Dataset
from functional_mlp.layers.activations import ELU, GELU, Identity, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh
from functional_mlp.layers.base import Layer
from functional_mlp.layers.combinators import Residual, Sequential
from functional_mlp.layers.linear import Linear
from functional_mlp.losses import CrossEntropy, Loss, MeanSquaredError
from functional_mlp.optimizers import SGD, Adam, AdamW, BatchGD, Momentum, Nesterov, Optimizer
from functional_mlp.testing.targets import TARGET_KINDS, accepted_kinds

Shape = tuple[int, ...]

# Beyond this many numbers a tensor is drawn from one seed: shrinking number by number would take too long.
NUMBERS_AT_MOST = 64


def numbers(low: float = -4.0, high: float = 4.0) -> SearchStrategy[float]:
    """Multiples of 1/16 between two ends, 0 first: short to read, and added and subtracted without rounding."""
    return st.integers(math.ceil(16 * low), math.floor(16 * high)).map(lambda n: n / 16)


def numbers_off_kinks(low: float = -4.0, high: float = 4.0) -> SearchStrategy[float]:
    """Odd multiples of 1/16, which are at least 1/16 away from 0, ±1/2, ±1, …: where activations have kinks."""
    return st.integers(math.ceil((16 * low - 1) / 2), math.floor((16 * high - 1) / 2)).map(lambda n: (2 * n + 1) / 16)


@st.composite
def tensors(
    draw: DrawFn,
    shape: Shape | SearchStrategy[Shape],
    dtype: torch.dtype = torch.float32,
    *,
    elements: SearchStrategy[float] | None = None,
    awkward: bool = True,
) -> Tensor:
    """Tensors of a shape; with `awkward`, some lie in memory in ways that code forgets about.

    Those are expanded tensors (one number in several places), strided ones, slices at an offset into a larger
    tensor, transposed ones, and negated views (whose memory holds the numbers with the other sign). `elements`
    are by default multiples of 1/16 between −4 and 4.

    >>> from hypothesis import given
    >>> @given(tensors((2, 3)))
    ... def addition_commutes(x):
    ...     assert torch.equal(x + 1, 1 + x)
    >>> addition_commutes()
    """
    size = shape if isinstance(shape, tuple) else draw(shape)
    choices = [*layouts(size, dtype), *([_expanded] if size else [])]
    layout = draw(st.sampled_from(choices)) if awkward else _contiguous
    return layout(draw(_contiguous_tensors(size, dtype, numbers() if elements is None else elements)))


@st.composite
def _contiguous_tensors(draw: DrawFn, shape: Shape, dtype: torch.dtype, elements: SearchStrategy[float]) -> Tensor:
    count = math.prod(shape)
    if count > NUMBERS_AT_MOST:
        few = torch.tensor(draw(st.lists(elements, min_size=NUMBERS_AT_MOST, max_size=NUMBERS_AT_MOST)), dtype=dtype)
        places = random.uniform(draw(keys()), (count,), 0, NUMBERS_AT_MOST, dtype=torch.float64).long()
        return few[places].reshape(shape)
    return torch.tensor(draw(st.lists(elements, min_size=count, max_size=count)), dtype=dtype).reshape(shape)


Layout = Callable[[Tensor], Tensor]


def layouts(shape: Shape, dtype: torch.dtype) -> list[Layout]:
    """The functions that put a tensor into memory in another way and leave its numbers as they are."""
    choices: list[Layout] = [_contiguous, _at_offset, _strided]
    if len(shape) > 1:
        choices.append(_transposed)
    if dtype in (torch.float32, torch.float64):
        choices.append(_negated)
    return choices


def _contiguous(x: Tensor) -> Tensor:
    return x


def _at_offset(x: Tensor) -> Tensor:
    """A slice of a larger tensor, that begins one number in."""
    return torch.cat([x.new_full((1,), math.nan), x.reshape(-1)])[1:].view(x.shape)


def _strided(x: Tensor) -> Tensor:
    """Every other number of a larger tensor."""
    return torch.stack([x, torch.full_like(x, math.nan)], dim=-1)[..., 0]


def _expanded(x: Tensor) -> Tensor:
    """The first row, in the place of every row."""
    return x[:1].expand(x.shape)


def _transposed(x: Tensor) -> Tensor:
    return x.mT.contiguous().mT


def _negated(x: Tensor) -> Tensor:
    """The imaginary part of a conjugate: torch negates it when it is read."""
    return torch.complex(torch.zeros_like(x), -x).conj().imag


def keys() -> SearchStrategy[random.Key]:
    """Random keys.

    >>> from hypothesis import given
    >>> @given(keys())
    ... def splitting_is_deterministic(key):
    ...     assert key.split() == key.split()
    >>> splitting_is_deterministic()
    """
    return st.builds(random.key, st.integers(0, 2**32 - 1))


INITIALIZERS = [
    initializers.xavier_uniform(),
    initializers.xavier_normal(),
    initializers.kaiming_uniform(),
    initializers.kaiming_normal(),
    initializers.torch_default(),
    initializers.uniform(-1.0, 1.0),
    initializers.normal(0.0, 0.5),
]


def layers(max_width: int = 5) -> SearchStrategy[Layer]:
    """The library's layers that are not made of others: Linear of any sizes, and every activation."""
    sizes = st.integers(1, max_width)
    return st.one_of(st.tuples(sizes, sizes).flatmap(lambda size: _linears(*size)), activations())


def activations() -> SearchStrategy[Layer]:
    """The elementwise layers, their parameters included."""
    plain: list[Layer] = [Identity(), ReLU(), Tanh(), Sigmoid(), Softplus(), SiLU(), GELU(), GELU("tanh")]
    return st.one_of(
        st.sampled_from(plain),
        st.builds(LeakyReLU, numbers(-1.0, 1.0)),
        st.builds(ELU, numbers(0.0, 2.0)),
    )


def _linears(in_features: int, out_features: int) -> SearchStrategy[Linear]:
    return st.builds(
        Linear,
        st.just(in_features),
        st.just(out_features),
        bias=st.sampled_from([True, False]),
        weight_init=st.sampled_from(INITIALIZERS),
        bias_init=st.sampled_from([initializers.zeros(), *INITIALIZERS]),
    )


@st.composite
def networks(
    draw: DrawFn,
    max_depth: int = 4,
    max_width: int = 5,
    *,
    in_features: int | None = None,
    out_features: int | None = None,
    max_nesting: int = 2,
) -> Sequential:
    """Networks of at most `max_depth` layers a level, with nested `Sequential` and `Residual` up to `max_nesting`.

    Sizes that are not given are drawn between 1 and `max_width`; a network knows its `in_features`.

    >>> from hypothesis import given
    >>> @given(networks(in_features=2))
    ... def keeps_the_batch(network):
    ...     params = network.init(random.key(0))
    ...     assert network.apply(params, torch.zeros(3, 2)).shape == (3, network.out_features)
    >>> keeps_the_batch()
    """
    widths = st.integers(1, max_width)
    first = draw(widths) if in_features is None else in_features
    last = draw(widths) if out_features is None else out_features
    return draw(_sequentials(first, last, max_depth, max_width, max_nesting))


@st.composite
def _sequentials(draw: DrawFn, first: int, last: int, max_depth: int, max_width: int, nesting: int) -> Sequential:
    """A Linear layer from `first` features, and blocks after it that lead to `last`."""
    more = draw(st.integers(0, max_depth - 1))
    widths = [draw(st.integers(1, max_width)) for _ in range(more)] + [last]
    blocks: list[Layer] = [draw(_linears(first, widths[0]))]
    for size, successor in itertools.pairwise(widths):
        blocks.append(draw(_blocks(size, successor, max_depth, max_width, nesting)))
    if draw(st.booleans()):
        blocks.append(draw(activations()))
    return Sequential(*blocks)


def _blocks(first: int, last: int, max_depth: int, max_width: int, nesting: int) -> SearchStrategy[Layer]:
    choices: list[SearchStrategy[Any]] = [_linears(first, last)]
    if first == last:
        choices.append(activations())
        choices.append(_linears(first, last).map(Residual))
        choices.append(activations().map(Residual))
    if nesting > 0:
        inner = st.deferred(lambda: _sequentials(first, last, max(1, max_depth - 1), max_width, nesting - 1))
        choices.append(inner)
        if first == last:
            choices.append(inner.map(Residual))
    return st.one_of(choices)


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

    Targets are values, one-hot, probabilities or class indices.

    >>> from hypothesis import given
    >>> @given(datasets(Linear(3, 2), CrossEntropy()))
    ... def fits(data):
    ...     assert data.inputs.shape == (len(data), 3)
    >>> fits()
    """
    checks.integer("datasets: max_size", max_size, minimum=1)
    if network.in_features is None or network.out_features is None:
        raise ValueError(
            f"datasets: network must have in_features and out_features, got {network!r}: begin with Linear"
        )
    size = draw(st.integers(1, max_size))
    kinds = list(TARGET_KINDS) if loss is None else accepted_kinds(loss, network.out_features)
    kind = draw(st.sampled_from(kinds))
    inputs = draw(tensors((size, network.in_features), dtype))
    return Dataset(inputs, draw(TARGET_KINDS[kind](size, network.out_features, dtype)))


def losses() -> SearchStrategy[Loss]:
    """The library's losses."""
    return st.sampled_from([MeanSquaredError(), CrossEntropy()])


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
    )
