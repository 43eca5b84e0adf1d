"""Programs hold what their function reads, and no more: what is made for one is found by all that do the same."""

import pytest
import torch

import functional_mlp as fm
from functional_mlp.engine.lowering import lower, lower_loss, lower_steps
from functional_mlp.engine.program import Kind, Program, TrainingProgram
from tests.tables import OPTIMIZERS

NETWORK = fm.Sequential(fm.Linear(2, 7), fm.Tanh(), fm.Linear(7, 3))
MSE = fm.MeanSquaredError()
DTYPE = torch.float64


def training(optimizer: fm.Optimizer, batch_size: int = 1) -> TrainingProgram:
    return lower(NETWORK, MSE, optimizer, batch_size=batch_size, class_targets=False, dtype=DTYPE)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_the_loss_is_measured_alike_whatever_the_optimizer(optimizer: fm.Optimizer) -> None:
    measuring = lower_loss(NETWORK, MSE, class_targets=False, dtype=DTYPE)
    for batch_size in (1, 10):
        program = training(optimizer, batch_size)
        assert program != measuring
        assert program.with_loss(MSE, class_targets=False) == measuring


@pytest.mark.parametrize(
    ("program", "kind", "read"),
    [
        (training(fm.Adam(0.1)), "epoch", ["Tanh()", "MeanSquaredError()", "Adam("]),
        (lower_loss(NETWORK, MSE, class_targets=False, dtype=DTYPE), "evaluate", ["Tanh()", "MeanSquaredError()"]),
        (lower_steps(NETWORK, dtype=DTYPE), "predict", ["Tanh()"]),
    ],
)
def test_the_text_names_what_the_function_reads(program: Program, kind: Kind, read: list[str]) -> None:
    assert program.kind == kind
    values = ["Tanh()", "MeanSquaredError()", "Adam("]
    assert [value for value in values if value in repr(program)] == read
    assert [value for value in values if value in str(program)] == read


def test_a_loss_that_the_engine_cannot_emit_does_not_keep_it_from_predicting() -> None:
    network = fm.Linear(2, 2000)
    params, data = network.init(fm.random.key(0)), fm.datasets.disk(fm.random.key(1), 300)
    wide = fm.Dataset(data.inputs, torch.zeros(300, 2000))
    with pytest.raises(ValueError, match="the loss of 2000 outputs would make too much code"):
        fm.evaluate(network, MSE, params, wide, engine="fused")
    expected = fm.predict(network, params, data.inputs, engine="reference")
    torch.testing.assert_close(fm.predict(network, params, data.inputs, engine="fused"), expected)
