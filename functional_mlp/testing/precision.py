"""Comparing float32 with float64: what rounding explains, and what it does not."""

import itertools
from typing import Any

import attrs
import torch
from torch import Tensor

from functional_mlp import pytree, random
from functional_mlp.testing.calls import Call, is_floating
from functional_mlp.testing.purity import refuses
from functional_mlp.testing.trees import RELATIVE_TOLERANCE, largest, side_by_side

# How far arguments are moved to measure what rounding does, in ε of float32: what a few operations round.
NUDGE = 8

# Two directions, each there and back: of two numbers that are equal, either is then once the larger one.
NUDGES = tuple((seed, sign) for seed in (0, 1) for sign in (1, -1))

# What is measured with a few nudges is a part of what may happen.
MARGIN = 4

# Larger numbers may overflow in float32 on the way.
LARGEST = 1e30


def in_float32(leaf: Any) -> Any:
    return leaf.to(torch.float32) if is_floating(leaf) else leaf


def in_float64(leaf: Any) -> Any:
    return leaf.to(torch.float64) if is_floating(leaf) else leaf


def assert_rounded(problem: str, single: Call, double: Call) -> None:
    """Raise `AssertionError` unless a call in float32 gives what the same call in float64 gives, up to rounding.

    A leaf may be off by 1e-5 of the numbers that it is computed from, and by four times what it changes by, in
    float64, when every argument is moved by 8 ε of float32: a jump that rounding may step over explains itself.
    """
    actual, expected = single.result(), double.result()
    tolerance = RELATIVE_TOLERANCE[torch.float32]
    nudged: list[Any] | None = None
    for index, (path, a, b) in enumerate(side_by_side(actual, expected)):
        if not is_floating(b):
            continue
        finite = b.isfinite() & (b.abs() < LARGEST)
        error = torch.where(finite, (a.to(torch.float64) - b).abs(), 0.0)
        allowed = tolerance * (single.size + largest(b[finite]))
        if (error <= allowed).all():
            continue
        nudged = nudged if nudged is not None else _nudged_results(double)
        changes = [torch.where(finite, (leaves[index] - b).abs(), 0.0) for leaves in nudged]
        allowed += MARGIN * max(largest(change.nan_to_num(nan=float("inf"))) for change in changes)
        if not (error <= allowed).all():  # NaN is not
            worst = int(error.nan_to_num(nan=float("inf")).argmax())
            place = [int(i) for i in torch.unravel_index(torch.tensor(worst), b.shape)]
            raise AssertionError(
                f"{problem}: result{path}{place or ''} is {a.flatten()[worst].item()!r} instead of "
                f"{b.flatten()[worst].item()!r}, where rounding explains {allowed:.1e}"
            )


def _nudged_results(call: Call) -> list[list[Any]]:
    return [pytree.leaves(_nudged(call, seed, sign).result()) for seed, sign in NUDGES]


def _nudged(call: Call, seed: int, sign: int) -> Call:
    """The call with every number moved by between 4 and 8 ε of float32 of itself.

    The numbers of an argument that is refused then, as probabilities above 1 are, are all moved towards 0.
    """
    key, count = random.key(seed), itertools.count()

    def step(leaf: Any) -> Tensor:
        draws = random.uniform(key.fold_in(next(count)), tuple(leaf.shape), -1.0, 1.0, dtype=torch.float64)
        return NUDGE * torch.finfo(torch.float32).eps * (draws + draws.sign()) / 2

    moved = call
    for name, value in call.arguments.items():
        steps = pytree.map(lambda leaf: sign * step(leaf) if is_floating(leaf) else leaf, value)
        outwards, inwards = (
            attrs.evolve(moved, arguments={**moved.arguments, name: pytree.map(move, value, steps)})
            for move in (_moved, _moved_towards_0)
        )
        refused = isinstance(refuses(outwards.function, *outwards.arguments.values()), ValueError)
        moved = inwards if refused else outwards
    return moved


def _moved(leaf: Any, step: Any) -> Any:
    return leaf * (1 + step) if is_floating(leaf) else leaf


def _moved_towards_0(leaf: Any, step: Any) -> Any:
    return leaf * (1 - step.abs()) if is_floating(leaf) else leaf
