"""The orders in which the epochs of a run go over the data."""

from collections.abc import Sequence

import torch
from torch import Tensor

from functional_mlp import random
from functional_mlp.random import Key


def key_of(key: Key, epoch: int) -> Key:
    """The key of an epoch: it follows from the key of the run and the epoch's number alone."""
    return key.fold_in(epoch)


def keys_of(key: Key, epochs: range) -> Sequence[Key]:
    """Those of some epochs."""
    return key.fold_in_each(epochs)


def order_of(key: Key, samples: int, shuffle: bool = True) -> Tensor:
    """The order of an epoch, given its key; without `shuffle` it is that of the data.

    The fused engine draws it in the native call that trains (`functional_mlp.engine.shuffle`), to the same bits.

    >>> import functional_mlp as fm
    >>> order_of(key_of(fm.random.key(0), epoch=3), 5).equal(fm.random.permutation(fm.random.key(0).fold_in(3), 5))
    True
    """
    return random.permutation(key, samples) if shuffle else torch.arange(samples, device="cpu")
