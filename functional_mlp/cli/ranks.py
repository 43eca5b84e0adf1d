"""The command as one of many processes, started by `torchrun -m functional_mlp train`: rank 0 alone speaks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

from functional_mlp.lost import LostError

# Seconds until Ctrl-C is heard while ranks are missing, on systems where it does not wake who waits.
UNTIL_HEARD = 0.2


def count() -> int:
    """How many processes torchrun has started; 1 without it."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def is_first() -> bool:
    """Whether this process is the one that prints, and writes files."""
    return count() == 1 or os.environ["RANK"] == "0"


def own_device(name: str) -> str:
    """The device of a name for this rank: of several GPUs the one of its number on this machine."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if count() > 1 and name == "cuda" else name


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
    """Within the process group of all ranks, by gloo on CPUs and nccl on GPUs.

    Ctrl-C while ranks are missing is a `KeyboardInterrupt` at once.
    """
    import torch.distributed

    _join("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def _join(backend: str) -> None:
    """Wait for all ranks in a thread of its own, for torch hears no Ctrl-C while it waits."""
    import torch.distributed

    errors: list[BaseException] = []

    def wait() -> None:
        try:
            torch.distributed.init_process_group(backend)
        except BaseException as error:
            errors.append(error)

    waiting = Thread(target=wait, daemon=True)
    try:
        waiting.start()
        while waiting.is_alive():
            waiting.join(UNTIL_HEARD)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted while rank {os.environ['RANK']} waited for the other ranks: nothing was trained"
        ) from None
    if errors and isinstance(errors[0], RuntimeError):  # the kind of all errors of torch's backends
        reason = f"the ranks have not found each other ({str(errors[0]).splitlines()[0]})"
        raise LostError("torchrun", reason, "start all of them again", "nothing was trained") from errors[0]
    if errors:
        raise errors[0]
