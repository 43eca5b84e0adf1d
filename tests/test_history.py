import copy
import itertools
import math
import pickle
import tracemalloc
from collections.abc import Callable

import attrs
import pytest

import functional_mlp as fm
from functional_mlp.history import Recorder

FIRST = fm.EpochRecord(0.5, 0.8, 0.6, 0.7, 0.01, 0.1)
SECOND = fm.EpochRecord(0.4, 0.9, 0.5, 0.8, 0.009, 0.2)
HISTORY = fm.History.of([FIRST, SECOND])


def test_a_history_has_a_tuple_for_each_figure_of_a_record() -> None:
    assert [field.name for field in attrs.fields(fm.History)] == [field.name for field in attrs.fields(fm.EpochRecord)]
    for field in attrs.fields(fm.History):
        assert getattr(HISTORY, field.name) == (getattr(FIRST, field.name), getattr(SECOND, field.name))
    assert len(HISTORY) == 2


def test_a_run_without_epochs_has_an_empty_history() -> None:
    assert fm.History.of([]) == fm.History()
    assert len(fm.History()) == 0


def test_to_dict_gives_lists_by_name() -> None:
    assert HISTORY.to_dict() == {
        "train_loss": [0.5, 0.4],
        "train_accuracy": [0.8, 0.9],
        "validation_loss": [0.6, 0.5],
        "validation_accuracy": [0.7, 0.8],
        "learning_rate": [0.01, 0.009],
        "seconds": [0.1, 0.2],
    }


def test_a_history_is_a_frozen_value() -> None:
    assert pickle.loads(pickle.dumps(HISTORY)) == HISTORY == fm.History(**HISTORY.to_dict() | attrs.asdict(HISTORY))
    assert hash(HISTORY) == hash(fm.History.of([FIRST, SECOND]))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        HISTORY.train_loss = ()


# A history without validation; each NaN is an object of its own.
def without_validation() -> fm.History:
    return fm.History.of([fm.EpochRecord(0.5, 0.8, float("nan"), -float("nan"), 0.01, 0.1)])


def test_histories_and_metrics_with_nan_are_equal_to_their_copies() -> None:
    history = without_validation()
    for other in (without_validation(), pickle.loads(pickle.dumps(history)), fm.History.of(history.records())):
        assert other == history
        assert hash(other) == hash(history)
        assert other.records() == history.records()
    assert fm.Metrics(1.0, float("nan")) == fm.Metrics(1.0, float("nan"))
    assert hash(fm.Metrics(1.0, float("nan"))) == hash(fm.Metrics(1.0, float("nan")))
    assert fm.Metrics(1.0, math.nan) != fm.Metrics(1.0, 0.0)
    assert fm.EnsembleHistory((history,)) == fm.EnsembleHistory((without_validation(),))


@pytest.mark.parametrize("given", [Recorder.first, Recorder.view])
def test_a_recorder_gives_histories_that_do_not_change(given: Callable[[Recorder, int], fm.History]) -> None:
    recorder = Recorder(fm.History.of([FIRST]))
    one = given(recorder, 1)
    recorder.record(1, fm.History.of([SECOND]))
    two = given(recorder, 2)
    assert one == fm.History.of([FIRST])
    for history in (two, pickle.loads(pickle.dumps(two)), copy.deepcopy(two), attrs.evolve(two)):
        assert history == HISTORY
        assert hash(history) == hash(HISTORY)
        assert repr(history) == repr(HISTORY)
        assert history.to_dict() == HISTORY.to_dict()
    assert isinstance(pickle.loads(pickle.dumps(two)).train_loss, tuple)
    assert attrs.astuple(two) == attrs.astuple(HISTORY)
    with pytest.raises(AttributeError, match="History has no 'loss'"):
        one.loss  # noqa: B018 - the attribute is what is asked for
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        one.train_loss = ()


class Last:
    """A callback that looks at the end of a history, and measures what that takes: the most bytes at once."""

    def __init__(self) -> None:
        self.bytes: list[int] = []
        self.seen: list[tuple[float, ...]] = []

    def __call__(self, epoch: int, state: fm.TrainState, history: fm.History) -> None:
        tracemalloc.start()
        self.seen.append((history.train_loss[-1], history.records()[-1].train_loss, *history.train_loss[-2:]))
        repr(history)
        self.bytes.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()


def test_a_callback_looks_at_the_last_epochs_at_the_cost_of_these() -> None:
    data, last = fm.datasets.disk(fm.random.key(0), 4), Last()
    result = fm.fit(
        fm.Linear(2, 2), fm.MeanSquaredError(), fm.SGD(0.1), data, key=fm.random.key(1), epochs=2000, callbacks=[last]
    )
    losses = result.history.train_loss
    assert type(losses) is tuple
    assert last.seen[1:] == [(loss, loss, before, loss) for before, loss in itertools.pairwise(losses)]
    assert max(last.bytes[-20:]) < max(last.bytes[20:40]) + 2000  # a column of 2000 figures has 16000


def test_epochs_that_are_recorded_once_more_take_the_place_of_those_before() -> None:
    recorder = Recorder(fm.History.of([FIRST]))
    recorder.record(1, fm.History.of([FIRST, FIRST, FIRST]))
    recorder.record(2, fm.History.of([SECOND]))
    assert recorder.first(9) == fm.History.of([FIRST, FIRST, SECOND])


def test_the_length_of_a_history_needs_none_of_its_figures() -> None:
    recorder = Recorder(fm.History.of([FIRST, SECOND, FIRST]))
    history = recorder.first(2)
    assert len(history) == 2
    assert "train_loss" not in vars(history)
