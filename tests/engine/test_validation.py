"""Validation data are passed forward within the call that trains, to the figures of `evaluate`."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

import functional_mlp as fm
from functional_mlp.course import Course
from functional_mlp.engine.policy import MEASURED, Policy
from tests.engine.modes import fit_together, job
from tests.helpers import KEY

NETWORK = fm.Sequential(fm.Linear(2, 5), fm.Tanh(), fm.Linear(5, 3))
OPTIMIZER, EPOCHS = fm.Adam(0.01), 4


def dataset(rows: int, kind: str, seed: int = 0) -> fm.Dataset:
    x_key, y_key, weights_key = fm.random.key(seed).split(3)
    inputs = fm.random.normal(x_key, (rows, 2))
    classes = fm.random.permutation(y_key, rows) % 3
    weights = fm.random.uniform(weights_key, (rows,), 0.1, 2.0) if kind == "weighted" else None
    targets = classes if kind == "classes" else torch.nn.functional.one_hot(classes, 3).float()
    return fm.Dataset(inputs, targets, weights)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many epochs the engine is given at a time."""
    counts: list[int] = []
    train = Course._train

    def counted(course: Course, epochs: range, active: Sequence[int]) -> Any:
        counts.append(len(epochs))
        return train(course, epochs, active)

    monkeypatch.setattr(Course, "_train", counted)
    return counts


def check_figures(loss: fm.Loss, data: fm.Dataset, sets: list[fm.Dataset], policy: Policy = MEASURED) -> None:
    """Each member has the figures of `evaluate` after each epoch."""
    members = [(OPTIMIZER, data, key) for key in KEY.split(len(sets))]
    jobs = [job(NETWORK, loss, members, epochs=n, batch_size=7, validation=sets) for n in range(1, EPOCHS + 1)]
    runs = [fit_together(each, policy) for each in jobs]
    for number, (member, validation) in enumerate(zip(runs[-1], sets, strict=True)):
        metrics = [fm.evaluate(NETWORK, loss, run[number].params, validation, engine="fused") for run in runs]
        assert member.history.validation_loss == tuple(each.loss for each in metrics)
        assert member.history.validation_accuracy == tuple(each.accuracy for each in metrics)


@pytest.mark.parametrize("kind", ["plain", "classes", "weighted"])
@pytest.mark.parametrize("members", [1, 17])
def test_each_epoch_has_the_figures_of_its_params(members: int, kind: str, calls: list[int]) -> None:
    """Of a lone member and of groups, on data of their own; those that have the same share the memory of a pass."""
    sets = [dataset(1 + 30 * seed, kind, seed) for seed in range(3)]
    check_figures(fm.CrossEntropy(), dataset(40, kind), [sets[number % 3] for number in range(members)])
    assert max(calls) == EPOCHS


@pytest.mark.parametrize("members", [1, 17])
def test_data_that_take_several_calls_are_passed_forward_after_each_epoch(members: int, calls: list[int]) -> None:
    sets, policy = [dataset(31, "plain")] * members, Policy(operations_per_call=1, samples_at_once=4)
    check_figures(fm.CrossEntropy(), dataset(40, "plain"), sets, policy)
    assert max(calls) == 1
