"""An epoch has the same bits on any number of threads."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import functional_mlp as fm
from functional_mlp.engine.lowering import lower, takes_classes
from functional_mlp.engine.plan import Sharing
from functional_mlp.engine.policy import MEASURED, Policy
from functional_mlp.engine.running import FusedRun
from functional_mlp.testing import datasets, losses, networks, optimizers
from tests.engine import modes
from tests.engine.modes import SHARED, among_threads, check_agreement, torch_threads, units_divided

KEY = fm.random.key(0)
FEW = settings(max_examples=4)
PENALTIES = [None, fm.penalties.l2(0.1), fm.penalties.l1(0.01)]


@pytest.mark.parametrize("sharing", Sharing)
@FEW
@given(data=st.data())
def test_drawn_epochs_have_the_same_bits_on_any_number_of_threads(sharing: Sharing, data: st.DataObject) -> None:
    network, loss = data.draw(networks(max_depth=3, max_width=40)), data.draw(losses())
    dtype = data.draw(st.sampled_from([torch.float64, torch.float32]))
    samples = data.draw(datasets(network, loss, max_size=12, dtype=dtype))
    order = fm.random.permutation(KEY, len(samples)).repeat(data.draw(st.sampled_from([1, 3, 30])))
    options = {"batch_size": data.draw(st.integers(2, 200)), "penalty": data.draw(st.sampled_from(PENALTIES))}
    options |= {"policy": SHARED[sharing]}
    params = network.init(KEY, dtype=dtype)
    if data.draw(st.booleans()):
        params = fm.pytree.map(
            lambda leaf: leaf.flatten().index_fill(0, torch.tensor([0]), float("nan")).view_as(leaf), params
        )
    check_threads(network, loss, data.draw(optimizers(max_learning_rate=0.1)), samples, order, params, **options)


# On one or three threads the units of the layer of 33 inputs, few enough for the rows of its weights to be inputs, are
# divided evenly, on two the samples are. Behind it stands an activation that products apply, or none, or a branch. The
# last has another layer before it, so that its samples are copied.
WIDER: list[tuple[fm.Optimizer, list[fm.Layer]]] = [
    (fm.SGD(0.1), [fm.Linear(33, 70), fm.Linear(70, 70), fm.ReLU()]),
    (fm.Momentum(0.1), [fm.Linear(33, 70), fm.ReLU(), fm.Linear(70, 70), fm.Tanh()]),
    (fm.Adam(0.1), [fm.Tanh(), fm.Linear(33, 70), fm.Tanh(), fm.Residual(fm.Linear(70, 70)), fm.GELU()]),
]


@pytest.mark.parametrize(("optimizer", "layers"), WIDER, ids=repr)
@pytest.mark.parametrize("batch_size", [20, 300])
def test_epochs_of_wider_networks_have_the_same_bits(
    batch_size: int, optimizer: fm.Optimizer, layers: list[fm.Layer]
) -> None:
    network = fm.Sequential(*layers, fm.Linear(70, 3))
    data = fm.Dataset(fm.random.normal(KEY, (411, 33)), torch.arange(411) % 3)
    order, params = fm.random.permutation(KEY, 411), network.init(KEY)
    policy = Policy(fewest_weights_divided_by_units=0)
    check_threads(network, fm.CrossEntropy(), optimizer, data, order, params, batch_size=batch_size, policy=policy)


@pytest.mark.parametrize("sharing", [Sharing.EQUAL_SIZES, Sharing.ALL])
@pytest.mark.parametrize("optimizer", [fm.SGD(0.1), fm.Adam(0.1)], ids=repr)
def test_single_samples_have_the_same_bits_where_units_are_divided(optimizer: fm.Optimizer, sharing: Sharing) -> None:
    network = fm.Sequential(fm.Linear(5, 70), fm.Tanh(), fm.Residual(fm.Linear(70, 70)), fm.GELU(), fm.Linear(70, 3))
    data = fm.Dataset(fm.random.normal(KEY, (41, 5), dtype=torch.float64), torch.arange(41) % 3)
    order, params = fm.random.permutation(KEY, 41), network.init(KEY, dtype=torch.float64)
    policy = units_divided(SHARED[sharing])
    check_threads(network, fm.CrossEntropy(), optimizer, data, order, params, batch_size=1, policy=policy)
    with torch_threads(2):
        check_agreement(network, fm.CrossEntropy(), optimizer, data, epochs=2, policy=among_threads(policy))


@pytest.mark.parametrize("batch_size", [1, 20])
@pytest.mark.parametrize("validated", [False, True])
def test_runs_have_the_same_bits_in_the_orders_that_one_thread_draws(batch_size: int, validated: bool) -> None:
    network = fm.Sequential(fm.Linear(2, 70), fm.Tanh(), fm.Linear(70, 70), fm.Tanh(), fm.Linear(70, 2))
    data = fm.datasets.disk(KEY, 90)
    job = modes.job(
        network, fm.CrossEntropy(), [(fm.Adam(0.01), data, KEY)],
        epochs=4, batch_size=batch_size, validation=data if validated else None,
    )  # fmt: skip

    def run(policy: Policy, made_for: int, threads: int) -> tuple[Any, ...]:
        with torch_threads(made_for):
            course = modes.begun(job, policy)
        with torch_threads(threads):
            result = modes.finished(course)[0]
        history = result.history
        return bits(torch.cat([leaf.flatten() for leaf in fm.pytree.leaves(result.params)])), repr(
            (history.train_loss, history.validation_loss, history.validation_accuracy)
        )

    expected = run(units_divided(), 1, 1)
    for threads in (1, 2, 3):
        assert run(among_threads(units_divided()), 3, threads) == expected


def check_threads(
    network: fm.Layer,
    loss: fm.Loss,
    optimizer: fm.Optimizer,
    data: fm.Dataset,
    order: torch.Tensor,
    params: Any,
    *,
    batch_size: int,
    penalty: Any = None,
    policy: Policy = MEASURED,
) -> None:
    """Code for three threads gives, on up to as many, the bits of that for one."""
    program = lower(
        network, loss, optimizer, batch_size=batch_size, penalty=penalty, dtype=data.inputs.dtype,
        class_targets=takes_classes(loss, data.targets), weighted=data.weights is not None,
    )  # fmt: skip

    def run(policy: Policy, made_for: int, threads: int) -> list[Any]:
        state = optimizer.init(params)
        with torch_threads(made_for):
            epoch = FusedRun(program, state, data, policy=policy)
        with torch_threads(threads):
            loss_sum, _ = epoch.sums_of_epoch(order, len(order), state.learning_rate, None)
        after = epoch.state(epoch.snapshot())
        return [bits(leaf) for leaf in (*fm.pytree.leaves(after), torch.tensor(loss_sum, dtype=torch.float64))]

    expected = run(policy, 1, 1)
    for threads in (1, 2, 3):
        assert run(among_threads(policy), 3, threads) == expected


def bits(leaf: Any) -> bytes:
    """The bits of a tensor, with all NaN the same."""
    tensor = torch.as_tensor(leaf)
    return tensor.nan_to_num(nan=12345.678).numpy().tobytes() + tensor.isnan().numpy().tobytes()
