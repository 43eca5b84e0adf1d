"""All experiments in order: what is timed runs alone, and each has draws of its own."""

import contextlib
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
import torch

import functional_mlp as fm
from functional_mlp.experiments import reproduction, trials
from functional_mlp.experiments.reproduction import FULL, QUICK

SCALE = attrs.evolve(QUICK, runs=4, variant_runs=2, tuning_runs=3, torch_runs=2, torch_epochs=5, torch_cell_epochs=6)


class Pool:
    """Processes that train nothing, and number what they are asked for."""

    def starmap_async(self, function: Any, tasks: list[Any], chunksize: int) -> "Pool":
        self.tasks = tasks
        return self

    def get(self) -> list[int]:
        return list(range(len(self.tasks)))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The arguments of each experiment, in order, of which none is run."""
    found: dict[str, Any] = {}

    def replace(module: Any, name: str) -> None:
        def record(*arguments: Any) -> str:
            found[f"{module.__name__.rpartition('.')[2]}.{name}"] = arguments
            return name

        monkeypatch.setattr(module, name, record)

    @contextlib.contextmanager
    def workers(processes: int) -> Iterator[Pool]:
        found["workers"] = (processes,)
        yield Pool()

    for question in (
        "basic_model",
        "batch_gradient_descent",
        "epoch_time",
        "factorial",
        "initializations",
        "misclassified",
        "momentum",
        "momentum_tuning",
        "torch_model",
    ):
        replace(getattr(reproduction, question), "run")
    for name in ("train_ours", "cells_of"):
        replace(reproduction.cells, name)
    replace(reproduction.batch_gradient_descent, "time_epochs")
    replace(reproduction.trials, "train")
    monkeypatch.setattr(reproduction.torch_nn, "workers", workers)
    return found


def test_what_is_timed_runs_before_the_background_does(calls: dict[str, Any]) -> None:
    announced: list[str] = []
    reproduction.run(SCALE, 3, announced.append)
    names = list(calls)
    assert names[:3] == ["epoch_time.run", "batch_gradient_descent.time_epochs", "workers"]
    assert announced[0].startswith("timing")
    assert len(announced) == 9


def test_the_search_has_draws_that_no_other_experiment_has(calls: dict[str, Any]) -> None:
    reproduction.run(SCALE, 3, lambda text: None)
    tuning, draws, every = calls["momentum_tuning.run"]
    assert (len(tuning), len(draws), every) == (SCALE.tuning_runs, SCALE.runs, SCALE.tuning_every)
    assert not {draw.key for draw in tuning} & {draw.key for draw in draws}
    run_key, _ = fm.random.key(3).split()
    assert [draw.key for draw in draws] == [trials.draw(key).key for key in trials.run_keys(run_key, SCALE.runs)]
    variants, _ = calls["batch_gradient_descent.run"]
    assert variants == draws[: SCALE.variant_runs]
    assert calls["initializations.run"] == (variants,)


def test_torchs_runs_are_told_apart_by_cell(calls: dict[str, Any]) -> None:
    reproduction.run(SCALE, 3, lambda text: None)
    ours, theirs = calls["factorial.run"]
    assert calls["cells.cells_of"] == (ours, theirs)
    assert ours == "train_ours"
    assert theirs == [[first, first + 1] for first in range(0, 2 * len(theirs), 2)]
    assert len(theirs) == len(reproduction.cells.recipes(1))


def test_the_setting_says_where_and_how() -> None:
    setting = reproduction._setting(3, SCALE)
    assert (setting.seed, setting.scale, setting.torch) == (3, SCALE, torch.__version__)
    assert setting.functional_mlp == fm.__version__
    assert setting.cores >= 1
    assert setting.processor


def test_the_quick_scale_is_the_smaller_one_everywhere() -> None:
    quick, full = attrs.asdict(QUICK), attrs.asdict(FULL)
    more_is_less = {"tuning_every"}
    assert all((quick[name] > full[name]) == (name in more_is_less) for name in quick)
