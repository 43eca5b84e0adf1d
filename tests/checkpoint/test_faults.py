"""Faults that take processes of their own; each module run here takes a number for a longer run by hand."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["kill", "8"], "8 kills"),
        (["fuzz", "500"], "damaged refused"),
        (["workers"], "the same bits as one after the other"),
    ],
    ids=["killed at random moments", "random files", "threads and processes"],
)
def test_faults(arguments: list[str], printed: str) -> None:
    command = [sys.executable, "-W", "error", "-m", f"tests.checkpoint.{arguments[0]}", *arguments[1:]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert printed in done.stdout
