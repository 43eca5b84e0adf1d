import re

import pytest
import torch

import functional_mlp as fm
from tests.helpers import (
    KEY,
    assert_close,
    assert_same_bits,
    autograd,
    check_refused,
    draw,
    draw_like,
    loss_oracle,
    oracle,
    random_network,
    refusal,
)
from tests.properties.layer_norm import LayerNorm
from tests.tables import ACTIVATIONS, LAYERS, LOSSES

NETWORK = fm.Sequential(fm.Linear(2, 3), fm.Tanh(), fm.Linear(3, 2))
PARAMS = NETWORK.init(KEY)
MSE, X, T = fm.MeanSquaredError(), torch.tensor([0.25, -1.0]), torch.tensor([1.0, 0.0])


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("seed", range(8))
def test_a_trace_is_the_work_of_one_step(loss: fm.Loss, seed: int) -> None:
    network = random_network(seed)
    params, x = draw_like(network.init(KEY, dtype=torch.float64)), draw(network.in_features or 4)
    targets = draw_like(network.apply(params, x), seed=4).softmax(-1)
    seen = fm.trace(network, loss, params, x, targets)
    assert_same_bits((seen["ℓ"], seen.grads), fm.value_and_grad(network, loss)(params, x, targets))
    # Each leaf of the gradient is among the quantities, from the last layer to the first.
    leaves = [quantity.value for quantity in seen.backward if re.match("∂ℓ/∂[wbθ]", quantity.name)]
    assert sorted(map(str, leaves)) == sorted(map(str, fm.pytree.leaves(seen.grads)))


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
@pytest.mark.parametrize("loss", [MSE, fm.CrossEntropy()], ids=repr)
def test_every_signal_and_its_gradient_are_those_of_torch(activation: fm.Elementwise, loss: fm.Loss) -> None:
    network = fm.Sequential(fm.Linear(3, 4), activation, fm.Linear(4, 4, bias=False), activation, fm.Linear(4, 2))
    params, x = draw_like(network.init(KEY, dtype=torch.float64)), draw(3)
    targets = torch.tensor([0.25, 0.75], dtype=torch.float64)
    seen = fm.trace(network, loss, params, x, targets)
    signals = ["x⁽⁰⁾", "s⁽¹⁾", "x⁽¹⁾", "s⁽²⁾", "x⁽²⁾", "s⁽³⁾"]
    gradients = ["∂ℓ/∂x⁽⁰⁾", "δ⁽¹⁾", "∂ℓ/∂x⁽¹⁾", "δ⁽²⁾", "∂ℓ/∂x⁽²⁾", "δ⁽³⁾"]
    for index, (signal, gradient) in enumerate(zip(signals, gradients, strict=True)):
        rest, rest_params = network.layers[index:], params[index:]
        expected = x if index == 0 else oracle(network[:index], params[:index], x)
        assert_close(seen[signal], expected)

        def value(s, rest=rest, rest_params=rest_params):
            return loss_oracle(loss, oracle(fm.Sequential(*rest), rest_params, s) if rest else s, targets)

        assert_close(seen[gradient], autograd(value, expected)[1][0])


def in_letters(latex: str) -> str:
    """A left side of `fm.latex` as a trace names it."""
    latex = re.sub(r"\\frac\{\\partial \\ell\}\{\\partial (.*)\}$", r"∂ℓ/∂\1", latex)
    latex = re.sub(r"\^\{\((\d+)\)\}", lambda found: "⁽" + "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(d)] for d in found[1]) + "⁾", latex)
    return latex.replace("∂ℓ/∂s", "δ")


@pytest.mark.parametrize("network", [layer for layer in LAYERS if layer.in_features], ids=repr)
def test_names_and_equations_are_those_of_latex(network: fm.Layer) -> None:
    seen = fm.trace(
        network,
        MSE,
        network.init(KEY),
        draw(network.in_features, dtype=torch.float32),
        torch.zeros(network.out_features),
    )
    lines = [line.split(" &", 1) for line in fm.latex(network).split("\n") if r"\text{(" not in line]
    names = [in_letters(left) for left, *_ in lines]
    names = [name for name in names if re.fullmatch("(∂ℓ/∂)?[xswbδ]⁽.*⁾", name)]
    computed = [quantity for quantity in (*seen.forward, *seen.backward) if quantity.formula]
    assert [quantity.name for quantity in computed] == names
    numbers = [number for line in lines for number in re.findall(r"\\quad (\(\d\))", line[-1])]
    assert [quantity.equation for quantity in computed if quantity.equation] == numbers


def test_a_layer_of_ones_own_is_traced_with_its_parameters() -> None:
    network = fm.Sequential(LayerNorm(3), fm.Linear(3, 2))
    seen = fm.trace(network, MSE, network.init(KEY), torch.tensor([1.0, 2.0, 4.0]), T)
    assert [str(quantity) for quantity in seen.backward][-3:] == [
        "∂ℓ/∂θ⁽¹⁾['scale'] = (∂x⁽¹⁾/∂θ⁽¹⁾['scale'])ᵀ ∂ℓ/∂x⁽¹⁾",
        "∂ℓ/∂θ⁽¹⁾['shift'] = (∂x⁽¹⁾/∂θ⁽¹⁾['shift'])ᵀ ∂ℓ/∂x⁽¹⁾",
        "∂ℓ/∂x⁽⁰⁾ = (∂x⁽¹⁾/∂x⁽⁰⁾)ᵀ ∂ℓ/∂x⁽¹⁾",
    ]
    assert "x⁽¹⁾ = LayerNorm(x⁽⁰⁾)" in repr(seen)


class Doubled(fm.Sequential):
    """2 f(x): more than what is inside."""

    def forward(self, params, x):
        y, tape = super().forward(params, x)
        return 2 * y, tape

    def backward(self, params, tape, grad_out):
        return super().backward(params, tape, 2 * grad_out)


class Branch(fm.Residual):
    """layer(x), without x."""

    def forward(self, params, x):
        return self.layer.forward(params, x)

    def backward(self, params, tape, grad_out):
        return self.layer.backward(params, tape, grad_out)


class Forgetful(fm.Linear):
    def backward(self, params, tape, grad_out):
        grads, grad_x = super().backward(params, tape, grad_out)
        return fm.LinearParams(grads.weight, torch.zeros_like(grads.bias)), grad_x


class Lifted(fm.Tanh):
    """1 + tanh(s)."""

    def forward(self, params, x):
        y, tape = super().forward(params, x)
        return 1 + y, tape


class Listed(fm.Sequential):
    """Passes of the library, shown in another order."""

    def __iter__(self):
        return reversed(self.layers)


OWN = [Doubled(fm.Linear(2, 2), fm.Tanh()), Branch(fm.Linear(2, 2)), Forgetful(2, 2), Lifted()]


@pytest.mark.parametrize("own", [*OWN, fm.Residual(OWN[0])], ids=repr)
def test_a_subclass_with_passes_of_its_own_is_one_layer_without_our_equations(own: fm.Layer) -> None:
    params = own.init(KEY)
    seen = fm.trace(own, MSE, params, X, T)
    assert_same_bits((seen["ℓ"], seen.grads), fm.value_and_grad(own, MSE)(params, X, T))
    name = type(own.layer if type(own) is fm.Residual else own).__name__
    assert f"x⁽¹⁾ = {name}(x⁽⁰⁾)" in repr(seen)
    assert [quantity.equation for quantity in seen.backward if quantity.equation] == ["(1)"]
    formulas = fm.latex(own)
    assert rf"x^{{(1)}} &= \operatorname{{{name}}}(x^{{(0)}})" in formulas
    assert re.findall(r"\\quad \((\d)\)", formulas) == ["1"]


def test_layers_are_walked_in_the_order_of_the_pass() -> None:
    own = Listed(fm.Linear(2, 3), fm.Linear(3, 2))
    params = own.init(KEY)
    assert_same_bits(fm.trace(own, MSE, params, X, T).grads, fm.value_and_grad(own, MSE)(params, X, T)[1])
    assert r"s^{(1)} &= w^{(1)} \, x^{(0)} + b^{(1)}, \quad w^{(1)} \in \mathbb{R}^{3 \times 2}" in fm.latex(own)


def test_every_layer_has_a_heading_of_its_own() -> None:
    network = fm.Sequential(fm.Linear(2, 2), fm.Linear(2, 2), fm.Residual(fm.Tanh()))
    text = repr(fm.trace(network, MSE, network.init(KEY), X, T))
    headings = re.findall(r"^  (\d\. .*)$", text, re.MULTILINE)
    assert headings == [
        *("1. Linear(2, 2)", "2. Linear(2, 2)", "3. Tanh()", "4. Residual"),
        *("4. Residual", "3. Tanh()", "2. Linear(2, 2)", "1. Linear(2, 2)"),
    ]


def test_a_sum_past_a_layer_is_of_no_equation_alone_and_headings_show_sizes() -> None:
    network = fm.Residual(fm.Sequential(fm.Linear(2, 2, weight_init=fm.initializers.uniform(-1, 1)), fm.Tanh()))
    seen = fm.trace(network, MSE, network.init(KEY), X, T)
    assert [quantity.equation for quantity in seen.backward if " + " in quantity.formula] == [""]
    assert "1. Linear(2, 2)\n" in repr(seen)


def test_a_label_that_is_no_class_has_no_index() -> None:
    with pytest.raises(ValueError, match=r"between 0 and 1, got 7$"):
        fm.trace(NETWORK, fm.CrossEntropy(), PARAMS, X, torch.tensor(7))


def test_a_notebook_shows_a_table() -> None:
    page = fm.trace(NETWORK, MSE, PARAMS, X, T)._repr_html_()
    assert page.startswith("<table>")
    assert page.count("<tr>") == page.count("</tr>")
    assert "(w⁽²⁾)ᵀ δ⁽²⁾</td><td style='text-align:left'>(2)" in page
    named = type("<b>", (fm.Tanh,), {})()
    assert "<b>" not in fm.trace(named, MSE, (), X, T)._repr_html_()


def test_large_values_are_cut_short_and_half_precision_is_shown() -> None:
    network = fm.Linear(200, 100)
    params = network.init(KEY, dtype=torch.bfloat16)
    text = repr(fm.trace(network, MSE, params, torch.zeros(200).bfloat16(), torch.zeros(100).bfloat16()))
    assert max(map(len, text.splitlines())) < 160
    assert len(text.splitlines()) < 40


@pytest.mark.parametrize(
    ("call", "error", "fragments"),
    [
        refusal(
            "a batch", lambda: fm.trace(NETWORK, MSE, PARAMS, X[None], T[None]), ValueError, "one sample", "inputs[0]"
        ),
        refusal("a wrong width", lambda: fm.trace(NETWORK, MSE, PARAMS, X[:1], T), ValueError, "Linear", "must be 2"),
        refusal("wrong targets", lambda: fm.trace(NETWORK, MSE, PARAMS, X, T[:1]), ValueError, "targets"),
        refusal("wrong params", lambda: fm.trace(NETWORK, MSE, PARAMS[:2], X, T), ValueError, "params"),
        refusal("no loss", lambda: fm.trace(NETWORK, fm.SGD(0.1), PARAMS, X, T), TypeError, "loss", "SGD"),
        refusal("no network", lambda: fm.trace(fm.Linear, MSE, PARAMS, X, T), TypeError, "network", "Linear"),
        refusal("lists", lambda: fm.trace(NETWORK, MSE, PARAMS, [1.0, 2.0], T), TypeError, "inputs", "a list"),
        refusal("no such name", lambda: fm.trace(NETWORK, MSE, PARAMS, X, T)["δ⁽³⁾"], KeyError, "δ⁽³⁾", "δ⁽²⁾"),
    ],
)
def test_bad_input_is_refused(call, error, fragments) -> None:
    check_refused(call, error, fragments)
