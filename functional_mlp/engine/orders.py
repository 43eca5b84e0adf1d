"""The orders of epochs in memory: one for each member of a run, drawn anew for each epoch."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from functional_mlp import checks
from functional_mlp.engine import shuffle
from functional_mlp.engine.llvm import target as machine
from functional_mlp.engine.policy import Policy
from functional_mlp.random import Key


class Orders:
    """The orders (members, samples) of an epoch, and what native code is told to draw them.

    At first, and for good where they are not `shuffled`, they are those of the data. `pointer` is where they lie, and
    `shuffle` where the function lies that draws one.
    """

    def __init__(self, members: int, samples: int, *, shuffled: bool, policy: Policy) -> None:
        self.memory: Tensor = torch.arange(samples, device="cpu").expand(members, -1).contiguous()
        checks.plain_tensor("the orders", self.memory)
        self.pointer: int = self.memory.data_ptr()
        self.samples: int = samples
        self._shuffle = shuffle.function_of(machine.host(), policy) if shuffled else None
        self.shuffle: int | None = None if self._shuffle is None else self._shuffle.address

    def keys(self, keys: Iterable[Key]) -> bytes | None:
        """Keys, in the form in which native code takes them; none where nothing is to be drawn."""
        return None if self._shuffle is None else b"".join([key.digest for key in keys])

    def draw(self, keys: Sequence[Key]) -> None:
        """Draw the order of each member."""
        if self._shuffle is not None:
            for key, order in zip(keys, self.memory, strict=True):
                self._shuffle(key.digest, order)
