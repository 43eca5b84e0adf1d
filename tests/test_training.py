import math
import pickle
import random as stdlib_random
import signal
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import numpy as np
import pytest
import torch

import functional_mlp as fm
from functional_mlp import pytree, schedules
from functional_mlp.engine.running import FusedRun
from functional_mlp.metrics import ROWS_AT_ONCE
from functional_mlp.reference import ReferenceRun
from tests.helpers import (
    KEY,
    assert_close,
    assert_same_bits,
    bits,
    check_refused,
    draw,
    loss_oracle,
    oracle,
    refusal,
    unusable_tensors,
)
from tests.tables import OPTIMIZERS, SCHEDULES

NETWORK = fm.Sequential(fm.Linear(2, 6), fm.Tanh(), fm.Linear(6, 2))
LOSS = fm.MeanSquaredError()
SGD = fm.SGD(0.05)
DATA = fm.datasets.disk(fm.random.key(1), 25, dtype=torch.float64)
VALIDATION = fm.datasets.disk(fm.random.key(2), 15, dtype=torch.float64)

every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)


def fit(**changes: Any) -> fm.FitResult:
    """A short run of `fm.fit`, with some of its arguments changed."""
    arguments: dict[str, Any] = {"network": NETWORK, "loss": LOSS, "optimizer": SGD, "data": DATA, "epochs": 3}
    arguments |= {"key": KEY, "engine": "reference"} | changes
    return fm.fit(**arguments)


def without_times(history: fm.History) -> dict[str, list[float]]:
    return {name: values for name, values in history.to_dict().items() if name != "seconds"}


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
    state = pytree.map(lambda leaf: leaf.clone().requires_grad_(), fm.Momentum(0.05).init(PARAMS))
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


# Ends of a run


def test_callbacks_see_each_epoch_and_stop_the_run() -> None:
    seen = []

    def watch(epoch: int, state: fm.TrainState, history: fm.History) -> None:
        seen.append((epoch, state.epoch, len(history)))

    result = fit(epochs=10, callbacks=[lambda epoch, state, history: epoch == 2, watch])
    assert seen == [(0, 1, 1), (1, 2, 2), (2, 3, 3)]
    assert (result.state.epoch, len(result.history)) == (3, 3)
    assert_same_bits(result.state, fit(epochs=3).state)


def calls_of(function: Callable[[], object]) -> int:
    """How many functions, of Python and of C, are called."""
    count = 0

    def watch(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(watch)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_an_epoch_with_a_callback_costs_the_same_however_many_there_were(engine: str) -> None:
    def run(epochs: int) -> int:
        return calls_of(lambda: fit(engine=engine, epochs=epochs, batch_size=25, callbacks=[lambda *_: None]))

    run(10)
    few, twice, more = run(32), run(64), run(128)  # whole groups of those that are trained ahead
    assert more - twice == pytest.approx(2 * (twice - few), rel=0.05)


@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_what_a_callback_does_to_its_state_changes_nothing(engine: str) -> None:
    def clear(epoch: int, state: fm.TrainState, history: fm.History) -> None:
        for leaf in pytree.leaves(state):
            leaf.fill_(math.nan)

    optimizer = fm.Momentum(0.05)
    expected = fit(engine=engine, optimizer=optimizer)
    actual = fit(engine=engine, optimizer=optimizer, callbacks=[clear])
    assert_same_bits(actual.state, expected.state)
    assert without_times(actual.history)["train_loss"] == without_times(expected.history)["train_loss"]


@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_a_callback_does_not_see_what_another_writes(engine: str) -> None:
    def clear(epoch: int, state: fm.TrainState, history: fm.History) -> None:
        for leaf in pytree.leaves(state):
            leaf.fill_(math.nan)

    states: list[fm.TrainState] = []
    fit(engine=engine, callbacks=[clear, lambda epoch, state, history: states.append(state), clear])
    assert_same_bits(states[-1], fit(engine=engine).state)


@pytest.mark.parametrize(("engine", "run"), [("reference", ReferenceRun), ("fused", FusedRun)])
def test_a_state_that_no_callback_looks_at_is_not_made(engine: str, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made, own = [], run.state
    monkeypatch.setattr(run, "state", lambda self, *place: made.append(place) or own(self, *place))
    fit(engine=engine, epochs=4, callbacks=[lambda *_: None, lambda epoch, state, history: state.epoch > 9])
    assert len(made) == 1  # that of the result
    fit(engine=engine, epochs=4, callbacks=[lambda epoch, state, history: state.optimizer_state.step < 0] * 2)
    assert len(made) == 1 + 2 * 4 + 1


@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_a_state_that_a_callback_keeps_stays_as_it_was(engine: str) -> None:
    states: list[fm.TrainState] = []
    fit(engine=engine, callbacks=[lambda epoch, state, history: states.append(state)])
    for epochs, state in enumerate(states, start=1):
        assert_same_bits(state, fit(engine=engine, epochs=epochs).state)
        assert pickle.loads(pickle.dumps(state)).epoch == epochs


@pytest.mark.parametrize("network", [NETWORK, fm.Tanh()], ids=["with params", "without"])
@pytest.mark.parametrize(
    ("optimizer", "batch_size"), [(fm.Momentum(0.1), 1), (fm.Adam(0.01), 7), (fm.SGD(0.1), 40)], ids=str
)
def test_states_of_epochs_that_are_trained_ahead_are_those_of_shorter_runs(
    network: fm.Layer, optimizer: fm.Optimizer, batch_size: int
) -> None:
    def run(epochs: int, **options: Any) -> fm.FitResult:
        data, loss = fm.datasets.disk(KEY, 40), fm.MeanSquaredError()
        return fm.fit(network, loss, optimizer, data, key=KEY, epochs=epochs, batch_size=batch_size, **options)

    states: list[fm.TrainState] = []
    run(5, callbacks=[lambda epoch, state, history: states.append(state)])
    for epochs, state in enumerate(states, start=1):
        assert_same_bits(state, run(epochs).state)
        assert state.optimizer_state.step == epochs * math.ceil(40 / batch_size)


def test_only_true_stops_a_run() -> None:
    assert fit(callbacks=(lambda *_: None, lambda *_: False)).state.epoch == 3


def test_progress_counts_epochs_and_changes_nothing() -> None:
    seen: list[float] = []
    assert_same_bits(fit(progress=seen.append).state, fit().state)
    assert seen == sorted(seen)
    assert {1.0, 2.0, 3.0} <= set(seen)


def interrupt_at(epochs: float):
    def progress(done: float) -> None:
        if done >= epochs:
            raise KeyboardInterrupt

    return progress


def test_ctrl_c_returns_what_was_finished() -> None:
    result = fit(epochs=10, progress=interrupt_at(3.0))
    assert result.interrupted
    assert (result.state.epoch, len(result.history), result.diverged_at) == (2, 2, None)
    assert_same_bits(result.state, fit(epochs=2).state)
    resumed = fit(epochs=4, key=None, state=result.state)
    assert_same_bits(resumed.state, fit(epochs=4).state)


def test_ctrl_c_in_a_callback_keeps_the_epoch() -> None:
    def callback(epoch: int, state: fm.TrainState, history: fm.History) -> None:
        raise KeyboardInterrupt

    result = fit(callbacks=[callback])
    assert (result.interrupted, result.state.epoch, len(result.history)) == (True, 1, 1)


def test_ctrl_c_in_the_first_epoch_returns_the_start() -> None:
    result = fit(progress=interrupt_at(0.0))
    assert (result.interrupted, result.state.epoch, len(result.history)) == (True, 0, 0)


def test_ctrl_c_in_a_finalizer_is_not_lost() -> None:
    """Python drops what a finalizer raises."""

    class Pressed:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    def press_once(epoch: int, state: fm.TrainState, history: fm.History) -> None:
        if epoch == 0:
            Pressed()

    hook = sys.unraisablehook
    result = fit(epochs=10**6, callbacks=[press_once])
    assert result.interrupted
    assert sys.unraisablehook is hook


def test_ctrl_c_again_and_again_returns_what_was_finished() -> None:
    """Once the first has ended the run, others come while its result is put together, and none after that."""
    handler, pressed = signal.getsignal(signal.SIGINT), threading.Event()

    class Impatient(fm.SGD):
        """Its state is asked for at the end, and Ctrl-C is pressed in that moment too."""

        def rebuild(self, *arguments: Any) -> Any:
            for _ in range(3 * pressed.is_set()):
                signal.raise_signal(signal.SIGINT)
            return super().rebuild(*arguments)

    def press(done: float) -> None:
        if done >= 2.0:
            pressed.set()
            signal.raise_signal(signal.SIGINT)

    def twice(*_: Any) -> None:
        signal.raise_signal(signal.SIGINT)

    result = fit(epochs=10, progress=press, optimizer=Impatient(0.05))
    assert (result.interrupted, result.state.epoch, len(result.history)) == (True, 1, 1)
    result = fit(epochs=10, callbacks=[twice, twice], checkpoint=None)
    assert (result.interrupted, result.state.epoch) == (True, 1)
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_handler_of_the_programs_own_for_ctrl_c_stays_in_place() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    try:
        result = fit(progress=lambda done: signal.raise_signal(signal.SIGINT))
    finally:
        signal.signal(signal.SIGINT, before)
    assert not result.interrupted
    assert len(seen) >= 3


def test_other_exceptions_pass_through() -> None:
    def callback(*_: object) -> None:
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        fit(callbacks=[callback])


def diverging(**changes: Any) -> fm.FitResult:
    """A linear network, whose error grows by a constant factor an update."""
    with pytest.warns(RuntimeWarning, match="smaller learning rate") as warned:
        result = fit(**{"network": fm.Linear(2, 2), "optimizer": fm.SGD(50.0), "epochs": 500} | changes)
    assert len(warned) == 1
    assert f"epoch {result.diverged_at}" in str(warned[0].message)
    assert warned[0].filename == __file__
    return result


# The first loss, 1e36, is finite, and the first update is not.
OVERFLOWING = fm.Dataset(torch.tensor([[1.0, 1.0]]), torch.tensor([[1e18, 0.0]]))


def is_finite(state: fm.TrainState) -> bool:
    return all(bool(leaf.isfinite().all()) for leaf in pytree.leaves(state))


@pytest.mark.parametrize("batch_size", [1, 4, 25])
@pytest.mark.parametrize("optimizer", [fm.SGD(50.0), fm.Momentum(50.0), fm.BatchGD(50.0, 3)], ids=repr)
def test_divergence_ends_the_run_with_the_last_finite_state(batch_size: int, optimizer: fm.Optimizer) -> None:
    result = diverging(optimizer=optimizer, batch_size=batch_size)
    assert result.diverged_at == len(result.history) - 1
    assert not math.isfinite(result.history.train_loss[-1])
    assert all(map(math.isfinite, result.history.train_loss[:-1]))
    assert is_finite(result.state)
    assert result.state.epoch <= result.diverged_at


def test_divergence_with_validation_records_it() -> None:
    result = diverging(validation=VALIDATION)
    assert {len(values) for values in result.history.to_dict().values()} == {result.diverged_at + 1}


def test_params_that_became_infinite_in_the_epoch_before_are_not_returned() -> None:
    """The finite loss of an epoch is that before the update which overflows."""
    result = diverging(data=OVERFLOWING, optimizer=fm.SGD(1e22), epochs=5)
    assert result.history.train_loss[0] < math.inf
    assert (result.diverged_at, result.state.epoch) == (1, 0)
    assert is_finite(result.state)


def test_params_that_become_infinite_in_the_last_epoch_are_not_returned() -> None:
    with pytest.warns(RuntimeWarning, match="diverged in epoch 0"):
        result = fit(network=fm.Linear(2, 2), data=OVERFLOWING, optimizer=fm.SGD(1e22), epochs=1)
    assert (result.diverged_at, result.state.epoch) == (0, 0)
    assert is_finite(result.state)


def test_a_run_on_from_a_diverged_one_is_that_of_its_last_finite_state() -> None:
    result = diverging(batch_size=25)
    healthy = fit(network=fm.Linear(2, 2), optimizer=fm.SGD(50.0), epochs=result.state.epoch, batch_size=25)
    assert_same_bits(result.state, healthy.state)


# Bad input

PARAMS = NETWORK.init(KEY, dtype=torch.float64)
OPTIMIZER_STATE = SGD.init(PARAMS)
STATE = fm.TrainState(OPTIMIZER_STATE, KEY, 2)
WIDE = fm.Linear(3, 2)
INDICES = fm.Dataset(DATA.inputs, DATA.labels)


@attrs.frozen(repr=False)
class RateList(fm.SGD):
    rates: list[float]


@attrs.frozen(repr=False)
class WeightList(fm.MeanSquaredError):
    weights: list[float]


def epoch(**changes: Any) -> object:
    arguments = {"network": NETWORK, "loss": LOSS, "state": STATE, "data": DATA, "optimizer": SGD} | changes
    return fm.train_epoch(**arguments)


def evaluate(**changes: Any) -> object:
    return fm.evaluate(**{"network": NETWORK, "loss": LOSS, "params": PARAMS, "data": DATA} | changes)


def unusual_params() -> list[Any]:
    """Params that do not fit the network, each with what the message must say."""
    first, _, last = PARAMS
    return [
        ("too few", PARAMS[:2], ["params[2].weight is missing"]),
        ("too many", (*PARAMS, first), ["params[3].weight is unexpected"]),
        (
            "transposed",
            (fm.LinearParams(first.weight.T, first.bias), (), last),
            ["params[0].weight", "(6, 2)", "(2, 6)"],
        ),
        ("without bias", (first, (), fm.LinearParams(last.weight, None)), ["params[2].bias is missing"]),
        ("to broadcast", (fm.LinearParams(first.weight, first.bias[:1]), (), last), ["params[0].bias", "(6,)", "(1,)"]),
        ("of another dtype", pytree.map(lambda p: p.float(), PARAMS), ["params[0].weight", "float32", "float64"]),
    ]


@pytest.mark.parametrize("run", [fit, epoch, evaluate], ids=["fit", "train_epoch", "evaluate"])
@pytest.mark.parametrize(("params", "fragments"), [pytest.param(*rest, id=name) for name, *rest in unusual_params()])
def test_params_that_do_not_fit_are_refused_by_path(run, params, fragments) -> None:
    changes = {"params": params}
    if run is epoch:
        changes = {"state": fm.TrainState(SGD.init(params), KEY, 0)}
    check_refused(lambda: run(**changes), ValueError, fragments)


@pytest.mark.parametrize("run", [fit, epoch, evaluate], ids=["fit", "train_epoch", "evaluate"])
@pytest.mark.parametrize(
    ("changes", "error", "fragments"),
    [
        pytest.param({"network": fm.ReLU}, TypeError, ["network", "class ReLU", "call it"], id="network class"),
        pytest.param({"network": None}, TypeError, ["network", "None"], id="no network"),
        pytest.param({"network": torch.nn.Linear(2, 2)}, TypeError, ["network", "functional_mlp.Layer"], id="module"),
        pytest.param(
            {"loss": fm.MeanSquaredError},
            TypeError,
            ["loss must be a Loss, got the class MeanSquaredError: call it to make one"],
            id="loss class",
        ),
        pytest.param({"loss": torch.nn.MSELoss()}, TypeError, ["loss", "a Loss", "MSELoss"], id="torch's loss"),
        pytest.param({"data": DATA.inputs}, TypeError, ["data", "a Dataset", "(25, 2)"], id="a tensor for data"),
        pytest.param({"data": (DATA.inputs, DATA.targets)}, TypeError, ["data", "a Dataset", "a tuple"], id="a pair"),
        pytest.param({"data": INDICES}, ValueError, ["targets", "float"], id="class indices for MSE"),
        pytest.param(
            {"data": fm.Dataset(DATA.inputs, DATA.targets[:, :1])}, ValueError, ["(25, 2)", "(25, 1)"], id="one output"
        ),
        pytest.param(
            {"data": fm.Dataset(DATA.inputs, DATA.labels + 1), "loss": fm.CrossEntropy()},
            ValueError,
            ["between 0 and 1", "2"],
            id="labels out of range",
        ),
        pytest.param(
            {"data": fm.Dataset(draw(5, 3), draw(5, 2))},
            ValueError,
            ["Linear(in_features=2, out_features=6)", "3)", "must be 2"],
            id="width",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(run, changes, error, fragments) -> None:
    check_refused(lambda: run(**changes), error, fragments)


@pytest.mark.parametrize("run", [fit, epoch], ids=["fit", "train_epoch"])
@pytest.mark.parametrize(
    ("changes", "error", "fragments"),
    [
        pytest.param(
            {"optimizer": fm.SGD},
            TypeError,
            ["optimizer must be an Optimizer, got the class SGD: call it"],
            id="optimizer class",
        ),
        pytest.param({"optimizer": 0.1}, TypeError, ["optimizer", "an Optimizer", "0.1"], id="optimizer number"),
        pytest.param(
            {"optimizer": RateList(0.1, [1])}, TypeError, ["optimizer", "hashable"], id="unhashable optimizer"
        ),
        pytest.param({"loss": WeightList([1.0, 2.0])}, TypeError, ["loss", "hashable"], id="unhashable loss"),
        pytest.param({"batch_size": 0}, ValueError, ["batch_size", "positive integer", "0"], id="batch of 0"),
        pytest.param({"batch_size": -4}, ValueError, ["batch_size", "positive integer", "-4"], id="batch of -4"),
        pytest.param({"batch_size": True}, TypeError, ["batch_size", "True, a bool"], id="batch of True"),
        pytest.param({"batch_size": 2.0}, TypeError, ["batch_size", "2.0, a float"], id="batch of 2.0"),
        pytest.param({"batch_size": "4"}, TypeError, ["batch_size", "'4', a str"], id="batch of a string"),
        pytest.param({"batch_size": None}, TypeError, ["batch_size", "None"], id="no batch"),
        pytest.param({"schedule": 0.9}, TypeError, ["schedule", "callable", "0.9"], id="schedule number"),
        pytest.param(
            {"schedule": lambda epoch: "1"}, TypeError, ["schedule(", "number", "'1'"], id="factor of a string"
        ),
        pytest.param(
            {"schedule": lambda epoch: math.nan}, ValueError, ["schedule(", "finite", "nan"], id="factor of NaN"
        ),
        pytest.param({"schedule": lambda epoch: -1}, ValueError, ["schedule(", "[0.0", "-1"], id="negative factor"),
        pytest.param({"engine": "gpu"}, ValueError, ["engine", "'reference'", "'gpu'"], id="unknown engine"),
        pytest.param({"engine": None}, ValueError, ["engine", "'reference'", "None"], id="no engine"),
    ],
)
def test_bad_settings_are_refused(run, changes, error, fragments) -> None:
    check_refused(lambda: run(**changes), error, fragments)


ADAM_STATE = fm.TrainState(fm.Adam(0.1).init(PARAMS), KEY, 2)


@pytest.mark.parametrize(
    ("call", "error", "fragments"),
    [
        refusal("epochs of 0", lambda: fit(epochs=0), ValueError, "epochs", "positive integer", "0"),
        refusal("epochs of True", lambda: fit(epochs=True), TypeError, "epochs", "True, a bool"),
        refusal("epochs of 1.5", lambda: fit(epochs=1.5), TypeError, "epochs", "1.5, a float"),
        refusal("epochs of a string", lambda: fit(epochs="3"), TypeError, "epochs", "'3', a str"),
        refusal("key of an int", lambda: fit(key=0), TypeError, "key", "Key", "0, an int", "random.key(seed)"),
        refusal("no key", lambda: fit(key=None), TypeError, "key is missing", "random.key(seed)"),
        refusal("fewer epochs", lambda: fit(state=STATE, epochs=1), ValueError, "epochs", "total", "2", "got 1"),
        refusal("params and state", lambda: fit(state=STATE, params=PARAMS), ValueError, "params or state", "not both"),
        refusal("optimizer state", lambda: fit(state=OPTIMIZER_STATE), TypeError, "TrainState", "OptimizerState"),
        refusal("result for state", lambda: fit(state=fit(), epochs=9), TypeError, "TrainState", "FitResult", ".state"),
        refusal("state of Adam for SGD", lambda: fit(state=ADAM_STATE), TypeError, "SGD(0.05)", "AdamState"),
        refusal("no optimizer state", lambda: fit(state=fm.TrainState(None, KEY, 0)), TypeError, "SGD(0.05)", "None"),
        refusal("state of Adam for an epoch", lambda: epoch(state=ADAM_STATE), TypeError, "SGD(0.05)", "AdamState"),
        refusal("epoch without state", lambda: epoch(state=None), TypeError, "TrainState", "None"),
        refusal("params of floats", lambda: fit(params=(1.0,)), TypeError, "params[0]", "1.0, a float"),
        refusal(
            "validation tensor", lambda: fit(validation=DATA.inputs), TypeError, "validation", "a Dataset", "(25, 2)"
        ),
        refusal(
            "validation of another width",
            lambda: fit(validation=fm.Dataset(draw(5, 3), draw(5, 2))),
            ValueError,
            "Linear(in_features=2",
            "3)",
        ),
        refusal(
            "validation of another dtype",
            lambda: fit(validation=fm.datasets.disk(KEY, 5)),
            ValueError,
            "params[0].weight",
            "torch.float32",
            "torch.float64",
        ),
        refusal(
            "predict width",
            lambda: fm.predict(NETWORK, PARAMS, draw(4, 3)),
            ValueError,
            "Linear(in_features=2",
            "(4, 3)",
        ),
        refusal("predict nothing", lambda: fm.predict(None, PARAMS, draw(4, 2)), TypeError, "network", "None"),
        refusal("classify 0-d", lambda: fm.classify(NETWORK, PARAMS, draw()), ValueError, "0-d", "features"),
        *(
            refusal(f"predict {kind}", lambda bad=bad: fm.predict(NETWORK, PARAMS, bad), ValueError, "inputs", name)
            for kind, (bad, name) in unusable_tensors((4, 2)).items()
        ),
        refusal("schedule class", lambda: fit(schedule=schedules.constant), TypeError, "schedule", "class constant"),
        refusal("callback that is no sequence", lambda: fit(callbacks=print), TypeError, "callbacks", "sequence"),
        refusal("callback of a number", lambda: fit(callbacks=[1]), TypeError, "callbacks[0]", "1, an int"),
        refusal("progress of a number", lambda: fit(progress=1), TypeError, "progress", "1, an int"),
        refusal(
            "state's key", lambda: fit(state=attrs.evolve(STATE, key=0)), TypeError, "state.key", "Key", "0, an int"
        ),
        refusal(
            "epoch's key", lambda: epoch(state=attrs.evolve(STATE, key=0)), TypeError, "state.key", "Key", "0, an int"
        ),
        refusal("state's epoch", lambda: fit(state=attrs.evolve(STATE, epoch=-2)), ValueError, "state.epoch", "-2"),
        refusal(
            "epoch's epoch", lambda: epoch(state=attrs.evolve(STATE, epoch="2")), TypeError, "state.epoch", "'2', a str"
        ),
    ],
)
def test_bad_input_is_refused(call, error, fragments) -> None:
    check_refused(call, error, fragments)
