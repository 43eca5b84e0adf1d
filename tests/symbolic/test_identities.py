"""What is 0 is found to be, and what is not is not."""

import pytest
import sympy

from functional_mlp.symbolic.identities import is_zero, remainder

x, y = sympy.symbols("x y", real=True)
exp, log, sqrt, tanh = sympy.exp, sympy.log, sympy.sqrt, sympy.tanh

ZEROS = [
    exp(2 * x) - exp(x) ** 2,
    exp(x / 2) * exp(x / 3) - exp(5 * x / 6),
    exp(x * (y + 1)) - exp(x) * exp(x * y),
    tanh(x) - (1 - exp(-2 * x)) / (1 + exp(-2 * x)),
    tanh(x / 2) - 2 / (1 + exp(-x)) + 1,
    log(1 + exp(x)) - x - log(1 + exp(-x)),
    log(exp(x) + exp(y)) - x - log(1 + exp(y - x)),
    log((1 + exp(x)) ** 2) - 2 * log(1 + exp(x)),
    sqrt(1 + x**2) ** 3 - sqrt(1 + x**2) * (1 + x**2),
    1 / (sqrt(2) + 1) - (sqrt(2) - 1),
    sqrt(x * (1 + y**2)) - sqrt(x + x * y**2),
    sqrt(8 / sympy.pi) - 4 / sqrt(2 * sympy.pi),
    1 / (sqrt(x**2 + 1) - x) - sqrt(x**2 + 1) - x,
    sympy.erf(x * (x + 1)) - sympy.erf(x**2 + x),
    (x + 1 / (1 + y**2)).diff(y) + 2 * y / (1 + y**2) ** 2,
]


@pytest.mark.parametrize("zero", ZEROS, ids=str)
def test_a_zero_is_found(zero: sympy.Expr) -> None:
    assert is_zero(zero)
    assert remainder(zero) == 0


@pytest.mark.parametrize("zero", ZEROS, ids=str)
def test_a_zero_with_something_added_is_none(zero: sympy.Expr) -> None:
    assert not is_zero(zero + exp(x) / 10**30)
    assert remainder(zero + exp(x) / 10**30) == exp(x) / 10**30


@pytest.mark.parametrize("other", [log(x**2) - 2 * log(x), sqrt(x**2) - x, sympy.erf(x) - x, exp(x) - exp(-x)], ids=str)
def test_what_holds_for_some_numbers_only_is_not_found(other: sympy.Expr) -> None:
    assert not is_zero(other)


def test_the_work_is_bounded() -> None:
    long = sympy.Poly([1] * 3000, x).as_expr()
    assert not is_zero(long)
    assert remainder(long) == long
