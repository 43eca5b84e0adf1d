"""Derivatives by differences, with a bound on their error.

The slope of a smooth φ at 0 is the limit for h → 0 of

    D(h) = (φ(h) − φ(−h)) / 2h        = φ' + c₂h² + c₄h⁴ + …

and its kink there, the right-hand slope less the left-hand one, is the limit of

    K(h) = (φ(h) − 2φ(0) + φ(−h)) / h =  0 + d₁h + d₃h³ + …

Both limits are taken by Richardson's extrapolation from h, h/2, h/4 and h/8: each column of its table removes one
power of h, and the last correction bounds what is left. Four things are left over, and `Slope.error` is their sum:

- truncation: twice the last correction of D, which bounds the error of the column before the last;
- a kink at 0 or closer to 0 than the steps: the limit of K, which for a smooth φ is 0 up to truncation;
- a kink of φ' there, as ELU has one: it gives D a term c₁h, and c₁, which for a smooth φ is 0 up to truncation, is the
  limit of (D(h) − D(h/2)) / (h/2);
- rounding: 64 ε A / (h/8), where A is the size of what is added up and 64 leaves room for sums of many terms.

A kink inside (−h, h) but not at 0 keeps the corrections of D large, so a smaller h, which leaves the kink
outside, is tried. Where no h decides, the answer is None. Whether a point is decided depends on φ alone: a claimed
gradient, however wrong, cannot make a smooth point look like a kink.
"""

import itertools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor

# φ at a point of the line, and A there: the sum of the magnitudes of the terms that φ adds up.
Line = Callable[[float], tuple[float, float]]

# Several φ at once, which do not affect each other: a tensor of values, and one of magnitudes.
Lines = Callable[[float], tuple[Tensor, Tensor]]

STEPS = (2.0**-5, 2.0**-8, 2.0**-11, 2.0**-14)
LEVELS = 4
ROUNDINGS = 64

# A slope is decided where its error is below this part of max(|slope|, A): a hundredth of the 0.1 % error that
# must be found, and a hundredth again.
RESOLUTION = 1e-7


@attrs.frozen
class Slope:
    """A derivative, and a bound on the error of `value`."""

    value: float
    error: float


@attrs.frozen(eq=False)
class Slopes:
    """Derivatives, bounds on their errors, and which of them are decided."""

    values: Tensor
    errors: Tensor
    decided: Tensor


def slope(line: Line) -> Slope | None:
    """The derivative of φ at 0; None where φ has a kink there, or is not smooth at any scale that is tried.

    >>> import math
    >>> measured = slope(lambda t: (math.exp(t), math.exp(t)))
    >>> abs(measured.value - 1) < measured.error < 1e-10
    True
    >>> slope(lambda t: (abs(t), abs(t))) is None
    True
    """
    center = line(0.0)
    for step in STEPS:
        value, error = _slope_at(line, center, step)
        if error <= RESOLUTION * max(abs(value), center[1]):
            return Slope(value, error)
    return None


def slopes(lines: Lines) -> Slopes:
    """`slope` of several φ at once, each at the first step that decides it.

    >>> at = torch.tensor([0.0, 1.0], dtype=torch.float64)
    >>> slopes(lambda t: ((at + t).abs(), (at + t).abs())).decided
    tensor([False,  True])
    """
    center = lines(0.0)
    values, errors = torch.zeros_like(center[0]), torch.zeros_like(center[0])
    decided = torch.zeros_like(center[0], dtype=torch.bool)
    for step in STEPS:
        value, error = _slope_at(lines, center, step)
        now = ~decided & (error <= RESOLUTION * torch.maximum(value.abs(), center[1]))
        values, errors = torch.where(now, value, values), torch.where(now, error, errors)
        decided = decided | now
        if decided.all():
            break
    return Slopes(values, errors, decided)


# What follows takes one φ, in floats, as it takes several, in tensors.


def _slope_at(line: Callable[[float], Any], center: Any, step: float) -> Any:
    """The derivative, and a bound on its error."""
    steps = [step * 2.0**-level for level in range(LEVELS)]
    samples = [(line(h), line(-h)) for h in steps]
    size = center[1]
    for magnitude in (sample[1] for pair in samples for sample in pair):
        size = (size + magnitude + abs(size - magnitude)) / 2  # the larger one
    slopes = [(right[0] - left[0]) / (2 * h) for h, (right, left) in zip(steps, samples, strict=True)]
    kinks = [(right[0] - 2 * center[0] + left[0]) / h for h, (right, left) in zip(steps, samples, strict=True)]
    value, correction = _extrapolated(slopes, powers=(2, 4, 6))
    kink, _ = _extrapolated(kinks, powers=(1, 3, 5))
    bends = [2 * (coarse - fine) / h for h, (coarse, fine) in zip(steps, itertools.pairwise(slopes), strict=False)]
    bend, _ = _extrapolated(bends, powers=(1, 3))
    rounding = ROUNDINGS * sys.float_info.epsilon * size / steps[-1]
    return value, 2 * abs(correction) + abs(kink) + 2 * abs(bend) * steps[-1] + rounding


def _extrapolated(column: Sequence[Any], powers: Sequence[int]) -> Any:
    """The limit for h → 0 of values at h, h/2, …, whose error is a series in these powers; and the last correction."""
    correction: Any = 0.0
    for power in powers:
        factor = 2.0**power
        previous = column[-1]
        column = [(factor * fine - coarse) / (factor - 1) for coarse, fine in itertools.pairwise(column)]
        correction = column[-1] - previous
    return column[-1], correction
