"""The native shuffle draws what the plain one does."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import functional_mlp as fm
from functional_mlp import shuffling
from functional_mlp.engine import shuffle
from functional_mlp.engine.llvm.target import host
from functional_mlp.engine.policy import MEASURED, Policy
from tests.forked import forked, forks_here
from tests.helpers import KEY

NATIVE = shuffle.function_of(host(), MEASURED)


def by(function, digest: bytes, n: int, narrow: int = shuffling.NARROW) -> torch.Tensor:
    order = torch.full((n,), -1)
    function(digest, order, narrow)
    return order


@given(
    digest=st.binary(min_size=16, max_size=16),
    n=st.one_of(st.integers(0, 40), st.integers(250, 600)),
    narrow=st.one_of(st.sampled_from([0, 8, 256]), st.just(shuffling.NARROW)),
)
@settings(max_examples=100)
def test_both_shuffles_give_the_same_bits(digest: bytes, n: int, narrow: int) -> None:
    assert by(NATIVE, digest, n, narrow).equal(by(shuffling.shuffle, digest, n, narrow))


def test_words_that_would_favour_a_place_draw_nothing_in_either() -> None:
    n = 500_000
    tried = shuffling._words(KEY.digest, 0, n // 8)
    places = torch.arange(1, n + 1)
    halves = torch.stack([torch.from_numpy(half.astype("int64")) for half in (tried & 0xFFFFFFFF, tried >> 32)], 1)
    rests = halves.reshape(-1) * places % 2**32
    assert (rests < 2**32 % places).sum() > 3
    assert by(NATIVE, KEY.digest, n).equal(by(shuffling.shuffle, KEY.digest, n))


def test_an_order_of_several_calls_is_the_same() -> None:
    in_several = shuffle.function_of(host(), Policy(places_per_call=264, places_drawn_ahead=32))
    assert in_several.places_per_call == 264
    assert by(in_several, KEY.digest, 1000).equal(by(NATIVE, KEY.digest, 1000))


def test_permutations_are_drawn_natively_once_the_engine_is_there() -> None:
    shuffle.function_of.cache_clear()
    assert shuffle.function_of(host(), MEASURED) == shuffling._shuffle
    assert fm.random.permutation(KEY, 1000).equal(by(shuffling.shuffle, KEY.digest, 1000))


def test_nothing_is_written_beyond_an_order() -> None:
    for n in range(40):
        memory = torch.full((n + 8,), -1)
        NATIVE(KEY.digest, memory[4 : 4 + n])
        assert memory[:4].eq(-1).all()
        assert memory[4 + n :].eq(-1).all()


@forks_here
def test_a_forked_process_draws_the_same() -> None:
    expected = fm.random.permutation(KEY, 1000)
    assert forked(lambda: fm.random.permutation(KEY, 1000).equal(expected))


def test_memory_without_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="hold"):
        NATIVE(KEY.digest, torch.empty(5, dtype=torch.int64, device="meta"))
