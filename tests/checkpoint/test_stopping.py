"""Early stopping that is added to a run, or changed, when it goes on: its best state is never another rule's."""

import warnings
from pathlib import Path
from typing import Any

import pytest

import functional_mlp as fm
from tests.checkpoint.cases import DATA, KEY, NETWORK, VALIDATION, fit
from tests.helpers import assert_same_bits

RULE = fm.EarlyStopping(patience=6)
COMMON: dict[str, Any] = {"optimizer": fm.Adam(0.2), "schedule": None}
UNHEARD = r"does not hold the state.* after the best epoch by EarlyStopping\(patience=6\), with which the run was not"


def run(path: Path, epochs: int, rule: fm.EarlyStopping | None = RULE, **changes: Any) -> fm.FitResult:
    checkpoint = fm.Checkpoint(path, allow=("early_stopping",))
    return fit(epochs=epochs, checkpoint=checkpoint, early_stopping=rule, **COMMON | changes)


@pytest.mark.parametrize("begun_with", [None, fm.EarlyStopping(90, min_delta=0.5)])
def test_a_rule_whose_best_state_is_lost_judges_the_epochs_from_the_last_on(
    tmp_path: Path, begun_with: fm.EarlyStopping | None
) -> None:
    path = tmp_path / "run"
    begun = run(path, 20, begun_with)
    assert RULE.best_epoch(begun.history) < 19
    with pytest.warns(RuntimeWarning, match=UNHEARD) as warned:
        result = run(path, 60)
    assert len(warned) == 1
    own = fm.History(validation_loss=result.history.validation_loss[19:])
    assert result.best_epoch == 19 + RULE.best_epoch(own)
    assert result.stopped_early
    assert len(result.history) == result.best_epoch + 1 + RULE.patience
    assert_same_bits(result.best, fit(epochs=result.best.epoch, **COMMON).state)


def test_a_run_that_is_judged_from_later_on_is_so_each_time(tmp_path: Path) -> None:
    for name, steps in {"at once": (60,), "in steps": (22, 23, 25, 60, 60)}.items():
        run(tmp_path / name, 20, None)
        for index, epochs in enumerate(steps):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore" if index == 0 else "error")
                run(tmp_path / name, epochs)
    saved = [fm.load(tmp_path / name) for name in ("at once", "in steps")]
    assert_same_bits(*((own.state, own.best) for own in saved))


def test_a_rule_whose_best_state_is_there_needs_no_warning(tmp_path: Path) -> None:
    path = tmp_path / "run"
    begun = run(path, 20, fm.EarlyStopping(50))
    result = run(path, 60)
    assert result.best_epoch == RULE.best_epoch(result.history)
    assert result.stopped_early == RULE.is_over(result.history)
    begun = run(tmp_path / "one", 1, None)
    assert_same_bits(run(tmp_path / "one", 1).best, begun.state)


def test_epochs_before_there_were_validation_data_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "run"
    run(path, 20, None, validation=None)
    checkpoint = fm.Checkpoint(path, allow=("early_stopping", "validation", "schedule"))
    plateau = fm.schedules.on_plateau(0.5, 2, monitor="validation_loss")
    result = fit(epochs=60, checkpoint=checkpoint, early_stopping=RULE, **COMMON | {"schedule": plateau})
    assert result.best_epoch is not None
    assert result.best_epoch >= 20
    assert len(result.history) == result.best_epoch + 1 + RULE.patience
    assert result.history.learning_rate[20:22] == (0.2, 0.2)


def test_the_best_state_of_a_rule_that_is_left_out_is_the_last(tmp_path: Path) -> None:
    path = tmp_path / "run"
    epochs = run(path, 60).state.epoch
    result = run(path, epochs, None)
    assert result.best.epoch == result.state.epoch == epochs


def test_the_members_of_an_ensemble_are_told_of_together(tmp_path: Path) -> None:
    task: tuple[Any, ...] = (NETWORK, fm.CrossEntropy(), COMMON["optimizer"], DATA)
    arguments: dict[str, Any] = {"keys": KEY.split(3), "batch_size": 4, "validation": VALIDATION}
    arguments["checkpoint"] = fm.Checkpoint(tmp_path / "run", allow=("early_stopping",))
    fm.fit_ensemble(*task, epochs=20, **arguments)
    with pytest.warns(RuntimeWarning, match="of 3 of 3 members after the best epoch by") as warned:
        result = fm.fit_ensemble(*task, epochs=40, early_stopping=RULE, **arguments)
    assert len(warned) == 1
    for member in result.members:
        own = fm.History(validation_loss=member.history.validation_loss[19:])
        assert member.best_epoch == 19 + RULE.best_epoch(own)
    again = fm.fit_ensemble(*task, epochs=40, early_stopping=RULE, **arguments)
    assert_same_bits([own.best for own in again.members], [own.best for own in result.members])
