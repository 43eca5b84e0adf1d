"""The trees that an optimizer is examined with: drawn ones, and those that every seed goes through."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from torch import Tensor

from functional_mlp import pytree, random
from functional_mlp.optimizers import Optimizer
from functional_mlp.testing.assignments import assignments
from functional_mlp.testing.calls import Call, reflected, stretched
from functional_mlp.testing.purity import attempt, inherits
from functional_mlp.testing.strategies import numbers_off_kinks, tensors

SHAPES: list[tuple[int, ...]] = [(), (2,), (1,), (2, 3), (0,)]

# The leaves that every seed goes through, some of one shape, and the sizes of their gradients, an update each: 0 after
# ordinary ones, large after small, and more updates than a rule needs to settle.
LEAVES: list[tuple[int, ...]] = [(3,), (2, 3), (1,), (0,), (), (2, 2, 10), (2, 3), (1,), ()]

# Which of these are one tensor: two gradients, two leaves of params, and in the first update a gradient and its param.
SAME_GRADIENT = (1, 6)
SAME_PARAM = (2, 7)
SAME_AS_PARAM = 0

GRADIENTS = (1.0, 4.0, 0.0, 1.0, 1e3, 1e-4, 0.0, 0.0, 30.0, 1.0, 1e-8, 1.0, 1e3, 1.0)


# Gradients and params of these sizes are gone through for each seed. In float32 the squares of the small ones have few
# digits, and those of the large ones are infinite.
SIZES = (1e-100, 1e-30, 1e-12, 1e-8, 1e-4, 1e6, 1e12, 1e30, 1e100)
SIZES_OF_FLOAT32 = (1e-12, 1e-8, 1e-4, 1e6, 1e12)


@attrs.frozen(eq=False)
class OptimizerCase:
    """An optimizer, params, and the gradients of a few updates."""

    optimizer: Any
    params: Any
    grads: list[Any]

    def __str__(self) -> str:
        return assignments(params=self.params, **{f"grads_{i + 1}": grads for i, grads in enumerate(self.grads)})

    def parts(self) -> Iterator["OptimizerCase"]:
        """The first updates alone."""
        yield from map(self.beginning, range(1, len(self.grads)))

    def beginning(self, updates: int) -> "OptimizerCase":
        """The case with the first of its updates alone."""
        return attrs.evolve(self, grads=self.grads[:updates])

    def of_two_dtypes(self) -> "OptimizerCase":
        """The case with every other leaf in float32, and the others as they are."""
        return attrs.evolve(self, params=_every_other(self.params), grads=[_every_other(grads) for grads in self.grads])

    def states(self) -> list[Any]:
        """The state after init, and after each update."""
        states = [attempt("init", self.optimizer.init, self.params)]
        for grads in self.grads:
            states.append(attempt("update", self.optimizer.update, states[-1], grads))
        return states

    def calls(self) -> list[Call]:
        """init, and each update."""
        optimizer = self.optimizer
        detached = ("params", "state", "grads") if inherits(optimizer, Optimizer, "init", "update") else ()
        calls = [Call("init", optimizer.init, {"params": self.params}, 0.0, {"params": reflected}, detached[:1])]
        changes = {"state": stretched, "grads": reflected}
        for state, grads in zip(self.states(), self.grads, strict=False):
            arguments = {"state": state, "grads": grads}
            calls.append(Call("update", optimizer.update, arguments, 0.0, changes, detached[1:]))
        return calls


@st.composite
def cases(draw: DrawFn, optimizer: Any) -> OptimizerCase:
    """Trees of params of either dtype, with gradients for one to four updates."""
    dtype = draw(st.sampled_from([torch.float64, torch.float32]))
    shapes = draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3))
    arrange = draw(st.sampled_from(ARRANGEMENTS))

    def tree() -> Any:
        return arrange([draw(tensors(shape, dtype, elements=numbers_off_kinks())) for shape in shapes])

    return OptimizerCase(optimizer, tree(), [tree() for _ in range(draw(st.integers(1, 4)))])


def long_case(optimizer: Any, key: random.Key) -> OptimizerCase:
    """A tree of many leaves, some of them one tensor, with gradients of every size for many updates."""

    def leaves(size: float, key: random.Key, same: tuple[int, int]) -> list[Tensor]:
        drawn = [size * _odd_sixteenths(key.fold_in(i), shape) for i, shape in enumerate(LEAVES)]
        first, second = same
        drawn[second] = drawn[first]
        return drawn

    params = leaves(1.0, key, SAME_PARAM)
    grads = [leaves(size, key.fold_in(step), SAME_GRADIENT) for step, size in enumerate(GRADIENTS)]
    grads[0][SAME_AS_PARAM] = params[SAME_AS_PARAM]
    return OptimizerCase(optimizer, _as_nest(params), [_as_nest(each) for each in grads])


def sized_cases(optimizer: Any, key: random.Key, sizes: Sequence[float] = SIZES) -> Iterator[OptimizerCase]:
    """Params and gradients of every size, beside ordinary ones and beside each other, for a few updates."""
    for number, size in enumerate(sizes):
        at_first = {"both": size, "grad": 1.0, "param": size}
        later = {"both": size, "grad": size, "param": 1.0}
        params, *grads = (
            {name: factor * _odd_sixteenths(own.fold_in(i), (2,)) for i, (name, factor) in enumerate(factors.items())}
            for own, factors in zip(key.fold_in(number).split(4), [at_first, later, later, later], strict=True)
        )
        yield OptimizerCase(optimizer, params, grads)


def _odd_sixteenths(key: random.Key, shape: tuple[int, ...]) -> Tensor:
    """Numbers of about the size of 1, of either sign, that are short to read."""
    draws = random.uniform(key, shape, -8.0, 8.0, dtype=torch.float64)
    return (2 * draws.floor() + 1) / 16


def _every_other(tree: Any) -> Any:
    """A tree with its second, fourth, … leaf in float32."""
    leaves = [leaf.to(torch.float32) if i % 2 else leaf for i, leaf in enumerate(pytree.leaves(tree))]
    return pytree.unflatten(tree, leaves)


def _as_dict(leaves: list[Tensor]) -> Any:
    """A dictionary that is written in another order than its keys'."""
    return dict(reversed(list(zip("abcdef", leaves, strict=False))))


def _as_nest(leaves: list[Tensor]) -> Any:
    return ((leaves[0], None), {"rest": leaves[1:]})


ARRANGEMENTS: list[Callable[[list[Tensor]], Any]] = [tuple, _as_dict, _as_nest]
