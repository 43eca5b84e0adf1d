"""The two frameworks compute the same."""

import pytest
import torch

from functional_mlp.experiments import torch_model, trials
from tests.helpers import KEY


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_networks_agree_step_by_step(dtype):
    steps = torch_model.step_by_step(trials.draw(KEY, dtype), 20)
    assert len(steps.differences) == 20
    assert max(steps.differences) <= 20 * steps.epsilon * max(1.0, steps.largest_parameter)
