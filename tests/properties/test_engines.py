"""The engines agree on every network, loss, optimizer, batch size and dtype."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import functional_mlp as fm
from functional_mlp.engine.plan import Sharing
from functional_mlp.engine.policy import MEASURED, Policy
from functional_mlp.testing import check_engines_agree, datasets, losses, networks, optimizers
from tests.engine.modes import SHARED, check_agreement
from tests.tables import ACTIVATIONS, LOSSES, OPTIMIZERS

FEW = settings(max_examples=15)


@FEW
@given(data=st.data())
def test_drawn_runs_agree(data: st.DataObject) -> None:
    check_drawn_run(data)


@FEW
@given(data=st.data())
def test_drawn_runs_agree_where_all_layers_share_functions(data: st.DataObject) -> None:
    check_drawn_run(data, max_width=40, policy=SHARED[Sharing.ALL])


def check_drawn_run(data: st.DataObject, max_width: int = 5, policy: Policy = MEASURED) -> None:
    network, loss = data.draw(networks(max_depth=3, max_width=max_width)), data.draw(losses())
    dtype = data.draw(st.sampled_from([torch.float64, torch.float32]))
    samples = data.draw(datasets(network, loss, max_size=12, dtype=dtype))
    check_agreement(
        network,
        loss,
        data.draw(optimizers(max_learning_rate=0.1)),
        samples,
        batch_size=data.draw(st.integers(1, 5)),
        schedule=data.draw(st.sampled_from([None, fm.schedules.exponential_decay(0.9)])),
        seed=data.draw(st.integers(0, 2**16)),
        policy=policy,
    )


DISK = fm.datasets.disk(fm.random.key(0), 30, dtype=torch.float64)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
def test_engines_agree_on_an_activation(activation: fm.Layer) -> None:
    network = fm.Sequential(fm.Linear(2, 5), activation, fm.Residual(fm.Linear(5, 5)), activation, fm.Linear(5, 2))
    check_engines_agree(network, fm.MeanSquaredError(), fm.SGD(0.1), DISK, batch_size=4)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_engines_agree_on_an_optimizer(optimizer: fm.Optimizer, loss: fm.Loss) -> None:
    network = fm.Sequential(fm.Linear(2, 5), fm.Tanh(), fm.Linear(5, 2))
    check_engines_agree(network, loss, optimizer, DISK, epochs=2)


def test_engines_agree_on_a_run_that_diverges() -> None:
    network = fm.Sequential(fm.Linear(2, 4), fm.ReLU(), fm.Linear(4, 2))
    check_engines_agree(network, fm.MeanSquaredError(), fm.SGD(1000.0), DISK)


def test_engines_agree_on_params_that_are_not_finite() -> None:
    network = fm.Sequential(fm.Linear(2, 3), fm.Tanh(), fm.Linear(3, 2))
    first, *rest = network.init(fm.random.key(0), dtype=torch.float64)
    weight = first.weight.clone()
    weight[0, 0] = float("nan")
    params = (fm.LinearParams(weight, first.bias), *rest)
    check_engines_agree(network, fm.MeanSquaredError(), fm.SGD(0.1), DISK, params=params)
