"""Kills training at random moments: `python -m tests.checkpoint.kill [KILLS] [SEED]`.

A child process trains with a checkpoint, and is killed after a random time; a new one then goes on, until the run
is done. After each kill the file must be whole, and each finished run must have the bits of an unbroken one.
"""

import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch

import functional_mlp as fm
from tests.checkpoint import cases

EPOCHS = 15


def main(kills: int, seed: int) -> None:
    torch.set_num_threads(1)
    draw = random.Random(seed)
    counts = {"kills": 0, "while saving": 0, "before the first save": 0, "finished runs": 0}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        unbroken = {engine: cases.fit(engine=engine, epochs=EPOCHS) for engine in ("reference", "fused")}
        while counts["kills"] < kills or path.exists():
            engine = ("reference", "fused")[counts["finished runs"] % 2]
            finished = run_until_killed(path, engine, draw.uniform(0, 0.1) if counts["kills"] < kills else None)
            check(path, finished, counts)
            if finished:
                cases.assert_same_run(fm.load(path), unbroken[engine])
                path.unlink()
    print(", ".join(f"{count} {name}" for name, count in counts.items()))


def run_until_killed(path: Path, engine: str, seconds: float | None) -> bool:
    """Train in a child process for a time, if one is given, and kill it; returns whether it was done before."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            cases.fit(engine=engine, epochs=EPOCHS, checkpoint=fm.Checkpoint(path, every=1))
            code = 0
        finally:
            os._exit(code)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL), status
    return status == 0


def check(path: Path, finished: bool, counts: dict[str, int]) -> None:
    """Count what the end of a child left behind; a file that is there must be whole."""
    left = [name for name in os.listdir(path.parent) if name != path.name]
    for name in left:
        os.unlink(path.parent / name)
    counts["finished runs" if finished else "kills"] += 1
    counts["while saving"] += len(left)
    if path.exists():
        saved = fm.load(path, network=cases.NETWORK, optimizer=cases.OPTIMIZER, loss=cases.LOSS)
        assert len(saved.history) == saved.state.epoch
    else:
        counts["before the first save"] += 1


if __name__ == "__main__":
    numbers = list(map(int, sys.argv[1:]))
    main(*numbers, *(200, 0)[len(numbers) :])
