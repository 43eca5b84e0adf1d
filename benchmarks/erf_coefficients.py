"""Computes the coefficients in functional_mlp/engine/llvm/erf_coefficients.py, with mpmath; prints that file.

Interpolants at Chebyshev nodes: of erf(√z)/√z − 1 on [0, 1]; and of exp(x²/2) Φ(−x) (x + c)/k − 1, with Φ the normal
distribution function, in t = k (x − c)/(x + c), from x = 1 to where `functions.ndtr` takes the exponential as 0;
and of F(x)/d, with F(x) = Φ(x) + x Φ'(x) the slope of GELU and d = x − r the distance from its zero r, in d, for x from
−1.25 to 0.
"""

from collections.abc import Callable

import mpmath as mp

ERF_DEGREE = {"f32": 6, "f64": 11}
TAIL_DEGREE = {"f32": 8, "f64": 21}
TAIL_END = {"f32": 16.375, "f64": 46.25}
SLOPE_DEGREE = {"f32": 8, "f64": 18}
SLOPE_START = -1.25
CENTER = {"f32": 2.5, "f64": 4.0}
SCALE = 0.625

Function = Callable[[mp.mpf], mp.mpf]


def interpolant(function: Function, low: mp.mpf, high: mp.mpf, degree: int) -> list[float]:
    """The coefficients, lowest first, of the polynomial through the values at the Chebyshev nodes."""
    nodes = [
        (low + high) / 2 + (high - low) / 2 * mp.cos(mp.pi * (2 * k + 1) / (2 * degree + 2)) for k in range(degree + 1)
    ]
    powers = mp.matrix([[node**power for power in range(degree + 1)] for node in nodes])
    return [float(c) for c in mp.lu_solve(powers, mp.matrix([function(node) for node in nodes]))]


def erf_over_x_less_1(suffix: str) -> list[float]:
    def function(square: mp.mpf) -> mp.mpf:
        return mp.erf(mp.sqrt(square)) / mp.sqrt(square) - 1

    return interpolant(function, mp.mpf(0), mp.mpf(1), ERF_DEGREE[suffix])


def scaled_tail_less_1(suffix: str) -> list[float]:
    center = CENTER[suffix]

    def mapped(x: mp.mpf) -> mp.mpf:
        return SCALE * (x - center) / (x + center)

    def function(t: mp.mpf) -> mp.mpf:
        x = center * (SCALE + t) / (SCALE - t)
        return mp.exp(x * x / 2) * mp.erfc(x / mp.sqrt(2)) / 2 * (x + center) / SCALE - 1

    return interpolant(function, mapped(mp.mpf(1)), mapped(mp.mpf(TAIL_END[suffix])), TAIL_DEGREE[suffix])


def gelu_slope(x: mp.mpf) -> mp.mpf:
    return mp.ncdf(x) + x * mp.npdf(x)


def gelu_slope_zero() -> mp.mpf:
    return mp.findroot(gelu_slope, -0.75)


def gelu_slope_over_distance(suffix: str) -> list[float]:
    zero = gelu_slope_zero()
    low, high = SLOPE_START - zero, -zero
    return interpolant(lambda distance: gelu_slope(zero + distance) / distance, low, high, SLOPE_DEGREE[suffix])


def print_table(name: str, coefficients: Callable[[str], list[float]]) -> None:
    print(f"{name} = {{")
    for suffix in ("f32", "f64"):
        print(f'    "{suffix}": [', *(f"        {number!r}," for number in coefficients(suffix)), "    ],", sep="\n")
    print("}")


def main() -> None:
    mp.mp.dps = 60
    print('"""Coefficients of `functions.erf`, `ndtr` and `gelu_slope`, lowest first.\n')
    print('Made by benchmarks/erf_coefficients.py.\n"""\n')
    print('CENTER = {{"f32": {f32}, "f64": {f64}}}'.format(**CENTER))
    print(f"SCALE = {SCALE}")
    print_table("ERF_OVER_X_LESS_1", erf_over_x_less_1)
    print_table("SCALED_TAIL_LESS_1", scaled_tail_less_1)
    zero = gelu_slope_zero()
    print(f"GELU_SLOPE_START = {SLOPE_START}")
    print(f"GELU_SLOPE_ZERO = ({float(zero)!r}, {float(zero - float(zero))!r})")
    print_table("GELU_SLOPE_OVER_DISTANCE", gelu_slope_over_distance)


if __name__ == "__main__":
    main()
