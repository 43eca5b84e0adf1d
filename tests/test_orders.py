"""The orders of epochs are those of their keys, whoever draws them."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import functional_mlp as fm
from functional_mlp import orders
from functional_mlp.orders import FEWEST_AHEAD, Orders, order_of
from tests.forked import forked, forks_here
from tests.helpers import assert_close


def are_the_keys_own(drawn: list[list[torch.Tensor]], key: fm.random.Key, epochs: range, samples: int) -> bool:
    wanted = [fm.random.permutation(key.fold_in(epoch), samples) for epoch in epochs]
    return len(drawn) == len(wanted) and all(
        torch.equal(own, order) for (own,), order in zip(drawn, wanted, strict=True)
    )


@given(
    samples=st.sampled_from([0, 1, 7, FEWEST_AHEAD // 4, FEWEST_AHEAD]),
    plan=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5), st.booleans()), min_size=1, max_size=6),
)
@settings(max_examples=30)
def test_orders_are_those_of_the_keys_whether_they_were_announced_or_not(
    samples: int, plan: list[tuple[int, int, bool]]
) -> None:
    key = fm.random.key(3)
    source, announced = Orders([key], samples), range(0)
    for first, count, keeps_to_it in plan:
        epochs = announced if keeps_to_it else range(first, first + count)
        announced = range(epochs.stop, epochs.stop + count)
        assert are_the_keys_own(source.take(epochs, announced), key, epochs, samples)


def test_each_member_of_a_group_has_the_order_of_its_key() -> None:
    keys = fm.random.key(3).split(3)
    for drawn, epoch in zip(Orders(keys, 9).take(range(2, 4)), (2, 3), strict=True):
        assert [order.tolist() for order in drawn] == [order_of(key, epoch, 9).tolist() for key in keys]


def test_without_a_thread_orders_are_drawn_when_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(orders, "_worker", refuse)
    key = fm.random.key(3)
    source = Orders([key], FEWEST_AHEAD)
    source.take(range(1), following=range(1, 3))
    assert are_the_keys_own(source.take(range(1, 3), range(0)), key, range(1, 3), FEWEST_AHEAD)


def take_two() -> bool:
    key = fm.random.key(3)
    source = Orders([key], FEWEST_AHEAD)
    source.take(range(1), following=range(1, 3))
    return are_the_keys_own(source.take(range(1, 3), range(0)), key, range(1, 3), FEWEST_AHEAD)


@forks_here
def test_a_forked_process_draws_ahead_with_a_thread_of_its_own() -> None:
    assert take_two()
    assert forked(take_two)


@forks_here
def test_a_forked_process_draws_what_a_thread_of_its_parent_was_to_draw() -> None:
    key, rows, later = fm.random.key(3), 20 * FEWEST_AHEAD, range(1, 40)
    source = Orders([key], rows)
    source.take(range(1), following=later)
    assert forked(lambda: are_the_keys_own(source.take(later, range(0)), key, later, rows))
    assert are_the_keys_own(source.take(later, range(0)), key, later, rows)


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
