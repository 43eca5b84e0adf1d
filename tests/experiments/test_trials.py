"""Draws, trials and what they come to."""

import math
import statistics

import attrs
import pytest
import torch

import functional_mlp as fm
from functional_mlp.experiments import paper, trials
from functional_mlp.experiments.paper import Recipe
from functional_mlp.experiments.trials import Curves, Performance
from tests.helpers import KEY, assert_close, assert_same_bits


def test_the_first_draws_do_not_depend_on_the_number_of_runs():
    assert trials.run_keys(KEY, 2) == trials.run_keys(KEY, 5)[:2]
    first, again = trials.draw(KEY), trials.draw(KEY)
    assert_same_bits(first.training.inputs, again.training.inputs)
    assert not torch.equal(first.training.inputs, first.validation.inputs)


def lone_run(recipe: Recipe, draw: trials.Draw) -> fm.FitResult:
    return fm.fit(
        recipe.network,
        paper.LOSS,
        recipe.optimizer,
        draw.training,
        key=draw.key,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        schedule=recipe.schedule,
        validation=draw.validation,
    )


def test_a_trial_is_a_call_of_fit():
    draw, recipe = trials.draw(KEY), Recipe(epochs=2, batch_size=100)
    (trial,) = trials.train(recipe, [draw])
    result = lone_run(recipe, draw)
    assert_same_bits(trial.params, result.params)
    assert trial.validation.loss == pytest.approx(result.history.validation_loss[-1], rel=1e-5)
    assert trial.training == fm.evaluate(recipe.network, paper.LOSS, result.params, draw.training)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-11)])
def test_each_of_many_trials_is_a_lone_run(dtype, tolerance):
    draws, recipe = [trials.draw(key, dtype) for key in trials.run_keys(KEY, 9)], Recipe(epochs=2)
    runs = trials.train(recipe, draws)
    assert len(runs) == len(draws)
    for trial, draw in zip(runs, draws, strict=True):
        result = lone_run(recipe, draw)
        assert_close(trial.params, result.params, tolerance)
        assert trial.history.learning_rate == result.history.learning_rate
        for name in ("train_loss", "validation_loss"):
            assert getattr(trial.history, name) == pytest.approx(getattr(result.history, name), rel=tolerance)
        for name in ("train_accuracy", "validation_accuracy"):  # a point on the boundary may fall on either side
            assert getattr(trial.history, name) == pytest.approx(getattr(result.history, name), abs=1 / paper.SAMPLES)


def test_trials_without_curves_have_the_same_figures():
    draws, recipe = [trials.draw(key) for key in trials.run_keys(KEY, 9)], Recipe(epochs=1)
    for with_curves, without in zip(
        trials.train(recipe, draws), trials.train(recipe, draws, curves=False), strict=True
    ):
        assert_same_bits(with_curves.params, without.params)
        assert with_curves.validation == without.validation
        assert math.isnan(without.history.validation_loss[0])


@pytest.mark.parametrize("runs", [1, 9])
def test_a_run_that_diverges_counts_with_its_last_finite_parameters_and_without_a_warning(runs):
    recipe = Recipe(optimizer=fm.SGD(50.0), epochs=3)
    draws = [trials.draw(key) for key in trials.run_keys(KEY, runs)]
    for trial in trials.train(recipe, draws):
        assert len(trial.history) < recipe.epochs
        assert all(leaf.isfinite().all() for leaf in fm.pytree.leaves(trial.params))


def test_ctrl_c_ends_the_experiment(monkeypatch):
    def interrupted(*arguments, **options):
        members = fit_ensemble(*arguments, **options).members
        return fm.EnsembleResult(tuple(attrs.evolve(member, interrupted=True) for member in members))

    fit_ensemble = fm.fit_ensemble
    monkeypatch.setattr(fm, "fit_ensemble", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trials.train(Recipe(epochs=1), [trials.draw(KEY)])


def test_performance_and_curves_are_those_of_the_trials():
    draws = [trials.draw(key) for key in trials.run_keys(KEY, 2)]
    runs = trials.train(Recipe(epochs=2, batch_size=100), draws)
    performance, curves = Performance.of(runs), Curves.of(runs)
    assert performance.validation_accuracy.values == tuple(run.validation.accuracy for run in runs)
    for field in attrs.fields(Curves):
        expected = statistics.mean(getattr(run.history, field.name)[1] for run in runs)
        assert getattr(curves, field.name).mean[1] == pytest.approx(expected)


def test_a_curve_that_never_gets_there_counts_with_its_length():
    assert trials.epochs_until((0.1, 0.2, 0.3), lambda value: value > 0.15) == 2
    assert trials.epochs_until((0.1, 0.2, 0.3), lambda value: value > 1) == 3
