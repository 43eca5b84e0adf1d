"""Comparing a claimed gradient with measured slopes, one leaf at a time."""

import sys
from collections.abc import Callable

import torch
from torch import Tensor

from functional_mlp import random
from functional_mlp.testing.derivatives import ROUNDINGS, Line, Slope, slope
from functional_mlp.testing.search import LateAssertionError

# The line t ↦ φ(leaf + t · direction) of a direction.
LineOf = Callable[[Tensor], Line]

# A wrong leaf of no more numbers than this is searched for its worst one.
SEARCHED_NUMBERS = 256

# The smallest step of a line is 2⁻¹⁷, and numbers up to 2¹⁴ are multiples of 2⁻³⁹: directions are those of 2⁻²⁰.
DIGITS = 2.0**19

# The parts of a direction whose slopes must add up to its own, before a gradient is called wrong: more than rows have
# features, of which no two are then in one part.
PARTS = 16

# A gradient that is wrong by less than this part is more likely rounded than mistaken.
SMALL = 1e-5

# At most this part of the slopes may be undecided, of a few any: smooth functions have none, and those with kinks
# hardly any.
UNDECIDED_AT_MOST = 0.25
FEW = 5


def assert_gradient(name: str, claimed: Tensor, line_of: LineOf, key: random.Key, units: Tensor | None = None) -> bool:
    """Compare the gradient that is claimed for one leaf with the slope in a random direction.

    `units` says how far each number may be moved, where that is less than 1.

    Raises `AssertionError` where they differ, naming the worst number; returns whether they could be compared: they
    cannot be where the slopes in several directions are not those of any gradient.

    >>> x = torch.tensor([1.0, 2.0], dtype=torch.float64)
    >>> def line_of(direction):
    ...     return lambda t: ((x + t * direction).square().sum().item(), 5.0)
    >>> assert_gradient("x", 2 * x, line_of, random.key(0))
    True
    >>> try:
    ...     assert_gradient("x", torch.tensor([2.0, 4.5]), line_of, random.key(0))
    ... except AssertionError as problem:
    ...     print(problem)
    the gradient of x is wrong at [1]: 4.5 is claimed, differences give 4 ± 2e-11
    """
    units = torch.ones(claimed.shape, dtype=torch.float64) if units is None else units.contiguous()
    direction = _in_units(direction_of(tuple(claimed.shape), key), units)
    measured = slope(line_of(direction))
    if measured is None:
        return False
    if _admits(measured, claimed, direction):
        return True
    if not _adds_up(measured, direction, line_of):
        return False
    raise LateAssertionError(
        lambda: f"the gradient of {name} is wrong{_explained(claimed, line_of, direction, measured, units)}"
    )


def direction_of(shape: tuple[int, ...], key: random.Key) -> Tensor:
    """Every number moves, by between 1/2 and 1, in few binary digits.

    So points on a line lie where they are meant to be, also those of large numbers, which would be rounded otherwise.
    """
    draws = random.uniform(key, shape, -1.0, 1.0, dtype=torch.float64)
    draws = (DIGITS * draws).round() / DIGITS
    return 0.5 * (draws + torch.where(draws < 0, -1.0, 1.0).to(torch.float64))


def _in_units(direction: Tensor, units: Tensor) -> Tensor:
    """A direction in which numbers near an end move less, and in as few digits as they have there."""
    return torch.where(units < 1, units * direction.sign(), direction)


def _admits(measured: Slope, claimed: Tensor, direction: Tensor) -> bool:
    """Whether a gradient has the measured slope, up to the error of that and to the rounding of its own numbers."""
    terms = claimed * direction
    own_rounding = ROUNDINGS * sys.float_info.epsilon * terms.abs().sum().item()
    return abs(terms.sum().item() - measured.value) <= measured.error + own_rounding  # False for NaN


def _adds_up(measured: Slope, direction: Tensor, line_of: LineOf) -> bool:
    """Whether the slope in a direction is the sum of those in its parts, as it is wherever there is a gradient.

    Sorting equal numbers has a slope in some directions without a kink, and no gradient.
    """
    total = Slope(0.0, measured.error)
    for first in range(min(PARTS, direction.numel())):
        part = torch.zeros_like(direction)
        part.view(-1)[first::PARTS] = direction.flatten()[first::PARTS]
        along = slope(line_of(part))
        if along is None:
            return False
        total = Slope(total.value + along.value, total.error + along.error)
    return abs(total.value - measured.value) <= total.error


def _worst_number(claimed: Tensor, line_of: LineOf, units: Tensor) -> tuple[tuple[int, ...], Slope] | None:
    worst, worst_error = None, 0.0
    for index in torch.ones_like(claimed).nonzero().tolist()[:SEARCHED_NUMBERS]:
        place = tuple(index)
        unit = torch.zeros_like(claimed)
        unit[place] = size = units[place].item()
        entry = slope(line_of(unit))
        if entry is None or _admits(entry, claimed, unit):
            continue
        entry = Slope(entry.value / size, entry.error / size)
        error = abs(claimed[place].item() - entry.value)
        if worst is None or not error <= worst_error:
            worst, worst_error = (place, entry), error
    return worst


def _explained(claimed: Tensor, line_of: LineOf, direction: Tensor, measured: Slope, units: Tensor) -> str:
    """Where a gradient is wrong: at its worst number, or along a direction where no number is decided."""
    worst = _worst_number(claimed, line_of, units)
    if worst is None:
        return (
            f": {_figures((claimed * direction).sum(), measured)} for the slope in the direction {direction.tolist()}"
        )
    place, entry = worst
    return f"{f' at {list(place)}' if place else ''}: {_figures(claimed[place], entry)}"


def _figures(claimed: Tensor, measured: Slope) -> str:
    figures = f"{claimed.item():.10g} is claimed, differences give {measured.value:.10g} ± {measured.error:.1g}"
    if abs(claimed.item() - measured.value) <= SMALL * abs(measured.value):
        figures += "; so small a difference may also mean that apply computes in a lower precision than float64"
    return figures


class Tally:
    """A count of the slopes that could not be decided, and the first of them."""

    def __init__(self) -> None:
        self._slopes = 0
        self._undecided: list[str] = []

    def add(self, name: str, case: object, *, decided: bool) -> None:
        self._slopes += 1
        if not decided:
            self._undecided.append(f"{name} at\n{case}")

    def assert_decided(self) -> None:
        """Raise `AssertionError` where more than a few slopes were left undecided: nothing would be proven."""
        undecided = len(self._undecided)
        if undecided > max(FEW, UNDECIDED_AT_MOST * self._slopes) or 0 < undecided == self._slopes:
            raise AssertionError(
                f"{undecided} of {self._slopes} slopes cannot be decided: differences do not converge. "
                "A function that is not differentiable, or one that computes in a lower precision than its float64 "
                f"input, looks like this. The first is that of {self._undecided[0]}"
            )
