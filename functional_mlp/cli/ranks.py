"""The command as one of many processes, started by `torchrun -m functional_mlp train`: rank 0 alone speaks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


def count() -> int:
    """How many processes torchrun has started; 1 without it."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def is_first() -> bool:
    """Whether this process is the one that prints, and writes files."""
    return count() == 1 or os.environ["RANK"] == "0"


def check_options(*, members: int, engine: str, parts: int | None) -> None:
    """Raise `ValueError` for options that go without ranks."""
    if count() == 1:
        return
    if members > 1:
        raise ValueError("--members: torchrun divides the batches of one network: leave it out, or give --cluster")
    if parts is not None:
        raise ValueError("--cross-validate: torchrun divides the batches of one network: train without it")
    if engine == "fused":
        raise ValueError("--engine: ranks train on the reference engine: leave it out")


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Within the process group of all ranks, by gloo on CPUs and nccl on GPUs."""
    import torch.distributed

    torch.distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()
