"""Computes the coefficients in functional_mlp/engine/erf_coefficients.py, with mpmath; prints that file.

Interpolants at Chebyshev nodes, of erf(√z)/√z on [0, 1] and of exp(x²) erfc(x) on [1, top] in t = (x − c)/(x + c).
"""

from collections.abc import Callable

import mpmath as mp

CENTER = 2


def interpolant(function: Callable[[mp.mpf], mp.mpf], low: mp.mpf, high: mp.mpf, degree: int) -> list[str]:
    """The coefficients, lowest first, of the polynomial through the values at the Chebyshev nodes."""
    nodes = [
        (low + high) / 2 + (high - low) / 2 * mp.cos(mp.pi * (2 * k + 1) / (2 * degree + 2)) for k in range(degree + 1)
    ]
    powers = mp.matrix([[node**power for power in range(degree + 1)] for node in nodes])
    return [repr(float(c)) for c in mp.lu_solve(powers, mp.matrix([function(node) for node in nodes]))]


def erf_over_x(square: mp.mpf) -> mp.mpf:
    return mp.erf(mp.sqrt(square)) / mp.sqrt(square)


def scaled_complement(t: mp.mpf) -> mp.mpf:
    x = CENTER * (1 + t) / (1 - t)
    return mp.exp(x * x) * mp.erfc(x)


def mapped(x: int) -> mp.mpf:
    return mp.mpf(x - CENTER) / (x + CENTER)


def main() -> None:
    mp.mp.dps = 60
    print('"""Coefficients of `functions.erf`, lowest first; made by benchmarks/erf_coefficients.py."""\n')
    print(f"CENTER = {CENTER}.0")
    for name, degrees in (("ERF_OVER_X", {"f32": 6, "f64": 11}), ("ERFCX", {"f32": 7, "f64": 16})):
        print(f"{name} = {{")
        for suffix, degree in degrees.items():
            top = 4 if suffix == "f32" else 6
            ends = (mp.mpf(0), mp.mpf(1)) if name == "ERF_OVER_X" else (mapped(1), mapped(top))
            function = erf_over_x if name == "ERF_OVER_X" else scaled_complement
            print(f'    "{suffix}": [')
            for coefficient in interpolant(function, *ends, degree):
                print(f"        {coefficient},")
            print("    ],")
        print("}")


if __name__ == "__main__":
    main()
