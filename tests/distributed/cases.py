"""What the ranks are asked in the tests: calls of `fit`, the same in one process and on many."""

import itertools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
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


def falling(factor: float) -> Callable[[int], float]:
    return lambda epoch: factor**epoch


@attrs.frozen(repr=False)
class Scaled(fm.Elementwise):
    """A layer whose words do not say what it computes."""

    factor: float

    def __repr__(self) -> str:
        return "Scaled()"

    def value(self, xp: Any, s: Any) -> Any:
        return self.factor * s

    def derivative(self, xp: Any, s: Any, y: Any) -> Any:
        return self.factor


@attrs.frozen(repr=False)
class Slower(fm.SGD):
    """An optimizer whose words do not say what it computes."""

    factor: float = 1.0

    def __repr__(self) -> str:
        return "Slower()"

    def rule(self, xp: Any, step: Any, learning_rate: Any, w: Any, g: Any) -> Any:
        return (w - self.factor * learning_rate * g,)


def raising_on_the_last(rank: int, size: int, answer: Any = None) -> Callable[..., Any]:
    """A function that fails on the last rank when it is called for the third time."""
    calls = itertools.count()

    def function(*arguments: Any) -> Any:
        if next(calls) == 2 and rank == size - 1:
            raise LookupError("no such thing")
        return answer

    return function


def raising_on_the_first(rank: int) -> Callable[..., float]:
    def score(outputs: torch.Tensor, data: fm.Dataset) -> float:
        if rank == 0:
            raise LookupError("no such thing")
        raise AssertionError("rank 0 alone is asked")

    return score


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
    "another schedule of the same name": lambda fit, rank, size, folder: run(
        fit, schedule=falling(0.5 if rank == size - 1 else 0.9)
    ),
    "another network of the same words": lambda fit, rank, size, folder: fit(
        fm.Sequential(NETWORK, Scaled(rank + 1.0)), LOSS, fm.SGD(0.1), DATA, key=KEY, epochs=1
    ),
    "another optimizer of the same words": lambda fit, rank, size, folder: run(fit, Slower(0.1, rank + 1.0)),
    "a schedule that raises": lambda fit, rank, size, folder: run(fit, schedule=raising_on_the_last(rank, size, 1.0)),
    "a callback that raises": lambda fit, rank, size, folder: run(fit, callbacks=[raising_on_the_last(rank, size)]),
    "a progress that raises": lambda fit, rank, size, folder: run(fit, progress=raising_on_the_last(rank, size)),
    "a score that raises": lambda fit, rank, size, folder: run(
        fit, validation=VALIDATION, score=raising_on_the_first(rank)
    ),
    "a bad argument on one": lambda fit, rank, size, folder: run(fit, batch_size=size - 1 - rank),
    "a bad group on one": lambda fit, rank, size, folder: run(fit, group="gloo" if rank == size - 1 else None),
    "no data on one": lambda fit, rank, size, folder: run(fit, data=DATA if rank == 0 else DATA.inputs),
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
