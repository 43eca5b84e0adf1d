"""Means and deviations of columns of any size, exact up to the rounding of the last operations."""

import math

import numpy as np

Numbers = np.ndarray[tuple[int], np.dtype[np.float64]]

# A column is constant where its numbers differ by no more than this many ε of their size.
ROUNDING = 4


def mean_and_std(numbers: Numbers) -> tuple[float, float]:
    """The mean and the standard deviation (of n) of finite numbers; (mean, 0) where they are the same up to rounding.

    >>> mean_and_std(np.array([1e300, 3e300]))
    (2e+300, 1e+300)
    """
    unit = _power_of_two(float(np.abs(numbers).max()))
    scaled = numbers / unit  # between −2 and 2, so that no square overflows
    mean = float(scaled.mean())
    if scaled.max() - scaled.min() <= ROUNDING * np.finfo(np.float64).eps:
        return unit * mean, 0.0
    deviations = scaled - mean
    shift = float(deviations.mean())  # what rounding the mean leaves over
    size = float(np.abs(deviations).max())
    squares = float(np.square(deviations / size).mean())
    return unit * (mean + shift), unit * (size * math.sqrt(squares - (shift / size) ** 2))


def standardized(numbers: Numbers, mean: float, std: float) -> Numbers:
    """(x − mean) / std, without overflow on the way."""
    unit = _power_of_two(std)
    result: Numbers = (numbers / unit - mean / unit) / (std / unit)
    return result


def _power_of_two(number: float) -> float:
    """The largest power of two that is no larger than a positive number: to divide by it rounds nothing."""
    return math.ldexp(1.0, math.frexp(number)[1] - 1) if number else 1.0
