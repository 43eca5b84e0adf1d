"""A run is a function of its arguments, and one run whether it is told at once, in parts or as a loop."""

import math
import pickle
import random as stdlib_random
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import attrs
import numpy as np
import pytest
import torch

import functional_mlp as fm
from functional_mlp import pytree, schedules
from functional_mlp.metrics import ROWS_AT_ONCE
from tests.helpers import KEY, assert_close, assert_same_bits, bits, draw, loss_oracle, oracle
from tests.runs import DATA, LOSS, NETWORK, VALIDATION, every_optimizer, fit, without_times
from tests.tables import SCHEDULES

# One run, told in several ways


@every_optimizer
@pytest.mark.parametrize("batch_size", [1, 4])
def test_going_on_gives_the_bits_of_an_unbroken_run(optimizer: fm.Optimizer, batch_size: int) -> None:
    """25 samples leave a part-filled batch of `BatchGD(batch_size=3)` in the state."""
    arguments = {"optimizer": optimizer, "batch_size": batch_size, "schedule": schedules.cosine_decay(5)}
    unbroken = fit(epochs=5, **arguments)
    first = fit(epochs=2, **arguments)
    second = fit(key=None, state=pickle.loads(pickle.dumps(first.state)), epochs=5, **arguments)
    assert_same_bits(second.state, unbroken.state)
    assert (len(first.history), len(second.history)) == (2, 3)
    for name, values in without_times(unbroken.history).items():
        np.testing.assert_array_equal(getattr(first.history, name) + getattr(second.history, name), values)


@every_optimizer
@pytest.mark.parametrize("batch_size", [1, 4])
def test_fit_is_a_loop_over_train_epoch(optimizer: fm.Optimizer, batch_size: int) -> None:
    schedule = schedules.exponential_decay(0.9)
    result = fit(optimizer=optimizer, batch_size=batch_size, schedule=schedule)
    init_key, train_key = KEY.split()
    state = fm.TrainState(optimizer.init(NETWORK.init(init_key, dtype=torch.float64)), train_key, 0)
    losses = []
    for _ in range(3):
        state, loss = fm.train_epoch(
            NETWORK,
            LOSS,
            state,
            DATA,
            optimizer=optimizer,
            batch_size=batch_size,
            schedule=schedule,
            engine="reference",
        )
        losses.append(loss)
    assert_same_bits(state, result.state)
    assert result.history.train_loss == tuple(losses)


@every_optimizer
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_fit_is_a_loop_over_value_and_grad_and_update(optimizer: fm.Optimizer, batch_size: int) -> None:
    result = fit(optimizer=optimizer, batch_size=batch_size, schedule=schedules.step_decay(0.5, 2))
    init_key, train_key = KEY.split()
    state = optimizer.init(NETWORK.init(init_key, dtype=torch.float64))
    for epoch in range(3):
        state = attrs.evolve(state, learning_rate=optimizer.learning_rate * 0.5 ** (epoch // 2))
        for rows in fm.random.permutation(train_key.fold_in(epoch), len(DATA)).split(batch_size):
            _, grads = fm.value_and_grad(NETWORK, LOSS)(state.params, DATA.inputs[rows], DATA.targets[rows])
            state = optimizer.update(state, grads)
    assert_close(result.state.optimizer_state, state, 1e-12)


def test_fit_learns_what_torch_learns() -> None:
    """The same initial params and orders, in torch.nn.functional, torch.autograd and torch.optim."""
    init_key, train_key = KEY.split()
    params = pytree.map(torch.Tensor.requires_grad_, NETWORK.init(init_key, dtype=torch.float64))
    optimizer = torch.optim.Adam(pytree.leaves(params), lr=0.05)
    for epoch in range(3):
        for rows in fm.random.permutation(train_key.fold_in(epoch), len(DATA)).split(4):
            optimizer.zero_grad()
            loss_oracle(LOSS, oracle(NETWORK, params, DATA.inputs[rows]), DATA.targets[rows]).backward()
            optimizer.step()
    assert_close(fit(optimizer=fm.Adam(0.05), batch_size=4).params, pytree.map(torch.detach, params))


def test_params_start_where_they_are_told() -> None:
    params = NETWORK.init(fm.random.key(5), dtype=torch.float64)
    init_key, _ = KEY.split()
    assert_same_bits(fit(params=NETWORK.init(init_key, dtype=torch.float64)).state, fit().state)
    assert not pytree.equal(fit(params=params).params, fit().params)


def test_going_on_to_the_epoch_that_is_reached_does_nothing() -> None:
    first = fit(epochs=2)
    second = fit(key=None, state=first.state, epochs=2)
    assert_same_bits(second.state, first.state)
    assert len(second.history) == 0


@pytest.mark.parametrize("batch_size", [25, 26, 10_000])
def test_a_batch_larger_than_the_data_is_the_data(batch_size: int) -> None:
    assert_same_bits(fit(batch_size=batch_size).params, fit(batch_size=25).params)


# What holds for every run


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_run_is_a_function_of_its_arguments(batch_size: int) -> None:
    expected = fit(batch_size=batch_size, validation=VALIDATION)
    torch.manual_seed(5)
    np.random.seed(5)
    stdlib_random.seed(5)
    torch.set_default_dtype(torch.float64)
    before = torch.get_rng_state(), repr(np.random.get_state(legacy=False)), stdlib_random.getstate()
    try:
        with torch.no_grad():
            actual = fit(batch_size=batch_size, validation=VALIDATION)
            assert not torch.is_grad_enabled()
    finally:
        torch.set_default_dtype(torch.float32)
    assert_same_bits(actual.state, expected.state)
    assert without_times(actual.history) == without_times(expected.history)
    after = torch.get_rng_state(), repr(np.random.get_state(legacy=False)), stdlib_random.getstate()
    assert torch.equal(after[0], before[0])
    assert after[1:] == before[1:]


@every_optimizer
def test_arguments_come_back_untouched_and_results_unconnected(optimizer: fm.Optimizer) -> None:
    params = pytree.map(torch.Tensor.requires_grad_, NETWORK.init(KEY, dtype=torch.float64))
    inputs, targets = DATA.inputs.clone().requires_grad_(), DATA.targets[:1].expand(25, 2)
    data = fm.Dataset(inputs, targets)
    start = fm.TrainState(attrs.evolve(optimizer.init(params), params=params), KEY, 0)
    before = bits((params, inputs, targets, start))
    results = [
        fit(optimizer=optimizer, data=data, params=params, validation=data).state,
        fit(optimizer=optimizer, data=data, key=None, state=start, batch_size=4).state,
        fm.train_epoch(NETWORK, LOSS, start, data, optimizer=optimizer)[0],
        fm.predict(NETWORK, params, inputs),
    ]
    fm.evaluate(NETWORK, LOSS, params, data)
    assert bits((params, inputs, targets, start)) == before
    assert not any(leaf.requires_grad for leaf in pytree.leaves(results))


def test_a_state_whose_slots_require_gradients_gives_unconnected_results() -> None:
    params = NETWORK.init(KEY, dtype=torch.float64)
    state = pytree.map(lambda leaf: leaf.clone().requires_grad_(), fm.Momentum(0.05).init(params))
    result = fit(optimizer=fm.Momentum(0.05), key=None, state=fm.TrainState(state, KEY, 0))
    assert not any(leaf.requires_grad for leaf in pytree.leaves(result.state))


def test_threads_learn_the_same_bits_as_runs_in_a_row() -> None:
    keys = KEY.split(8)
    threads = torch.get_num_threads()
    expected = [fit(key=key).state for key in keys]
    with ThreadPoolExecutor(4) as pool:
        assert_same_bits(list(pool.map(lambda key: fit(key=key).state, keys)), expected)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_params_take_the_dtype_of_the_data(dtype: torch.dtype) -> None:
    data = fm.datasets.disk(KEY, 10, dtype=dtype)
    assert {leaf.dtype for leaf in pytree.leaves(fit(data=data).params)} == {dtype}


def test_a_long_run_does_not_grow() -> None:
    def peak(epochs: int) -> int:
        fit(epochs=1)
        tracemalloc.start()
        fit(epochs=epochs)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    few, many = peak(60), peak(240)  # what waits for the garbage collector is there in both
    assert many < few + 180 * 500  # the history's figures


# What is recorded


@pytest.mark.parametrize("engine", ["reference", "fused"])
@pytest.mark.parametrize("validation", [None, VALIDATION], ids=["grouped epochs", "validated epochs"])
def test_the_seconds_of_a_run_are_no_more_than_it_took(engine: str, validation: fm.Dataset | None) -> None:
    started = time.perf_counter()
    history = fit(epochs=20, engine=engine, validation=validation).history
    took = time.perf_counter() - started
    assert min(history.seconds) >= 0
    assert sum(history.seconds) <= took


def test_the_history_has_an_entry_an_epoch() -> None:
    schedule = schedules.exponential_decay(0.9)
    result = fit(epochs=4, schedule=schedule, validation=VALIDATION)
    history = result.history
    assert {len(values) for values in history.to_dict().values()} == {4}
    assert history.learning_rate == tuple(0.05 * schedule(epoch) for epoch in range(4))
    assert all(seconds > 0 for seconds in history.seconds)
    metrics = fm.evaluate(NETWORK, LOSS, result.params, VALIDATION)
    assert (history.validation_loss[-1], history.validation_accuracy[-1]) == (metrics.loss, metrics.accuracy)
    assert (result.diverged_at, result.interrupted, result.state.epoch) == (None, False, 4)
    assert result.state.optimizer_state.step == 4 * 25


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_the_learning_rate_of_an_epoch_is_the_optimizers_times_the_factor(schedule: schedules.Schedule) -> None:
    history = fit(epochs=7, schedule=schedule, batch_size=25).history
    assert history.learning_rate == tuple(0.05 * schedule(epoch) for epoch in range(7))


def test_without_validation_its_figures_are_nan() -> None:
    history = fit().history
    assert all(map(math.isnan, history.validation_loss + history.validation_accuracy))
    assert not any(map(math.isnan, history.train_loss + history.train_accuracy))


def test_training_figures_are_taken_right_before_each_update() -> None:
    """In the first epoch with one batch, they are those of the initial params."""
    init_key, _ = KEY.split()
    metrics = fm.evaluate(NETWORK, LOSS, NETWORK.init(init_key, dtype=torch.float64), DATA)
    history = fit(batch_size=25, epochs=1).history
    assert history.train_loss[0] == pytest.approx(metrics.loss, rel=1e-12)
    assert history.train_accuracy[0] == metrics.accuracy


LOGITS = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0], [0.0, 3.0, 1.0], [1.0, 0.0, 0.0]])


@pytest.mark.parametrize(
    ("targets", "accuracy"),
    [
        pytest.param(torch.tensor([0, 2, 1, 1]), 0.75, id="class indices"),
        pytest.param(torch.eye(3)[[0, 2, 1, 1]], 0.75, id="one-hot"),
        pytest.param(torch.eye(3)[[0, 2, 1, 1]].int(), 0.75, id="integer one-hot"),
        pytest.param(torch.tensor([[0.6, 0.4, 0.0]] * 4), math.nan, id="soft targets"),
        pytest.param(LOGITS, math.nan, id="values"),
    ],
)
def test_accuracy_is_the_share_of_rows_whose_largest_output_is_the_targets_class(
    targets: torch.Tensor, accuracy: float
) -> None:
    metrics = fm.evaluate(fm.Identity(), fm.CrossEntropy(), (), fm.Dataset(LOGITS, targets))
    assert metrics.accuracy == pytest.approx(accuracy, nan_ok=True)


def test_one_output_against_one_hot_targets_is_always_right() -> None:
    """A column of ones is one-hot over one class: the convention, however odd."""
    data = fm.Dataset(torch.zeros(3, 1), torch.ones(3, 1))
    assert fm.evaluate(fm.Identity(), LOSS, (), data) == fm.Metrics(1.0, 1.0)


def test_evaluate_passes_large_sets_through_in_pieces() -> None:
    params = NETWORK.init(KEY, dtype=torch.float64)
    times = ROWS_AT_ONCE // len(DATA) + 2
    whole = fm.evaluate(NETWORK, LOSS, params, DATA)
    large = fm.Dataset(DATA.inputs.repeat(times, 1), DATA.targets.repeat(times, 1))
    pieces = fm.evaluate(NETWORK, LOSS, params, large, engine="reference")
    assert (pieces.loss, pieces.accuracy) == pytest.approx((whole.loss, whole.accuracy), rel=1e-12)


@pytest.mark.parametrize("leading", [(), (4,), (2, 3), (0,)], ids=str)
def test_predict_and_classify_take_any_leading_dimensions(leading: tuple[int, ...]) -> None:
    params, x = NETWORK.init(KEY, dtype=torch.float64), draw(*leading, 2)
    assert_same_bits(fm.predict(NETWORK, params, x), NETWORK.apply(params, x))
    assert_same_bits(fm.classify(NETWORK, params, x), NETWORK.apply(params, x).argmax(-1))
