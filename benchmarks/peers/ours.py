"""`fm.fit` as a user calls it, without validation."""

from collections.abc import Callable, Sequence
from typing import Any

import functional_mlp as fm
from peers.task import Task, Trainer, UnavailableError


def ours(engine: Any) -> Callable[[Task], Trainer]:
    """What makes the trainer of an engine."""

    def make(task: Task) -> Trainer:
        network, loss, rule = task.network, task.loss, task.optimizer
        data, params, key = task.data, task.params, task.key

        def train(epochs: int, *, fixed_orders: bool = False) -> Sequence[float]:
            settings: dict[str, Any] = {"epochs": epochs, "batch_size": task.batch_size, "params": params}
            return fm.fit(network, loss, rule, data, key=key, engine=engine, **settings).history.train_loss

        try:
            train(1)
        except ValueError as error:
            raise UnavailableError(str(error)) from error
        return train

    return make
