"""What to draw: tensors in awkward memory, keys, layers, networks, data sets, losses and optimizers.

Every strategy shrinks towards what is quickest to read: zeros in contiguous memory, `key(0)`, `Identity()` or
`Linear(1, 1)`, networks with no layer that does not matter, one sample, `SGD`.
"""

import functools
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
    layout = draw(layouts(len(size), dtype, expanded=True)) if awkward else _contiguous
    return layout(draw(_contiguous_tensors(size, dtype, numbers() if elements is None else elements)))


@st.composite
def _contiguous_tensors(draw: DrawFn, shape: Shape, dtype: torch.dtype, elements: SearchStrategy[float]) -> Tensor:
    count = math.prod(shape)
    if count > NUMBERS_AT_MOST:
        few = torch.tensor(draw(_lists(elements, NUMBERS_AT_MOST)), dtype=dtype)
        places = random.uniform(draw(keys()), (count,), 0, NUMBERS_AT_MOST, dtype=torch.float64).long()
        return few[places].reshape(shape)
    return torch.tensor(draw(_lists(elements, count)), dtype=dtype).reshape(shape)


@functools.lru_cache(maxsize=1024)
def _lists(elements: SearchStrategy[float], count: int) -> SearchStrategy[list[float]]:
    # To make a strategy takes longer than to draw from it.
    return st.lists(elements, min_size=count, max_size=count)


Layout = Callable[[Tensor], Tensor]


@functools.cache
def layouts(dimensions: int, dtype: torch.dtype, *, expanded: bool = False) -> SearchStrategy[Layout]:
    """The functions that put a tensor into memory in another way and, unless `expanded`, leave its numbers alone."""
    choices: list[Layout] = [_contiguous, _at_offset, _strided]
    if dimensions > 1:
        choices.append(_transposed)
    if dtype in (torch.float32, torch.float64):
        choices.append(_negated)
    if expanded and dimensions > 0:
        choices.append(_expanded)
    return st.sampled_from(choices)


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
    return st.one_of(st.builds(_sized, _linears_to, sizes, sizes), activations())


def _sized(linear: "SizedLinear", in_features: int, out_features: int) -> Linear:
    return linear(in_features, out_features)


@functools.cache
def activations() -> SearchStrategy[Layer]:
    """The elementwise layers, their parameters included."""
    plain: list[Layer] = [Identity(), ReLU(), Tanh(), Sigmoid(), Softplus(), SiLU(), GELU(), GELU("tanh")]
    return st.one_of(
        st.sampled_from(plain),
        st.builds(LeakyReLU, numbers(-1.0, 1.0)),
        st.builds(ELU, numbers(0.0, 2.0)),
    )


# A Linear layer of which only the sizes are open.
SizedLinear = Callable[[int, int], Linear]

_linears_to: SearchStrategy[SizedLinear] = st.builds(
    functools.partial,
    st.just(Linear),
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
    checks.integer("networks: max_depth", max_depth, minimum=1)
    checks.integer("networks: max_width", max_width, minimum=1)
    widths = st.integers(1, max_width)
    first = draw(widths) if in_features is None else in_features
    last = draw(widths) if out_features is None else out_features
    return draw(_chains(max_depth, max_width, max_nesting))(first, last)


# A network of which only the sizes are open: they are filled in from the first layer to the last, so that a layer
# can be left out, in shrinking, without any other changing.
Chain = Callable[[int, int], Sequential]
Link = Callable[[int], Layer]


@functools.cache
def _chains(max_depth: int, max_width: int, nesting: int) -> SearchStrategy[Chain]:
    """Links, then a Linear layer to the size that is wanted, then perhaps an activation."""
    links = st.lists(_links(max_depth, max_width, nesting), max_size=max_depth - 1)
    return st.builds(_chain, links, _linears_to, st.lists(activations(), max_size=min(1, max_depth - 1)))


def _chain(links: list[Link], to_last: SizedLinear, tail: list[Layer]) -> Chain:
    def sized(first: int, last: int) -> Sequential:
        layers: list[Layer] = []
        size = first
        for link in links:
            layers.append(link(size))
            size = layers[-1].out_features or size
        return Sequential(*layers, to_last(size, last), *tail)

    return sized


def _links(max_depth: int, max_width: int, nesting: int) -> SearchStrategy[Link]:
    """Layers that take any size: activations, Linear ones, Residual ones, and with `nesting` whole networks."""
    sizes = st.integers(1, max_width)
    links: list[SearchStrategy[Link]] = [
        activations().map(_unsized),
        st.builds(_to, _linears_to, sizes),
        activations().map(Residual).map(_unsized),
        _linears_to.map(_residual),
    ]
    if nesting > 0:
        inner = _chains(max(1, max_depth - 1), max_width, nesting - 1)
        links += [st.builds(_to, inner, sizes), inner.map(_residual)]
    return st.one_of(links)


def _unsized(layer: Layer) -> Link:
    return lambda size: layer


def _to(sized: Callable[[int, int], Layer], out_features: int) -> Link:
    return lambda size: sized(size, out_features)


def _residual(sized: Callable[[int, int], Layer]) -> Link:
    return lambda size: Residual(sized(size, size))


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
    )
