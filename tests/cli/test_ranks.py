"""The command as one of many processes."""

import _thread
import threading
from typing import Any

import pytest
import torch

from functional_mlp.cli import ranks


def test_ctrl_c_is_heard_while_ranks_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    have_come = threading.Event()

    def wait(backend: str) -> None:
        _thread.interrupt_main()
        have_come.wait()

    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(torch.distributed, "init_process_group", wait)
    try:
        with pytest.raises(KeyboardInterrupt, match="rank 1 waited for the other ranks"), ranks.joined("cpu"):
            pytest.fail("no rank has come")
    finally:
        have_come.set()


def test_what_ends_the_wait_for_ranks_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(backend: str) -> Any:
        raise ValueError(f"no {backend} here")

    monkeypatch.setattr(torch.distributed, "init_process_group", fail)
    with pytest.raises(ValueError, match="no gloo here"), ranks.joined("cpu"):
        pytest.fail("there is no group")
