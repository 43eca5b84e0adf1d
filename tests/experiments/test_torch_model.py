"""The torch.nn model trains as ours does."""

import pytest
import torch

import functional_mlp as fm
from functional_mlp.experiments import paper, torch_model, trials
from functional_mlp.experiments.paper import Recipe
from tests.helpers import KEY, assert_close, assert_same_bits


def test_parameters_go_into_the_module_and_come_back():
    params = paper.NETWORK.init(KEY)
    model = torch_model.module(params)
    assert_same_bits(torch_model.params_of(model), params)
    x = trials.draw(KEY).training.inputs[:5]
    torch.testing.assert_close(model(x).detach(), paper.NETWORK.apply(params, x))


def test_an_epoch_of_torch_is_an_epoch_of_fit():
    draw, recipe = trials.draw(KEY, torch.float64), Recipe(epochs=1)
    theirs = torch_model.train(recipe, draw)
    (ours,) = trials.train(recipe, [draw])
    assert_close(theirs.params, ours.params, tolerance=1e-10)
    for name in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "learning_rate"):
        assert getattr(theirs.history, name) == pytest.approx(getattr(ours.history, name), rel=1e-10)


def test_the_step_size_of_torch_follows_the_schedule():
    small = fm.datasets.disk(KEY, 10)
    draw = trials.Draw(small, small, KEY)
    history = torch_model.train(Recipe(epochs=3), draw).history
    assert history.learning_rate == pytest.approx((0.01, 0.009, 0.0081))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_networks_agree_step_by_step(dtype):
    steps = torch_model.step_by_step(trials.draw(KEY, dtype), 20)
    assert len(steps.differences) == 20
    assert max(steps.differences) <= 20 * steps.epsilon * max(1.0, steps.largest_parameter)
