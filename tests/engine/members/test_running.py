"""Groups of members in training."""

import torch

import functional_mlp as fm
from functional_mlp import pytree
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
