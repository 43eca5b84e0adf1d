"""`fit` with a checkpoint: what it saves, what it goes on with, and how it stops."""

import _thread
import functools
import math
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch

import functional_mlp as fm
from functional_mlp import shuffling, watching
from tests.checkpoint import cases
from tests.checkpoint.cases import assert_same_run, fit
from tests.tables import OPTIMIZERS

engines = pytest.mark.parametrize("engine", ["reference", "fused"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


@engines
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_a_resumed_run_has_the_bits_of_an_unbroken_one(path: Path, optimizer: fm.Optimizer, engine: str) -> None:
    unbroken = fit(optimizer=optimizer, engine=engine)
    for epochs in (1, 3, 3, 5, 5):
        result = fit(optimizer=optimizer, engine=engine, epochs=epochs, checkpoint=fm.Checkpoint(path))
        assert_same_run(fm.load(path), result)
    assert_same_run(result, unbroken)


def test_a_run_with_a_checkpoint_is_the_run_without(path: Path) -> None:
    assert_same_run(fit(checkpoint=fm.Checkpoint(path)), fit())


@pytest.mark.parametrize("every", [1, 2, 7])
def test_it_saves_every_so_many_epochs_and_at_the_end(path: Path, every: int) -> None:
    saved: list[int] = []

    def look(epoch: int, state: fm.TrainState, history: fm.History) -> None:
        saved.append(fm.load(path).state.epoch)

    fit(checkpoint=fm.Checkpoint(path, every=every), callbacks=[look])
    assert saved[:-1] == [epoch // every * every for epoch in range(1, 5)]
    assert fm.load(path).state.epoch == 5


def test_by_default_it_saves_no_sooner_than_after_some_seconds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    clock = iter(range(1000))  # a second more at each look

    def look(epoch: int, state: fm.TrainState, history: fm.History) -> None:
        saved.append(fm.load(path).state.epoch)

    monkeypatch.setattr(watching.time, "perf_counter", lambda: 0.5 * next(clock))
    fit(checkpoint=fm.Checkpoint(path), callbacks=[look], epochs=25)
    assert saved[:5] == [1, 2, 3, 4, 5]
    assert saved == sorted(saved)
    assert 1 <= len(set(saved[5:])) - 1 <= 10
    assert fm.load(path).state.epoch == 25


def test_by_default_a_callback_that_raises_loses_nothing(path: Path) -> None:
    def crash(epoch: int, state: fm.TrainState, history: fm.History) -> None:
        if epoch == 7:
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError, match="crash"):
        fit(epochs=9, checkpoint=fm.Checkpoint(path), callbacks=[crash])
    assert fm.load(path).state.epoch == 8
    assert_same_run(fit(epochs=9, checkpoint=fm.Checkpoint(path)), fit(epochs=9))


def test_the_first_state_is_saved_before_training(path: Path) -> None:
    def crash(fraction: float) -> None:
        raise RuntimeError("crash")

    with pytest.raises(RuntimeError, match="crash"):
        fit(checkpoint=fm.Checkpoint(path), progress=crash)
    saved = fm.load(path)
    assert (saved.state.epoch, len(saved.history)) == (0, 0)
    assert_same_run(fit(checkpoint=fm.Checkpoint(path)), fit())


def test_a_run_that_a_callback_stopped_goes_on(path: Path) -> None:
    stopped = fit(checkpoint=fm.Checkpoint(path, every=10), callbacks=[lambda epoch, state, history: epoch == 1])
    assert fm.load(path).state.epoch == stopped.state.epoch == 2
    assert_same_run(fit(checkpoint=fm.Checkpoint(path)), fit())


def test_a_run_that_a_callback_ended_is_over_as_long_as_it_says_so(path: Path) -> None:
    asked: list[int] = []

    def is_good(epoch: int, state: fm.TrainState, history: fm.History) -> bool:
        asked.append(epoch)
        return len(history) >= 3

    unbroken = fit(callbacks=[is_good])
    for _ in range(4):
        asked.clear()
        result = fit(checkpoint=fm.Checkpoint(path), callbacks=[is_good])
        assert_same_run(result, unbroken)
        assert fm.load(path).ended
    assert asked == [2]
    assert_same_run(fit(checkpoint=fm.Checkpoint(path)), fit())
    assert not fm.load(path).ended


def test_callbacks_see_the_whole_history(path: Path) -> None:
    fit(epochs=3, checkpoint=fm.Checkpoint(path))
    lengths: list[int] = []
    fit(checkpoint=fm.Checkpoint(path), callbacks=[lambda epoch, state, history: lengths.append(len(history))])
    assert lengths == [4, 5]


def test_a_run_that_starts_from_a_state_keeps_its_place(path: Path) -> None:
    start = fit(epochs=2).state
    for epochs in (4, 5):
        result = fit(key=None, state=start, epochs=epochs, checkpoint=fm.Checkpoint(path))
    assert_same_run(result, fit(key=None, state=start))
    assert len(result.history) == 3


@engines
@pytest.mark.parametrize("rate", [1e4, 1e30])
def test_a_run_that_diverges_saves_the_last_finite_state(path: Path, engine: str, rate: float) -> None:
    settings: dict[str, Any] = {"optimizer": fm.SGD(rate), "loss": fm.MeanSquaredError(), "epochs": 30}
    settings |= {"engine": engine, "validation": None}
    with pytest.warns(RuntimeWarning, match="diverged"):
        unbroken = fit(**settings)
    for _ in range(2):
        with pytest.warns(RuntimeWarning, match="diverged"):
            result = fit(**settings, checkpoint=fm.Checkpoint(path))
        assert_same_run(result, unbroken)
        assert result.diverged_at == unbroken.diverged_at
        saved = fm.load(path)
        assert fm.pytree.equal(saved.state, unbroken.state)
        assert all(map(math.isfinite, saved.history.train_loss))


def interrupt_after(seconds: float, ended: threading.Event) -> None:
    """Ctrl-C, and once more where Python dropped it: in a finalizer, say, where no exception can be raised."""
    time.sleep(seconds)
    while not ended.is_set():
        _thread.interrupt_main()
        ended.wait(3)


# Between the opening of a file and the `with` that closes it, Ctrl-C leaves the file to the finalizer, which warns.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@engines
def test_ctrl_c_at_a_random_moment_keeps_the_last_finished_epoch(path: Path, engine: str) -> None:
    draw = random.Random(engine)
    for _ in range(12):
        path.unlink(missing_ok=True)
        ended = threading.Event()
        ctrl_c = threading.Thread(target=interrupt_after, args=(draw.uniform(0, 0.05), ended))

        def start(epoch: int, state: fm.TrainState, history: fm.History, ctrl_c: threading.Thread = ctrl_c) -> None:
            if epoch == 0:
                ctrl_c.start()

        result = fit(epochs=10**6, engine=engine, checkpoint=fm.Checkpoint(path), callbacks=[start])
        ended.set()
        ctrl_c.join()
        assert result.interrupted
        assert_same_run(fm.load(path), result)
        assert os.listdir(path.parent) == [path.name]
        again = fit(epochs=result.state.epoch + 2, engine=engine, checkpoint=fm.Checkpoint(path))
        assert_same_run(again, fit(epochs=result.state.epoch + 2, engine=engine))


def test_ctrl_c_while_it_saves_keeps_the_epoch(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, calls = os.replace, []

    def interrupted(source: Any, target: Any) -> None:
        calls.append(target)
        if len(calls) == 3:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    result = fit(checkpoint=fm.Checkpoint(path))
    assert (result.interrupted, result.state.epoch, len(calls)) == (True, 2, 4)
    assert_same_run(fm.load(path), result)


def fails_at(monkeypatch: pytest.MonkeyPatch, failing: set[int]) -> None:
    """Let the saves of these numbers, counted from 1, find the disk full."""
    replace, calls = os.replace, []

    def full(source: Any, target: Any) -> None:
        calls.append(target)
        if len(calls) in failing:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)


def test_a_disk_that_fills_up_amid_a_run_costs_the_file_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails_at(monkeypatch, {4, 5, 6})
    with pytest.warns(RuntimeWarning, match=rf"could not be saved.*No space left on device: '{path}'") as warned:
        assert_same_run(fit(checkpoint=fm.Checkpoint(path)), fit())
    assert warned[0].filename == __file__.replace("test_resuming", "cases")
    monkeypatch.undo()
    assert_same_run(fm.load(path), fit(epochs=2))
    assert_same_run(fit(checkpoint=fm.Checkpoint(path)), fit())


def test_a_disk_that_is_full_for_a_moment_costs_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails_at(monkeypatch, {3})
    with pytest.warns(RuntimeWarning, match="could not be saved"):
        fit(checkpoint=fm.Checkpoint(path))
    assert_same_run(fm.load(path), fit())


@pytest.mark.parametrize("name", ["none/a", "folder"])
def test_a_path_that_cannot_be_written_is_found_before_training(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    seen: list[float] = []
    with pytest.raises(OSError, match=name):
        fit(checkpoint=fm.Checkpoint(tmp_path / name), progress=seen.append)
    assert not seen


def test_a_layer_that_cannot_be_saved_is_found_before_training(path: Path) -> None:
    network = fm.Sequential(fm.Linear(2, 2), cases.Softsign())
    seen: list[float] = []
    with pytest.raises(ValueError, match=r"pass registry=Registry\(Softsign\)"):
        fit(network=network, checkpoint=fm.Checkpoint(path), progress=seen.append)
    assert not seen
    checkpoint = fm.Checkpoint(path, registry=fm.Registry(cases.Softsign), extra={"of": "mine"})
    fit(network=network, checkpoint=checkpoint, epochs=2)
    assert_same_run(fit(network=network, checkpoint=checkpoint), fit(network=network))
    assert fm.load(path, registry=checkpoint.registry).extra == {"of": "mine"}


def test_arguments_that_do_not_fit_leave_no_file(path: Path) -> None:
    with pytest.raises(ValueError, match="targets"):
        fit(network=fm.Linear(2, 3), checkpoint=fm.Checkpoint(path))
    assert not path.exists()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"key": fm.random.key(4)}, "is the run of another key"),
        ({"network": fm.Linear(2, 2)}, "network is Sequential, expected Linear"),
        (
            {"optimizer": fm.AdamW(0.02)},
            r"was trained by AdamW\(0.01\), and not by AdamW\(0.02\): pass .* meant, allow=\('optimizer',\)",
        ),
        ({"optimizer": fm.SGD(0.02)}, "and not by SGD.*: pass one of its kind, or another path"),
        (
            {"loss": fm.MeanSquaredError()},
            r"loss is CrossEntropy, expected MeanSquaredError: pass .* meant, allow=\('loss',\)",
        ),
    ],
)
def test_the_file_of_another_run_is_refused_and_kept(path: Path, changes: dict[str, Any], reason: str) -> None:
    fit(epochs=1, checkpoint=fm.Checkpoint(path))
    before = path.read_bytes()
    with pytest.raises(fm.CheckpointError, match=reason):
        fit(checkpoint=fm.Checkpoint(path), **changes)
    assert path.read_bytes() == before


PARAMS = cases.NETWORK.init(fm.random.key(9))
OTHER_CALLS: dict[str, tuple[dict[str, Any], str]] = {
    "data": ({"data": fm.datasets.disk(fm.random.key(1), 31)}, "data is 30 rows of 2, .* there, and 31 rows of 2"),
    "a row of the data": (
        {"data": fm.Dataset(cases.DATA.inputs + torch.eye(30, 2), cases.DATA.targets)},
        "data is 30 rows of 2, digest .* there, and 30 rows of 2, digest",
    ),
    "validation": ({"validation": None}, "validation is 20 rows of 2, .* there, and None in this call"),
    "batch_size": ({"batch_size": 3}, "batch_size is 4 there, and 3 in this call"),
    "schedule": (
        {"schedule": fm.schedules.constant()},
        r"schedule is .*exponential_decay\(0.9\) there, and .*constant",
    ),
    "a function for the schedule": (
        {"schedule": lambda epoch: 1.0},
        "schedule is .* there, and .*<lambda> in this call",
    ),
    "params": ({"params": PARAMS}, "params is None there, and given, digest"),
}


@pytest.mark.parametrize("name", OTHER_CALLS)
def test_another_call_is_refused_by_what_differs(path: Path, name: str) -> None:
    changes, reason = OTHER_CALLS[name]
    fit(epochs=2, checkpoint=fm.Checkpoint(path))
    before = path.read_bytes()
    with pytest.raises(fm.CheckpointError, match=reason) as caught:
        fit(checkpoint=fm.Checkpoint(path), **changes)
    assert caught.value.differs == tuple(changes)
    assert path.read_bytes() == before
    result = fit(checkpoint=fm.Checkpoint(path, allow=tuple(changes)), **changes)
    assert (result.state.epoch, len(result.history)) == (5, 5)
    assert_same_run(fit(checkpoint=fm.Checkpoint(path), **changes), result)


def times(factor: float) -> Any:
    """A schedule that has the name of any other that is made here."""
    return lambda epoch: factor


def test_another_function_of_the_same_name_is_another_schedule(path: Path) -> None:
    fit(epochs=2, schedule=times(1.0), checkpoint=fm.Checkpoint(path))
    with pytest.raises(
        fm.CheckpointError, match=r"schedule gave epoch 1 the rate 0\.01 there, and 0\.005 in this call"
    ):
        fit(schedule=times(0.5), checkpoint=fm.Checkpoint(path))
    assert_same_run(
        fit(epochs=3, schedule=times(1.0), checkpoint=fm.Checkpoint(path)), fit(epochs=3, schedule=times(1.0))
    )
    changed = fit(schedule=times(0.5), checkpoint=fm.Checkpoint(path, allow=("schedule",)))
    assert changed.history.learning_rate == (0.01, 0.01, 0.01, 0.005, 0.005)
    assert_same_run(fit(schedule=times(0.5), checkpoint=fm.Checkpoint(path)), changed)


def later(epoch: int, factor: float) -> float:
    return 1.0 if epoch < 9 else factor


def called(factor: float) -> Any:
    """An object that is called, of a class of one name."""
    return type("Later", (), {"__call__": lambda self, epoch: later(epoch, factor)})()


@attrs.frozen(repr=False)
class Held(fm.schedules.Schedule):
    """A schedule that holds a function."""

    function: Callable[[int], float]

    def factor(self, epoch: int) -> float:
        return self.function(epoch)


# Schedules, of one name each, that differ in the epochs that are still to come.
TO_COME: dict[str, Callable[[float], Any]] = {
    "variable of the function around": lambda factor: lambda epoch: later(epoch, factor),
    "default": lambda factor: lambda epoch, factor=factor: later(epoch, factor),
    "partial": lambda factor: functools.partial(later, factor=factor),
    "object that is called": called,
    "function in a field": lambda factor: Held(lambda epoch: later(epoch, factor)),
}


@pytest.mark.parametrize("case", TO_COME)
def test_a_schedule_is_known_by_all_that_it_does(case: str, path: Path) -> None:
    def train(epochs: int, factor: float) -> fm.FitResult:
        return fit(epochs=epochs, schedule=TO_COME[case](factor), checkpoint=fm.Checkpoint(path))

    train(1, 0.5)
    assert train(2, 0.5).state.epoch == 2
    with pytest.raises(fm.CheckpointError, match=r"code of schedule is another .*allow=\('schedule',\)") as caught:
        train(3, 0.25)
    assert caught.value.differs == ("schedule",)


def error_above(threshold: float) -> Any:
    """A score that has the name of any other that is made here."""
    return lambda outputs, data: ((outputs - data.targets).abs() > threshold).double().mean().item()


def test_another_function_of_the_same_name_is_another_score(path: Path) -> None:
    def scored(epochs: int, threshold: float, **options: Any) -> Any:
        return fit(epochs=epochs, score=error_above(threshold), checkpoint=fm.Checkpoint(path, **options))

    scored(2, 0.3)
    with pytest.raises(fm.CheckpointError, match=r"score gave epoch 1 0\.\d+ there, and 0\.\d+ in this call") as caught:
        scored(3, 0.5)
    assert caught.value.differs == ("score",)
    with pytest.raises(fm.CheckpointError, match="code of score is another there"):
        scored(3, 0.3 + 1e-9)
    assert_same_run(scored(3, 0.3), fit(epochs=3, score=error_above(0.3)))
    changed = scored(4, 0.5, allow=("score",))
    assert changed.history.validation_accuracy[:3] == scored(4, 0.5).history.validation_accuracy[:3]


def test_what_a_callback_writes_into_its_state_is_not_saved(path: Path) -> None:
    def clear(epoch: int, state: fm.TrainState, history: fm.History) -> None:
        for leaf in fm.pytree.leaves(state):
            leaf.zero_()
        if epoch == 7:
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError, match="crash"):
        fit(epochs=9, checkpoint=fm.Checkpoint(path), callbacks=[clear])
    assert_same_run(fm.load(path), fit(epochs=8))


def test_a_callback_that_is_asked_again_changes_nothing(path: Path) -> None:
    fit(checkpoint=fm.Checkpoint(path), callbacks=[lambda epoch, state, history: epoch == 1])

    def clear(epoch: int, state: fm.TrainState, history: fm.History) -> None:
        for leaf in fm.pytree.leaves(state):
            leaf.zero_()

    assert_same_run(fit(checkpoint=fm.Checkpoint(path), callbacks=[clear]), fit())


def test_all_that_differs_is_named_at_once(path: Path) -> None:
    fit(epochs=2, checkpoint=fm.Checkpoint(path))
    with pytest.raises(fm.CheckpointError, match=r"batch_size is 4.*schedule is.*allow=\('batch_size', 'schedule'\)"):
        fit(checkpoint=fm.Checkpoint(path, allow=("data",)), batch_size=3, schedule=None)


@pytest.mark.parametrize(
    ("name", "value"), [("optimizer", fm.AdamW(0.02)), ("loss", fm.MeanSquaredError())], ids=["optimizer", "loss"]
)
def test_another_optimizer_or_loss_may_be_meant(path: Path, name: str, value: Any) -> None:
    start = fit(epochs=2, checkpoint=fm.Checkpoint(path)).state
    result = fit(checkpoint=fm.Checkpoint(path, allow=(name,)), **{name: value})
    expected = fit(key=None, state=start, **{name: value})
    assert fm.pytree.equal(result.state, expected.state)


def test_another_kind_of_optimizer_cannot_go_on_with_the_state(path: Path) -> None:
    fit(epochs=2, checkpoint=fm.Checkpoint(path))
    with pytest.raises(fm.CheckpointError, match=r"was trained by AdamW.*and not by Momentum"):
        fit(checkpoint=fm.Checkpoint(path, allow=("optimizer",)), optimizer=fm.Momentum(0.1))


def test_a_run_that_an_older_version_began_in_other_orders_goes_on_where_that_is_meant(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(shuffling, "NAME", "torch.randperm")  # what files stand for that say nothing of it
        fit(epochs=3, checkpoint=fm.Checkpoint(path))
    with pytest.raises(fm.CheckpointError, match=r"orders is torch.randperm there.*allow=\('orders',\)"):
        fit(checkpoint=fm.Checkpoint(path))
    assert len(fit(checkpoint=fm.Checkpoint(path, allow=("orders",))).history) == 5


def test_a_run_goes_on_from_the_very_state_that_is_kept(path: Path) -> None:
    fit(epochs=2, checkpoint=fm.Checkpoint(path))
    result = fit(key=None, state=fm.load(path).state, checkpoint=fm.Checkpoint(path))
    assert_same_run(result, fit())


def test_parameters_without_a_run_are_refused(path: Path) -> None:
    fm.save(path, fit(epochs=1).params, network=cases.NETWORK, optimizer=cases.OPTIMIZER, loss=cases.LOSS)
    with pytest.raises(fm.CheckpointError, match="without a run to go on with"):
        fit(checkpoint=fm.Checkpoint(path))


def test_fewer_epochs_than_are_saved_are_refused(path: Path) -> None:
    fit(epochs=3, checkpoint=fm.Checkpoint(path))
    with pytest.raises(ValueError, match="at least the 3 that there have been, got 2"):
        fit(epochs=2, checkpoint=fm.Checkpoint(path))


def test_bad_checkpoints_are_refused(path: Path) -> None:
    with pytest.raises(TypeError, match="fit: checkpoint must be a Checkpoint"):
        fit(checkpoint=path)
    with pytest.raises(TypeError, match="path must be a path"):
        fm.Checkpoint(3)
    with pytest.raises(ValueError, match="every must be a positive integer"):
        fm.Checkpoint(path, every=0)
    with pytest.raises(TypeError, match="allow must be a tuple of names"):
        fm.Checkpoint(path, allow="data")
    with pytest.raises(ValueError, match=r"allow takes data, .*, got 'network'"):
        fm.Checkpoint(path, allow=("network",))
