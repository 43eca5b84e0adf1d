"""Gradients are proved, and mistakes that no test with numbers sees are found."""

import math
import operator
import re

import attrs
import numpy as np
import pytest
import sympy
import torch

import functional_mlp as fm
from functional_mlp.penalties import Penalty
from functional_mlp.testing import Proof, prove
from functional_mlp.testing.proof import CannotProveError
from functional_mlp.testing.proving import prove_expressions
from tests.tables import ACTIVATIONS, LOSSES, OPTIMIZERS, PENALTIES
from tests.testing.expressions import loss


@pytest.mark.parametrize("layer", ACTIVATIONS, ids=repr)
def test_every_activation_is_proved(layer):
    assert prove(layer).method == "by algebra"


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_every_loss_is_proved(loss):
    proof = prove(loss)
    assert proof.method == "by algebra"
    assert "for 1 to 4 outputs, all real, and all real targets" in proof.statement


@pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
def test_every_penalty_is_proved(penalty):
    assert prove(penalty).method == "by algebra"


# What the papers say, in their words: a recursion over all gradients so far, from zero.


def sgd(w, gradients, learning_rate):
    return w - learning_rate * gradients[-1]


def batch_gd(w, gradients, learning_rate):
    return w - learning_rate * sum(gradients[-3:]) / 3 if len(gradients) % 3 == 0 else w


def momentum(w, gradients, learning_rate, beta):
    velocity = 0
    for gradient in gradients:
        velocity = beta * velocity + (1 - beta) * gradient
    return w - learning_rate * velocity


def nesterov(w, gradients, learning_rate, momentum):
    velocity = sum(momentum ** (len(gradients) - t) * gradient for t, gradient in enumerate(gradients, 1))
    return w - learning_rate * (gradients[-1] + momentum * velocity)


def algorithm_1(w, gradients, learning_rate, beta1, beta2, eps):
    m = v = 0
    for t, g in enumerate(gradients, 1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
    return w - learning_rate * m_hat / (sympy.sqrt(v_hat) + eps)


def decoupled(w, gradients, learning_rate, beta1, beta2, eps, weight_decay):
    return algorithm_1(w - learning_rate * weight_decay * w, gradients, learning_rate, beta1, beta2, eps)


def rmsprop(w, gradients, learning_rate, decay, eps):
    count = len(gradients)
    mean = (1 - decay) * sum(decay ** (count - t) * g**2 for t, g in enumerate(gradients, 1))
    return w - learning_rate * gradients[-1] / (sympy.sqrt(mean) + eps)


def algorithm_2(w, gradients, learning_rate, beta1, beta2, weight_decay):
    m = 0
    for g in gradients:
        c = beta1 * m + (1 - beta1) * g
        m = beta2 * m + (1 - beta2) * g
    return w - learning_rate * (sympy.sign(c) + weight_decay * w)


FORMULAS = {
    fm.SGD: sgd,
    fm.BatchGD: batch_gd,
    fm.Momentum: momentum,
    fm.Nesterov: nesterov,
    fm.Adam: algorithm_1,
    fm.AdamW: decoupled,
    fm.RMSProp: rmsprop,
    fm.Lion: algorithm_2,
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_a_rule_is_its_formula(optimizer):
    proof = prove(optimizer, formula=FORMULAS[type(optimizer)])
    assert proof.method == "by algebra"
    assert "5 steps from zero state" in proof.statement


def test_a_rule_that_is_wrong_in_one_step_is_found():
    @attrs.frozen(repr=False)
    class LateBias(fm.Adam):
        def rule(self, xp, step, learning_rate, param, grad, first_moment, second_moment):
            step = step - 1 if step == 3 else step
            return super().rule(xp, step, learning_rate, param, grad, first_moment, second_moment)

    assert prove(LateBias(0.1), formula=algorithm_1, steps=2).method == "by algebra"
    with pytest.raises(
        AssertionError, match=r"the parameter after step 3 is wrong: where β2 < 1, at g1 = .*: what is given"
    ):
        prove(LateBias(0.1), formula=algorithm_1)


class Tanh(fm.Elementwise):
    def value(self, xp, s):
        return xp.tanh(s)

    def derivative(self, xp, s, y):
        return 1 - y * y


class OffByABillionth(Tanh):
    def derivative(self, xp, s, y):
        return (1 + 1e-9) * (1 - y * y)


class OffByATrillionth(Tanh):
    def derivative(self, xp, s, y):
        return (1 - y * y) * (1 + 1e-12)


class WrongBeyond40(Tanh):
    def derivative(self, xp, s, y):
        return xp.where(xp.abs(s) > 40, 0, 1 - y * y)


class WrongOnTheRight(fm.Elementwise):
    def value(self, xp, s):
        return s / (1 + xp.abs(s))

    def derivative(self, xp, s, y):
        return xp.where(s > 0, 1 / (1 + s), 1 / (1 + xp.abs(s)) ** 2)


class WrongAtOnePoint(Tanh):
    def derivative(self, xp, s, y):
        return xp.where(s == 3, 0, 1 - y * y)


class BeyondBothSides(fm.ReLU):
    def derivative(self, xp, s, y):
        return xp.where(s == 0, 2, super().derivative(xp, s, y))


class WrongPullback(Tanh):
    def pullback(self, xp, s, y, grad):
        return xp.where(grad > 100, 1 - y, grad * (1 - y * y))


class WrongConstant(fm.Elementwise):
    def value(self, xp, s):
        return xp.erf(s)

    def derivative(self, xp, s, y):
        return 1.1283791670 * xp.exp(-s * s)  # 2/√π = 1.12837916709…


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        (
            OffByABillionth(),
            r"the derivative is wrong: at s = 0 it is 1, and 1\.000000001 is given: .*/\(250000000\*",
        ),
        (OffByATrillionth(), r"the derivative is wrong"),
        (WrongBeyond40(), r"wrong: where s < -40, at s = -\d+/?\d* it is \d\.\d+e-\d\d, and 0 is given"),
        (
            WrongOnTheRight(),
            r"where s > 0, at s = \S+ it is .* is given: what is given less what it is comes to s/\(s \+ 1\)",
        ),
        (WrongAtOnePoint(), r"wrong: at s = 3 it is 0\.009\d+, and 0 is given"),
        (BeyondBothSides(), r"wrong: at s = 0 it is 0, and 2 is given"),
        (WrongPullback(), r"the pullback is wrong: where g > 100, at g = \S+, s = \S+ it is"),
        (WrongConstant(), r"the derivative is wrong: at s = \S+ it is"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_wrong_derivative_is_found(layer, says):
    with pytest.raises(AssertionError, match=says):
        prove(layer)


def test_what_is_right_for_one_number_alone_is_proved_for_that():
    @attrs.frozen(repr=False)
    class Scaled(fm.Elementwise):
        factor: float = 1.0

        def value(self, xp, s):
            return self.factor * s

        def derivative(self, xp, s, y):
            return 2 - self.factor

    assert prove(Scaled()).statement == "Scaled(): the derivative is that of the value for all real s"
    with pytest.raises(AssertionError, match=r"it is 2, and 0 is given: .* comes to -2"):
        prove(Scaled(2.0))


def test_what_algebra_does_not_find_is_evaluated_with_60_digits(monkeypatch):
    class Hard(fm.Elementwise):
        def value(self, xp, s):
            return xp.log(xp.sqrt(s * s * s * s + 2 * s * s + 1))

        def derivative(self, xp, s, y):
            return 2 * s / (1 + s * s)

    monkeypatch.setattr("functional_mlp.symbolic.identities.MOST_OPERATIONS", 3)
    proof = prove(Hard())
    assert proof.pieces == ("everywhere (to 1e-50 at 400 points)",)
    assert "derivative, everywhere (to 1e-50 at 400 points)" in proof.latex
    assert proof.method == "as the pieces say"

    class HardAndWrong(Hard):
        def derivative(self, xp, s, y):
            return super().derivative(xp, s, y) * (1 + 1e-12)

    with pytest.raises(AssertionError, match="the derivative is wrong: at s = "):
        prove(HardAndWrong())


def test_an_expression_that_does_not_end_is_ended():
    class Endless(Tanh):
        def derivative(self, xp, s, y):
            while True:
                pass

    with pytest.raises(ValueError, match=r"no time to read the expressions: give it more, seconds=60"):
        prove(Endless(), seconds=0.05)
    with pytest.raises(ValueError, match="seconds"):
        prove(fm.Tanh(), seconds=0)


def test_a_notebook_shows_conditions_and_jumps_as_the_text_does():
    class Jump(fm.Identity):
        def value(self, xp, s):
            return xp.where(s * s * xp.tanh(s) > 1, 2 * s, s)

        def derivative(self, xp, s, y):
            return xp.where(s * s * xp.tanh(s) > 1, 2, 1)

    proof = prove(Jump())
    assert f", if {proof.conditions[0].partition(' of ')[0]}" in proof.latex
    assert "the value jumps by 1.11" in proof.latex


def test_numbers_that_take_all_memory_leave_a_proof_undecided(monkeypatch):
    def too_large(*arguments):
        raise MemoryError

    monkeypatch.setattr("functional_mlp.symbolic.comparing.compared", too_large)
    monkeypatch.setattr("functional_mlp.symbolic.identities.MOST_OPERATIONS", 3)
    with pytest.raises(CannotProveError, match="the derivative cannot be decided: a number in it takes all memory"):
        prove(OffByATrillionth())


def test_algebra_that_does_not_end_is_ended_and_points_are_looked_at(monkeypatch):
    def endless(expression):
        while True:
            pass

    monkeypatch.setattr("functional_mlp.symbolic.agreement.is_zero", endless)
    (piece,) = prove(Tanh(), seconds=2).pieces
    assert re.fullmatch(r"everywhere \(to 1e-50 at \d+ (of 400 )?points(, for which there was time)?\)", piece)
    with pytest.raises(AssertionError, match=r"the derivative is wrong: at s = .* what is given less what it is comes"):
        prove(OffByATrillionth(), seconds=2)


def test_where_there_are_too_many_pieces_points_of_the_whole_space_are_looked_at(monkeypatch):
    monkeypatch.setattr("functional_mlp.symbolic.dividing.MOST_PIECES", 1)
    assert prove(fm.LeakyReLU()).pieces == ("everywhere (to 1e-50 at 400 points in 2 pieces)",)
    for layer in (WrongBeyond40(), WrongOnTheRight()):
        with pytest.raises(AssertionError, match=r"the derivative is wrong: at s = "):
            prove(layer)


SCALE, ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


class SELU(fm.Elementwise):
    """The product of its constants is rounded by Python: it is not the product of the numbers that they are."""

    def value(self, xp, s):
        return SCALE * (xp.maximum(s, 0) + ALPHA * xp.expm1(xp.minimum(s, 0)))

    def derivative(self, xp, s, y):
        return xp.where(s > 0, SCALE, y + SCALE * ALPHA)


def test_what_the_rounding_of_constants_explains_is_not_wrong():
    proof = prove(SELU())
    assert proof.pieces == ("s < 0 (by algebra, to the rounding of its constants)", "s > 0 (by algebra)")
    assert proof.kinks == (
        "derivative: at s = 0 it is 1.75809934084738 from the left and 1.05070098735548 from the right, "
        "and 1.75809934084738 is given",
    )

    class Wrong(SELU):
        def derivative(self, xp, s, y):
            return xp.where(s > 0, SCALE, y + SCALE * ALPHA * (1 + 1e-9))

    with pytest.raises(AssertionError, match=r"where s < 0, at s = -1 .* comes to 1\.758\d*e-9"):
        prove(Wrong())


def test_a_rounded_constant_does_not_make_the_value_jump():
    class Joined(fm.Elementwise):
        def value(self, xp, s):
            return xp.where(s > 3, 3 * SCALE + (s - 3), SCALE * s)  # 3 · SCALE is rounded

        def derivative(self, xp, s, y):
            return xp.where(s > 3, 1, SCALE)

    (kink,) = prove(Joined()).kinks
    assert "jumps" not in kink


def test_a_jump_of_the_value_is_said():
    class Step(fm.Elementwise):
        def value(self, xp, s):
            return xp.where(s > 1, 1, 0)

        def derivative(self, xp, s, y):
            return 0 * s

    assert prove(Step()).kinks == (
        "derivative: at s = 1 it is 0 from both sides, and 0 is given; the value jumps by 1",
    )


def test_conditions_without_a_formula_for_their_zeros_are_said():
    class Cut(fm.Elementwise):
        def value(self, xp, s):
            return xp.maximum(s * s * xp.tanh(s) - 1, 0)

        def derivative(self, xp, s, y):
            tanh = xp.tanh(s)
            return xp.where(y > 0, 2 * s * tanh + s * s * (1 - tanh * tanh), 0)

    proof = prove(Cut())
    assert proof.kinks[-1] == "zeros of s**2*tanh(s) - 1 were searched for from -10000 to 10000"
    assert proof.conditions == ("all zeros of s**2*tanh(s) - 1 were found",)
    assert "by algebra, if all zeros of s**2*tanh(s) - 1 were found" in str(proof)
    with pytest.warns(RuntimeWarning, match=r"proved if all zeros of s\*\*2\*tanh\(s\) - 1 were found, and tested"):
        prove_expressions(Cut())


class Absolute(fm.Loss):
    def sample_value(self, xp, prediction, target):
        return xp.sum(xp.abs(prediction - target))

    def sample_grad(self, xp, prediction, target):
        return xp.sign(prediction - target)


def test_the_kinks_of_a_loss_are_said():
    proof = prove(Absolute())
    assert "1 output: at ŷ = t it is -1 from the left and 1 from the right, and 0 is given" in proof.kinks
    assert "4 outputs: at ŷ4 = t4 it is -1 from the left and 1 from the right, and 0 is given" in proof.kinks


class ForProbabilities(fm.CrossEntropy):
    def sample_grad(self, xp, prediction, target):
        weights = xp.exp(prediction - xp.max(prediction))
        return weights / xp.sum(weights) - target


class WrongForProbabilities(fm.CrossEntropy):
    """It takes them, and is right for classes alone."""

    def sample_grad(self, xp, prediction, target):
        weights = xp.exp(prediction - xp.max(prediction))
        return weights / xp.sum(weights) - target * target


class ForClasses(WrongForProbabilities):
    def encode(self, targets, predictions):
        if targets.is_floating_point():
            raise ValueError("targets must be classes")
        return super().encode(targets, predictions)


class ForNothing(fm.CrossEntropy):
    def sample_grad(self, xp, prediction, target):
        weights = xp.exp(prediction - xp.max(prediction))
        return weights / xp.sum(weights) - 0.5 * target


class WrongFarAway(fm.MeanSquaredError):
    def sample_grad(self, xp, prediction, target):
        return xp.where(prediction - target > 1e6, 0, super().sample_grad(xp, prediction, target))


class WrongForFourOutputs(fm.MeanSquaredError):
    def sample_grad(self, xp, prediction, target):
        return (2 / min(prediction.shape[-1], 3)) * (prediction - target)


def test_the_proof_says_for_which_targets_a_gradient_is_right():
    proof = prove(ForProbabilities(), targets=["probabilities", "classes"])
    assert proof.statement.endswith("targets that are probabilities above 0, or classes")
    assert prove(ForClasses()).statement.endswith("classes as targets")


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        (ForNothing(), "the gradient by ŷ is wrong"),
        (ForProbabilities(), "the gradient by ŷ is wrong: at t = 0, ŷ = 0 it is 0, and 1 is given"),
        (WrongForProbabilities(), "the gradient by ŷ is wrong"),
        (WrongFarAway(), r"the gradient by ŷ is wrong: where ŷ > t \+ 1000000, at t = \S+, ŷ = \S+ it is"),
        (WrongForFourOutputs(), r"the gradient by ŷ1 is wrong: at t1 = .* comes to -\(t1 - ŷ1\)/6"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_wrong_gradient_is_found(loss, says):
    with pytest.raises(AssertionError, match=says):
        prove(loss)


class Quartic:
    """What a penalty looks like."""

    def value(self, xp, w):
        return w**4 + xp.abs(w)

    def derivative(self, xp, w):
        return 4 * w**3 + xp.sign(w)

    def __repr__(self):
        return "Quartic()"


def test_any_value_with_a_derivative_is_proved():
    proof = prove(Quartic())
    assert str(proof) == (
        "Quartic(): the derivative is that of the value for all real w, by algebra\n"
        "  w < 0\n"
        "  w > 0\n"
        "  derivative: at w = 0 it is -1 from the left and 1 from the right, and 0 is given"
    )
    assert proof == prove(Quartic())
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        proof.method = "by hope"


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
    layer = power(value, lambda self, xp, s, y: 1)
    says = rf"({says}).* \(in \S+, line \d+ of test_proofs.py: "
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
    layer = power(lambda self, xp, s: overwrite(s, 2), lambda self, xp, s, y: 1)
    says = r"overwrite the caller's: write s = s \* 2 for s \*= 2 \(in \S+, line \d+ of test_proofs.py: "
    with pytest.raises(TypeError, match=says):
        prove(layer)
    network = fm.Sequential(fm.Linear(2, 2), layer)
    reason = fm.engine.explain(network, fm.MeanSquaredError(), fm.SGD(0.1), dtype=torch.float32, device="cpu")
    assert re.search(says, reason)


def test_of_a_shape_only_the_number_of_features_is_known():
    mean = loss(lambda xp, p, t: xp.sum(p - t) / p.shape[1], lambda xp, p, t: (p - t) / p.shape[-1])
    with pytest.raises(TypeError, match=r"of a shape only shape\[-1\] is known, .* got shape\[1\] \(in sample_value"):
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
    layer = power(value, lambda self, xp, s, y: y * (1 - y))
    penalty = type("Own", (Penalty,), {"value": value, "derivative": value})()
    says = rf"treats each number by itself, and has no {what}: .* for losses .*\(in \S+, line \d+ of test_proofs.py: "
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


def test_a_proof_is_a_value():
    assert isinstance(prove(fm.Tanh()), Proof)
    assert hash(prove(fm.Tanh())) == hash(prove(fm.Tanh()))


def power(value, derivative):
    return type("Power", (fm.Elementwise,), {"value": value, "derivative": derivative})()


def test_a_slope_may_be_infinite_at_a_kink():
    root = power(lambda self, xp, s: xp.sign(s) * xp.sqrt(xp.abs(s)), lambda self, xp, s, y: 0.5 / xp.sqrt(xp.abs(s)))
    assert "derivative: at s = 0 it is ∞ from both sides" in repr(prove(root))
    guarded = power(lambda self, xp, s: xp.maximum(s, 0) ** 0.5, lambda self, xp, s, y: xp.where(s > 0, 0.5 / y, 0))
    assert "derivative: at s = 0 it is 0 from the left and ∞ from the right, and 0 is given" in repr(prove(guarded))


def test_a_value_that_is_not_finite_is_said():
    log = power(lambda self, xp, s: xp.log(xp.abs(s)), lambda self, xp, s, y: 1 / s)
    (kink,) = prove(log).kinks
    assert kink.startswith("derivative: at s = 0 it is -∞ from the left and ∞ from the right")
    assert kink.endswith(", and an infinite number is given; the value is not finite there")


def test_the_derivative_of_a_power_is_proved_where_it_begins():
    def value(self, xp, s):
        return xp.abs(s) ** 1.5

    assert not prove(power(value, lambda self, xp, s, y: 1.5 * xp.sign(s) * xp.abs(s) ** 0.5)).kinks
    with pytest.raises(AssertionError, match=r"at s = 0 it is 0, and 1 is given"):
        prove(power(value, lambda self, xp, s, y: xp.where(s == 0, 1, 1.5 * xp.sign(s) * xp.abs(s) ** 0.5)))


def test_a_number_that_is_none_is_refuted_beside_an_infinite_slope():
    cusp = power(lambda self, xp, s: xp.sqrt(xp.abs(s)), lambda self, xp, s, y: 0.5 * xp.sign(s) / y)
    with pytest.raises(AssertionError, match=r"at s = 0 it is -∞, and no number is given"):
        prove(cusp)


def test_the_zero_of_a_condition_with_large_numbers_is_found():
    far = power(
        lambda self, xp, s: xp.tanh(s), lambda self, xp, s, y: xp.where(xp.exp(s) > 2.3e17, 0, 1 - xp.tanh(s) ** 2)
    )
    with pytest.raises(AssertionError, match=r"where s > log\(2\.3e\+17\), at s = 4\d"):
        prove(far)


@pytest.mark.parametrize("given", [0.5, 0.7])
def test_a_value_that_is_filled_in_where_its_formula_is_none_is_looked_at(given):
    filled = power(
        lambda self, xp, s: xp.where(s == 0, 1, xp.expm1(s) / s),
        lambda self, xp, s, y: xp.where(s == 0, given, (s * xp.exp(s) - xp.exp(s) + 1) / (s * s)),
    )
    if given == 0.5:
        assert prove(filled).kinks == ()
        return
    with pytest.raises(AssertionError, match=r"at s = 0 it is 0.5, and 0\.7 is given"):
        prove(filled)


@pytest.mark.parametrize(
    ("condition", "place"),
    [(lambda xp, s: xp.tanh(s), "atanh(1/2)"), (lambda xp, s: xp.tanh(s) - xp.exp(-s) + 0.5, "0.609377863436006")],
)
def test_a_jump_at_a_zero_is_said(condition, place):
    jumping = power(lambda self, xp, s: xp.where(condition(xp, s) > 0.5, s + 5, s), lambda self, xp, s, y: 1)
    (kink,) = prove(jumping).kinks
    assert kink == f"derivative: at s = {place} it is 1 from both sides, and 1 is given; the value jumps by 5"


def test_floats_in_a_formula_are_the_numbers_that_they_stand_for():
    def with_floats(w, gradients, learning_rate, beta):
        velocity = 0.0
        for gradient in gradients:
            velocity = beta * velocity + (1.0 - beta) * gradient
        return w - learning_rate * velocity

    assert prove(fm.Momentum(0.1), formula=with_floats).method == "by algebra"
    with pytest.raises(AssertionError, match="the parameter after step 1 is wrong"):
        prove(fm.SGD(0.1), formula=lambda w, gradients, learning_rate: w - 1.000001 * learning_rate * gradients[-1])


def test_a_rule_that_takes_no_schedule_is_found():
    class Deaf(fm.SGD):
        def rule(self, xp, step, learning_rate, param, grad):
            return (param - self.learning_rate * grad,)

    with pytest.raises(AssertionError, match=r"self\.learning_rate"):
        prove(Deaf(0.1), formula=sgd)


@pytest.mark.parametrize(
    ("value", "slope"),
    [
        (lambda xp, s: xp.ndtr(s) - 0.9, lambda xp, s: 0.3989422804014327 * xp.exp(-s * s / 2)),
        (lambda xp, s: s**5 - s - 3, lambda xp, s: 5 * s**4 - 1),
    ],
    ids=["Φ", "a polynomial of degree 5"],
)
def test_conditions_of_every_function_have_zeros(value, slope):
    cut = power(
        lambda self, xp, s: xp.maximum(value(xp, s), 0),
        lambda self, xp, s, y: xp.where(value(xp, s) > 0, slope(xp, s), 0),
    )
    proof = prove(cut)
    assert "by algebra" in proof.method
    assert "it is 0 from the left" in proof.kinks[0]


def test_what_cannot_be_decided_is_no_mistake():
    nowhere = power(lambda self, xp, s: xp.log(-1 - s * s), lambda self, xp, s, y: s)
    with pytest.raises(ValueError, match="the derivative cannot be decided: the value is nowhere a real number"):
        prove(nowhere)


def test_lines_are_divided_where_formulas_are_not_finite():
    no_sign = power(lambda self, xp, s: xp.sign(1 / s) * s, lambda self, xp, s, y: xp.sign(s))
    assert prove(no_sign).pieces == ("s < 0", "s > 0")
    assert prove(no_sign).conditions == ("it holds where s = 0 as well",)
    log = power(
        lambda self, xp, s: xp.maximum(xp.log(xp.abs(s)), 0), lambda self, xp, s, y: xp.where(xp.abs(s) > 1, 1 / s, 0)
    )
    assert prove(log).pieces == ("s < -1", "-1 < s < 0", "0 < s < 1", "s > 1")
    assert [kink.partition(" it is")[0] for kink in prove(log).kinks] == [
        "derivative: at s = -1",
        "derivative: at s = 1",
    ]


@pytest.mark.parametrize(
    ("value", "slope"),
    [
        (lambda xp, s: xp.log(s), lambda xp, s: 1 / s),
        (lambda xp, s: xp.log(s), lambda xp, s: xp.where(s > 0, 1 / s, 5)),
        (lambda xp, s: xp.sqrt(s), lambda xp, s: 0.5 / xp.sqrt(s)),
        (lambda xp, s: s**1.5, lambda xp, s: 1.5 * s**0.5),
    ],
)
def test_nothing_is_said_where_the_value_is_no_real_number(value, slope):
    proof = prove(power(lambda self, xp, s: value(xp, s), lambda self, xp, s, y: slope(xp, s)))
    assert proof.statement.endswith("of the value for all real s where the value is a real number")
    assert proof.pieces == ("s < 0 (the value is no real number)", "s > 0")
    assert proof.method == "by algebra"


def test_a_derivative_that_is_no_number_where_the_value_is_one_is_wrong():
    halved = power(lambda self, xp, s: xp.abs(s) ** 1.5, lambda self, xp, s, y: 1.5 * s**0.5)
    with pytest.raises(AssertionError, match=r"where s < 0, at s = -1 it is -1.5, and no number is given"):
        prove(halved)


def test_remainders_are_proved_for_all_whole_numbers():
    sawtooth = prove(power(lambda self, xp, s: s % 2, lambda self, xp, s, y: 1))
    assert sawtooth.method == "by algebra"
    assert sawtooth.pieces == ("s > 2*n and s < 2*n + 2 for whole n",)
    assert sawtooth.kinks == (
        "derivative: for whole n, at s = 2*n it is 1 from both sides, and 1 is given; the value jumps by -2",
    )

    def rounded(slope):
        return power(lambda self, xp, s: (s - s % 1) * s, lambda self, xp, s, y: slope(s))

    assert prove(rounded(lambda s: s - s % 1)).method == "by algebra"
    with pytest.raises(AssertionError, match=r"at s = \S+, n = -?\d+ it is"):
        prove(rounded(lambda s: s))


def test_a_remainder_of_what_is_not_finite_is_proved_where_it_is():
    proof = prove(power(lambda self, xp, s: (1 / s) % 1, lambda self, xp, s, y: -1 / (s * s)))
    assert proof.method == "by algebra"


def test_a_wave_that_is_wrong_far_away_is_found():
    def wave(end):
        return power(
            lambda self, xp, s: xp.abs(s % 2 - 1),
            lambda self, xp, s, y: xp.where(s > end, 0, xp.where(s % 2 > 1, 1, -1)),
        )

    with pytest.raises(AssertionError, match=r"where s > 2001/2 and .* it is -?1, and 0 is given"):
        prove(wave(1000.5))


def test_a_mistake_between_two_zeros_that_are_near_to_each_other_is_found():
    near = power(lambda self, xp, s: s, lambda self, xp, s, y: xp.where(xp.tanh(s - 45) ** 2 < 0.01, 1 + 1e-9, 1))
    with pytest.raises(AssertionError, match=r"where 45 - atanh\(1/10\) < s < atanh\(1/10\) \+ 45"):
        prove(near)


def test_a_network_is_proved_by_its_activations():
    network = fm.Sequential(fm.Linear(2, 2), fm.ReLU(), fm.Residual(fm.Tanh()), fm.ReLU())
    proof = prove(network)
    assert proof.statement.endswith("the derivative of each activation is that of its value, of ReLU(), Tanh()")
    assert proof.pieces == ("ReLU(): s < 0", "ReLU(): s > 0", "Tanh(): everywhere")
    assert proof.method == "by algebra"
    with pytest.raises(AssertionError, match=r"prove\(Sequential.*: the derivative is wrong: where s < -40"):
        prove(fm.Sequential(fm.Linear(2, 2), WrongBeyond40()))


class Hinge(fm.Loss):
    def sample_value(self, xp, prediction, target):
        return xp.sum(xp.maximum(0, 1 - prediction * target))

    def sample_grad(self, xp, prediction, target):
        return xp.where(1 - prediction * target > 0, -target, 0)


def test_a_condition_in_products_is_the_same_with_the_other_sign():
    assert prove(Hinge()).method == "by algebra"


@attrs.frozen(repr=False)
class AdaBelief(fm.Adam):
    def rule(self, xp, step, learning_rate, param, grad, first_moment, second_moment):
        first = self.beta1 * first_moment + (1 - self.beta1) * grad
        second = self.beta2 * second_moment + (1 - self.beta2) * (grad - first) ** 2 + self.eps
        size = xp.sqrt(second / (1 - self.beta2**step)) + self.eps
        return param - learning_rate * first / (1 - self.beta1**step) / size, first, second


def adabelief(w, gradients, learning_rate, beta1, beta2, eps):
    m, s, t = 0, 0, len(gradients)
    for g in gradients:
        m = beta1 * m + (1 - beta1) * g
        s = beta2 * s + (1 - beta2) * (g - m) ** 2 + eps
    return w - learning_rate * m / (1 - beta1**t) / (sympy.sqrt(s / (1 - beta2**t)) + eps)


class AMSGrad(fm.Adam):
    """One step of it, in which the largest second moment so far is the second moment, or 0."""

    def rule(self, xp, step, learning_rate, param, grad, first_moment, second_moment):
        first = self.beta1 * first_moment + (1 - self.beta1) * grad
        second = self.beta2 * second_moment + (1 - self.beta2) * grad**2
        largest = xp.maximum(second_moment, second)
        return param - learning_rate * first / (xp.sqrt(largest) + self.eps), first, second


def amsgrad(w, gradients, learning_rate, beta1, beta2, eps):
    (g,) = gradients
    return w - learning_rate * (1 - beta1) * g / (sympy.sqrt(1 - beta2) * sympy.Abs(g) + eps)


@pytest.mark.parametrize(("rule", "formula", "steps"), [(AdaBelief, adabelief, 2), (AMSGrad, amsgrad, 1)])
def test_roots_of_sums_of_squares_are_proved_by_algebra(rule, formula, steps):
    proof = prove(rule(0.1), formula=formula, steps=steps)
    assert (proof.method, proof.conditions) == ("by algebra", ())


BIWEIGHT = 4.685


def biweight(xp, p, t):
    r = (p - t) / BIWEIGHT
    return xp.sum(xp.where(xp.abs(r) < 1, BIWEIGHT**2 / 6 * (1 - (1 - r * r) ** 3), BIWEIGHT**2 / 6))


def slope_of_biweight(xp, p, t):
    r = (p - t) / BIWEIGHT
    return xp.where(xp.abs(r) < 1, (p - t) * (1 - r * r) ** 2, 0)


@pytest.mark.parametrize(
    ("value", "gradient"),
    [
        (biweight, slope_of_biweight),
        (lambda xp, p, t: xp.sum(xp.abs((p - t) / t)), lambda xp, p, t: xp.sign(p - t) / xp.abs(t)),
    ],
    ids=["Tukey's biweight", "mean absolute percentage error"],
)
def test_losses_in_pieces_are_proved_by_algebra(value, gradient):
    proof = prove(loss(value, gradient))
    assert not proof.conditions
    assert "points" not in str(proof)


@attrs.frozen(repr=False)
class Turned(fm.Elementwise):
    """It computes with numbers alone before it computes with an array."""

    factor: float = -0.25

    def value(self, xp, s):
        return xp.exp(0.5) * xp.abs(self.factor) * s

    def derivative(self, xp, s, y):
        return xp.exp(0.5) * xp.abs(self.factor)


def test_functions_of_numbers_are_numbers():
    assert "by algebra" in prove(Turned()).method


class Clipped(fm.SGD):
    def rule(self, xp, step, learning_rate, param, grad):
        return (param - learning_rate * xp.maximum(xp.minimum(grad, 1000), -1000),)


def clipped_at(bound):
    return lambda w, gradients, learning_rate: w - learning_rate * sympy.Max(sympy.Min(gradients[-1], bound), -1000)


def in_pieces(w, gradients, learning_rate):
    g = gradients[-1]
    return w - learning_rate * sympy.Piecewise((g, (g < 1000) & (g > -1000)), (1000, g > 0), (-1000, True))


def test_conditions_in_a_formula_divide_space():
    for formula in (clipped_at(1000), in_pieces):
        assert prove(Clipped(0.1), formula=formula, steps=1).method == "by algebra"
    with pytest.raises(AssertionError, match=r"wrong: where 1000 < g1 < 5000, at g1 = "):
        prove(Clipped(0.1), formula=clipped_at(5000), steps=1)
