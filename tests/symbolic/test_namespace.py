"""The namespace of formulas has every function of the algebra, and means what torch does."""

import inspect
from fractions import Fraction
from typing import Any

import pytest
import sympy
import torch

from functional_mlp.algebra import Namespace, torch_namespace
from functional_mlp.operands import NotInAlgebraError
from functional_mlp.symbolic.namespace import SymbolicNamespace
from functional_mlp.symbolic.regions import Region
from functional_mlp.symbolic.resolving import resolved

FUNCTIONS = sorted(name for name in vars(Namespace) if not name.startswith("_"))
COEFFICIENTS = (Fraction(3, 2), Fraction(1, 8))
POINTS = (-1.75, -0.25, 0.5, 2.0)
S = sympy.Symbol("s", real=True)


def called(xp: Any, name: str, x: Any) -> Any:
    """A function of the algebra, of numbers that it is defined for."""
    if name == "where":
        return xp.where(x > 0.25, x, -x)
    function = getattr(xp, name)
    if name in ("sqrt", "log", "log1p"):
        return function(x * x)
    extra = {"maximum": (0.3,), "minimum": (0.3,), "gated": COEFFICIENTS, "gated_slope": COEFFICIENTS}.get(name, ())
    return function(x, *extra)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("point", POINTS)
def test_a_function_is_that_of_torch(name: str, point: float) -> None:
    xp = SymbolicNamespace()
    (formula,) = called(xp, name, xp.array(S)).parts
    at = sympy.Rational(point)
    region = Region((S,), (), {S: at})
    value = resolved(formula.subs(S, at), region) if formula.has(S) else formula
    torched = called(
        torch_namespace(torch.float64, torch.device("cpu")), name, torch.tensor([point], dtype=torch.float64)
    )
    assert float(value) == pytest.approx(torched.item(), rel=1e-14, abs=0)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_the_parameters_of_the_algebra(name: str) -> None:
    wanted = len(inspect.signature(getattr(Namespace, name)).parameters)
    assert len(inspect.signature(getattr(SymbolicNamespace, name)).parameters) == wanted


def test_sums_and_largest_ones_run_over_the_features() -> None:
    xp = SymbolicNamespace()
    a, b = sympy.symbols("a b", real=True)
    array = xp.array(a, b)
    assert (array - xp.sum(array)).parts == (-b, -a)
    assert xp.max(xp.array(a)).parts == (a,)
    assert array.shape == (2,)


def test_numbers_without_arrays_stay_numbers() -> None:
    xp = SymbolicNamespace()
    assert xp.sqrt(0.25) == sympy.Rational(1, 2)
    assert xp.where(True, 2, xp.array(S)) == 2


def test_0_where_t_is_0_says_nothing_where_the_rest_is_0_there() -> None:
    xp = SymbolicNamespace()
    t = xp.array(sympy.Symbol("t", real=True))
    assert xp.where(t == 0, 0, t * xp.exp(t)).parts == (t * xp.exp(t)).parts
    assert xp.where(t != 1, t, 1).parts == t.parts
    assert xp.where(t == 0, 1, t).parts != t.parts


def test_only_arrays_with_features_have_a_shape() -> None:
    with pytest.raises(NotInAlgebraError, match="have a shape"):
        _ = SymbolicNamespace().scalar(S).shape
