"""What to draw: layers, and networks that nest.

They shrink towards `Identity()` and `Linear(1, 1)`, and networks lose every layer that does not matter.
"""

import functools
from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from functional_mlp import catalogue, checks, initializers
from functional_mlp.layers.base import Layer
from functional_mlp.layers.combinators import Residual, Sequential
from functional_mlp.layers.elementwise import ELU, GELU, Identity, LeakyReLU
from functional_mlp.layers.linear import Linear
from functional_mlp.testing.strategies import numbers

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
    others = [cls() for cls in catalogue.ACTIVATIONS.values() if cls not in (Identity, LeakyReLU, ELU)]
    return st.one_of(
        st.sampled_from([Identity(), *others, GELU("tanh")]),
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

    >>> import torch, functional_mlp as fm
    >>> from hypothesis import given
    >>> @given(networks(in_features=2))
    ... def keeps_the_batch(network):
    ...     params = network.init(fm.random.key(0))
    ...     assert network.apply(params, torch.zeros(3, 2)).shape == (3, network.out_features)
    >>> keeps_the_batch()
    """
    max_depth = checks.integer("networks: max_depth", max_depth, minimum=1)
    max_width = checks.integer("networks: max_width", max_width, minimum=1)
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
