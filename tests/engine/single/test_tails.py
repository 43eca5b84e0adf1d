"""Rows that share vectors: their packing, and what comes of it."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import functional_mlp as fm
from functional_mlp import pytree
from functional_mlp.engine.single.tails import tail_sizes
from functional_mlp.testing import check_engines_agree
from tests.engine.rules import Normalized

KEY = fm.random.key(0)


@given(st.integers(1, 100), st.sampled_from([2, 4, 8, 16]))
def test_tails_are_the_columns_beyond_full_vectors_in_powers_of_two_that_save_vectors(columns: int, lanes: int) -> None:
    sizes = tail_sizes(columns, lanes)
    if sizes:
        assert sum(sizes) == columns % lanes
        assert all(lanes % size == 0 for size in sizes)
        assert sum(sizes) < lanes


def network_of(sizes: tuple[int, ...]) -> fm.Sequential:
    layers = [(fm.Linear(i, o), fm.Tanh()) for i, o in itertools.pairwise(sizes)]
    return fm.Sequential(*itertools.chain.from_iterable(layers))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    ("sizes", "optimizer"),
    [
        ((2, 25, 25, 25, 2), fm.Momentum(0.05)),
        ((3, 1, 2, 3, 4), fm.Adam(0.01)),
        ((2, 17, 40, 9), fm.Momentum(0.05)),
        ((2, 17, 40, 9), Normalized(0.001)),
        ((1, 8, 5, 24, 33, 2), fm.Adam(0.01)),
    ],
    ids=str,
)
def test_the_engines_agree_where_rows_share_vectors(
    sizes: tuple[int, ...], optimizer: fm.Optimizer, dtype: torch.dtype
) -> None:
    inputs = fm.random.normal(KEY, (30, sizes[0]), dtype=dtype)
    data = fm.Dataset(inputs, fm.random.normal(fm.random.key(1), (30, sizes[-1]), dtype=dtype))
    check_engines_agree(network_of(sizes), fm.MeanSquaredError(), optimizer, data, batch_size=1)


def test_numbers_in_lanes_without_a_parameter_are_of_no_account() -> None:
    data = fm.datasets.disk(KEY, 30, dtype=torch.float64)
    network = network_of((2, 25, 11, 2))
    result = fm.fit(network, fm.MeanSquaredError(), Normalized(0.001), data, key=KEY, epochs=3, engine="fused")
    assert all(leaf.isfinite().all() for leaf in pytree.leaves(result.params))
