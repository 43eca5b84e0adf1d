"""What is no expression of the algebra is refused in its words, with its line, by all that read expressions."""

import math
import operator
import re

import numpy as np
import pytest
import torch

import functional_mlp as fm
from functional_mlp.penalties import Penalty
from functional_mlp.testing import prove
from tests.testing.expressions import Tanh, layer_of, loss
from tests.testing.test_formulas_of_rules import sgd


class Branches(Tanh):
    def derivative(self, xp, s, y):
        return 1 if s > 0 else 0


class Indexes(Tanh):
    def derivative(self, xp, s, y):
        return s[0]


class CallsTorch(Tanh):
    def derivative(self, xp, s, y):
        return torch.tanh(s)


class GoesThrough(Tanh):
    def derivative(self, xp, s, y):
        return sum(s)


class TakesANumber(Tanh):
    def derivative(self, xp, s, y):
        return float(s)


class AsksForMore(Tanh):
    def derivative(self, xp, s, y):
        return xp.cos(s)


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        (
            AsksForMore(),
            r"no function 'cos': it has operators, abs, .*, tanh and where \(in derivative, line \d+ of \S+: return",
        ),
        (
            Branches(),
            r"branch on a comparison, .*: use xp.where, .* line \d+ of \S+: return 1 if s > 0 else 0\)",
        ),
        (Indexes(), r"index an array: use xp.where, .* \(in derivative, line \d+ of \S+: return s\[0\]\)"),
        (CallsTorch(), r"torch.tanh is not in the algebra: use xp \(in derivative, line \d+ of \S+: return torch.tanh"),
        (GoesThrough(), r"go through the numbers of an array: use the functions of xp \(in derivative, line"),
        (TakesANumber(), r"an array is no number, .*: use those of xp \(in derivative, line"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_in_the_algebra_is_named_with_its_line(layer, says):
    with pytest.raises(TypeError, match=says):
        prove(layer)
    with pytest.raises(TypeError, match=says):
        fm.latex(layer)
    reason = fm.engine.explain(
        fm.Sequential(fm.Linear(2, 2), layer), fm.MeanSquaredError(), fm.SGD(0.1), dtype=torch.float32, device="cpu"
    )
    assert re.search(says, reason)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (lambda self, xp, s: None, "<lambda> must return|value must return a formula of its arguments, got None"),
        (lambda self, xp, s: "s", "must return a formula of its arguments, got 's'"),
        (lambda self, xp: 1, r"value\(self, xp, s\) is called, and value\(self, xp\) is defined"),
        (lambda self, xp, s: np.exp(s), "numpy's functions take no array .*: use those of xp"),
        (lambda self, xp, s: math.exp(s), "an array is no number, .*: use those of xp"),
        (lambda self, xp, s: xp.where((s > 0) & (s < 1), s, 0), r"comparisons have no & and \|: write xp.where"),
        (lambda self, xp, s: xp.where((s > 0) | (s < 1), s, 0), r"comparisons have no & and \|: write xp.where"),
        (lambda self, xp, s: xp.where(~(s > 0), s, 0), "comparisons have no ~: change the places"),
        (lambda self, xp, s: xp.where(0 < s < 1, s, 0), r"branch on a comparison, as .* a < b < c do"),
        (lambda self, xp, s: max(s, 0), r"branch on a comparison, as .* max .* xp.maximum"),
        (lambda self, xp, s: (s > 0) * s, "cannot compute with a comparison: write xp.where"),
        (lambda self, xp, s: xp.where(s, s, 0), "xp.where takes a comparison first, s > 0 say, got an array"),
        (lambda self, xp, s: s & 1, "arrays have no &"),
        (lambda self, xp, s: s // 2, r"arrays have no //: write \(a - a % b\) / b"),
        (lambda self, xp, s: 2 // s, r"arrays have no //: write \(a - a % b\) / b"),
        (lambda self, xp, s: round(s), "cannot be rounded: s - s % 1 is"),
        (lambda self, xp, s: math.floor(s), "cannot be rounded: s - s % 1 is"),
        (lambda self, xp, s: int(s), r"as int\(\) wants it: s - s % 1 is"),
        (lambda self, xp, s: len(s) * s, "has no length"),
        (lambda self, xp, s: s @ s, "arrays have no @"),
        (lambda self, xp, s: s * (s > 0), "cannot compute with a comparison: write xp.where"),
        (lambda self, xp, s: xp.maximum(s > 0, 0), "cannot compute with a comparison: write xp.where"),
        (lambda self, xp, s: float(s > 0) * s, "cannot compute with a comparison: write xp.where"),
        (lambda self, xp, s: xp.where((s > 0) == True, s, 0), "cannot compute with a comparison"),  # noqa: E712
        (
            lambda self, xp, s: s if (s > 0).all() else 0,
            r"comparisons have no 'all': xp.where\(condition, a, b\) takes",
        ),
        (lambda self, xp, s: s.all(), "arrays of the algebra have no 'all': use the functions of xp"),
        (lambda self, xp, s: s.__setitem__(0, 1), "cannot write to an array: xp.where"),
        (lambda self, xp, s: xp.array(s), "no function 'array'"),
        (lambda self, xp, s: (s, s), "value must return a formula of its arguments, got a tuple of 2"),
        (lambda self, xp, s: s > 0, "got a comparison: write xp.where"),
        (lambda self, xp, s: xp.where(s > 0, s), r"xp.where\(\) missing 1 required|xp.where takes 3 arguments, got 2"),
        (lambda self, xp, s: s * torch.tensor(2.0), r"got tensor\(2\.\): write float\(x\)"),
    ],
)
def test_what_python_says_in_its_own_words_is_said_in_those_of_the_algebra(value, says):
    layer = layer_of(value, lambda self, xp, s, y: 1)
    says = rf"({says}).* \(in \S+, line \d+ of test_refusals.py: "
    with pytest.raises(TypeError, match=says):
        prove(layer)
    with pytest.raises(TypeError, match=says):
        fm.latex(layer)
    network = fm.Sequential(fm.Linear(2, 2), layer)
    reason = fm.engine.explain(network, fm.MeanSquaredError(), fm.SGD(0.1), dtype=torch.float32, device="cpu")
    assert re.search(says, reason)


@pytest.mark.parametrize(
    "overwrite",
    [operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.imod, operator.ipow],
    ids=lambda overwrite: overwrite.__name__,
)
def test_an_expression_cannot_overwrite_what_it_is_given(overwrite):
    layer = layer_of(lambda self, xp, s: overwrite(s, 2), lambda self, xp, s, y: 1)
    says = r"overwrite the caller's: write s = s \* 2 for s \*= 2 \(in \S+, line \d+ of test_refusals.py: "
    with pytest.raises(TypeError, match=says):
        prove(layer)
    network = fm.Sequential(fm.Linear(2, 2), layer)
    reason = fm.engine.explain(network, fm.MeanSquaredError(), fm.SGD(0.1), dtype=torch.float32, device="cpu")
    assert re.search(says, reason)


def test_of_a_shape_only_the_number_of_features_is_known():
    mean = loss(lambda xp, p, t: xp.sum(p - t) / p.shape[1], lambda xp, p, t: (p - t) / p.shape[-1])
    with pytest.raises(
        TypeError,
        match=r"of a shape only shape\[-1\] is known, .* got shape\[1\] .*called in sample_value",
    ):
        prove(mean)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (lambda self, xp, s: xp.exp(s - xp.max(s)), "xp.max"),
        (lambda self, xp, s: xp.exp(s) / xp.sum(xp.exp(s)), "xp.sum"),
        (lambda self, xp, s: s / s.shape[-1], "shape"),
    ],
)
def test_expressions_of_single_numbers_have_no_features(value, what):
    layer = layer_of(value, lambda self, xp, s, y: y * (1 - y))
    penalty = type("Own", (Penalty,), {"value": value, "derivative": value})()
    says = rf"treats each number by itself, and has no {what}: .* for losses .*\(in \S+, line \d+ of test_refusals.py: "
    for thing in (layer, penalty):
        with pytest.raises(TypeError, match=says):
            prove(thing)
        with pytest.raises(TypeError, match=says):
            fm.latex(thing)
    network, other = fm.Sequential(fm.Linear(2, 2), layer), fm.Sequential(fm.Linear(2, 2), fm.Tanh())
    rule = type("Own", (fm.SGD,), {"rule": lambda self, xp, step, rate, param, grad: (value(self, xp, grad),)})(0.1)
    for runs in [(network, fm.SGD(0.1)), (other, rule)]:
        reason = fm.engine.explain(runs[0], fm.MeanSquaredError(), runs[1], dtype=torch.float32, device="cpu")
        assert re.search(says, reason)
    with pytest.raises(TypeError, match=says):
        prove(rule, formula=sgd)


@pytest.mark.parametrize("cls", [fm.ReLU, fm.CrossEntropy, fm.SGD, fm.penalties.l1, fm.Linear])
@pytest.mark.parametrize("function", [prove, fm.latex])
def test_a_class_in_place_of_a_value_is_named(function, cls):
    with pytest.raises(TypeError, match=rf"must be a value, got the class {cls.__name__}: call it to make one"):
        function(cls)


def test_other_things_are_refused():
    with pytest.raises(TypeError, match="expected an Elementwise, a Loss, an Optimizer"):
        prove(3)
    with pytest.raises(TypeError, match=r"Linear\(2, 2\) has no expressions .*: check_layer tests its gradients"):
        prove(fm.Linear(2, 2))
    with pytest.raises(TypeError, match="is proved against a formula, got None"):
        prove(fm.SGD(0.1))
    with pytest.raises(TypeError, match="formula is for optimizers"):
        prove(fm.Tanh(), formula=sgd)
    with pytest.raises(ValueError, match="steps"):
        prove(fm.SGD(0.1), formula=sgd, steps=0)

    class Own(Tanh):
        def forward(self, params, x):
            return x, ()

        def backward(self, params, tape, grad_out):
            return (), grad_out

    with pytest.raises(TypeError, match="defines forward itself"):
        prove(Own())
