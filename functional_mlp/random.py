"""Random draws as pure functions of explicit keys.

A `Key` is a frozen value; it is split into independent children rather than advanced, so the numbers that
a piece of code draws depend on its key alone, and not on what else has run. The global generators of torch,
numpy and Python are neither read nor written. Numbers are drawn on the CPU and then moved, so they are the
same on every device. Keys, orders and uniform numbers are the same on every machine; normal numbers are so up to
the last bits of float64, which depend on the processor's instructions.
"""

import functools
import hashlib
import math
import random as stdlib_random
from collections.abc import Iterable, Sequence

import attrs
import numpy as np
import torch
from torch import Tensor

from functional_mlp import checks, shuffling
from functional_mlp.from_type import drawn

DIGEST_SIZE = 16

# Numbers that are drawn at a time: Python's generator gives no more than some millions. Of the time for eight million
# 0.84 to 0.95 for an eighth as many, 1.9 to 2.1 for eight times as many.
DRAWN_AT_ONCE = 1 << 20

# No draw of `normal` is farther from the mean, in standard deviations: the outermost of 2^52 cells.
FARTHEST = 8.25


@drawn
@attrs.frozen
class Key:
    """A source of randomness: 128 bits, made by `key`, `split`, `fold_in` and `fold_in_each`."""

    digest: bytes = attrs.field()

    @digest.validator
    def _check_digest(self, attribute: object, value: object) -> None:
        if not isinstance(value, bytes) or len(value) != DIGEST_SIZE:
            raise TypeError(f"Key takes {DIGEST_SIZE} bytes, got {checks.describe(value)}: use random.key(seed)")

    def split(self, n: checks.Integer = 2) -> "tuple[Key, ...]":
        """`n` independent child keys; the first children are the same whatever `n` is.

        >>> first, second = key(0).split()
        >>> first == second
        False
        """
        n = checks.integer("split: n", n, minimum=1)
        return self._children(b"split", range(n))

    def fold_in(self, data: checks.Integer) -> "Key":
        """The child key of an integer, an epoch's number for example.

        >>> key(0).fold_in(7) == key(0).fold_in(7)
        True
        """
        (child,) = self._children(b"fold_in", [checks.any_integer("fold_in: data", data)])
        return child

    def fold_in_each(self, numbers: range) -> "tuple[Key, ...]":
        """The child keys of some integers: those that `fold_in` gives one by one, in less time.

        >>> key(0).fold_in_each(range(7, 9)) == (key(0).fold_in(7), key(0).fold_in(8))
        True
        """
        return self._children(b"fold_in", numbers)

    def _children(self, tag: bytes, numbers: Iterable[int]) -> "tuple[Key, ...]":
        return tuple([Key(digest) for digest in _hashes(self.digest, tag, numbers)])


def key(seed: checks.Integer) -> Key:
    """The key of a seed, any integer.

    >>> key(0) == key(0), key(0) == key(1)
    (True, False)
    """
    (digest,) = _hashes(b"", b"seed", [checks.any_integer("seed", seed)])
    return Key(digest)


def uniform(
    key: Key,
    shape: Sequence[checks.Integer],
    low: float = 0.0,
    high: float = 1.0,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Tensor:
    """Independent draws from U[low, high).

    Parameters
    ----------
    key
        What the numbers follow from: the same key gives the same ones on every device.
    shape
        The shape of the tensor.
    low
        The lower end of the interval, which is drawn.
    high
        The upper end, which is not drawn.
    dtype
        That of the tensor.
    device
        Where the tensor is: on the CPU where this is None.

    >>> u = uniform(key(0), (1000,), -1.0, 1.0)
    >>> bool((u >= -1).all() and (u < 1).all()), bool(u.mean().abs() < 0.1)
    (True, True)
    """
    shape = check_draw(key, shape, dtype, device)
    low = checks.number("uniform: low", low)
    high = checks.number("uniform: high", high, low=low)
    for name, end in (("low", low), ("high", high)):
        checks.in_range(f"uniform: {name}", end, dtype, share=0.5)  # so that high - low fits as well
    if _is_meta(device):
        return torch.empty(shape, dtype=dtype, device=device)
    draws = _unit_interval(key, math.prod(shape)).mul_(high - low).add_(low).to(dtype)
    if low < high:  # rounding may reach the excluded end
        draws = draws.clamp_(max=_largest_below(high, low, dtype))
    return draws.reshape(shape).to(device)


@functools.lru_cache(maxsize=256)
def _largest_below(high: float, low: float, dtype: torch.dtype) -> float:
    """The number of a dtype next to `high` on the side of `low`."""
    first, end = torch.tensor([low, high], dtype=dtype, device="cpu")
    return torch.nextafter(end, first).item()


def normal(
    key: Key,
    shape: Sequence[checks.Integer],
    mean: float = 0.0,
    std: float = 1.0,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Tensor:
    """Independent draws from the normal distribution, by inversion of its distribution function.

    Parameters
    ----------
    key
        What the numbers follow from: the same key gives the same ones on every device, up to rounding.
    shape
        The shape of the tensor.
    mean
        The mean of the distribution.
    std
        The standard deviation of the distribution.
    dtype
        That of the tensor.
    device
        Where the tensor is: on the CPU where this is None.

    >>> z = normal(key(0), (1000,), 5.0, 2.0)
    >>> bool((z.mean() - 5).abs() < 0.2), bool((z.std() - 2).abs() < 0.2)
    (True, True)
    """
    mean, std = checks.number("normal: mean", mean), checks.number("normal: std", std, low=0.0)
    shape = check_draw(key, shape, dtype, device)
    checks.in_range(f"normal: |mean| + {FARTHEST} std", abs(mean) + FARTHEST * std, dtype)
    if _is_meta(device):
        return torch.empty(shape, dtype=dtype, device=device)
    quantiles: Tensor = torch.special.ndtri(_unit_interval(key, math.prod(shape)))
    return (mean + std * quantiles).to(dtype).reshape(shape).to(device)


def permutation(key: Key, n: checks.Integer) -> Tensor:
    """A random order of 0, …, n − 1, by `functional_mlp.shuffling`: an int64 tensor of shape (n,) on the CPU.

    >>> permutation(key(0), 5).sort().values.tolist()
    [0, 1, 2, 3, 4]
    """
    check_key("permutation: key", key)
    return shuffling.shuffled(key.digest, checks.integer("permutation: n", n, minimum=0))


def _unit_interval(key: Key, n: int, at_once: int = DRAWN_AT_ONCE) -> Tensor:
    """`n` float64 draws from the midpoints of 2^52 equal cells of (0, 1): neither end is ever drawn."""
    source = stdlib_random.Random(int.from_bytes(key.digest, "little"))  # seeded by all 128 bits
    draws = np.empty(n)
    for first in range(0, n, at_once):
        piece = draws[first : first + at_once]
        words = np.frombuffer(source.randbytes(8 * len(piece)), dtype="<i8")
        piece[:] = words & (2**52 - 1)
    draws += 0.5
    draws *= 2.0**-52
    return torch.from_numpy(draws)


def _hashes(parent: bytes, tag: bytes, numbers: Iterable[int]) -> list[bytes]:
    # The tag personalizes the hash and the number is written in decimal: no two inputs coincide.
    begun = _begun(tag).copy()
    begun.update(parent)
    hashes = []
    for number in numbers:
        own = begun.copy()
        own.update(str(number).encode())
        hashes.append(own.digest())
    return hashes


@functools.cache
def _begun(tag: bytes) -> "hashlib.blake2b":
    """A hash of a tag before its message: to copy it takes half of the time of making it."""
    return hashlib.blake2b(digest_size=DIGEST_SIZE, person=tag)


def check_key(name: str, key: object) -> None:
    """Raise TypeError unless `key` is a Key."""
    checks.instance(name, key, Key, "make one with functional_mlp.random.key(seed)")


def check_draw(key: object, shape: Sequence[checks.Integer], dtype: object, device: object) -> tuple[int, ...]:
    """The shape of a draw as a tuple, once the arguments of the draw are known to be good."""
    check_key("random draw: key", key)
    checks.float_dtype("random draw: dtype", dtype)
    checks.device("random draw: device", device)
    if not isinstance(shape, Sequence) or isinstance(shape, str):
        raise TypeError(f"random draw: shape must be a tuple of integers, got {checks.describe(shape)}")
    return tuple(checks.integer("random draw: each size of shape", size, minimum=0) for size in shape)


def _is_meta(device: torch.device | str | None) -> bool:
    return device is not None and torch.device(device).type == "meta"
