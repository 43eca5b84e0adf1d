"""The torch.nn model trains as ours does."""

import pytest
import torch

import functional_mlp as fm
from functional_mlp.experiments import paper, torch_nn, trials
from functional_mlp.experiments.paper import Recipe
from tests.helpers import KEY, assert_close, assert_same_bits


def test_parameters_go_into_the_module_and_come_back():
    params = paper.NETWORK.init(KEY)
    model = torch_nn.module(params)
    assert_same_bits(torch_nn.params_of(model), params)
    x = trials.draw(KEY).training.inputs[:5]
    torch.testing.assert_close(model(x).detach(), paper.NETWORK.apply(params, x))


def test_an_epoch_of_torch_is_an_epoch_of_fit():
    draw, recipe = trials.draw(KEY, torch.float64), Recipe(epochs=1)
    theirs = torch_nn.train(recipe, draw)
    (ours,) = trials.train(recipe, [draw])
    assert_close(theirs.params, ours.params, tolerance=1e-10)
    for name in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "learning_rate"):
        assert getattr(theirs.history, name) == pytest.approx(getattr(ours.history, name), rel=1e-10)


def test_the_step_size_of_torch_follows_the_schedule():
    small = fm.datasets.disk(KEY, 10)
    draw = trials.Draw(small, small, KEY)
    history = torch_nn.train(Recipe(epochs=3), draw).history
    assert history.learning_rate == pytest.approx((0.01, 0.009, 0.0081))
