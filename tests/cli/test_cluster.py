"""The command on a cluster, and on ranks that torchrun has started."""

import contextlib
import json
import re
import shlex
import signal
from pathlib import Path

import distributed
import pytest

import functional_mlp as fm
from functional_mlp.cli import ranks
from functional_mlp.cli.cluster import ClusterOptions
from tests.distributed.test_distributed import torchrun
from tests.docs.pages import commands, left_to
from tests.helpers import assert_close
from tests.test_executors import Inline, end_the_pool


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


@pytest.fixture
def losing(monkeypatch):
    """Lets a cluster lose all workers before a task of some number."""

    def lose(task):
        executor = Inline(lambda number, future: number >= task and end_the_pool(future))
        context = contextlib.nullcontext
        monkeypatch.setattr(ClusterOptions, "executor", lambda options: context(options.cluster and executor))

    return lose


def test_a_sweep_whose_cluster_is_lost_keeps_what_is_done_and_goes_on(run, losing):
    # On the reference engine a setting of so many networks is a task.
    command = ["sweep", "--learning-rate", "0.01,0.02,0.03", "--members", "40", "--engine", "reference"]
    command += ["--epochs", "1", "--batch-size", "500", "--hidden", "4"]
    run(*command, "--results", "whole.csv")
    away = [*command, "--results", "sweep.csv", "--cluster", "local"]
    losing(0)
    code, _, err = run(*away)
    assert (code, err.count("\n")) == (1, 1), err
    assert "--cluster: the executor has lost a worker" in err
    assert "done, and kept in sweep.csv: 0 of 3 settings" in err
    losing(2)
    code, _, err = run(*away)
    assert (code, err.count("\n")) == (1, 1), err
    assert "done, and kept in sweep.csv: 2 of 3 settings; the same command trains the others" in err
    assert len(Path("sweep.csv").read_text().splitlines()) == 3
    assert run(*command, "--results", "sweep.csv")[0] == 0
    assert Path("sweep.csv").read_bytes() == Path("whole.csv").read_bytes()


def test_networks_that_were_done_before_the_cluster_was_lost_are_shown(run, losing):
    losing(1)
    command = ["train", "--members", "40", "--epochs", "1", "--hidden", "4", "--cluster", "local"]
    code, out, err = run(*command)
    assert (code, err.count("\n")) == (1, 1), err
    assert int(re.search(r"Results of (\d+) networks", out)[1]) in range(1, 40)
    assert "with --out FILE.safetensors and --resume the same command goes on from what is saved there" in err
    losing(1)
    code, out, err = run(*command, "--out", "members.safetensors")
    assert code == 1
    assert "with --out members.safetensors and --resume" in err
    assert {member.state.epoch for member in fm.load("members.safetensors").members} == {0, 1}


def test_a_rank_that_is_lost_is_one_line(run, monkeypatch):
    def lost(*arguments, **options):
        raise fm.LostError("distributed.fit", "a rank was lost (read error)", "start all again", "with a checkpoint")

    for name, value in {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "2", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(fm.distributed, "fit", lost)
    monkeypatch.setattr(ranks, "joined", lambda device: contextlib.nullcontext())
    code, _, err = run("train", "--out", "ranks.safetensors")
    assert (code, err.count("\n")) == (1, 1), err
    assert "torchrun: a rank was lost (read error): start all again; with --out ranks.safetensors and --resume" in err


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
