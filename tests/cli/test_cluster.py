"""The command on a cluster, and on ranks that torchrun has started."""

import json
import re
import shlex
import signal
from pathlib import Path

import distributed
import pytest

import functional_mlp as fm
from functional_mlp.cli import ranks
from tests.distributed.test_distributed import torchrun
from tests.docs.pages import commands, left_to
from tests.helpers import assert_close


def of_the_guide(name: str, cluster: str) -> tuple[list[str], list[str]]:
    """The guide's command of a name, with less to compute, on a cluster, and the same at home."""
    (block,) = left_to(__file__, "docs/guides/clusters.md")
    (line,) = (line for line in commands(block) if f" {name} " in line)
    away = shlex.split(line)[1:]
    place = away.index("--cluster")
    away[place + 1] = cluster
    home = [word.replace("sweep.", "home.") for word in away[:place] + away[place + 2 :]]
    short = ["--epochs", "2", "--hidden", "4"]
    return [*away, *short], [*home, *short]


def test_a_cluster_sweeps_as_this_process_does(run):
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": False}
    with distributed.LocalCluster(**options, protocol="tcp", host="127.0.0.1", dashboard_address=":0") as workers:
        away, home = of_the_guide("sweep", workers.scheduler_address)
        code, _, err = run(*away)
    assert code == 0, err
    run(*home)
    assert Path("sweep.parquet").read_bytes() == Path("home.parquet").read_bytes()


def test_a_cluster_that_is_started_trains_as_this_process_does_and_leaves_ctrl_c_to_it(run, monkeypatch):
    heard, executor_of = [], distributed.Client.get_executor

    def executor(client):
        heard.extend(client.run(signal.getsignal, signal.SIGINT).values())
        return executor_of(client)

    monkeypatch.setattr(distributed.Client, "get_executor", executor)
    away, home = of_the_guide("train", "local")
    code, out, err = run(*away, "--json")
    assert code == 0, err
    assert set(heard) == {signal.SIG_IGN}
    _, expected, _ = run(*home, "--json")
    assert json.loads(out)["members"] == json.loads(expected)["members"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--cluster", "local"], "--cluster trains many networks: give --members"),
        (["train", "--members", "2", "--cluster", "abc://"], "--cluster: expected an address such as tcp://host:8786"),
        (["sweep", "--l2", "0,1", "--cluster", "abc://"], "--cluster: expected an address such as tcp://host:8786"),
    ],
)
def test_bad_options_are_one_line(run, arguments, message):
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert message in err


def test_an_address_where_nobody_answers_is_one_line(run, monkeypatch):
    def unanswered(address):
        raise OSError(f"Timed out trying to connect to {address}")

    monkeypatch.setattr(distributed, "Client", unanswered)
    code, out, err = run("train", "--members", "2", "--cluster", "tcp://127.0.0.1:1")
    assert (code, out) == (1, "")
    assert "--cluster: no scheduler answers: Timed out trying to connect to tcp://127.0.0.1:1" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--members", "2"], "--members: torchrun divides the batches of one network"),
        (["--engine", "fused"], "--engine: ranks train on the reference engine"),
        (["--cross-validate", "3"], "--cross-validate: torchrun divides the batches"),
    ],
)
def test_ranks_refuse_what_they_cannot_do(run, monkeypatch, arguments, message):
    for name, value in {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "2", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    code, _, err = run("train", *arguments)
    assert code == 1
    assert message in err


def test_each_rank_has_a_gpu_of_its_own(monkeypatch):
    assert ranks.own_device("cuda") == "cuda"
    for name, value in {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "2", "RANK": "3", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert [ranks.own_device(name) for name in ("cuda", "cuda:0", "cpu")] == ["cuda:1", "cuda:0", "cpu"]


def test_torchrun_trains_one_network(run, tmp_path: Path):
    arguments = ["train", "--epochs", "2", "--batch-size", "64", "--dtype", "float64"]
    process = torchrun(2, "-m", "functional_mlp", *arguments, "--out", "ranks.safetensors", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert len(re.findall("Results", process.stdout)) == 1  # one rank speaks
    run(*arguments, "--engine", "reference", "--out", "home.safetensors")
    assert_close(fm.load("ranks.safetensors").params, fm.load("home.safetensors").params, 1e-11)
