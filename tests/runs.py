"""A short run of training, which tests change."""

from typing import Any

import pytest
import torch

import functional_mlp as fm
from tests.helpers import KEY
from tests.tables import OPTIMIZERS

NETWORK = fm.Sequential(fm.Linear(2, 6), fm.Tanh(), fm.Linear(6, 2))
LOSS = fm.MeanSquaredError()
SGD = fm.SGD(0.05)
DATA = fm.datasets.disk(fm.random.key(1), 25, dtype=torch.float64)
VALIDATION = fm.datasets.disk(fm.random.key(2), 15, dtype=torch.float64)

every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)


def fit(**changes: Any) -> fm.FitResult:
    """A short run of `fm.fit`, with some of its arguments changed."""
    arguments: dict[str, Any] = {"network": NETWORK, "loss": LOSS, "optimizer": SGD, "data": DATA, "epochs": 3}
    arguments |= {"key": KEY, "engine": "reference"} | changes
    return fm.fit(**arguments)


def without_times(history: fm.History) -> dict[str, list[float]]:
    return {name: values for name, values in history.to_dict().items() if name != "seconds"}
