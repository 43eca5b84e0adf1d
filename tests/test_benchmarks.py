"""The scripts of `benchmarks` go with the library as it is."""

import re
import sys

import pytest

from benchmarks import policies


def test_times_by_other_policies_are_compared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["policies.py", "--rounds", "1", "tail_chains"])
    policies.main()
    told = capsys.readouterr().out
    assert re.fullmatch(r"tail_chains \d+ \(paper, 1, momentum\): 1 \d+\.\d\d, 4 \d+\.\d\d\n", told)
