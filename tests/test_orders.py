"""The orders of epochs are those of their keys, whoever draws them."""

from pathlib import Path
from typing import Any

import pytest
import torch

import functional_mlp as fm
from functional_mlp import engines, shuffling
from functional_mlp.engine import shuffle
from functional_mlp.engine.policy import Policy
from functional_mlp.orders import key_of, order_of
from tests.engine.modes import job
from tests.helpers import KEY, assert_close

NETWORK = fm.Sequential(fm.Linear(2, 3), fm.Tanh(), fm.Linear(3, 2))
LOSS, OPTIMIZER = fm.MeanSquaredError(), fm.SGD(0.1)
DATA = fm.datasets.disk(fm.random.key(0), 53, dtype=torch.float64)


def test_an_epoch_has_an_order_of_its_own() -> None:
    orders = [order_of(key_of(KEY, epoch), 9).tolist() for epoch in range(20)]
    assert len({tuple(order) for order in orders}) == 20
    assert orders[3] == fm.random.permutation(KEY.fold_in(3), 9).tolist()


def in_these_orders(key: fm.random.Key, epochs: int) -> Any:
    """The parameters after epochs of `DATA` in batches of five, step by step."""
    init_key, train_key = key.split()
    state = OPTIMIZER.init(NETWORK.init(init_key, dtype=torch.float64))
    for epoch in range(epochs):
        for rows in fm.random.permutation(train_key.fold_in(epoch), len(DATA)).split(5):
            _, grads = fm.value_and_grad(NETWORK, LOSS)(state.params, DATA.inputs[rows], DATA.targets[rows])
            state = OPTIMIZER.update(state, grads)
    return state.params


@pytest.mark.parametrize("engine", ["reference", "fused"])
@pytest.mark.parametrize("watched", [False, True])
def test_training_goes_in_these_orders_alone_and_in_ensembles(engine: Any, watched: bool) -> None:
    """Many epochs a call, or one; a group that is full, and one that is not."""
    callbacks = [lambda epoch, state, history: None] if watched else []
    keys, arguments = KEY.split(13), {"epochs": 3, "batch_size": 5, "engine": engine, "callbacks": callbacks}
    alone = fm.fit(NETWORK, LOSS, OPTIMIZER, DATA, key=keys[0], **arguments)
    together = fm.fit_ensemble(NETWORK, LOSS, OPTIMIZER, DATA, keys=keys, **arguments)
    assert_close(alone.params, in_these_orders(keys[0], 3), 1e-12)
    for key, member in zip(keys, together.members, strict=True):
        assert_close(member.params, in_these_orders(key, 3), 1e-12)


@pytest.mark.parametrize(("fewest", "natively"), [(3 * len(DATA), True), (3 * len(DATA) + 1, False)])
def test_orders_of_many_rows_are_drawn_natively_on_the_reference_too(
    fewest: int, natively: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shuffling, "_shuffle", shuffling.shuffle)  # as in a process that has drawn none
    shuffle.function_of.cache_clear()
    own = job(NETWORK, LOSS, [(OPTIMIZER, DATA, KEY)], epochs=3, batch_size=10)
    engines.reference_group(own, 0, Policy(fewest_rows_drawn_natively=fewest)).start()
    assert (shuffling._shuffle is not shuffling.shuffle) is natively


@pytest.mark.parametrize("engine", ["reference", "fused"])
@pytest.mark.parametrize("members", [1, 20])
def test_without_shuffling_each_epoch_takes_the_rows_as_they_stand(engine: str, members: int, tmp_path: Path) -> None:
    network, loss, optimizer = fm.Linear(2, 2), fm.MeanSquaredError(), fm.SGD(0.1)
    data, keys = fm.datasets.disk(fm.random.key(0), 11, dtype=torch.float64), fm.random.key(1).split(members)
    common = {"epochs": 3, "batch_size": 4, "shuffle": False, "engine": engine}
    init_key, key = keys[-1].split()
    start = optimizer.init(network.init(init_key, dtype=torch.float64))

    expected = start
    for rows in 3 * torch.arange(11).split(4):
        _, grads = fm.value_and_grad(network, loss)(expected.params, data.inputs[rows], data.targets[rows])
        expected = optimizer.update(expected, grads)
    together = fm.fit_ensemble(network, loss, optimizer, data, keys=keys, **common)
    assert_close(together.member(members - 1).params, expected.params, 1e-12)

    checkpoint = fm.Checkpoint(tmp_path / "run")
    alone = fm.fit(network, loss, optimizer, data, key=keys[-1], checkpoint=checkpoint, **common)
    assert_close(alone.params, expected.params, 1e-12)
    with pytest.raises(fm.CheckpointError, match="shuffle is False there, and True in this call"):
        fm.fit(network, loss, optimizer, data, key=keys[-1], epochs=3, batch_size=4, checkpoint=checkpoint)

    state = fm.TrainState(start, key, 0)
    for _ in range(3):
        state, _ = fm.train_epoch(
            network, loss, state, data, optimizer=optimizer, batch_size=4, shuffle=False, engine=engine
        )
    assert_close(state.optimizer_state.params, expected.params, 1e-12)
