"""`distributed.fit` with 2 and 3 processes: the numbers of one, the same bits on all, and what ends them."""

import os
import pickle
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch.distributed as torch_distributed

import functional_mlp as fm
from functional_mlp import distributed, pytree
from tests.distributed import cases
from tests.docs.pages import left_to
from tests.helpers import assert_close

ROOT = Path(__file__).parents[2]


def torchrun(ranks: int, *arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.run(command, env=environment, text=True, capture_output=True, timeout=300, check=False, **options)


class Ranks:
    """What each of some ranks has written."""

    def __init__(self, size: int, folder: Path) -> None:
        self.size, self.folder = size, folder
        self.process = torchrun(size, str(Path(__file__).with_name("ranks.py")), str(folder))
        self.outcomes = [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(size)]

    def all_of(self, name: str) -> list[Any]:
        return [outcomes[name] for outcomes in self.outcomes]


@pytest.fixture(scope="module", params=[2, 3])
def ranks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ranks:
    return Ranks(request.param, tmp_path_factory.mktemp("ranks"))


def same_figures(one: fm.History, other: fm.History) -> bool:
    """Whether two histories are the same but for the seconds."""
    return one == attrs.evolve(other, seconds=one.seconds)


@pytest.mark.parametrize("name", cases.RESULTS)
def test_it_agrees_with_one_process_and_all_ranks_have_the_same_bits(ranks: Ranks, name: str) -> None:
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        expected = cases.RESULTS[name](lambda *arguments, **options: fm.fit(*arguments, engine="reference", **options))
    first, *others = ranks.all_of(name)
    for result in (first, *others):
        assert isinstance(result, fm.FitResult), result
        assert pytree.equal(result.state, first.state)
        assert pytree.equal(result.best, first.best)
        assert same_figures(result.history, first.history)
    assert (first.state.epoch, first.best.epoch) == (expected.state.epoch, expected.best.epoch)
    assert (first.diverged_at, first.stopped_early) == (expected.diverged_at, expected.stopped_early)
    assert_close(first.params, expected.params, 1e-11)
    assert_close(first.best_params, expected.best_params, 1e-11)
    for figure in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "learning_rate"):
        own, other = getattr(first.history, figure), getattr(expected.history, figure)
        assert own == pytest.approx(other, rel=1e-11, nan_ok=True)


def test_cases_stop_early_and_diverge() -> None:
    """What the ranks are compared with is what the names of the cases say."""
    with pytest.warns(RuntimeWarning, match="diverged"):
        assert cases.RESULTS["divergence"](fm.fit).diverged_at is not None
    assert cases.RESULTS["early stopping"](fm.fit).stopped_early


def test_a_callback_of_any_rank_ends_all(ranks: Ranks) -> None:
    assert [result.state.epoch for result in ranks.all_of("a callback ends")] == [2] * ranks.size


def test_ctrl_c_on_one_ends_all_and_the_same_call_goes_on(ranks: Ranks) -> None:
    interrupted = ranks.all_of("Ctrl-C")
    assert [(result.interrupted, result.state.epoch) for result in interrupted] == [(True, 2)] * ranks.size
    expected = cases.run(fm.fit, epochs=5, engine="reference")
    for result in ranks.all_of("goes on"):
        assert not result.interrupted
        assert len(result.history) == 5
        assert_close(result.params, expected.params, 1e-11)


@pytest.mark.parametrize(
    ("name", "kind", "fragments"),
    [
        ("another network", "ValueError", ["rank 1", "another network and params than rank 0"]),
        ("other data and another key", "ValueError", ["rank 1", "another data and key and params than rank 0"]),
        ("another network of the same words", "ValueError", ["rank 1", "another network than rank 0"]),
        ("another optimizer of the same words", "ValueError", ["rank 1", "another optimizer than rank 0"]),
        ("another schedule of the same name", "ValueError", ["another schedule than rank 0", "0.025", "0.045"]),
        ("no group", "TypeError", ["group must be a process group of torch.distributed", "'gloo'"]),
        ("a bad argument on one", "ValueError", ["batch_size must be a positive integer, got 0"]),
    ],
)
def test_ranks_that_disagree_are_refused_on_all(ranks: Ranks, name: str, kind: str, fragments: list[str]) -> None:
    for error, message in ranks.all_of(name):
        assert error == kind
        assert all(fragment in message for fragment in fragments), message


@pytest.mark.parametrize("what", ["schedule", "callback", "progress", "score"])
def test_what_a_function_raises_on_one_is_an_error_on_all(ranks: Ranks, what: str) -> None:
    outcomes, failing = ranks.all_of(f"a {what} that raises"), 0 if what == "score" else ranks.size - 1
    assert outcomes.pop(failing) == ("LookupError", "no such thing")
    told = f"distributed.fit: rank {failing} has raised LookupError: no such thing"
    assert outcomes == [("ValueError", told)] * (ranks.size - 1)


def test_a_group_of_others_is_refused(ranks: Ranks) -> None:
    first, *others = ranks.all_of("another group")
    assert first.state.epoch == 3
    assert all(error == "ValueError" and "this process is in" in message for error, message in others)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a bad group on one", "distributed.fit: group must be a process group of torch.distributed"),
        ("no data on one", "fit: data must be a Dataset"),
    ],
)
def test_what_is_of_the_wrong_type_on_one_is_an_error_on_all(ranks: Ranks, name: str, message: str) -> None:
    first, *_, last = ranks.all_of(name)
    assert last[0] == "TypeError"
    assert last[1].startswith(message)
    assert first[0] == "ValueError"
    assert re.fullmatch(rf"distributed.fit: rank \d has raised TypeError: {message}.*", first[1])


def test_a_file_that_cannot_be_written_is_an_error_on_all(ranks: Ranks) -> None:
    first, *others = ranks.all_of("a file that cannot be")
    assert first[0] == "FileNotFoundError"
    assert all(error == "ValueError" and "rank 0 has raised FileNotFoundError" in text for error, text in others)


def test_a_rank_that_dies_ends_the_others_and_leaves_the_checkpoint_whole(ranks: Ranks) -> None:
    for outcomes in ranks.outcomes[:-1]:
        error, message = outcomes["a rank that dies"]
        assert error == "LostError"
        assert "a rank of the group was lost" in message
        assert "start all ranks again" in message
    assert ranks.process.returncode != 0
    kept = fm.load(ranks.folder / "death.safetensors")
    assert kept.state is not None
    assert kept.state.epoch in (3, 4)
    assert_close(kept.params, cases.run(fm.fit, epochs=kept.state.epoch, engine="reference").params, 1e-11)


def test_without_a_group_it_is_refused() -> None:
    with pytest.raises(ValueError, match=r"there is no process group.*torchrun"):
        cases.run(distributed.fit)


def test_a_group_that_cannot_send_what_is_trained_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    torch_distributed.init_process_group("gloo", store=torch_distributed.HashStore(), rank=0, world_size=1)
    monkeypatch.setattr(torch_distributed, "get_backend_config", lambda group: "xpu:xccl")
    try:
        with pytest.raises(ValueError, match=r"cannot send tensors on cpu, where the data are, but on xpu: gloo is"):
            cases.run(distributed.fit)
    finally:
        torch_distributed.destroy_process_group()


def test_the_script_of_the_guide_runs(tmp_path: Path) -> None:
    (block,) = left_to(__file__, "docs/guides/clusters.md")
    (tmp_path / "script.py").write_text(block.replace("4096", "64"))  # a narrow one
    process = torchrun(2, "script.py", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert fm.load(tmp_path / "run.safetensors").state.epoch == 10
