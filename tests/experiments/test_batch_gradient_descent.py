"""Batch gradient descent: what is trained at each batch size."""

import math

import pytest

from functional_mlp.experiments import batch_gradient_descent, paper
from functional_mlp.experiments.batch_gradient_descent import BATCH_SIZES
from tests.experiments.short import asked, small_draw

__all__ = ["asked"]

SECONDS = dict(zip(BATCH_SIZES, (0.008, 0.004, 0.002, 0.0005), strict=True))


def test_the_epochs_at_equal_time_are_those_that_fit_into_it(asked) -> None:
    result = batch_gradient_descent.run([small_draw(0)], SECONDS)
    assert [runs.epochs for runs in result.equal_time] == [paper.EPOCHS * n for n in (1, 2, 4, 16)]
    assert [runs.epochs for runs in (*result.decayed, *result.constant)] == [paper.EPOCHS] * 8
    for group in (result.decayed, result.constant, result.equal_time):
        assert [(runs.batch_size, runs.seconds) for runs in group] == list(SECONDS.items())


def test_each_batch_size_has_three_schedules(asked) -> None:
    batch_gradient_descent.run([small_draw(0)], SECONDS)
    whole = paper.DECAY(paper.EPOCHS)
    for first, size in zip(range(0, 12, 3), BATCH_SIZES, strict=True):
        decayed, constantly, equal = (recipe for recipe, _ in asked[first : first + 3])
        assert {recipe.batch_size for recipe in (decayed, constantly, equal)} == {size}
        ends = [recipe.schedule(recipe.epochs) for recipe in (decayed, constantly, equal)]
        assert ends == pytest.approx([whole, 1.0, whole])


def test_batchgd_ends_where_batches_of_sgd_do() -> None:
    assert 0 < batch_gradient_descent._compare_optimizers(small_draw(0)) < 1e-5


def test_an_epochs_time_is_the_median_over_the_runs(monkeypatch) -> None:
    times = {0: (1.0, 2.0), 1: (3.0, 4.0), 2: (5.0, math.inf)}
    draws = [small_draw(number) for number in (*times, 3)]  # the last one is not timed

    def time_epochs(recipe, draw, engine):
        return tuple(recipe.batch_size * seconds for seconds in times[draws.index(draw)])

    monkeypatch.setattr(batch_gradient_descent.trials, "time_epochs", time_epochs)
    assert batch_gradient_descent.time_epochs(draws) == {size: 3.5 * size for size in BATCH_SIZES}
