"""What holds for every penalty, each property a function that raises `AssertionError` where it does not."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import torch
from torch import Tensor

from functional_mlp import pytree
from functional_mlp.penalties import Penalty
from functional_mlp.testing.calls import SLIGHTLY, depends
from functional_mlp.testing.derivatives import Line
from functional_mlp.testing.gradients import Tally, assert_gradient
from functional_mlp.testing.penalty.cases import PenaltyCase
from functional_mlp.testing.purity import attempt
from functional_mlp.testing.trees import (
    ROUNDING,
    assert_close,
    assert_like,
    assert_same,
    largest,
    packed,
    side_by_side,
)

# What may be in the gradients before a penalty is added: an odd number of them, so that each meets weights of 0.
GRADIENTS = (1e-30, -1e3, 1e-8, math.nan, 1e6, -1e-4, math.inf, 1e12, -math.inf, 0.0, 1.0)

Formula = Callable[[float], float]


def shapes_and_dtypes_are_kept(case: PenaltyCase) -> None:
    """The total is a finite 0-d tensor of the params' dtype; gradients keep structure, shapes and dtypes."""
    leaf = pytree.leaves(case.params)[0]
    total = _total(case)
    assert_like("total: the penalty", total, "a 0-d tensor like the params", leaf.new_zeros(()))
    if not total.isfinite():
        raise AssertionError(f"total is {total.item()} for finite params")
    added = _added(case)
    if pytree.structure(added) != pytree.structure(case.params):
        raise AssertionError(f"added_to_grads returns {added}, and not a tree like the params")
    for path, grad, param in zip(
        pytree.paths(case.params), pytree.leaves(added), pytree.leaves(case.params), strict=True
    ):
        assert_like(f"added_to_grads: {path}", grad, "the param", param)


def biases_are_left_alone(case: PenaltyCase) -> None:
    """What has fewer than two dimensions adds nothing to the total, and its gradients keep their bits."""
    others = tuple(leaf for leaf in pytree.leaves(case.params) if leaf.ndim < 2)
    if others and attempt("total", case.penalty.total, others).item() != 0:
        total = attempt("total", case.penalty.total, others).item()
        raise AssertionError(f"total is {total} for biases alone, which have no penalty")
    pairs = zip(*map(pytree.leaves, (case.params, case.grads, _added(case))), strict=True)
    kept = [(packed(grad), packed(added)) for param, grad, added in pairs if param.ndim < 2]
    for grad, added in kept:
        assert_same("added_to_grads changes the gradient of a bias", grad, added)


def numbers_do_not_affect_each_other(case: PenaltyCase) -> None:
    """The total is the sum over the numbers of the weights, and what is added depends on no other number."""
    total, added = _total(case), pytree.leaves(_added(case))
    sum_of_numbers = torch.zeros((), dtype=torch.float64)
    for param, grad, with_penalty in zip(pytree.leaves(case.params), pytree.leaves(case.grads), added, strict=True):
        if param.ndim < 2:
            continue
        slopes = torch.zeros_like(param)
        for place in map(tuple, torch.ones_like(param).nonzero().tolist()):
            alone = (param[place].reshape(1, 1),)
            sum_of_numbers += attempt("total", case.penalty.total, alone).double()
            zero = (torch.zeros_like(alone[0]),)
            slopes[place] = attempt("added_to_grads", case.penalty.added_to_grads, zero, alone)[0].squeeze()
        assert_close("what is added to the gradient depends on other numbers", with_penalty, grad + slopes, case.size)
    size = case.size + sum_of_numbers.abs().item()
    assert_close("total is not the sum over the numbers of the weights", total.double(), sum_of_numbers, size)


def gradients_of_every_size_count(case: PenaltyCase) -> None:
    """What is added to a gradient is the same whatever that is, beside weights of 0 too; NaN and infinities stay."""
    sizes = torch.tensor(GRADIENTS, dtype=torch.float64)
    grads = pytree.map(lambda leaf: sizes[torch.arange(leaf.numel()) % len(sizes)].reshape(leaf.shape), case.params)
    params = pytree.map(lambda leaf: leaf * (torch.arange(leaf.numel()) % 2).reshape(leaf.shape), case.params)
    slopes = _added(attrs.evolve(case, params=params, grads=pytree.map(torch.zeros_like, params)))
    found = _added(attrs.evolve(case, params=params, grads=grads))
    for path, grad, slope, added in side_by_side(grads, slopes, found):
        wrong = ~((added - (grad + slope)).abs() <= ROUNDING * (grad.abs() + slope.abs()))
        wrong &= grad.isfinite() | ~((added == grad) | (added.isnan() & grad.isnan()))
        if wrong.any():
            numbers = [tensor[wrong][0].item() for tensor in (slope, grad, added)]
            raise AssertionError(
                "added_to_grads must add {} to the gradient {}, got {}".format(*numbers) + f" at grads{path}"
            )


def a_mask_leaves_the_others_alone(case: PenaltyCase) -> None:
    """For a `Penalty`, added_to changes the gradient where the mask holds, and there alone."""
    if not isinstance(case.penalty, Penalty):
        return
    for param, grad in zip(pytree.leaves(case.params), pytree.leaves(case.grads), strict=True):
        mask = (torch.arange(param.numel()) % 2 == 0).reshape(param.shape)
        added = attempt("added_to", case.penalty.added_to, grad, param)
        masked = attempt("added_to", case.penalty.added_to, grad, param, mask)
        assert_same("added_to does not keep to its mask", masked, torch.where(mask, added, grad))


def agrees_with_formula(case: PenaltyCase, formula: Formula) -> None:
    """The penalty of one number is what a second definition of it gives."""
    for param in pytree.leaves(case.params):
        for number in param.flatten().tolist():
            total = attempt("total", case.penalty.total, (torch.tensor([[number]], dtype=torch.float64),))
            expected = torch.tensor(attempt("formula", formula, number), dtype=torch.float64)
            assert_close(f"total differs from the formula for {number}", total, expected, case.size)


class Gradient:
    """What is added to the gradient of each weight is the gradient of the total."""

    def __init__(self) -> None:
        self.tally = Tally()

    def __call__(self, case: PenaltyCase) -> None:
        for number, param in enumerate(pytree.leaves(case.params)):
            if param.ndim >= 2 and param.numel():
                self.tally.add("params", case, decided=_is_measured(case, number))


def nothing_becomes_nan(case: PenaltyCase) -> None:
    """Neither is NaN, and where the total is infinite so is what is added."""
    total, added = _total(case), pytree.leaves(_added(case))
    if total.isnan() or any(leaf.isnan().any() for leaf in added):
        raise AssertionError(f"{'total' if total.isnan() else 'added_to_grads'} is nan for finite params")


def nan_stays_nan(case: PenaltyCase) -> None:
    """A weight that is NaN makes the total NaN: a run that has diverged is seen to have.

    So it does its own gradient where that depends on the weight, and no other.
    """
    broken, moved = (
        attrs.evolve(case, params=pytree.map(partial(_first_times, factor), case.params))
        for factor in (math.nan, 1 - SLIGHTLY)
    )
    total = _total(broken)
    if not total.isnan() and any(leaf.isnan().any() for leaf in pytree.leaves(broken.params)):
        raise AssertionError(f"total gives the number {total.item()} for weights of which one is nan")
    for path, param, before, after, of_nan in side_by_side(broken.params, *map(_added, (case, moved, broken))):
        hidden, spread = depends(before, after) & ~of_nan.isnan(), of_nan.isnan() & ~param.isnan()
        if hidden.any():
            raise AssertionError(
                f"added_to_grads gives the number {of_nan[hidden][0].item()} at grads{path} for a weight that is nan: "
                "it must be nan, for the derivative depends on the weight"
            )
        if spread.any():
            raise AssertionError(f"added_to_grads gives nan at grads{path} for a weight that is a number")


def _first_times(factor: float, leaf: Tensor) -> Tensor:
    """A weight with its first number multiplied by a factor; a bias as it is."""
    is_first = (torch.arange(leaf.numel()) == 0).reshape(leaf.shape)
    return torch.where(is_first, factor * leaf, leaf) if leaf.ndim >= 2 else leaf


def gradient_is_that_of_total(case: PenaltyCase) -> None:
    """As `Gradient`, for weights of every size; those at a kink are left out."""
    for number, param in enumerate(pytree.leaves(case.params)):
        if param.ndim >= 2:
            _is_measured(case, number)


def _is_measured(case: PenaltyCase, number: int) -> bool:
    """Raise unless a leaf's gradient has the slope that differences of the total give; whether they could decide."""
    leaves = pytree.leaves(case.params)
    zeros = pytree.map(torch.zeros_like, case.params)
    claimed = pytree.leaves(attempt("added_to_grads", case.penalty.added_to_grads, zeros, case.params))[number]

    def line_of(direction: Tensor) -> Line:
        def line(t: float) -> tuple[float, float]:
            moved = (leaves[number] + t * direction,)
            total = attempt("total", case.penalty.total, moved).item()
            return total, abs(total) + 1 + largest(*moved)

        return line

    return assert_gradient(f"params{pytree.paths(case.params)[number]}", claimed, line_of, case.key)


def _total(case: PenaltyCase) -> Tensor:
    total: Tensor = attempt("total", case.penalty.total, case.params)
    return total


def _added(case: PenaltyCase) -> Any:
    return attempt("added_to_grads", case.penalty.added_to_grads, case.grads, case.params)
