"""What holds for every layer and for every network made of them."""

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from torch import Tensor

import functional_mlp as fm
from functional_mlp.testing import check_layer, layers, networks
from tests.properties.layer_norm import LayerNorm, LayerNormWithAFixedDeviation
from tests.tables import ACTIVATIONS, LAYERS

FEW = settings(max_examples=8, suppress_health_check=[HealthCheck.nested_given])


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_a_layer_keeps_its_contract(layer: fm.Layer) -> None:
    check_layer(layer, formula=FORMULAS.get(layer))


@FEW
@given(layers())
def test_drawn_layers_keep_their_contract(layer: fm.Layer) -> None:
    check_layer(layer, examples=5)


@FEW
@given(networks(max_depth=3, max_width=4))
def test_drawn_networks_keep_their_contract(network: fm.Sequential) -> None:
    check_layer(network, examples=5)


def layer_norm(params: Any, x: Tensor) -> Tensor:
    return torch.nn.functional.layer_norm(x, x.shape, params["scale"], params["shift"])


def test_a_hand_written_layer_norm_keeps_the_contract() -> None:
    check_layer(LayerNorm(4), formula=layer_norm)


def test_a_layer_norm_inside_a_network_keeps_the_contract() -> None:
    check_layer(fm.Sequential(fm.Linear(2, 3), LayerNorm(3), fm.Residual(LayerNorm(3)), fm.Tanh()), examples=15)


def test_a_layer_norm_that_forgets_the_deviation_is_found() -> None:
    with pytest.raises(AssertionError, match="the gradient of x is wrong at"):
        check_layer(LayerNormWithAFixedDeviation(4))


FORMULAS: dict[fm.Layer, Any] = {
    fm.Linear(3, 2): lambda params, x: torch.stack([row.dot(x) for row in params.weight]) + params.bias,
    fm.Linear(1, 4, bias=False): lambda params, x: params.weight[:, 0] * x,
    fm.ReLU(): lambda params, x: torch.nn.functional.relu(x),
    fm.Tanh(): lambda params, x: (x.exp() - (-x).exp()) / (x.exp() + (-x).exp()),
    fm.Sigmoid(): lambda params, x: torch.sigmoid(x),
    fm.LeakyReLU(): lambda params, x: torch.nn.functional.leaky_relu(x),
    fm.LeakyReLU(0.2): lambda params, x: torch.nn.functional.leaky_relu(x, 0.2),
    fm.ELU(): lambda params, x: torch.nn.functional.elu(x),
    fm.ELU(1.5): lambda params, x: torch.nn.functional.elu(x, 1.5),
    fm.Softplus(): lambda params, x: (1 + x.exp()).log(),
    fm.SiLU(): lambda params, x: torch.nn.functional.silu(x),
    fm.GELU(): lambda params, x: torch.nn.functional.gelu(x),
    fm.GELU("tanh"): lambda params, x: torch.nn.functional.gelu(x, approximate="tanh"),
    fm.Identity(): lambda params, x: x,
}


def test_every_activation_has_a_formula() -> None:
    assert FORMULAS.keys() >= set(ACTIVATIONS)
