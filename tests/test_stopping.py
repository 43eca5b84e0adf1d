"""Early stopping and schedules that read the history: pure functions of it, and what they do to a run."""

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neural_network import MLPClassifier
from sklearn.neural_network._stochastic_optimizers import SGDOptimizer

import functional_mlp as fm
from functional_mlp import schedules
from tests.helpers import KEY, assert_same_bits

NETWORK = fm.Sequential(fm.Linear(2, 6), fm.Tanh(), fm.Linear(6, 2))
DATA, VALIDATION = (fm.datasets.disk(key, 20, dtype=torch.float64) for key in fm.random.key(2).split())
RULE = fm.EarlyStopping(patience=2)
engines = pytest.mark.parametrize("engine", ["reference", "fused"])


def fit(**changes: Any) -> fm.FitResult:
    """A run whose validation loss soon stops falling: its steps are too long."""
    arguments: dict[str, Any] = {"network": NETWORK, "loss": fm.MeanSquaredError(), "optimizer": fm.Adam(0.3)}
    arguments |= {"data": DATA, "key": KEY, "epochs": 60, "batch_size": 4, "validation": VALIDATION} | changes
    return fm.fit(**arguments)


figures = st.lists(st.one_of(st.integers(-4, 4).map(float), st.just(math.nan)), max_size=30)


def stops(figures: list[float], patience: int, min_delta: float) -> tuple[int | None, bool]:
    """The best index of losses and whether they are over, told in another way: by looking back from the end."""
    records = []
    for index, figure in enumerate(figures):
        if not math.isnan(figure) and (not records or figures[records[-1]] - figure > min_delta):
            records.append(index)
    since = len(figures) - 1 - records[-1] if records else 0
    return (records[-1] if records else None), since >= patience


@given(figures=figures, patience=st.integers(1, 5), min_delta=st.sampled_from([0.0, 0.5, 1.0, 2.5]))
@settings(deadline=None)
def test_the_rule_is_a_pure_function_of_the_history(figures: list[float], patience: int, min_delta: float) -> None:
    loss = fm.EarlyStopping(patience, min_delta=min_delta)
    history = fm.History(validation_loss=tuple(figures), **others(len(figures), "validation_loss"))
    assert (loss.best_epoch(history), loss.is_over(history)) == stops(figures, patience, min_delta)
    accuracy = fm.EarlyStopping(patience, monitor="train_accuracy", min_delta=min_delta)
    risen = tuple(-figure for figure in figures)
    history = fm.History(train_accuracy=risen, **others(len(figures), "train_accuracy"))
    assert (accuracy.best_epoch(history), accuracy.is_over(history)) == stops(figures, patience, min_delta)


@given(figures=figures, patience=st.integers(1, 5), plateaus=st.integers(1, 3))
@settings(deadline=None)
def test_a_run_is_over_soonest_where_no_epoch_is_better(figures: list[float], patience: int, plateaus: int) -> None:
    rule = fm.EarlyStopping(patience, plateaus=plateaus)
    improvement = rule.over(fm.History(validation_loss=tuple(figures), **others(len(figures), "validation_loss")))
    if rule.is_over_after(improvement) or improvement.epoch is None:
        return
    for _ in range(rule.fewest_left(improvement)):
        assert not rule.is_over_after(improvement)
        improvement = rule.after(improvement, math.inf)
    assert rule.is_over_after(improvement)


def others(length: int, name: str) -> dict[str, tuple[float, ...]]:
    return {other: (0.5,) * length for other in fm.History().to_dict() if other != name}


@engines
def test_a_run_stops_when_it_is_over_and_keeps_its_best_state(engine: str) -> None:
    result = fit(engine=engine, early_stopping=RULE)
    assert result.stopped_early
    assert RULE.is_over(result.history)
    assert result.state.epoch == len(result.history) == result.best_epoch + 1 + RULE.patience
    assert result.best_epoch == RULE.best_epoch(result.history)
    assert result.history.validation_loss[result.best_epoch] == min(result.history.validation_loss)
    assert_same_bits(result.best, fit(engine=engine, epochs=result.best.epoch).state)
    assert_same_bits(result.state, fit(engine=engine, epochs=result.state.epoch).state)


def test_a_run_that_is_not_over_has_its_best_state_too() -> None:
    result = fit(early_stopping=fm.EarlyStopping(patience=1000))
    assert not result.stopped_early
    assert result.state.epoch == 60
    assert_same_bits(result.best, fit(epochs=result.best_epoch + 1).state)


def test_without_early_stopping_the_last_state_is_the_best() -> None:
    result = fit(epochs=3)
    assert result.best is result.state
    assert (result.best_epoch, result.stopped_early) == (2, False)


@engines
@pytest.mark.parametrize("until", [1, 3, 5, 7])
def test_a_resumed_run_stops_where_an_unbroken_one_does(tmp_path: Path, engine: str, until: int) -> None:
    unbroken, path = fit(engine=engine, early_stopping=RULE), tmp_path / "run"
    for epochs in (until, 60, 60, 100):
        result = fit(engine=engine, epochs=epochs, early_stopping=RULE, checkpoint=fm.Checkpoint(path))
    assert_same_bits((result.state, result.best), (unbroken.state, unbroken.best))
    assert result.history.train_loss == unbroken.history.train_loss
    assert result.stopped_early
    with pytest.raises(fm.CheckpointError, match=r"early_stopping is EarlyStopping\(patience=2\) there, and None"):
        fit(checkpoint=fm.Checkpoint(path))


@engines
def test_each_member_of_an_ensemble_stops_alone(tmp_path: Path, engine: str) -> None:
    keys, optimizers = fm.random.key(5).split(6), [fm.Adam(0.3 / (1 + index)) for index in range(6)]
    common: dict[str, Any] = {"epochs": 40, "batch_size": 4, "validation": VALIDATION, "engine": engine}
    common |= {"early_stopping": RULE}
    for _ in range(2):  # the second time from the checkpoint
        result = fm.fit_ensemble(
            NETWORK,
            fm.MeanSquaredError(),
            optimizers,
            DATA,
            keys=keys,
            **common,
            checkpoint=fm.Checkpoint(tmp_path / "e"),
        )
        ends = [member.state.epoch for member in result.members]
        assert len(set(ends)) > 1
        for member in result.members:
            assert member.best_epoch == RULE.best_epoch(member.history)
            assert member.stopped_early == RULE.is_over(member.history)
            assert len(member.history) == member.state.epoch
        assert result.best_epoch == tuple(RULE.best_epoch(member.history) for member in result.members)
        assert result.stopped_early == tuple(member.stopped_early for member in result.members)
        assert_same_bits(result.best_params, fm.ensemble.stack([member.best_params for member in result.members]))
        last = [member.history.train_loss[-1] for member in result.members]
        assert result.history.final().train_loss == pytest.approx([sum(last) / 6], rel=1e-12)
    alone = fm.fit(NETWORK, fm.MeanSquaredError(), optimizers[0], DATA, key=keys[0], **common)
    assert (alone.best_epoch, alone.state.epoch) == (result.member(0).best_epoch, ends[0])


def test_a_run_that_diverges_keeps_its_best_state() -> None:
    with pytest.warns(RuntimeWarning, match="diverged"):
        result = fit(network=fm.Linear(2, 2), optimizer=fm.SGD(3.0), epochs=500, early_stopping=fm.EarlyStopping(400))
    assert result.diverged_at is not None
    assert result.best_epoch == fm.EarlyStopping(400).best_epoch(result.history)
    assert not result.stopped_early


@engines
def test_the_best_epoch_of_a_run_that_goes_on_from_a_state_is_one_of_its_history(engine: str) -> None:
    begun = fit(engine=engine, epochs=3)
    result = fit(engine=engine, state=begun.state, key=None, early_stopping=RULE)
    assert result.best_epoch == RULE.best_epoch(result.history)
    assert_same_bits(result.best, fit(engine=engine, epochs=3 + result.best_epoch + 1).state)
    assert fit(state=begun.state, key=None, epochs=3).best_epoch is None


@engines
def test_what_is_told_of_a_run_that_stops_early_never_goes_back(engine: str) -> None:
    told: list[float] = []
    asked: list[int] = []

    def schedule(epoch: int) -> float:
        asked.append(epoch)
        return 1.0

    result = fit(engine=engine, early_stopping=RULE, progress=told.append, schedule=schedule)
    assert result.best is not result.state
    assert_same_bits(result.best, fit(engine=engine, epochs=result.best.epoch).state)
    assert told == sorted(told)
    assert told[-1] == result.state.epoch
    assert asked == sorted(set(asked))


# Scores


def worst_output(outputs: torch.Tensor, data: fm.Dataset) -> float:
    """The largest error of all, with its sign turned: a score that is no mean over the samples."""
    return -(outputs - data.targets).abs().max().item()


@engines
def test_a_score_stands_for_the_accuracy_and_stops_the_run(tmp_path: Path, engine: str) -> None:
    rule = fm.EarlyStopping(patience=3, monitor="validation_accuracy")
    checkpoint = fm.Checkpoint(tmp_path / "run")
    result = fit(engine=engine, score=worst_output, early_stopping=rule, checkpoint=checkpoint)
    outputs = fm.predict(NETWORK, result.best_params, VALIDATION.inputs)
    assert result.stopped_early
    assert max(result.history.validation_accuracy) == pytest.approx(worst_output(outputs, VALIDATION), rel=1e-9)
    assert result.history.validation_loss == fit(engine=engine, epochs=result.state.epoch).history.validation_loss
    with pytest.raises(fm.CheckpointError, match=r"score is .*worst_output there, and None"):
        fit(early_stopping=rule, checkpoint=checkpoint)


def test_each_member_of_an_ensemble_has_a_score_of_its_own() -> None:
    result = fm.fit_ensemble(
        NETWORK,
        fm.MeanSquaredError(),
        fm.Adam(0.3),
        DATA,
        keys=fm.random.key(5).split(3),
        epochs=2,
        validation=VALIDATION,
        score=worst_output,
    )
    for member in result.members:
        expected = worst_output(fm.predict(NETWORK, member.params, VALIDATION.inputs), VALIDATION)
        assert member.history.validation_accuracy[-1] == pytest.approx(expected, rel=1e-9)


# Schedules that read the history


@given(figures=figures, patience=st.integers(1, 4))
@settings(deadline=None)
def test_on_plateau_is_torchs_rule(figures: list[float], patience: int) -> None:
    figures = [*itertools.dropwhile(math.isnan, figures)]  # torch counts them as not better
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    oracle = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=patience, threshold=0.25, threshold_mode="abs"
    )
    history = fm.History(train_loss=tuple(figures), **others(len(figures), "train_loss"))
    schedule = schedules.on_plateau(0.5, patience, min_delta=0.25)
    for epoch, figure in enumerate(figures):
        assert schedule(epoch, history) == optimizer.param_groups[0]["lr"]
        oracle.step(figure)
    assert schedule(len(figures), history) == optimizer.param_groups[0]["lr"]


def theirs(losses: list[float], patience: int, tol: float, rate: float) -> tuple[list[float], bool]:
    """The learning rate of each epoch with losses, and whether the run is over, by scikit-learn's adaptive rule."""
    model, optimizer, rates = MLPClassifier(tol=tol), SGDOptimizer([], rate, "adaptive"), []
    model.loss_curve_, model.best_loss_, model._no_improvement_count = [], math.inf, 0
    for loss in losses:
        rates.append(optimizer.learning_rate)
        model.loss_curve_.append(loss)
        model._update_no_improvement_count(False, None, None, None)
        if model._no_improvement_count > patience:
            if optimizer.trigger_stopping("", False):
                return rates, True
            model._no_improvement_count = 0
    return rates, False


@given(losses=st.lists(st.integers(0, 30).map(float), max_size=60), patience=st.integers(1, 3))
@settings(deadline=None)
def test_rules_that_are_not_cumulative_are_those_of_scikit_learn(losses: list[float], patience: int) -> None:
    shared: dict[str, Any] = {"monitor": "train_loss", "min_delta": 1.5, "cumulative": False}
    schedule = schedules.on_plateau(0.2, patience, **shared)
    rule = fm.EarlyStopping(patience + 1, **shared, plateaus=3)  # rates of 1e-5, 2e-6, and 4e-7 which is small enough
    rates, over = theirs(losses, patience, 1.5, 1e-5)
    figures = losses[: len(rates)]
    history = fm.History(train_loss=tuple(figures), **others(len(figures), "train_loss"))
    assert [1e-5 * schedule(epoch, history) for epoch in range(len(rates))] == pytest.approx(rates, rel=1e-12)
    assert rule.is_over(history) == over
    assert rule.best_epoch(history) == (figures.index(min(figures)) if figures else None)


@engines
def test_a_schedule_reads_the_history_of_its_run(tmp_path: Path, engine: str) -> None:
    schedule = schedules.warmup(2, schedules.on_plateau(0.5, patience=1, monitor="validation_loss"))
    result = fit(engine=engine, epochs=20, schedule=schedule)
    rates = [0.3 * schedule(epoch, result.history) for epoch in range(20)]
    assert result.history.learning_rate == tuple(rates)
    assert len(set(rates)) > 3
    for epochs in (7, 20):
        resumed = fit(engine=engine, epochs=epochs, schedule=schedule, checkpoint=fm.Checkpoint(tmp_path / "run"))
    assert_same_bits(resumed.state, result.state)


@engines
def test_each_member_of_an_ensemble_has_a_plateau_of_its_own(engine: str) -> None:
    schedule = schedules.on_plateau(0.5, patience=1, min_delta=0.0)
    keys = fm.random.key(5).split(5)
    result = fm.fit_ensemble(
        NETWORK,
        fm.MeanSquaredError(),
        fm.Adam(0.3),
        DATA,
        keys=keys,
        epochs=20,
        batch_size=4,
        schedule=schedule,
        engine=engine,
    )
    for member in result.members:
        rates = tuple(0.3 * schedule(epoch, member.history) for epoch in range(20))
        assert member.history.learning_rate == rates
    assert len({member.history.learning_rate for member in result.members}) > 1


QUANTITIES = fm.Dataset(DATA.inputs, DATA.inputs)
BY_ACCURACY = fm.EarlyStopping(3, monitor="validation_accuracy")


@pytest.mark.parametrize("ensemble", [False, True])
def test_a_rule_that_sees_nothing_but_nan_is_told_of(ensemble: bool) -> None:
    arguments: dict[str, Any] = {"validation": VALIDATION, "score": lambda outputs, data: math.nan, "epochs": 5}
    arguments |= {"early_stopping": BY_ACCURACY}
    task = (NETWORK, fm.MeanSquaredError(), fm.SGD(0.1), DATA)
    run: Any = fm.fit_ensemble if ensemble else fm.fit
    arguments |= {"keys": KEY.split(2)} if ensemble else {"key": KEY}
    with pytest.warns(RuntimeWarning, match="looks at validation_accuracy, which was NaN in each epoch") as warned:
        run(*task, **arguments)
    assert len(warned) == 1


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: fit(data=QUANTITIES, validation=QUANTITIES, early_stopping=BY_ACCURACY),
            ValueError,
            r"validation_accuracy, and the targets do not say .* MeanSquaredError\(\): pass monitor='validation_loss'",
        ),
        (
            lambda: fit(
                data=fm.Dataset(DATA.inputs, DATA.targets / 2),
                loss=fm.BinaryCrossEntropy(),
                schedule=schedules.on_plateau(monitor="train_accuracy"),
            ),
            ValueError,
            "looks at train_accuracy, and the targets do not say",
        ),
        (
            lambda: fm.fit_ensemble(
                NETWORK,
                fm.MeanSquaredError(),
                fm.SGD(0.1),
                QUANTITIES,
                keys=[KEY],
                epochs=1,
                early_stopping=fm.EarlyStopping(monitor="train_accuracy"),
            ),
            ValueError,
            "fit_ensemble: .*looks at train_accuracy, and the targets do not say",
        ),
        (lambda: fit(validation=3, checkpoint=fm.Checkpoint("run")), TypeError, "fit: validation must be a Dataset"),
        (
            lambda: fit(state=fit(epochs=1).state, key=None, schedule=schedules.warmup(2, schedules.on_plateau())),
            ValueError,
            "reads the history of a run, and a state has none of its 1 epoch: pass checkpoint=",
        ),
        (
            lambda: schedules.on_plateau()(3, fm.History(train_loss=(0.5,))),
            ValueError,
            "reads the history: epoch 3 needs train_loss of 3 epochs, got 1",
        ),
        (
            lambda: schedules.on_plateau(monitor="validation_loss")(1, fm.History(train_loss=(0.5,))),
            ValueError,
            "epoch 1 needs validation_loss of 1 epoch, got 0",
        ),
        (lambda: schedules.on_plateau()(0, "x"), TypeError, "history must be a History, got 'x', a str"),
        (lambda: RULE.is_over("x"), TypeError, "history must be a History, got 'x', a str"),
        (lambda: RULE.best_epoch("x"), TypeError, "history must be a History, got 'x', a str"),
        (lambda: fm.EarlyStopping(0), ValueError, "patience must be a positive integer, got 0"),
        (lambda: fm.EarlyStopping(monitor="loss"), ValueError, "monitor must be one of 'train_loss'.*got 'loss'"),
        (lambda: fm.EarlyStopping(monitor="seconds"), ValueError, "monitor must be one of"),
        (lambda: fm.EarlyStopping(min_delta=-1.0), ValueError, r"min_delta must be a finite number in \[0.0"),
        (lambda: fit(score="accuracy"), TypeError, "fit: score must be callable, got 'accuracy', a str: pass f"),
        (
            lambda: fit(score=worst_output, validation=None),
            ValueError,
            "fit: score looks at validation data, and there",
        ),
        (lambda: fit(score=lambda outputs, data: outputs), TypeError, "must return a number, got a torch.float64 ten"),
        (lambda: fm.EarlyStopping(cumulative=1), TypeError, "cumulative must be a bool, got 1"),
        (lambda: fit(early_stopping=3), TypeError, "fit: early_stopping must be an EarlyStopping, got 3"),
        (
            lambda: fit(early_stopping=RULE, validation=None),
            ValueError,
            "looks at validation_loss, and there is no validation data: pass validation, or monitor='train_loss'",
        ),
        (
            lambda: fit(schedule=schedules.on_plateau(monitor="validation_loss"), validation=None),
            ValueError,
            "there is no validation data",
        ),
        (
            lambda: fm.fit_ensemble(
                NETWORK, fm.MeanSquaredError(), fm.SGD(0.1), DATA, keys=[KEY], epochs=1, early_stopping=RULE
            ),
            ValueError,
            "fit_ensemble: .* there is no validation data",
        ),
        (lambda: schedules.on_plateau()(3), TypeError, r"on_plateau\(\) reads the history: call it with an epoch and"),
        (lambda: schedules.on_plateau(2.0), ValueError, r"factor must be a finite number in \(0.0, 1.0\]"),
        (
            lambda: fm.train_epoch(
                NETWORK,
                fm.MeanSquaredError(),
                fit(epochs=1).state,
                DATA,
                optimizer=fm.Adam(0.3),
                schedule=schedules.on_plateau(),
            ),
            ValueError,
            "reads the history of a run, and an epoch has none: call fit",
        ),
    ],
)
def test_bad_input_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("min_delta", [0.1, 0.01, 0.0])
@pytest.mark.parametrize("monitor", ["train_loss", "validation_loss"])
def test_a_run_that_nobody_looks_at_stops_as_one_that_is_looked_at(min_delta: float, monitor: str) -> None:
    network, data = fm.Sequential(fm.Linear(2, 8), fm.Tanh(), fm.Linear(8, 2)), fm.datasets.disk(fm.random.key(3), 60)
    stopping = fm.EarlyStopping(3, monitor=monitor, min_delta=min_delta, cumulative=False)
    arguments: dict[str, Any] = {"key": fm.random.key(4), "epochs": 40, "batch_size": 20, "early_stopping": stopping}
    arguments["validation"] = fm.datasets.disk(fm.random.key(5), 30)
    alone, seen = (
        fm.fit(network, fm.CrossEntropy(), fm.Adam(0.02), data, **arguments, callbacks=callbacks)
        for callbacks in ([], [lambda epoch, state, history: None])
    )
    assert fm.pytree.equal(alone.state, seen.state)
    assert fm.pytree.equal(alone.best, seen.best)
    assert (alone.history.train_loss, alone.stopped_early) == (seen.history.train_loss, seen.stopped_early)
