"""The trees that a penalty is examined with: drawn ones, and those that every seed goes through."""

from collections.abc import Iterator
from typing import Any

import attrs
import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from torch import Tensor

from functional_mlp import pytree, random
from functional_mlp.penalties import Penalty
from functional_mlp.testing.assignments import assignments
from functional_mlp.testing.calls import Call, reflected
from functional_mlp.testing.purity import inherits
from functional_mlp.testing.strategies import numbers_off_kinks, tensors
from functional_mlp.testing.trees import largest

# Weights have two dimensions and more; biases, scales and single numbers fewer.
SHAPES: list[tuple[int, ...]] = [(2, 3), (1, 1), (3,), (), (2, 1, 2), (0, 2), (1,)]

# What every seed goes through: more numbers and dimensions, and one leaf twice.
MORE_SHAPES: list[tuple[int, ...]] = [*SHAPES, (5, 7), (2, 1, 1, 2)]

# Weights of these sizes are gone through for each seed.
SIZES = (1.0, 0.0, 1e-30, 30.0, 1e4, 1e8)


@attrs.frozen(eq=False)
class PenaltyCase:
    """A penalty, params, their gradients, and a key for the direction to look in."""

    penalty: Any
    params: Any
    grads: Any
    key: random.Key

    def __str__(self) -> str:
        return assignments(params=self.params, grads=self.grads)

    @property
    def size(self) -> float:
        """The size of the numbers that are added up."""
        leaves = [leaf for leaf in pytree.leaves((self.params, self.grads)) if leaf.numel()]
        return 1 + largest(*leaves) if leaves else 1.0

    def parts(self) -> Iterator["PenaltyCase"]:
        """Each leaf alone."""
        leaves = list(zip(pytree.leaves(self.params), pytree.leaves(self.grads), strict=True))
        if len(leaves) > 1:
            yield from (attrs.evolve(self, params=(param,), grads=(grad,)) for param, grad in leaves)

    def calls(self) -> list[Call]:
        penalty = self.penalty
        detached = ("params",) if inherits(penalty, Penalty, "total", "added_to_grads") else ()
        arguments = {"grads": self.grads, "params": self.params}
        changes = {"grads": reflected, "params": reflected}
        return [
            Call("total", penalty.total, {"params": self.params}, self.size, {"params": reflected}, detached),
            Call("added_to_grads", penalty.added_to_grads, arguments, self.size, changes, detached),
        ]


@st.composite
def cases(
    draw: DrawFn,
    penalty: Any,
    *,
    dtypes: tuple[torch.dtype, ...] = (torch.float64,),
    awkward: bool = False,
) -> PenaltyCase:
    """Trees of up to three leaves, of numbers off the usual kinks."""
    dtype = draw(st.sampled_from(dtypes))
    shapes = draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3))

    def tree() -> Any:
        return tuple(draw(tensors(shape, dtype, elements=numbers_off_kinks(), awkward=awkward)) for shape in shapes)

    return PenaltyCase(penalty, tree(), tree(), random.key(draw(st.integers(0, 2**16))))


def sweep(penalty: Any, key: random.Key) -> Iterator[PenaltyCase]:
    """Weights and biases of every size, beside ordinary gradients."""
    for number, size in enumerate(SIZES):
        own = key.fold_in(number)
        params, grads = (
            {"weight": factor * _draws(part, (3, 4)), "bias": factor * _draws(part.fold_in(0), (3,))}
            for factor, part in zip((size, 1.0), own.split(), strict=True)
        )
        yield PenaltyCase(penalty, params, grads, own)


def of_every_shape(penalty: Any, key: random.Key) -> PenaltyCase:
    """A tree with a leaf of each shape, of which the first is there twice."""
    params, grads = (
        [_draws(part.fold_in(number), shape) for number, shape in enumerate(MORE_SHAPES)] for part in key.split()
    )
    return PenaltyCase(penalty, (*params, params[0]), (*grads, grads[0]), key)


def _draws(key: random.Key, shape: tuple[int, ...]) -> Tensor:
    """Numbers between −1 and 1 that are short to read, and off kinks."""
    draws = random.uniform(key, shape, -512, 512, dtype=torch.float64)
    return (2 * draws.floor() + 1) / 1024
