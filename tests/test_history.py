import pickle

import attrs
import pytest

import functional_mlp as fm

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
