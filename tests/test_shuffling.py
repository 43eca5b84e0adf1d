"""Shuffles are Fisher and Yates' of Philox-4x64-10, as the plainest code that does it has them, and are fair."""

import math

import pytest
import torch

import functional_mlp as fm
from functional_mlp import shuffling
from tests.helpers import KEY

MASK = 2**64 - 1


def philox(digest: bytes, counter: list[int]) -> list[int]:
    """Philox-4x64-10 by the paper's formula (Salmon et al., 2011, section 3.2)."""
    keys = [int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")]
    a, b, c, d = counter
    for _ in range(10):
        first, second = 0xD2E7470EE14C6C93 * a, 0xCA5A826395121157 * c
        a, b, c, d = (second >> 64) ^ b ^ keys[0], second & MASK, (first >> 64) ^ d ^ keys[1], first & MASK
        keys = [(keys[0] + 0x9E3779B97F4A7C15) & MASK, (keys[1] + 0xBB67AE8584CAA73B) & MASK]
    return [a, b, c, d]


def drawn(digest: bytes, place: int, bits: int) -> int:
    """One of 0, …, place, with equal chances."""
    choices, per_block, attempt = place + 1, 256 // bits, 0
    while True:
        block = philox(digest, [place // per_block + 1, attempt, 0, 0])
        number = sum(word << 64 * index for index, word in enumerate(block))
        word = number >> bits * (place % per_block) & 2**bits - 1
        if word * choices % 2**bits >= 2**bits % choices:
            return word * choices >> bits
        attempt += 1


def plain(digest: bytes, n: int, narrow: int = 2**32) -> list[int]:
    order: list[int] = []
    for place in range(n):
        j = drawn(digest, place, 32 if place < narrow else 64)
        order.append(place)
        order[place], order[j] = order[j], order[place]
    return order


def test_philox_is_that_of_the_paper() -> None:
    """The known answers of Random123, the authors' library (kat_vectors, philox4x64 10)."""
    assert philox(bytes(16), [0] * 4) == [
        0x16554D9ECA36314C,
        0xDB20FE9D672D0FDC,
        0xD7E772CEE186176B,
        0x7E68B68AEC7BA23B,
    ]
    assert philox(b"\xff" * 16, [MASK] * 4) == [
        0x87B092C3013FE90B,
        0x438C3C67BE8D0224,
        0x9CC7D7C69CD777B6,
        0xA09CAEBF594F0BA0,
    ]


@pytest.mark.parametrize("n", [0, 1, 2, 7, 8, 9, 100, 1000])
@pytest.mark.parametrize("narrow", [0, 8, 40, 2**32])
def test_the_shuffle_is_what_the_plain_one_is(n: int, narrow: int) -> None:
    for key in KEY.split(3):
        order = torch.empty(n, dtype=torch.int64)
        shuffling.shuffle(key.digest, order, narrow)
        assert order.tolist() == plain(key.digest, n, narrow)


def rejected(digest: bytes, place: int) -> bool:
    half = philox(digest, [place // 8 + 1, 0, 0, 0])[place % 8 // 2] >> 32 * (place % 2) & 2**32 - 1
    return half * (place + 1) % 2**32 < 2**32 % (place + 1)


def test_words_that_would_favour_a_place_draw_nothing() -> None:
    """Far out, where every third word is refused, all draws are those of the plain shuffle."""
    first = 3 * 2**30  # 2³² mod (place + 1) is about 2³⁰
    places = range(first, first + 64)
    refused = [place for place in places if rejected(KEY.digest, place)]
    assert 5 < len(refused) < 40
    assert shuffling._narrow(KEY.digest, places) == [drawn(KEY.digest, place, 32) for place in places]


@pytest.mark.parametrize("place", [2**32 - 1, 2**32, 2**40, 2**62 + 2**61])
def test_places_of_any_size_are_drawn(place: int) -> None:
    for key in KEY.split(20):
        j = shuffling._wide(key.digest, place)
        assert j == drawn(key.digest, place, 64)
        assert 0 <= j <= place


def test_orders_of_several_pieces_are_the_plain_ones() -> None:
    order = torch.empty(100, dtype=torch.int64)
    shuffling.shuffle(KEY.digest, order, 56, at_once=16)
    assert order.tolist() == plain(KEY.digest, 100, 56)


def chi_squared(counts: torch.Tensor) -> float:
    """How far counts are from equal ones, in standard deviations of the statistic."""
    expected, degrees = counts.sum() / counts.numel(), counts.numel() - 1
    statistic = ((counts - expected) ** 2 / expected).sum().item()
    return (statistic - degrees) / math.sqrt(2 * degrees)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_all_permutations_are_equally_frequent(n: int) -> None:
    weights = torch.tensor([n**i for i in range(n)])
    codes = torch.stack([fm.random.permutation(key, n) for key in KEY.split(6000)]) @ weights
    counts = codes.unique(return_counts=True)[1]
    assert counts.numel() == math.factorial(n)
    assert abs(chi_squared(counts.double())) < 4


def test_every_row_is_as_often_in_every_place() -> None:
    """The shuffles of one run, whose keys are those of its epochs, of more rows than a block draws."""
    n, epochs = 20, 4000
    orders = torch.stack([fm.random.permutation(KEY.fold_in(epoch), n) for epoch in range(epochs)])
    cells = (orders + n * torch.arange(n)).reshape(-1).bincount(minlength=n * n)
    # Rows and columns of the table have fixed sums.
    statistic = ((cells - epochs / n) ** 2 / (epochs / n)).sum().item() * (n - 1) / n
    degrees = (n - 1) ** 2
    assert abs(statistic - degrees) / math.sqrt(2 * degrees) < 4
