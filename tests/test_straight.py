"""What is made of an expression once gives the bits that the expression gives when it is read at each call."""

import math
from typing import Any

import pytest
import torch

import functional_mlp as fm
from functional_mlp.algebra import torch_namespace
from functional_mlp.operands import NotInAlgebraError
from functional_mlp.straight import Source
from tests.helpers import assert_same_bits, draw
from tests.tables import ACTIVATIONS, LOSSES

CPU = torch.device("cpu")
EXTREMES = torch.tensor([[0.0, -0.0, math.nan, math.inf], [-math.inf, 1e-40, 3e38, 1.0], [-1e4, 1e4, 0.5, -0.5]])
DTYPES = (torch.float32, torch.float64)


@pytest.mark.parametrize("layer", ACTIVATIONS, ids=repr)
def test_every_activation_has_the_bits_of_its_expressions(layer: Any) -> None:
    for dtype in DTYPES:
        xp = torch_namespace(dtype, CPU)
        for s in (EXTREMES.to(dtype), 3 * draw(3, 4, dtype=dtype)):
            grad = draw(3, 4, seed=1, dtype=dtype)
            y, tape = layer.forward((), s)
            assert_same_bits(y, layer.value(xp, s))
            assert_same_bits(layer.backward((), tape, grad)[1], layer.pullback(xp, s, y, grad))


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_every_loss_has_the_bits_of_its_expressions(loss: fm.Loss) -> None:
    for dtype in DTYPES:
        xp, targets = torch_namespace(dtype, CPU), torch.tensor([[0.0, 1.0, 0.0, 0.0]] * 3, dtype=dtype)
        for predictions in (EXTREMES.to(dtype), draw(3, 4, dtype=dtype), draw(1, 4, dtype=dtype)):
            targets = targets[: len(predictions)]
            value, grad = loss.batch_value_and_grad(predictions, targets)
            assert_same_bits(
                (value, grad), (loss.batch_value(predictions, targets), loss.batch_grad(predictions, targets))
            )
            assert_same_bits(loss.sample_values(predictions, targets), loss.sample_value(xp, predictions, targets))
            alone = loss.sample_grad(xp, predictions, targets)
            assert_same_bits(grad, alone if len(alone) == 1 else alone / len(alone))


def test_what_a_loss_and_its_gradient_share_is_computed_once() -> None:
    loss = fm.CrossEntropy()
    both = Source.of(
        lambda xp, *pair: (loss.sample_value(xp, *pair), loss.sample_grad(xp, *pair)),
        2,
        torch_namespace(torch.float32, CPU),
    )
    assert (both.text.count("exp("), both.text.count("amax(")) == (1, 1)


def everything(xp: Any, a: Any, b: Any) -> Any:
    """All that the algebra has."""
    powers = 1.5 ** (a % 2) + xp.abs(a) ** 0.5 - 2 / (3 - -a) + (1 - b) / 3 - 2 + a * xp.sqrt(0.25)
    chosen = xp.where(b >= 0, xp.maximum(powers, 0.25), xp.minimum(a, xp.maximum(0.5, 0.25)))
    gates = xp.gated(a, 1, 0) + xp.gelu(b) + xp.ndtr(a) - xp.gated_slope(b, 1, 0)
    features = xp.sum(a) * xp.max(b) / a.shape[-1]
    return xp.where(a == b, xp.sign(a), chosen), xp.minimum(gates, b), features + xp.log1p(xp.exp(-xp.abs(a)))


def test_all_of_the_algebra_can_be_written_down() -> None:
    for dtype in DTYPES:
        xp, arrays = torch_namespace(dtype, CPU), (EXTREMES.to(dtype), draw(3, 4, dtype=dtype))
        written = Source.of(everything, 2, xp, features=4).function()
        assert_same_bits(written(*arrays), everything(xp, *arrays))


@pytest.mark.parametrize(
    "wrong", [lambda xp, a: a + "1", lambda xp, a: xp.where(True, a, 0), lambda xp, a: a.shape[-1] * a]
)
def test_what_the_algebra_has_not_is_refused(wrong: Any) -> None:
    with pytest.raises(NotInAlgebraError):
        Source.of(wrong, 1, torch_namespace(torch.float32, CPU))


def test_numbers_of_equal_layers_are_told_apart_to_the_bit() -> None:
    zeros = [fm.LeakyReLU(slope).apply((), torch.tensor([-1.0])).item() for slope in (0.0, -0.0)]
    assert [math.copysign(1, zero) for zero in zeros] == [-1, 1]


def test_expressions_of_users_are_read_at_each_call() -> None:
    factor = [2.0]

    class Scaled(fm.Elementwise):
        def value(self, xp, s):
            return factor[0] * s

        def derivative(self, xp, s, y):
            return factor[0]

    layer, x = Scaled(), torch.ones(1)
    first, factor[0] = layer.apply((), x), 3.0
    assert (first.item(), layer.apply((), x).item(), layer.vjp((), x, x)[1].item()) == (2, 3, 3)


def test_a_loss_whose_class_replaces_a_function_keeps_it() -> None:
    class Doubled(fm.MeanSquaredError):
        def batch_grad(self, *arguments, **named):
            return 2 * super().batch_grad(*arguments, **named)

    network, x, target = fm.Linear(1, 1), torch.ones(1, 1), torch.ones(1, 1)
    params = network.init(fm.random.key(0))
    grads = [fm.value_and_grad(network, loss)(params, x, target)[1] for loss in (fm.MeanSquaredError(), Doubled())]
    assert_same_bits(grads[1].weight, 2 * grads[0].weight)
