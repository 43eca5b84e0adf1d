"""What a validation set that all runs share does to their mean."""

import statistics

import pytest
import torch

import functional_mlp as fm
from functional_mlp.experiments.basic_model import CommonSets


def test_the_mean_over_a_common_set_scatters_as_that_of_new_runs_on_new_sets() -> None:
    key = fm.random.key(0)

    def losses(number: int, sets: int, runs: int) -> torch.Tensor:
        of_sets, of_runs = (
            fm.random.normal(key.fold_in(number + part), (size, 1)) for part, size in ((0, sets), (1, runs))
        )
        return 1 + 0.2 * of_sets + 0.6 * of_runs.T

    means = [float(losses(2 * number, 1, 9).mean()) for number in range(2000)]
    found = [CommonSets.of(losses(-2 - 2 * number, 50, 9).tolist()).standard_error for number in range(50)]
    assert statistics.mean(found) == pytest.approx(statistics.stdev(means), rel=0.1)
