"""Groups of members in training."""

import attrs
import pytest
import torch

import functional_mlp as fm
from functional_mlp import engines, pytree
from functional_mlp.engine.llvm.target import host
from tests.engine.modes import fit_together, job, units_side_by_side
from tests.engine.rules import Normalized
from tests.helpers import KEY


def test_numbers_in_units_without_a_parameter_are_of_no_account() -> None:
    network, optimizer, batch_size = fm.Sequential(fm.Linear(2, 5), fm.Tanh(), fm.Linear(5, 3)), Normalized(0.001), 5
    data = fm.Dataset(fm.random.normal(KEY, (20, 2), dtype=torch.float64), torch.arange(20) % 3)
    members = [(optimizer, data, key) for key in KEY.split(max(host().lanes(8) // 2, 2))]
    policy = units_side_by_side(network, optimizer, batch_size, torch.float64)
    results = fit_together(job(network, fm.CrossEntropy(), members, epochs=4, batch_size=batch_size), policy)
    for result in results:
        assert result.diverged_at is None
        assert all(leaf.isfinite().all() for leaf in pytree.leaves(result.params))


SHORT_CALLS = {"operations_per_call": 1, "vector_operations_per_call": 1}


@pytest.mark.parametrize("members", [1, max(host().lanes(8) // 2, 2)])
def test_epochs_of_several_calls_follow_each_other(members: int) -> None:
    network, optimizer, batch_size = fm.Linear(2, 2), fm.Momentum(0.1), 5
    data = fm.datasets.disk(KEY, 23, dtype=torch.float64)
    policy = attrs.evolve(units_side_by_side(network, optimizer, batch_size, torch.float64), **SHORT_CALLS)
    each = [(optimizer, data, key) for key in KEY.split(members)]
    (group,) = engines.fused_groups(job(network, fm.CrossEntropy(), each, epochs=3, batch_size=batch_size), policy)
    keys, rates = [KEY.split(members) for _ in range(3)], [[rate] * members for rate in (0.1, 0.2, 0.3)]
    together, one_by_one, told = group.start(), group.start(), []
    outcomes, _ = together.epochs(keys, rates, told.append, ())
    expected = [
        one_by_one.epochs([key], [rate], lambda done: None, ())[0] for key, rate in zip(keys, rates, strict=True)
    ]
    for member, outcome in enumerate(outcomes):
        assert outcome.train_loss == tuple(each[member].train_loss[0] for each in expected)
        states = [run.state(run.snapshot(), member) for run in (together, one_by_one)]
        assert pytree.equal(*states)
    assert told == sorted(told)
    assert told[-1] == 3
