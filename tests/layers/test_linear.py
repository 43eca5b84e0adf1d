import pickle

import pytest
import torch

import functional_mlp as fm
from functional_mlp import initializers
from tests.helpers import KEY, assert_close, assert_same_bits, check_refused, draw, refusal


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("leading", [(), (4,), (2, 3), (0,)])
def test_it_agrees_with_the_module_of_torch_nn(bias: bool, leading: tuple[int, ...]) -> None:
    module = torch.nn.Linear(3, 2, bias=bias, dtype=torch.float64)
    params = fm.LinearParams(module.weight, module.bias)
    x = draw(*leading, 3).requires_grad_()
    y = module(x)
    grad_out = draw(*leading, 2, seed=1)
    y.backward(grad_out)
    layer = fm.Linear(3, 2, bias=bias)
    grads, grad_x = layer.vjp(params, x, grad_out)
    assert_close(layer.apply(params, x), y.detach())
    assert_close(grad_x, x.grad)
    assert_close(grads, fm.LinearParams(module.weight.grad, module.bias.grad if bias else None))


def test_gradients_of_the_params_are_summed_over_the_leading_dimensions() -> None:
    layer, x, grad_out = fm.Linear(3, 2), draw(4, 3), draw(4, 2, seed=1)
    params = layer.init(KEY, dtype=torch.float64)
    whole, _ = layer.vjp(params, x, grad_out)
    each = [layer.vjp(params, row, grad)[0] for row, grad in zip(x, grad_out, strict=True)]
    summed = fm.LinearParams(sum(g.weight for g in each), sum(g.bias for g in each))
    assert_close(whole, summed)


def test_the_defaults_are_xavier_weights_and_zero_biases() -> None:
    params = fm.Linear(30, 20).init(KEY)
    assert_same_bits(params.weight, initializers.xavier_uniform()(KEY.split()[0], (20, 30), fan_in=30, fan_out=20))
    assert_same_bits(params.bias, torch.zeros(20))


def test_weights_and_biases_are_drawn_from_keys_of_their_own() -> None:
    draws = initializers.uniform(-1, 1)
    params = fm.Linear(1, 4, weight_init=draws, bias_init=draws).init(KEY)
    assert not torch.equal(params.weight[:, 0], params.bias)


def test_without_a_bias_the_params_hold_none() -> None:
    assert fm.Linear(3, 2, bias=False).init(KEY).bias is None
    assert fm.count_parameters(fm.Linear(3, 2, bias=False).init(KEY)) == 6


def test_its_params_pickle() -> None:
    params = fm.Linear(3, 2).init(KEY)
    assert_same_bits(pickle.loads(pickle.dumps(params)), params)


def test_params_are_not_compared_by_an_operator() -> None:
    params = fm.Linear(3, 2).init(KEY)
    assert params == params
    assert params != fm.Linear(3, 2).init(KEY)  # by identity: a generated == would raise for tensors


LAYER = fm.Linear(3, 2)
PARAMS = LAYER.init(KEY)


def initializer_of(result: object):
    return lambda key, shape, **arguments: result


@pytest.mark.parametrize(
    ("call", "error", "fragments"),
    [
        refusal("float size", lambda: fm.Linear(2.0, 1), TypeError, "Linear: in_features", "positive", "2.0, a float"),
        refusal("bool size", lambda: fm.Linear(1, True), TypeError, "Linear: out_features", "positive", "True, a bool"),
        refusal("string size", lambda: fm.Linear("2", 1), TypeError, "Linear: in_features", "positive", "'2', a str"),
        refusal("zero size", lambda: fm.Linear(0, 1), ValueError, "Linear: in_features", "positive integer", "0"),
        refusal("negative size", lambda: fm.Linear(1, -2), ValueError, "Linear: out_features", "positive", "-2"),
        refusal("bias of 1", lambda: fm.Linear(1, 1, bias=1), TypeError, "Linear: bias", "bool", "1, an int"),
        refusal(
            "number for an initializer",
            lambda: fm.Linear(1, 1, weight_init=0.1),
            TypeError,
            "Linear: weight_init",
            "0.1, a float",
            "functional_mlp.initializers",
        ),
        refusal(
            "initializer that was not called",
            lambda: fm.Linear(1, 1, bias_init=initializers.zeros),
            TypeError,
            "Linear: bias_init",
            "class zeros",
            "call it",
        ),
        refusal(
            "weights of another shape",
            lambda: fm.Linear(3, 2, weight_init=initializer_of(torch.zeros(3, 2))).init(KEY),
            ValueError,
            "weight_init",
            "(2, 3)",
            "(3, 2)",
        ),
        refusal(
            "biases of another dtype",
            lambda: fm.Linear(3, 2, bias_init=initializer_of(torch.zeros(2).double())).init(KEY),
            ValueError,
            "bias_init",
            "torch.float32",
            "torch.float64",
        ),
        refusal(
            "no weights",
            lambda: fm.Linear(3, 2, weight_init=initializer_of(None)).init(KEY),
            ValueError,
            "weight_init",
            "(2, 3)",
            "None",
        ),
        refusal(
            "wrong width",
            lambda: LAYER.apply(PARAMS, torch.ones(5, 4)),
            ValueError,
            "Linear(in_features=3, out_features=2)",
            "(5, 4)",
            "the last dimension must be 3",
        ),
        refusal(
            "bias for a layer without",
            lambda: fm.Linear(3, 2, bias=False).apply(PARAMS, torch.ones(3)),
            ValueError,
            "params.bias is unexpected",
        ),
        refusal(
            "no bias for a layer with",
            lambda: LAYER.apply(fm.LinearParams(PARAMS.weight, None), torch.ones(3)),
            ValueError,
            "params.bias is missing",
            "(2,)",
        ),
        refusal(
            "bias to broadcast",
            lambda: LAYER.apply(fm.LinearParams(PARAMS.weight, torch.ones(1)), torch.ones(3)),
            ValueError,
            "params.bias",
            "(2,)",
            "(1,)",
        ),
        refusal(
            "one leaf of another dtype",
            lambda: LAYER.apply(fm.LinearParams(PARAMS.weight, PARAMS.bias.double()), torch.ones(3)),
            ValueError,
            "params.bias",
            "torch.float32",
            "torch.float64",
        ),
    ],
)
def test_bad_input_is_refused(call, error, fragments) -> None:
    check_refused(call, error, fragments)
