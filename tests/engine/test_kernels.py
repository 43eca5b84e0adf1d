"""What the kernels find out about a network's expressions."""

import pytest
import torch

import functional_mlp as fm
from functional_mlp.algebra import torch_namespace
from functional_mlp.engine.kernels import reads_input
from tests.tables import ACTIVATIONS


@pytest.mark.parametrize("layer", ACTIVATIONS, ids=repr)
def test_an_input_that_is_not_read_makes_no_difference(layer: fm.Elementwise) -> None:
    s, grad = torch.linspace(-3, 3, 61), torch.linspace(1, 2, 61)
    xp = torch_namespace(s.dtype, s.device)
    y = layer.value(xp, s)
    first, second = (layer.pullback(xp, other, y, grad) for other in (s, torch.full_like(s, torch.nan)))
    assert torch.equal(first, second) is not reads_input(layer)
