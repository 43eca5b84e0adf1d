"""Rules, and formulas for them, that are none are refused with the line, what came, and what to write."""

import importlib
import math
import sys

import attrs
import pytest
import sympy

import functional_mlp as fm
import functional_mlp.symbolic
from functional_mlp.testing import prove


def sgd(w, gradients, learning_rate):
    return w - learning_rate * gradients[-1]


def with_rule(rule, base=fm.SGD):
    return attrs.frozen(repr=False)(type("Own", (base,), {"rule": rule}))(0.1)


@pytest.mark.parametrize(
    ("optimizer", "says"),
    [
        (with_rule(lambda self, xp, step, rate, w, g: w - rate * g), r"a tuple of 1, \(param,\), got an array"),
        (with_rule(lambda self, xp, step, rate, w, g: (w, g)), r"a tuple of 1, \(param,\), got a tuple of 2"),
        (with_rule(lambda self, xp, step, rate, w, g: None), r"a tuple of 1, \(param,\), got None"),
        (with_rule(lambda self, xp, step, rate, w, g: ("w",)), "each a formula of its arguments, got 'w'"),
        (
            with_rule(lambda self, xp, step, rate, w, g, v: (w - rate * g,), fm.Momentum),
            r"a tuple of 2, \(param, velocity\), got a tuple of 1",
        ),
        (
            with_rule(lambda self, xp, w, g: (w,)),
            r"rule\(self, xp, step, learning_rate, param, grad\) is called, and rule\(self, xp, w, g\) is defined",
        ),
    ],
)
def test_a_rule_that_is_none_is_named_with_its_line(optimizer, says):
    with pytest.raises(TypeError, match=rf"{says} \(in <lambda>, line \d+ of test_formulas_of_rules.py: "):
        prove(optimizer, formula=lambda w, gradients, **numbers: w)
    with pytest.raises(TypeError, match=says):
        fm.latex(optimizer)


@pytest.mark.parametrize(
    ("formula", "says"),
    [
        (
            lambda w, gradients, lr: w - lr * gradients[-1],
            r"<lambda>\(w, gradients, learning_rate\) is called, and <lambda>\(w, gradients, lr\) is defined",
        ),
        (lambda w, gradients, learning_rate: w - eta * gradients[-1], "name 'eta' is not defined"),  # noqa: F821
        (lambda w, gradients, learning_rate: w - gradients[1], r"gradients\[-1\] is the newest"),
        (lambda w, gradients, learning_rate: (w,), "must return the new w, one formula of sympy's, got a tuple of 1"),
        (lambda w, gradients, learning_rate: None, "one formula of sympy's, got None"),
        (lambda w, gradients, learning_rate: "w", "one formula of sympy's, got 'w'"),
        (lambda w, gradients, learning_rate: w > 0, "one formula of sympy's, got w > 0"),
        (lambda w, gradients, learning_rate: math.sqrt(w), "as the functions of math want it: use sympy's"),
        (lambda w, gradients, learning_rate: w if w > 0 else 0, "use sympy.Piecewise, sympy.Max and sympy.Min"),
        (lambda w, gradients, learning_rate: w - sympy.Symbol("eta"), "got a formula with eta in it"),
    ],
)
def test_a_formula_that_is_none_is_named_with_its_line(formula, says):
    with pytest.raises(TypeError, match=rf"{says} \(in <lambda>, line \d+ of test_formulas_of_rules.py: "):
        prove(fm.SGD(0.1), formula=formula)


def test_whole_numbers_in_fields_of_floats_have_symbols():
    assert prove(fm.SGD(1), formula=sgd).statement.endswith("for all positive η")
    assert prove(fm.LeakyReLU(1)).statement.endswith("for all real s, α")


@attrs.frozen(repr=False)
class Divided(fm.SGD):
    power: int = 2
    betas: tuple[float, ...] = (0.9, 0.99)

    def rule(self, xp, step, learning_rate, param, grad):
        return (param - learning_rate * self.betas[0] * grad / self.power,)


def test_a_formula_is_given_what_it_asks_for():
    def formula(w, gradients, learning_rate, power, betas):
        return w - betas[0] * learning_rate * gradients[-1] / power

    assert prove(Divided(0.1), formula=formula).method == "by algebra"
    assert (
        prove(Divided(0.1), formula=lambda w, gradients, **all_: formula(w, gradients, **all_)).method == "by algebra"
    )
    with pytest.raises(AssertionError, match="the parameter after step 1 is wrong"):
        prove(Divided(0.1), formula=sgd)


def test_where_sympy_cannot_be_imported_that_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "sympy", None)
    with pytest.raises(
        ImportError, match=r"formulas and proofs need sympy, which comes with torch .*: pip install sympy"
    ):
        importlib.reload(functional_mlp.symbolic)
