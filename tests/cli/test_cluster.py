"""The command on a cluster, and on ranks that torchrun has started."""

import json
import re
import signal
from pathlib import Path

import distributed
import pytest

import functional_mlp as fm
from tests.distributed.test_distributed import torchrun
from tests.helpers import assert_close


def test_a_cluster_sweeps_as_this_process_does_and_leaves_ctrl_c_to_it(run, monkeypatch):
    heard, executor_of = [], distributed.Client.get_executor

    def executor(client):
        heard.extend(client.run(signal.getsignal, signal.SIGINT).values())
        return executor_of(client)

    monkeypatch.setattr(distributed.Client, "get_executor", executor)
    arguments = ("sweep", "--learning-rate", "0.001,0.03", "--members", "2", "--epochs", "2", "--json")
    code, away, err = run(*arguments, "--cluster", "local", "--results", "away.csv")
    assert code == 0, err
    assert set(heard) == {signal.SIG_IGN}
    _, home, _ = run(*arguments, "--results", "home.csv")
    assert json.loads(away)["settings"] == json.loads(home)["settings"]
    assert Path("away.csv").read_bytes() == Path("home.csv").read_bytes()


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


def test_torchrun_trains_one_network(run, tmp_path: Path):
    arguments = ["train", "--epochs", "2", "--batch-size", "64", "--dtype", "float64"]
    process = torchrun(2, "-m", "functional_mlp", *arguments, "--out", "ranks.safetensors", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert len(re.findall("Results", process.stdout)) == 1  # one rank speaks
    run(*arguments, "--engine", "reference", "--out", "home.safetensors")
    assert_close(fm.load("ranks.safetensors").params, fm.load("home.safetensors").params, 1e-11)
