"""Shuffles: permutations of 0, …, n − 1 that follow from 16 bytes, the same on every machine.

The algorithm is Fisher and Yates', from the inside out: place i takes what lies in place j ≤ i, drawn with equal
chances, and i goes there. With independent draws every permutation is equally likely.

The draws come from the words of Philox-4x64-10, a function of a key of 128 bits and of a counter alone (Salmon,
Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011). A word x of w bits draws ⌊x (i + 1) / 2ʷ⌋.
It is rejected where x (i + 1) mod 2ʷ is below 2ʷ mod (i + 1), which gives every place the same number of words (Lemire,
"Fast random integer generation in an interval", 2019); the word of the next attempt is then taken. Places below
`NARROW` take halves of words, w = 32, and those from there on whole words, w = 64.

The fused engine draws the same in native code (`functional_mlp.engine.shuffle`), and puts it in the place of what is
here when it is first used.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from functional_mlp import checks

# Places from this one on need words of 64 bits.
NARROW = 1 << 32
# A block of Philox-4x64-10 has four words, and eight halves; its rounds, and their constants.
WORDS, HALVES, ROUNDS = 4, 8, 10
MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
INCREMENTS = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)

# Places whose draws are made at a time. Of the time for 10,000 and for 300,000: 1.18 and 1.09 for 1024, 0.98 and 0.90
# for a quarter as many, 0.98 and 1.28 for four times as many; of that for a million 1.07 for a quarter.
PLACES_AT_ONCE = 1 << 16

# What a checkpoint says of how orders follow from keys.
NAME = "Fisher-Yates by Philox-4x64-10"


def shuffled(digest: bytes, n: int) -> Tensor:
    """The permutation of 16 bytes: an int64 tensor of shape (n,) on the CPU.

    >>> shuffled(bytes(16), 5).sort().values.tolist()
    [0, 1, 2, 3, 4]
    """
    order = torch.empty(n, dtype=torch.int64, device="cpu")
    checks.in_memory("the order", order)
    _shuffle(digest, order)
    return order


def shuffle(digest: bytes, order: Tensor, narrow: int = NARROW, at_once: int = PLACES_AT_ONCE) -> None:
    """Write a permutation over a contiguous int64 tensor; places from `narrow` on are drawn from whole words."""
    numbers = order.numpy()
    for first in range(0, len(order), at_once):
        last = min(first + at_once, len(order))
        ends = range(first, min(last, narrow)), range(max(first, narrow), last)
        drawn = _narrow(digest, ends[0]) + [_wide(digest, place) for place in ends[1]]
        _swap(numbers, first, drawn)


def use(function: Callable[[bytes, Tensor], None]) -> None:
    """Shuffle by a function that does the same as `shuffle`, and faster."""
    global _shuffle
    _shuffle = function


_shuffle: Callable[[bytes, Tensor], None] = shuffle


def _swap(order: np.ndarray, first: int, drawn: list[int]) -> None:
    """Fisher and Yates' step for the places from `first` on."""
    numbers = order.data
    for i, j in enumerate(drawn, start=first):
        numbers[i] = numbers[j]
        numbers[j] = i


def _narrow(digest: bytes, places: range) -> list[int]:
    """The places drawn for some, which begin at a multiple of eight, from halves of words."""
    if not places:
        return []
    words = _words(digest, places.start // HALVES, -(-len(places) // HALVES))
    halves = np.stack([words & np.uint64(2**32 - 1), words >> np.uint64(32)], 1).reshape(-1)[: len(places)]
    choices = np.arange(places.start + 1, places.stop + 1, dtype=np.uint64)
    products = halves * choices
    rests = products & np.uint64(2**32 - 1)
    drawn: list[int] = (products >> np.uint64(32)).tolist()
    for index in np.flatnonzero(rests < choices).tolist():
        drawn[index] = _settled(digest, places[index], int(halves[index]), 32)
    return drawn


def _wide(digest: bytes, place: int) -> int:
    """The place drawn for one from a whole word."""
    return _settled(digest, place, _word(digest, place, 64, 0), 64)


def _settled(digest: bytes, place: int, word: int, bits: int) -> int:
    """The place that a word draws for one; where it draws nothing, what that of the next attempt does."""
    choices, attempt = place + 1, 0
    while word * choices % 2**bits < 2**bits % choices:
        attempt += 1
        word = _word(digest, place, bits, attempt)
    return word * choices >> bits


def _word(digest: bytes, place: int, bits: int, attempt: int) -> int:
    """The word, of `bits` bits, from which a place is drawn in an attempt."""
    bit = place * bits
    block: list[int] = _words(digest, bit // (64 * WORDS), 1, attempt).tolist()
    word = block[bit // 64 % WORDS]
    return word >> bit % 64 & ((1 << bits) - 1)


def _words(digest: bytes, first: int, blocks: int, attempt: int = 0) -> np.ndarray:
    """The words of some blocks in an attempt, from the block of a number on."""
    key = int.from_bytes(digest, "little")
    counter = first + (attempt << 64)  # numpy adds one before each block
    return np.random.Philox(key=key, counter=counter).random_raw(WORDS * blocks)
