"""What a policy decides for the code of a program."""

import torch

import functional_mlp as fm
from functional_mlp.engine.lowering import lower
from functional_mlp.engine.plan import plan_of
from tests.engine.modes import AVX512


def rows_per_call(optimizer: fm.Optimizer, batch_size: int) -> int:
    network, loss = fm.Sequential(fm.Linear(30, 100), fm.ReLU(), fm.Linear(100, 2)), fm.CrossEntropy()
    program = lower(network, loss, optimizer, batch_size=batch_size, class_targets=True, dtype=torch.float32)
    return plan_of(program, AVX512).rows_per_call


def test_a_batch_shares_what_an_optimizer_s_step_takes() -> None:
    plain, adam = ([rows_per_call(optimizer, size) for size in (1, 200)] for optimizer in (fm.SGD(0.1), fm.Adam(0.1)))
    assert adam[0] < plain[0] / 2
    assert plain[0] == plain[1] == adam[1]
