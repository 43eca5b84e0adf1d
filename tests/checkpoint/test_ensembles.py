"""`fit_ensemble` with callbacks and a checkpoint: each member as `fit`, all of them in one file."""

from pathlib import Path
from typing import Any

import pytest

import functional_mlp as fm
from tests.checkpoint import cases
from tests.checkpoint.cases import assert_same_run

KEYS = fm.random.key(7).split(5)
engines = pytest.mark.parametrize("engine", ["reference", "fused"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ensemble.safetensors"


def fit(**changes: Any) -> fm.EnsembleResult:
    arguments: dict[str, Any] = {"network": cases.NETWORK, "loss": cases.LOSS, "data": cases.DATA, "keys": KEYS}
    arguments |= {"optimizer": [fm.AdamW(0.01 / (1 + index)) for index in range(5)], "epochs": 4, "batch_size": 4}
    arguments |= {"validation": cases.VALIDATION, "engine": "fused"} | changes
    return fm.fit_ensemble(**arguments)


def assert_same(actual: fm.EnsembleResult, expected: fm.EnsembleResult) -> None:
    for own, other in zip(actual.members, expected.members, strict=True):
        assert_same_run(own, other)


@engines
def test_a_resumed_ensemble_has_the_bits_of_an_unbroken_one(path: Path, engine: str) -> None:
    unbroken = fit(engine=engine)
    for epochs in (1, 3, 4, 4):
        result = fit(engine=engine, epochs=epochs, checkpoint=fm.Checkpoint(path))
        saved = fm.load(path)
        assert [member.state.epoch for member in saved.members] == [epochs] * 5
    assert_same(result, unbroken)
    assert fm.pytree.equal(saved.params, unbroken.params)
    for member, expected in zip(saved.members, unbroken.members, strict=True):
        assert_same_run(member, expected)


def test_fewer_epochs_than_are_saved_are_refused(path: Path) -> None:
    fit(epochs=2, checkpoint=fm.Checkpoint(path))
    with pytest.raises(ValueError, match=r"fit_ensemble: epochs is the total, at least the 2 .* got 1"):
        fit(epochs=1, checkpoint=fm.Checkpoint(path))


def test_members_of_different_epochs_go_on_each_from_its_own(path: Path) -> None:
    """Groups are trained one after the other: where a run is broken off, some members are done and others not begun."""

    def crash(epoch: int, state: fm.TrainState, history: fm.History) -> None:
        if len(history) == 3:
            raise RuntimeError("crash")

    network = fm.Sequential(fm.Linear(2, 4), fm.Tanh(), fm.Linear(4, 2))
    several = {"network": network, "data": [fm.datasets.disk(cases.KEY, n) for n in (20, 20, 24, 24, 24)]}
    unbroken = fit(**several, engine="reference")
    with pytest.raises(RuntimeError, match="crash"):
        fit(**several, engine="reference", checkpoint=fm.Checkpoint(path), callbacks=[crash])
    assert len({member.state.epoch for member in fm.load(path).members}) > 1
    assert_same(fit(**several, engine="reference", checkpoint=fm.Checkpoint(path)), unbroken)


@engines
def test_a_callback_is_called_for_each_member_and_ends_it_alone(path: Path, engine: str) -> None:
    seen: list[tuple[bytes, int, int]] = []
    stopping = KEYS[2].split()[1]

    def callback(epoch: int, state: fm.TrainState, history: fm.History) -> bool:
        seen.append((state.key.digest, epoch, len(history)))
        return state.key == stopping and epoch == 1

    result = fit(engine=engine, callbacks=[callback], checkpoint=fm.Checkpoint(path))
    assert [member.state.epoch for member in result.members] == [4, 4, 2, 4, 4]
    own = [(key.split()[1].digest, epoch, epoch + 1) for key in KEYS for epoch in range(2 if key is KEYS[2] else 4)]
    assert sorted(seen) == sorted(own)
    assert_same_run(result.member(2), fit(engine=engine, epochs=2).member(2))
    assert_same_run(result.member(3), fit(engine=engine).member(3))
    assert [member.ended for member in fm.load(path).members] == [False, False, True, False, False]
    assert_same(fit(engine=engine, callbacks=[callback], checkpoint=fm.Checkpoint(path)), result)


def test_another_ensemble_is_refused_and_kept(path: Path) -> None:
    fit(epochs=2, checkpoint=fm.Checkpoint(path))
    before = path.read_bytes()
    for changes, reason in (
        ({"keys": KEYS[:4], "optimizer": fm.AdamW(0.01)}, "holds 5 networks, and this call trains 4"),
        ({"keys": KEYS[::-1]}, "is the run of another key"),
        ({"optimizer": fm.AdamW(0.01)}, r"was trained by AdamW\(0.005\) \(member 1\), and not by AdamW\(0.01\)"),
        ({"batch_size": 3}, "batch_size is 4 there, and 3 in this call"),
    ):
        with pytest.raises(fm.CheckpointError, match=reason):
            fit(checkpoint=fm.Checkpoint(path), **changes)
    with pytest.raises(fm.CheckpointError, match="holds 5 networks, and this call trains 1"):
        cases.fit(checkpoint=fm.Checkpoint(path), optimizer=fm.AdamW(0.01))
    assert path.read_bytes() == before


def test_an_ensemble_of_one_is_the_run_of_fit(path: Path) -> None:
    first = fit(keys=[cases.KEY], optimizer=cases.OPTIMIZER, epochs=2, checkpoint=fm.Checkpoint(path))
    assert_same_run(fm.load(path), first.member(0))
    gone_on = cases.fit(schedule=None, epochs=4, engine="fused", checkpoint=fm.Checkpoint(path))
    assert_same_run(gone_on, cases.fit(schedule=None, epochs=4, engine="fused"))


def test_bad_observers_are_refused(path: Path) -> None:
    with pytest.raises(TypeError, match="fit_ensemble: checkpoint must be a Checkpoint"):
        fit(checkpoint=path)
    with pytest.raises(TypeError, match="fit_ensemble: callbacks must be a sequence"):
        fit(callbacks=print)
