"""Formulas are set as a person would write them, and from the code."""

import re

import attrs
import pytest

import functional_mlp as fm
from functional_mlp import schedules
from functional_mlp.symbolic.spelling import decimal
from functional_mlp.testing import prove
from tests.tables import (
    ACTIVATIONS,
    HISTORY_SCHEDULES,
    INITIALIZERS,
    LAYERS,
    LOSSES,
    OPTIMIZERS,
    PENALTIES,
    SCHEDULES,
)
from tests.testing.expressions import activation


class Huber(fm.Loss):
    def sample_value(self, xp, prediction, target):
        error = xp.abs(prediction - target)
        capped = xp.minimum(error, 1.5)
        return xp.sum(capped * (error - 0.5 * capped)) / prediction.shape[-1]

    def sample_grad(self, xp, prediction, target):
        return xp.maximum(-1.5, xp.minimum(1.5, prediction - target)) / prediction.shape[-1]


class BinaryLogistic(fm.Loss):
    def sample_value(self, xp, p, t):
        return xp.sum(xp.maximum(p, 0) - t * p + xp.log1p(xp.exp(-xp.abs(p)))) / p.shape[-1]

    def sample_grad(self, xp, p, t):
        decay = xp.exp(-xp.abs(p))
        return (xp.where(p >= 0, 1, decay) / (1 + decay) - t) / p.shape[-1]


class Ridge:
    def value(self, xp, w):
        return 0.005 * w * w

    def derivative(self, xp, w):
        return 0.01 * w


class Mish(fm.Elementwise):
    def value(self, xp, s):
        return s * xp.tanh(xp.log1p(xp.exp(s)))

    def derivative(self, xp, s, y):
        opening = xp.tanh(xp.log1p(xp.exp(s)))
        return opening + s * (1 - opening * opening) / (1 + xp.exp(-s))


class HardSwish(fm.Elementwise):
    def value(self, xp, s):
        return s * xp.minimum(xp.maximum(s + 3, 0), 6) / 6

    def derivative(self, xp, s, y):
        return xp.where(s > 3, 1, xp.where(s < -3, 0, (2 * s + 3) / 6))


class Power:
    def value(self, xp, w):
        return xp.abs(w) ** 1.5 + xp.erf(w) ** 2

    def derivative(self, xp, w):
        return 1.5 * xp.sign(w) * xp.abs(w) ** 0.5 + 2.256758334191025 * xp.erf(w) * xp.exp(-w * w)


FORMULAS = [
    (Mish(), r"1 - \tanh^{2}(\log(1 + e^{s}))"),
    (Mish(), r"s \, \sigma(s)"),
    (HardSwish(), r"\frac{s \, \min(\max(s + 3, 0), 6)}{6}"),
    (HardSwish(), r"\frac{s}{3} + \frac{1}{2} & \text{otherwise}"),
    (Power(), r"\left|w\right|^{3 / 2} + \operatorname{erf}^{2}(w)"),
    (Power(), r"\frac{4}{\sqrt{\pi}} \, \operatorname{erf}(w) \, e^{-w^{2}}"),
    (fm.ReLU(), r"\operatorname{ReLU}(s) &= \max(s, 0)"),
    (fm.ReLU(), r"\operatorname{ReLU}'(s) &= \begin{cases} 0 & \text{if } y \le 0 \\ 1 & \text{otherwise} \end{cases}"),
    (fm.ReLU(), r"y &= \operatorname{ReLU}(s)"),
    (fm.Sigmoid(), r"\operatorname{Sigmoid}(s) &= \frac{1}{1 + e^{-s}}"),
    (fm.LeakyReLU(0.2), r"\begin{cases} s & \text{if } s > 0 \\ \alpha \, s & \text{otherwise} \end{cases}"),
    (fm.LeakyReLU(0.2), r"\alpha &= 0.2"),
    (fm.ELU(), r"\begin{cases} \alpha \, (e^{s} - 1) & \text{if } s \le 0 \\ s & \text{otherwise} \end{cases}"),
    (fm.Softplus(), r"\operatorname{Softplus}(s) &= \log(1 + e^{s})"),
    (fm.Softplus(), r"\operatorname{Softplus}'(s) &= \sigma(s)"),
    (fm.SiLU(), r"\operatorname{SiLU}'(s) &= \sigma(s) + s \, \sigma(s) \, (1 - \sigma(s))"),
    (fm.GELU(), r"\operatorname{GELU}(s) &= s \, \Phi(s)"),
    (fm.GELU(), r"\Phi(s) + \frac{1}{\sqrt{2 \, \pi}} \, s \, e^{-s^{2} / 2}"),
    (fm.GELU("tanh"), r"v &= \sqrt{\frac{8}{\pi}} \, (s + 0.044715 \, s^{3})"),
    (fm.MeanSquaredError(), r"\ell(\hat{y}, t) &= \frac{1}{k} \, \sum_{j} (\hat{y}_{j} - t_{j})^{2}"),
    (fm.MeanSquaredError(), r"\frac{\partial \ell}{\partial \hat{y}_{j}} &= \frac{2 \, (\hat{y}_{j} - t_{j})}{k}"),
    (fm.CrossEntropy(), r"\sum_{j} t_{j} \, \left(\log\left(\sum_{i} e^{\hat{y}_{i}}\right) - \hat{y}_{j}\right)"),
    (fm.CrossEntropy(), r"\frac{e^{\hat{y}_{j}} \, \sum_{i} t_{i}}{\sum_{i} e^{\hat{y}_{i}}} - t_{j}"),
    (BinaryLogistic(), r"\frac{1}{k} \, \sum_{j} (\log(1 + e^{\hat{y}_{j}}) - \hat{y}_{j} \, t_{j})"),
    (BinaryLogistic(), r"\frac{\sigma(\hat{y}_{j}) - t_{j}}{k}"),
    (
        Huber(),
        r"\frac{(\hat{y}_{j} - t_{j})^{2}}{2} & \text{if } \left|\hat{y}_{j} - t_{j}\right| \le \frac{3}{2}",
    ),
    (
        fm.Huber(2.5),
        r"\le \delta \\ \delta \, \left(\left|\hat{y}_{j} - t_{j}\right| - \frac{\delta}{2}\right) & \text{otherwise}",
    ),
    (fm.Huber(2.5), r"\frac{\max(\min(\hat{y}_{j} - t_{j}, \delta), -\delta)}{k}"),
    (fm.SGD(0.1), r"w &\leftarrow w - \eta \, g"),
    (fm.Momentum(0.1), r"V &\leftarrow \beta \, V + (1 - \beta) \, g"),
    (fm.Momentum(0.1), r"w &\leftarrow w - \eta \, V"),
    (fm.Nesterov(0.1), r"w &\leftarrow w - \eta \, (\mu \, V + g)"),
    (fm.BatchGD(0.1, 3), r"w - \frac{\eta \, (G + g)}{B} & \text{if } t \bmod B = 0"),
    (fm.Adam(0.1), r"v &\leftarrow \beta_{2} \, v + (1 - \beta_{2}) \, g^{2}"),
    (fm.Adam(0.1), r"\hat{m} &= \frac{m}{1 - \beta_{1}^{t}}"),
    (fm.Adam(0.1), r"w &\leftarrow w - \frac{\eta \, \hat{m}}{\sqrt{\hat{v}} + \varepsilon}"),
    (fm.Adam(0.1), r"\varepsilon &= 10^{-8}"),
    (fm.AdamW(0.1), r"w - \eta \, \lambda \, w - \frac{\eta \, \hat{m}}{\sqrt{\hat{v}} + \varepsilon}"),
    (fm.CrossEntropy(label_smoothing=0.2), r"(1 - \varepsilon) \, t_{j} + \frac{\varepsilon}{k}"),
    (fm.CrossEntropy(label_smoothing=0.2), r"\varepsilon &= 0.2"),
    (fm.RMSProp(0.1), r"w &\leftarrow w - \frac{\eta \, g}{\sqrt{v} + \varepsilon}"),
    (fm.Lion(0.1), r"w - \eta \, (\lambda \, w + \operatorname{sign}(\beta_{1} \, m + (1 - \beta_{1}) \, g))"),
    (schedules.exponential_decay(0.9), r"\operatorname{factor}(n) &= 0.9^{n}"),
    (schedules.exponential_decay(0.9), r"n &: \text{the epoch, from } 0"),
    (schedules.step_decay(0.1, 3), r"0.1^{\lfloor n / 3 \rfloor}"),
    (schedules.inverse_decay(3.0, power=0.5), r"\frac{1}{\sqrt{1 + 3 \, n}}"),
    (schedules.cosine_decay(5), r"\frac{1 + \cos(\pi \, n / 5)}{2} & \text{if } n < 5 \\ 0 & \text{otherwise}"),
    (schedules.warmup(2, schedules.exponential_decay(0.9)), r"0.9^{n - 2} & \text{otherwise}"),
    (schedules.warmup(5, schedules.constant()), r"\frac{n + 1}{5} & \text{if } n < 5 \\ 1 & \text{otherwise}"),
    (
        schedules.warmup(5, schedules.cosine_decay(20)),
        r"\frac{1 + \cos(\pi \, (n - 5) / 20)}{2} & \text{if } n < 25 \\ 0 & \text{otherwise}",
    ),
    (schedules.on_plateau(0.1), r"0.1^{k}"),
    (schedules.on_plateau(0.5, patience=1), r"0.5^{k}"),
    (schedules.on_plateau(0.5, patience=1), r"for more than } 1 \text{ epoch in a row}"),
    (schedules.inverse_decay(0.5), r"\frac{1}{1 + \frac{n}{2}}"),
    (fm.PoissonDeviance(), r"(e^{\hat{y}_{j}} - \hat{y}_{j} \, t_{j} - t_{j} + t_{j} \, \log(t_{j}))"),
    (
        schedules.on_plateau(0.1, patience=5, monitor="validation_accuracy"),
        r"k &: \text{how often the validation accuracy was not better by more than } 0.0001 "
        r"\text{ for more than } 5 \text{ epochs in a row}",
    ),
    (schedules.warmup(2, schedules.on_plateau(min_delta=1e-6)), r"by more than } 10^{-6} \text{ for"),
    (Ridge(), r"\operatorname{Ridge}(w) &= 0.005 \, w^{2}"),
    (Ridge(), r"\operatorname{Ridge}'(w) &= 0.01 \, w"),
    (fm.Linear(2, 25), r"s^{(1)} &= w^{(1)} \, x^{(0)} + b^{(1)}, \quad w^{(1)} \in \mathbb{R}^{25 \times 2}"),
    (fm.Linear(2, 25), r"{\partial x^{(0)}} &= (w^{(1)})^{\top} \, \frac{\partial \ell}{\partial s^{(1)}} \quad (2)"),
    (fm.Linear(2, 25), r"{\partial w^{(1)}} &= \frac{\partial \ell}{\partial s^{(1)}} \, (x^{(0)})^{\top} \quad (4)"),
    (fm.Linear(2, 25), r"{\partial b^{(1)}} &= \frac{\partial \ell}{\partial s^{(1)}} \quad (5)"),
    (fm.Linear(2, 25), r"\frac{\partial \ell}{\partial s^{(1)}} &= \nabla \ell(s^{(1)}) \quad (1)"),
    (fm.Sequential(fm.Linear(2, 2), fm.Tanh()), r"\odot \operatorname{Tanh}'(s^{(1)}) \quad (3)"),
    (fm.Residual(fm.Linear(3, 3)), r"x^{(1)} &= x^{(0)} + s^{(1)}"),
    (
        fm.Residual(fm.Linear(3, 3)),
        r"\frac{\partial \ell}{\partial s^{(1)}} + \frac{\partial \ell}{\partial x^{(1)}}",
    ),
]


@pytest.mark.parametrize(("thing", "formula"), FORMULAS, ids=lambda value: str(value)[:40])
def test_a_formula_is_set(thing, formula):
    assert formula in fm.latex(thing)


def test_sums_in_a_gradient_run_over_another_letter_than_its_own():
    class SquareOfTheSum(fm.MeanSquaredError):
        def sample_value(self, xp, prediction, target):
            return xp.sum(prediction - target) ** 2

        def sample_grad(self, xp, prediction, target):
            return 2 * xp.sum(prediction - target) + 0 * prediction

    assert r"{\partial \hat{y}_{j}} &= 2 \, \sum_{i} (\hat{y}_{i} - t_{i})" in fm.latex(SquareOfTheSum())


@pytest.mark.parametrize(
    "thing", [*ACTIVATIONS, *LAYERS, *LOSSES, *OPTIMIZERS, *PENALTIES, *SCHEDULES, *HISTORY_SCHEDULES], ids=repr
)
def test_everything_has_formulas(thing):
    text = fm.latex(thing)
    assert text.isascii()
    assert text.count("{") == text.count("}")
    assert text.count(r"\left") == text.count(r"\right") + text.count(r"\leftarrow")
    assert text.count(r"\begin{") == text.count(r"\end{")
    assert "nan" not in text
    assert thing._repr_latex_() == f"$${text}$$"


def test_a_network_has_both_passes_in_order():
    text = fm.latex(fm.Sequential(fm.Linear(2, 3), fm.Tanh(), fm.Linear(3, 1, bias=False)))
    left = re.findall(r"^(.*?) &", text, re.MULTILINE)
    d = r"\frac{{\partial \ell}}{{\partial {}}}".format
    assert left == [
        *("x^{(0)}", "s^{(1)}", "x^{(1)}", "s^{(2)}"),
        *(d("s^{(2)}"), d("w^{(2)}"), d("x^{(1)}"), d("s^{(1)}"), d("w^{(1)}"), d("b^{(1)}"), d("x^{(0)}")),
        *(r"\operatorname{Tanh}(s)", r"\operatorname{Tanh}'(s)"),
        *(["y"] if "y^{2}" in text else []),
    ]


def test_activations_of_one_class_that_differ_are_numbered_and_each_has_its_own_numbers():
    leaky = [fm.LeakyReLU(slope) for slope in (0.2, 0.3, 0.2)]
    text = fm.latex(fm.Sequential(fm.Linear(2, 2), *leaky, fm.Residual(fm.ELU())))
    lines = re.findall(r"^(.*?) &= (.*?)(?: ?\\\\)?$", text, re.MULTILINE)
    names = [rf"\operatorname{{LeakyReLU}}_{{{number}}}" for number in (1, 2)]
    passed = [right for left, right in lines if re.fullmatch(r"x\^\{\(\d\)\}", left)]
    assert [right.partition("(")[0] for right in passed[:3]] == [names[0], names[1], names[0]]
    numbers = {rf"\text{{(in }}{{{name}}}\text{{)}}": value for name, value in zip(names, ("0.2", "0.3"), strict=True)}
    numbers[r"\text{(in }{\operatorname{ELU}}\text{)}"] = "1"
    assert [right for left, right in lines if left == r"\alpha"] == [
        rf"{v} \quad {where}" for where, v in numbers.items()
    ]


class AtOnePoint(fm.Elementwise):
    def value(self, xp, s):
        return xp.where(s * s <= 0, 7, s * s)

    def derivative(self, xp, s, y):
        return xp.where(xp.abs(s) > 0, 2 * s, 5)


def test_a_case_that_holds_at_one_point_alone_is_shown():
    text = fm.latex(AtOnePoint())
    assert r"\begin{cases} 7 & \text{if } s^{2} \le 0 \\ s^{2} & \text{otherwise} \end{cases}" in text
    assert r"\begin{cases} 2 \, s & \text{if } \left|s\right| > 0 \\ 5 & \text{otherwise} \end{cases}" in text


class My_Layer(fm.Elementwise):  # noqa: N801 - a name that TeX does not take as it is
    def value(self, xp, s):
        return xp.where(s > 40, s * (1 + 1e-12), 3e-13 * s)

    def derivative(self, xp, s, y):
        return xp.where(s > 40, 1 + 1e-12, 3e-13)


def test_names_and_digits_are_written_for_tex():
    text = fm.latex(My_Layer())
    assert r"\operatorname{My\_Layer}(s) &= \begin{cases} 1.000000000001 \, s & \text{if } s > 40" in text
    assert r"3 \cdot 10^{-13} \, s & \text{otherwise}" in text
    assert r"\text{My}\_\text{Layer(): the derivative is" in prove(My_Layer()).latex


def test_a_formula_changes_with_the_code():
    class Halved(fm.Tanh):
        def value(self, xp, s):
            return 0.5 * super().value(xp, s)

    assert r"\operatorname{Halved}(s) &= \frac{\tanh(s)}{2}" in fm.latex(Halved())


def test_what_was_remembered_before_the_step_is_told_from_what_is_after_it():
    @attrs.frozen(repr=False)
    class Both(fm.Momentum):
        def rule(self, xp, step, learning_rate, param, grad, velocity):
            new = self.beta * velocity + grad
            return param - learning_rate * (new * new - velocity), new

    assert r"w &\leftarrow w - \eta \, (V^{2} - V_{\mathrm{before}})" in fm.latex(Both(0.1))


def test_a_number_that_an_expression_branches_on_is_shown_as_it_is():
    @attrs.frozen(repr=False)
    class Scaled(fm.Elementwise):
        factor: float = 3.0

        def value(self, xp, s):
            return self.factor * s if self.factor > 1 else s

        def derivative(self, xp, s, y):
            return self.factor if self.factor > 1 else 1

    assert r"\operatorname{Scaled}(s) &= 3 \, s" in fm.latex(Scaled())


def test_a_formula_that_takes_too_long_is_left_as_it_is(monkeypatch):
    def endless(expression):
        while True:
            pass

    monkeypatch.setattr("functional_mlp.symbolic.tidying._tidied", endless)
    monkeypatch.setattr("functional_mlp.symbolic.tidying.SECONDS", 0.05)
    assert r"\operatorname{Softplus}(s) &= \max(s, 0) + \log(1 + e^{-\left|s\right|})" in fm.latex(fm.Softplus())


def test_a_formula_whose_pieces_cannot_be_told_is_left_as_it_is(monkeypatch):
    def undecided(expression):
        raise ValueError("no point was found")

    monkeypatch.setattr("functional_mlp.symbolic.tidying._tidied", undecided)
    assert r"\operatorname{ReLU}(s) &= \max(s, 0)" in fm.latex(fm.ReLU())


def test_other_things_have_no_formulas():
    with pytest.raises(
        TypeError, match="latex: expected a layer, a loss, an optimizer, a schedule or a penalty, got 3"
    ):
        fm.latex(3)
    assert INITIALIZERS[0]._repr_latex_() is None

    class Branches(fm.Tanh):
        def value(self, xp, s):
            return s if s > 0 else 0

    with pytest.raises(TypeError, match=r"use xp.where, .* \(in value, line \d+ of test_formulas.py: "):
        fm.latex(Branches())
    assert Branches()._repr_latex_() is None


def test_a_line_of_a_helper_elsewhere_is_named_with_the_one_that_calls_it():
    elsewhere = {}
    exec(compile("def helper(s):\n    return s[0]", "elsewhere.py", "exec"), elsewhere)

    class Helped(fm.Tanh):
        def value(self, xp, s):
            return elsewhere["helper"](s)

    with pytest.raises(TypeError, match=r"\(in helper, line 2 of elsewhere.py, called in value, line \d+ of test_form"):
        fm.latex(Helped())


def test_a_proof_shows_its_formulas():
    text = prove(fm.ReLU())._repr_latex_()
    assert text.startswith("$$\\begin{array}{l} \\text{ReLU(): derivative and pullback are")
    assert r"\operatorname{ReLU}(s) &= \max(s, 0)" in text
    assert r"s = 0 &: 0 \text{ from the left, } 1 \text{ from the right, } 0 \text{ given}" in text


@pytest.mark.parametrize(("number", "text"), [(0.1, "0.1"), (1e-8, "10^{-8}"), (3e-9, r"3 \cdot 10^{-9}"), (2, "2")])
def test_a_decimal_number_is_written(number, text):
    assert decimal(number) == text


def test_a_condition_that_is_met_twice_is_shown_once():
    formula = fm.latex(fm.schedules.warmup(3, fm.schedules.on_plateau()))
    assert formula.count("cases") == 2
    assert r"\text{if } n < 3 \\ 0.1^{k} & \text{otherwise}" in formula


def test_conditions_may_hold_the_largest_feature():
    class LargestError(fm.Loss):
        def sample_value(self, xp, prediction, target):
            return xp.max(xp.abs(prediction - target))

        def sample_grad(self, xp, prediction, target):
            error = xp.abs(prediction - target)
            return xp.where(error == xp.max(error), xp.sign(prediction - target), 0)

    formula = fm.latex(LargestError())
    assert r"\operatorname{sign}(\hat{y}_{j} - t_{j}) & \text{if }" in formula
    assert r"\max_{i} \left|\hat{y}_{i} - t_{i}\right|" in formula


@pytest.mark.parametrize(
    ("value", "formula"),
    [
        (lambda xp, s: xp.exp(xp.log(s)), r"e^{\log(s)}"),
        (lambda xp, s: s * s / s, r"\frac{s^{2}}{s}"),
        (lambda xp, s: 1 / s * s, r"\frac{s}{s}"),
        (lambda xp, s: xp.sqrt(s) ** 2, r"\left(\sqrt{s}\right)^{2}"),
        (lambda xp, s: xp.sqrt(s) ** 3, r"s^{3 / 2}"),
        (lambda xp, s: 3 * s / (1 + s * s), r"\frac{3 \, s}{1 + s^{2}}"),
        (
            lambda xp, s: xp.minimum(xp.maximum(s, 0), 1) * xp.maximum(s, 0),
            r"\begin{cases} s \, \min(s, 1) & \text{if } s \ge 0 \\ 0 & \text{otherwise} \end{cases}",
        ),
    ],
)
def test_a_formula_leaves_out_nothing_that_may_be_no_number(value, formula):
    assert rf"(s) &= {formula} \\" in fm.latex(activation(value, lambda xp, s, y: 1))


def test_numbers_that_no_formula_has_are_not_listed():
    @attrs.frozen(repr=False)
    class Scaled(fm.Elementwise):
        theta: float = 0.5
        unused: float = 1.0

        def value(self, xp, s):
            return self.theta * s

        def derivative(self, xp, s, y):
            return self.theta

    assert r"\theta &= 0.5" in fm.latex(Scaled())
    assert "unused" not in fm.latex(Scaled())
