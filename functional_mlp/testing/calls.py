"""A call of a function under test, which can be made again with other arguments."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import attrs
import torch
from torch import Tensor

from functional_mlp import pytree
from functional_mlp.testing.purity import attempt, refuses

Change = Callable[[Tensor], Tensor]

# A part of a number, by which it is moved to see what depends on it: not over kinks.
SLIGHTLY = 2.0**-24


@attrs.frozen(eq=False)
class Call:
    """A call of a function: its arguments by name, and the size of the numbers that it adds up.

    `changes` gives for some arguments another one that is just as good. The function promises to detach the arguments
    named in `detached`.
    """

    name: str
    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    size: float
    changes: Mapping[str, Change]
    detached: Collection[str] = ()

    def result(self) -> Any:
        return attempt(self.name, self.function, *self.arguments.values())

    def is_refused(self) -> bool:
        """Whether the call raises, which it may do for other arguments than those of its case."""
        return refuses(self.function, *self.arguments.values()) is not None

    def map(self, function: Callable[[Any], Any]) -> "Call":
        """The call with every leaf of its arguments changed."""
        return attrs.evolve(
            self, arguments={name: pytree.map(function, value) for name, value in self.arguments.items()}
        )

    def changed(self) -> "Call":
        """The call with other numbers in the arguments of `changes`."""
        changed = {name: pytree.map(change, self.arguments[name]) for name, change in self.changes.items()}
        return attrs.evolve(self, arguments={**self.arguments, **changed})


def reflected(leaf: Any) -> Any:
    """Other numbers of the same size."""
    return 1 - 2 * leaf if is_floating(leaf) else leaf


def stretched(leaf: Any) -> Any:
    """Slightly other numbers of the same sign."""
    return leaf * (1 + 2.0**-7) if is_floating(leaf) else leaf


def depends(result: Tensor, moved: Tensor) -> Tensor:
    """Which numbers of a result change by more than rounding where what it is computed from is moved `SLIGHTLY`."""
    return ~torch.isclose(result, moved, rtol=SLIGHTLY / 1000, atol=0.0)


def rolled(leaf: Any) -> Any:
    """The rows in another order."""
    return leaf.roll(1, 0)


def reversed_rows(leaf: Any) -> Any:
    """The rows in another order than that of `rolled`."""
    return leaf.flip(0)


def is_floating(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.is_floating_point()
