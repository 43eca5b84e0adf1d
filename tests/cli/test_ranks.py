"""The command as one of many processes."""

import _thread
import threading
from typing import Any

import pytest
import torch

import functional_mlp as fm
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


def test_ranks_that_do_not_come_are_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(backend: str) -> Any:
        raise torch.distributed.DistStoreError("Timed out after 601 seconds waiting for clients. 1/2 clients joined.")

    monkeypatch.setattr(torch.distributed, "init_process_group", fail)
    message = r"torchrun: the ranks have not found each other \(Timed out .*1/2 clients joined.\): start all of them"
    with pytest.raises(fm.LostError, match=message), ranks.joined("cpu"):
        pytest.fail("there is no group")
