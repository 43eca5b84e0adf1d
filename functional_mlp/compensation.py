"""More digits than an array holds, where an exponential would magnify the rounding error of its argument.

A product is taken apart for that: three numbers that have a third of the digits each have an exact product.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

Array = Any
Coefficient = float | Fraction


def cubic(
    s: Array,
    a: Coefficient,
    b: Coefficient,
    shorten: Callable[[Array], Array],
    digits: int,
) -> tuple[Array, Array]:
    """a s + b s³ as the sum of two arrays, the second small; `shorten` leaves out the last binary digits of an array.

    With h the short form of s, and k that of r = a + b s², it is s r = h k + (s − h) k + s (r − k). So is r − k, found
    from a and b as short numbers and what is left of them, and from s² = h² + (s − h)(s + h). Products of short
    numbers are exact, and the other ones are small.
    """
    (short_a, rest_a), (short_b, rest_b) = split(a, digits), split(b, digits)
    h = shorten(s)
    square, square_rest = h * h, (s - h) * (s + h)
    k = shorten(float(a) + float(b) * (square + square_rest))
    ratio_rest = (short_a - k + short_b * square) + (rest_a + rest_b * square + float(b) * square_rest)
    return h * k, (s - h) * k + s * ratio_rest


def split(number: Coefficient, digits: int) -> tuple[float, float]:
    """The number rounded to `digits` binary digits, and the rest of it.

    >>> split(Fraction(1, 3), 4)
    (0.34375, -0.010416666666666666)
    """
    exact = Fraction(number)
    unit = Fraction(2) ** (math.frexp(number)[1] - digits)
    short = round(exact / unit) * unit
    return float(short), float(exact - short)
