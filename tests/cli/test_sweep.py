"""`sweep`, run in process."""

import re

import pytest

from functional_mlp.cli.grids import grid


def test_sweep_shows_the_best_first(run, tmp_path):
    arguments = ("--learning-rate", "1e-5:0.03:log2", "--beta", "0,0.5", "--members", "2", "--epochs", "3")
    code, out, _ = run("sweep", *arguments, "--plot", "sweep.png")
    assert code == 0
    rows = re.findall(r"│ +([\d.e-]+) │ +([\d.]+) │ +(0\.\d+) ± 0\.\d+ │ +0\.\d+ ± 0\.\d+ │", out)
    assert len(rows) == 4
    losses = [float(loss) for _, _, loss in rows]
    assert losses == sorted(losses)
    assert {rate for rate, _, _ in rows[:2]} == {"0.03"}
    assert {beta for _, beta, _ in rows[2:]} == {"0", "0.5"}
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")


def test_sweep_takes_every_option_of_train_that_it_does_not_vary(run):
    options = {command: set(re.findall(r"│ (--[a-z-]+)", run(command, "--help")[1])) for command in ("train", "sweep")}
    assert options["train"] - options["sweep"] == {"--resume", "--with-changes", "--cross-validate"}


def test_sweep_puts_settings_that_diverge_last(run):
    code, out, _ = run("sweep", "--learning-rate", "1000,0.01", "--members", "2", "--epochs", "2")
    assert code == 0
    assert re.search(r"0\.01 │[^\n]*\n│ +1000 │ +│ +│ +2 │", out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep"], "nothing varies: give several values to one of --hidden, --activation, --learning-rate"),
        (["sweep", "--learning-rate", "0.1", "--members", "0"], "at least one network a setting, got 0"),
        (["sweep", "--learning-rate", "fast"], "expected numbers such as 0,0.5,0.9 or"),
        (["sweep", "--learning-rate", "0:1:log3"], "above 0 for log"),
        (["sweep", "--beta", "0.9:0.1:lin3"], "from low to high"),
        (["sweep", "--beta", "0.5", "--optimizer", "sgd"], "sgd keeps nothing of the past"),
        (["sweep", "--beta", "0.5", "--device", "abacus"], "--device: torch cannot compute on 'abacus' here"),
        (["sweep", "--beta", "1.5"], "beta must be a finite number"),
    ],
)
def test_bad_options_are_one_line(run, arguments, message):
    code, _, err = run(*arguments)
    assert code in (1, 2)
    assert message in err


def test_grids():
    assert grid("0.1") == (0.1,)
    assert grid("0.001:0.1:log3") == (0.001, 0.01, 0.1)
    assert len(grid("0.001:0.1:log8")) == 8
