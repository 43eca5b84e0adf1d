"""Callbacks, Ctrl-C and divergence: a run ends with what is whole and finite."""

import math
import pickle
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import functional_mlp as fm
from functional_mlp import pytree
from functional_mlp.engine.policy import MEASURED
from functional_mlp.engine.running import FusedRun
from functional_mlp.reference import ReferenceRun
from tests import runs
from tests.helpers import KEY, assert_same_bits
from tests.runs import NETWORK, VALIDATION, fit, without_times


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
    few, twice, more = (run(times * MEASURED.most_epochs_ahead) for times in (1, 2, 4))
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


@pytest.mark.parametrize("true", [True, np.True_, torch.tensor(True)], ids=repr)
def test_a_comparison_of_any_kind_ends_the_run(true: Any) -> None:
    assert fit(callbacks=[lambda *_: true]).state.epoch == 1


@pytest.mark.parametrize("answer", [0.69, 1, "go on", torch.tensor(0.5), torch.ones(2, dtype=torch.bool)], ids=repr)
def test_what_a_callback_returns_says_whether_to_end_or_is_refused(answer: Any) -> None:
    with pytest.raises(TypeError, match="a callback must return True, to end the training, or False or None, got "):
        fit(callbacks=[lambda *_: answer])


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
    assert warned[0].filename == runs.__file__
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
