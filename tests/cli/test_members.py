"""`train --members`, run in process."""

import json
import re

import pytest


def test_train_shows_means_and_deviations_over_members(run, tmp_path):
    code, out, _ = run("train", "--members", "4", "--epochs", "2", "--plot", "bands.png")
    assert code == 0
    assert "Results of 4 networks" in out
    assert re.search(r"training +│ +1,000 │ +0\.\d{4} ± 0\.\d{4} │ +0\.\d{4} ± 0\.\d{4}", out)
    assert "Results of their mean answer" in out
    assert "8,000 samples" in out
    assert (tmp_path / "bands.png").read_bytes().startswith(b"\x89PNG")


def test_train_says_how_many_members_diverged(run):
    code, _, err = run("train", "--members", "3", "--epochs", "2", "--learning-rate", "1000")
    assert code == 1
    assert "the loss of 3 of 3 networks stopped being finite" in err


def test_train_says_which_members_stopped_early(run):
    options = ("train", "--members", "3", "--epochs", "60", "--optimizer", "adam", "--decay", "1", "--batch-size", "20")
    options += ("--early-stopping", "2")
    code, out, _ = run(*options)
    assert code == 0
    assert ", 60 epochs, early stopping 2, seed 0" in out
    assert re.search(r"\d of 3 networks stopped early; they had [\d to]+ epochs, and these are the results of the", out)
    found = json.loads(run(*options, "--json")[1])
    assert any(found["stopped_early"])
    for epochs, best, history in zip(found["epochs"], found["best_epoch"], found["history"], strict=True):
        losses = history["validation_loss"]
        assert epochs == len(losses)
        assert losses[best - 1] == min(losses)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--members", "0"], "--members: train at least one network, got 0"),
    ],
)
def test_bad_options_are_one_line(run, arguments, message):
    code, _, err = run(*arguments)
    assert code in (1, 2)
    assert message in err
