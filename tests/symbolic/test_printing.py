"""What is printed is what is computed: formulas are read as a person reads them, and computed."""

import math
from typing import Any

import attrs
import hypothesis.strategies as st
import pytest
import sympy
import torch
from hypothesis import given, settings

import functional_mlp as fm
from functional_mlp.algebra import torch_namespace
from functional_mlp.symbolic.nodes import NoRealNumber
from functional_mlp.symbolic.printing import tex
from functional_mlp.symbolic.sums import OUTPUTS, IndexedNamespace
from tests.symbolic.reader import compute, equations, numbers
from tests.tables import ACTIVATIONS, LOSSES

# One formula of each kind in which a bracket, a dot or a case was missing once.
FORMULAS = [
    (lambda xp, x, t: 3 * ((x + 1) % 2), r"3 \, ((1 + \hat{y}_{j}) \bmod 2)"),
    (lambda xp, x, t: xp.max(x * t) + 1, r"1 + \max_{i} (\hat{y}_{i} \, t_{i})"),
    (lambda xp, x, t: xp.sum(x) * xp.sum(t), r"\left(\sum_{i} \hat{y}_{i}\right) \, \sum_{i} t_{i}"),
    (lambda xp, x, t: xp.sum(x) + t, r"t_{j} + \sum_{i} \hat{y}_{i}"),
    (
        lambda xp, x, t: xp.max(x + 1) * t * xp.max(t),
        r"t_{j} \, \left(\max_{i} (1 + \hat{y}_{i})\right) \, \max_{i} t_{i}",
    ),
    (lambda xp, x, t: xp.sum(xp.max(x)) / xp.max(x * t).shape[-1], r"\max_{i} \hat{y}_{i}"),
    (lambda xp, x, t: 2 * 2.0**x, r"2 \cdot 2^{\hat{y}_{j}}"),
    (lambda xp, x, t: 1e-8**x, r"(10^{-8})^{\hat{y}_{j}}"),
    (
        lambda xp, x, t: xp.where(x > t, 1, t) + xp.where(x > 0, x, t),
        r"\text{otherwise} \end{cases}\right) + \begin{cases} 1 & \text{if } \hat{y}_{j} > t_{j}",
    ),
    (
        lambda xp, x, t: xp.where(x > 0, xp.where(t > 0, x, t), 1),
        r"\left(\begin{cases} \hat{y}_{j} & \text{if } t_{j} > 0 \\ t_{j} & \text{otherwise} \end{cases}\right) &",
    ),
    (lambda xp, x, t: xp.exp(-x / 4e7), r"e^{-2.5 \cdot 10^{-8} \, \hat{y}_{j}}"),
]
UNARY = {
    **{name: lambda xp, a, name=name: getattr(xp, name)(a) for name in ("abs", "sign", "sqrt", "exp", "expm1", "log")},
    **{name: lambda xp, a, name=name: getattr(xp, name)(a) for name in ("tanh", "erf", "sum", "max")},
    "negative": lambda xp, a: -a,
    "gated": lambda xp, a: xp.gated(a, 1.5, 0.1),
    **{f"power {n}": lambda xp, a, n=n: a**n for n in (2, 3, -1, -2, 0.5, -1.5, 0.1)},
    **{f"times {n}": lambda xp, a, n=n: n * a for n in (0.1, 2, -1, 1e-8, 0.75, 1 / 3, 1e7, -0.3, 1.7580993408473766)},
    **{f"plus {n}": lambda xp, a, n=n: a + n for n in (1, -2, 0.5, 0.044715)},
    **{f"power of {n}": lambda xp, a, n=n: n**a for n in (2, 0.9, 1e-8)},
}
BINARY = {
    "+": lambda xp, a, b: a + b,
    "-": lambda xp, a, b: a - b,
    "*": lambda xp, a, b: a * b,
    "/": lambda xp, a, b: a / b,
    "%": lambda xp, a, b: a % b,
    "maximum": lambda xp, a, b: xp.maximum(a, b),
    "minimum": lambda xp, a, b: xp.minimum(a, b),
    "where": lambda xp, a, b: xp.where(a > b, xp.where(b <= 0.3, a, 1), b * b),
}
RECIPES = st.recursive(
    st.sampled_from("xt"),
    lambda parts: (
        st.tuples(st.sampled_from(sorted(UNARY)), parts) | st.tuples(st.sampled_from(sorted(BINARY)), parts, parts)
    ),
    max_leaves=8,
)
X, T = [0.73, -1.31, 2.17], [1.91, 0.37, -0.58]
VALUES = {r"\hat{y}": X, "t": T, "k": 3}


def cooked(recipe: Any, xp: Any, arrays: Any) -> Any:
    if isinstance(recipe, str):
        return arrays[recipe]
    name, *parts = recipe
    return (UNARY | BINARY)[name](xp, *(cooked(part, xp, arrays) for part in parts))


def printed(expression: Any) -> str:
    xp = IndexedNamespace(OUTPUTS)
    features = (sympy.Symbol(f"{name}_j", real=True) for name in ("ŷ", "t"))
    return tex(expression(xp, *map(xp.array, features)).parts[0])


def computed(expression: Any) -> list[float]:
    xp = torch_namespace(torch.float64, torch.device("cpu"))
    x, t = (torch.tensor(numbers, dtype=torch.float64) for numbers in (X, T))
    return (expression(xp, x, t) + 0 * x).tolist()


def assert_says(formula: str, expected: list[float]) -> None:
    for place, number in enumerate(expected):
        if math.isfinite(number) and abs(number) < 1e8:
            said = compute(formula, VALUES | {"j": place})
            assert math.isclose(said, number, rel_tol=1e-6, abs_tol=1e-7), formula


@pytest.mark.parametrize(("expression", "formula"), FORMULAS, ids=[formula for _, formula in FORMULAS])
def test_brackets_keep_apart_what_would_be_read_together(expression: Any, formula: str) -> None:
    assert formula in printed(expression)
    assert_says(printed(expression), computed(expression))


@settings(max_examples=60)
@given(RECIPES)
def test_a_formula_says_what_is_computed(recipe: Any) -> None:
    def expression(xp: Any, x: Any, t: Any) -> Any:
        return cooked(recipe, xp, {"x": x, "t": t})

    try:
        formula = printed(expression)
    except NoRealNumber:
        return
    if "NaN" not in formula and "infty" not in formula:
        assert_says(formula, computed(expression))


# A class whose numbers are called as what its expressions are given, and as each other.
@attrs.frozen(repr=False)
class Odd(fm.Elementwise):
    s: float = 2.0
    y: float = 3.0
    v: float = 0.5
    e: float = 1.5
    log: float = 2.5
    sigma: float = 0.7
    alpha: float = 0.3
    negative_slope: float = 0.6
    beta1: float = 0.9
    beta_1: float = 0.8

    def value(self, xp: Any, s: Any) -> Any:
        gate = self.e * xp.gated(s, self.v, 0.2) / self.sigma
        return gate + self.alpha * xp.log(self.log + s * s) - self.negative_slope * s % self.s

    def derivative(self, xp: Any, s: Any, y: Any) -> Any:
        return self.s * xp.exp(s) + (self.y - self.beta1) * y + self.beta_1 * s


class Bounded(fm.Elementwise):
    def value(self, xp: Any, s: Any) -> Any:
        return xp.minimum(s, xp.erf(s * s / 3))  # which are equal at 0, and rise from there

    def derivative(self, xp: Any, s: Any, y: Any) -> Any:
        return xp.where(s <= 0, 1, (4 / math.sqrt(9 * math.pi)) * s * xp.exp(-((s * s) ** 2) / 9))


class Expm1OverX(fm.Elementwise):
    def value(self, xp: Any, s: Any) -> Any:
        return xp.where(s == 0, 1, xp.expm1(s) / s)

    def derivative(self, xp: Any, s: Any, y: Any) -> Any:
        return xp.where(s == 0, 0.5, (s * xp.exp(s) - xp.expm1(s)) / (s * s))


@pytest.mark.parametrize("layer", [*ACTIVATIONS, Odd(), Bounded(), Expm1OverX()], ids=repr)
def test_the_formulas_of_an_activation_say_what_it_computes(layer: Any) -> None:
    latex = fm.latex(layer)
    letters = numbers(latex)
    value, derivative = list(equations(latex).values())[:2]
    for s in (0.0, 1.3, -0.7, 4.2):
        x = torch.tensor([s], dtype=torch.float64)
        _, slope = layer.vjp((), x, torch.ones_like(x))
        given = letters | {"s": s, "y": float(layer.apply((), x))}
        if "v" in equations(latex):
            given["v"] = compute(equations(latex)["v"], given)
        assert compute(value, given) == pytest.approx(given["y"], rel=1e-12)
        assert compute(derivative, given) == pytest.approx(float(slope), rel=1e-12)


@attrs.frozen(repr=False)
class OddLoss(fm.Loss):
    t: float = 2.0
    j: float = 3.0
    i: float = 0.5
    k: float = 0.1
    p_j: float = 1.5

    def sample_value(self, xp: Any, prediction: Any, target: Any) -> Any:
        nested = xp.sum(self.j * prediction)
        for _ in range(6):
            nested = xp.sum(self.i * target * nested)
        return nested + self.k * xp.max(prediction * target * self.t) / prediction.shape[-1] + self.p_j

    def sample_grad(self, xp: Any, prediction: Any, target: Any) -> Any:
        return xp.max(prediction) * xp.sum(target) * prediction + self.p_j


@pytest.mark.parametrize("loss", [*LOSSES, OddLoss()], ids=repr)
def test_the_formulas_of_a_loss_say_what_it_computes(loss: Any) -> None:
    latex = fm.latex(loss)
    given = numbers(latex) | VALUES | {"t": [0.25, 0.6, 0.15]}
    value, gradient = list(equations(latex).values())[:2]
    predictions, targets = (torch.tensor([row], dtype=torch.float64) for row in (X, given["t"]))
    assert compute(value, given) == pytest.approx(float(loss.value(predictions, targets)), rel=1e-12)
    expected = loss.grad(predictions, targets)[0].tolist()
    assert [compute(gradient, given | {"j": place}) for place in range(3)] == pytest.approx(expected, rel=1e-12)
