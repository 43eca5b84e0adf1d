import math
import pickle

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
    for copy in (without_validation(), pickle.loads(pickle.dumps(history)), fm.History.of(history.records())):
        assert copy == history
        assert hash(copy) == hash(history)
        assert copy.records() == history.records()
    assert fm.Metrics(1.0, float("nan")) == fm.Metrics(1.0, float("nan"))
    assert hash(fm.Metrics(1.0, float("nan"))) == hash(fm.Metrics(1.0, float("nan")))
    assert fm.Metrics(1.0, math.nan) != fm.Metrics(1.0, 0.0)
    assert fm.EnsembleHistory((history,)) == fm.EnsembleHistory((without_validation(),))


def test_a_recorder_gives_histories_that_do_not_change() -> None:
    recorder = Recorder(fm.History.of([FIRST]))
    one = recorder.first(1)
    recorder.append(fm.History.of([SECOND]))
    assert recorder.first(2) == HISTORY
    assert pickle.loads(pickle.dumps(recorder.first(2))) == HISTORY
    assert one == fm.History.of([FIRST])
    assert attrs.astuple(recorder.first(2)) == attrs.astuple(HISTORY)
    with pytest.raises(AttributeError, match="History has no 'loss'"):
        one.loss  # noqa: B018 - the attribute is what is asked for
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        one.train_loss = ()


def test_the_length_of_a_history_needs_none_of_its_figures() -> None:
    recorder = Recorder(fm.History.of([FIRST, SECOND, FIRST]))
    history = recorder.first(2)
    assert len(history) == 2
    assert "train_loss" not in vars(history)
