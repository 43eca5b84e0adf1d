"""What the ranks are asked in the tests: calls of `fit`, the same in one process and on many."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import functional_mlp as fm

Fit = Callable[..., fm.FitResult]

NETWORK = fm.Sequential(fm.Linear(2, 6), fm.Tanh(), fm.Linear(6, 2))
LOSS = fm.MeanSquaredError()
DATA = fm.datasets.disk(fm.random.key(0), 50, dtype=torch.float64)
WEIGHTED = fm.Dataset(DATA.inputs, DATA.targets, torch.arange(50) % 3)
VALIDATION = fm.datasets.disk(fm.random.key(2), 17, dtype=torch.float64)
KEY = fm.random.key(1)


def run(fit: Fit, optimizer: fm.Optimizer = fm.Adam(0.05), data: fm.Dataset = DATA, **changes: Any) -> fm.FitResult:  # noqa: B008
    return fit(NETWORK, LOSS, optimizer, data, **{"key": KEY, "epochs": 3, "batch_size": 16, **changes})


# Each gives the same in one process and on many, within rounding. 50 rows in batches of 16 leave one of 2.
RESULTS: dict[str, Callable[[Fit], fm.FitResult]] = {
    "batches that do not divide evenly": run,
    "single samples": lambda fit: run(fit, fm.SGD(0.1), batch_size=1, epochs=1),
    "weights and a penalty": lambda fit: run(fit, data=WEIGHTED, penalty=fm.penalties.l2(0.1)),
    "gathered gradients": lambda fit: run(fit, fm.BatchGD(0.1, batch_size=3)),
    "rows in their order": lambda fit: run(fit, shuffle=False, epochs=1, progress=True),
    "validation": lambda fit: run(
        fit, validation=VALIDATION, schedule=fm.schedules.on_plateau(0.5, 1, monitor="validation_loss"), epochs=5
    ),
    "early stopping": lambda fit: run(
        fit, fm.SGD(2.0), validation=VALIDATION, early_stopping=fm.EarlyStopping(1, min_delta=0.05), epochs=20
    ),
    "score": lambda fit: run(
        fit,
        validation=VALIDATION,
        score=outputs_alone,
        early_stopping=fm.EarlyStopping(2, monitor="validation_accuracy"),
    ),
    "divergence": lambda fit: run(fit, fm.SGD(1e200)),
}


def outputs_alone(outputs: torch.Tensor, data: fm.Dataset) -> float:
    return float(outputs.sum())


def ended_by_the_last(rank: int, size: int) -> Callable[..., bool]:
    """A callback of which that of the last rank ends the run after two epochs."""
    return lambda epoch, state, history: rank == size - 1 and epoch == 1


def interrupted_on_the_last(rank: int, size: int) -> Callable[..., None]:
    """A callback in which the last rank gets Ctrl-C after two epochs."""

    def callback(epoch: int, state: Any, history: Any) -> None:
        if rank == size - 1 and epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)

    return callback


def killed_on_the_last(rank: int, size: int) -> Callable[..., None]:
    def callback(epoch: int, state: Any, history: Any) -> None:
        if rank == size - 1 and epoch == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    return callback


# What is done on many ranks only: they are told their rank, how many there are, and a folder that they share.
CALLS: dict[str, Callable[[Fit, int, int, Path], fm.FitResult]] = {
    "a callback ends": lambda fit, rank, size, folder: run(fit, callbacks=[ended_by_the_last(rank, size)]),
    "Ctrl-C": lambda fit, rank, size, folder: run(
        fit, callbacks=[interrupted_on_the_last(rank, size)], epochs=5, checkpoint=checkpoint(folder, rank, "ctrl-c")
    ),
    "goes on": lambda fit, rank, size, folder: run(fit, epochs=5, checkpoint=checkpoint(folder, rank, "ctrl-c")),
    "another network": lambda fit, rank, size, folder: fit(
        NETWORK if rank == 0 else fm.Linear(2, 2), LOSS, fm.SGD(0.1), DATA, key=KEY, epochs=1
    ),
    "other data and another key": lambda fit, rank, size, folder: run(
        fit, data=DATA[: 50 - rank], key=fm.random.key(rank)
    ),
    "a bad argument on one": lambda fit, rank, size, folder: run(fit, batch_size=size - 1 - rank),
    "a file that cannot be": lambda fit, rank, size, folder: run(
        fit, checkpoint=fm.Checkpoint(folder / "missing" / "a.safetensors")
    ),
    # The last one: a rank is lost.
    "a rank that dies": lambda fit, rank, size, folder: run(
        fit, callbacks=[killed_on_the_last(rank, size)], epochs=6, checkpoint=checkpoint(folder, rank, "death")
    ),
}


def checkpoint(folder: Path, rank: int, name: str) -> fm.Checkpoint:
    """Rank 0's is in the folder: what the others are given does not exist."""
    return fm.Checkpoint(folder / f"{name}.safetensors" if rank == 0 else Path("/nowhere") / name, every=1)
