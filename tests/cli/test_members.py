"""`train --members`, run in process."""

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
