"""Training: a pure step from one `TrainState` to the next, and `fit`, a loop over it."""

import math
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import attrs
import torch
from attrs import field
from torch import Tensor

from functional_mlp import checks, pytree, random, reference
from functional_mlp.datasets import Dataset
from functional_mlp.history import EpochRecord, History
from functional_mlp.layers.base import Layer, Params, as_layer, checked_arguments
from functional_mlp.losses import Loss
from functional_mlp.optimizers import Optimizer, OptimizerState
from functional_mlp.random import Key

EngineName = Literal["auto", "reference", "fused"]
ScheduleLike = Callable[[int], float]

# Rows that `evaluate` passes through the network at a time.
ROWS_AT_ONCE = 4096


@pytree.node
@attrs.frozen(eq=False)
class TrainState:
    """All that training needs to go on: the optimizer's state, the key of the shuffles, and the next epoch."""

    optimizer_state: OptimizerState
    key: Key = field(metadata=pytree.STRUCTURE)
    epoch: int = field(metadata=pytree.STRUCTURE)


Callback = Callable[[int, TrainState, History], bool | None]


@attrs.frozen(eq=False)
class FitResult:
    """What `fit` returns.

    `diverged_at` is the epoch whose loss stopped being finite, and `interrupted` says that Ctrl-C ended the
    run; `state` is then the last finite, or the last finished one.
    """

    state: TrainState
    history: History
    diverged_at: int | None = None
    interrupted: bool = False

    @property
    def params(self) -> Params:
        return self.state.optimizer_state.params


@attrs.frozen
class Metrics:
    """The mean loss over a data set, and the share of its rows whose largest output is the target's class."""

    loss: float
    accuracy: float


def fit(
    network: Layer,
    loss: Loss,
    optimizer: Optimizer,
    data: Dataset,
    *,
    key: Key | None = None,
    epochs: int,
    batch_size: int = 1,
    schedule: ScheduleLike | None = None,
    validation: Dataset | None = None,
    params: Params | None = None,
    state: TrainState | None = None,
    engine: EngineName = "auto",
    progress: Callable[[float], None] | None = None,
    callbacks: Sequence[Callback] = (),
) -> FitResult:
    """Train a network: `epochs` epochs in all, each over `data` in a new order.

    The key is split into one for `network.init` and one for the shuffles. `params` starts from given
    parameters; `state` goes on from an earlier run's, with its key and to the same bits as an unbroken run.
    The learning rate of an epoch is the optimizer's times `schedule(epoch)`. A callback is called
    `callback(epoch, state, history)` after each epoch and ends the training by returning True; `progress` is
    called now and then with the number of epochs done, a fraction within an epoch.

    A loss that stops being finite ends the training with a `RuntimeWarning`, and Ctrl-C ends it with what was
    learnt so far: see `FitResult`.

    >>> import functional_mlp as fm
    >>> network = fm.Sequential(fm.Linear(2, 25), fm.Tanh(), fm.Linear(25, 2))
    >>> data = fm.datasets.disk(fm.random.key(0), 200)
    >>> result = fm.fit(network, fm.MeanSquaredError(), fm.Adam(0.01), data, key=fm.random.key(1), epochs=5)
    >>> result.history.train_loss[-1] < result.history.train_loss[0]
    True
    """
    network = as_layer("fit: network", network)
    _check_arguments("fit", network, loss, optimizer, data, batch_size, schedule, engine)
    checks.integer("fit: epochs", epochs, minimum=1)
    if validation is not None:
        checks.instance("fit: validation", validation, Dataset, "make one with functional_mlp.Dataset")
    state = _initial_state(network, optimizer, data, key, params, state)
    if epochs < state.epoch:
        raise ValueError(f"fit: epochs is the total, at least the {state.epoch} that state has had, got {epochs}")
    check_fit(network, loss, state.optimizer_state.params, data)
    if validation is not None:
        check_fit(network, loss, state.optimizer_state.params, validation)

    records: list[EpochRecord] = []
    diverged_at, interrupted, previous = None, False, state
    try:
        while state.epoch < epochs:
            epoch = state.epoch
            started = time.perf_counter()
            within = None if progress is None else _within_epoch(progress, epoch)
            successor, outcome = _step(network, loss, optimizer, state, data, batch_size, schedule, within)
            record = EpochRecord(
                train_loss=outcome.loss,
                train_accuracy=outcome.accuracy,
                validation_loss=math.nan,
                validation_accuracy=math.nan,
                learning_rate=successor.optimizer_state.learning_rate,
                seconds=time.perf_counter() - started,
            )
            if validation is not None:
                metrics = _metrics(network, loss, outcome.state.params, validation)
                record = attrs.evolve(record, validation_loss=metrics.loss, validation_accuracy=metrics.accuracy)
            if not math.isfinite(outcome.loss):
                records.append(record)
                diverged_at = epoch
                state = state if _is_finite(state) else previous
                warnings.warn(
                    f"fit: the loss is {outcome.loss} in epoch {epoch}; training ends with the last finite state, "
                    f"after epoch {state.epoch}: a smaller learning rate may help",
                    RuntimeWarning,
                    stacklevel=2,
                )
                break
            previous, state = state, successor
            records.append(record)
            if callbacks:
                history = History.of(records)
                stops = [callback(epoch, state, history) for callback in callbacks]
                if any(stops):
                    break
    except KeyboardInterrupt:
        interrupted = True
    return FitResult(state, History.of(records), diverged_at, interrupted)


def train_epoch(
    network: Layer,
    loss: Loss,
    state: TrainState,
    data: Dataset,
    *,
    optimizer: Optimizer,
    batch_size: int = 1,
    schedule: ScheduleLike | None = None,
    engine: EngineName = "auto",
) -> tuple[TrainState, float]:
    """One epoch of training: a new state, and the mean loss of the samples right before their own updates.

    The order is `permutation(state.key.fold_in(state.epoch), n)`; the last batch may be short, and its
    gradient is the mean over what it holds.

    >>> import functional_mlp as fm
    >>> network, optimizer = fm.Linear(2, 2), fm.SGD(0.01)
    >>> init_key, train_key = fm.random.key(0).split()
    >>> state = fm.TrainState(optimizer.init(network.init(init_key)), train_key, epoch=0)
    >>> data = fm.datasets.disk(fm.random.key(1), 100)
    >>> state, mean_loss = fm.train_epoch(network, fm.MeanSquaredError(), state, data, optimizer=optimizer)
    >>> state.epoch, state.optimizer_state.step
    (1, 100)
    """
    network = as_layer("train_epoch: network", network)
    _check_arguments("train_epoch", network, loss, optimizer, data, batch_size, schedule, engine)
    checks.instance("train_epoch: state", state, TrainState, "make one with functional_mlp.TrainState")
    optimizer.check_state(state.optimizer_state)
    check_fit(network, loss, state.optimizer_state.params, data)
    state, outcome = _step(network, loss, optimizer, state, data, batch_size, schedule, None)
    return state, outcome.loss


def predict(network: Layer, params: Params, x: Tensor) -> Tensor:
    """The network's outputs for inputs (..., in_features)."""
    return as_layer("predict: network", network).apply(params, x)


def classify(network: Layer, params: Params, x: Tensor) -> Tensor:
    """The class indices of inputs (..., in_features): for each, the place of the largest output.

    >>> import functional_mlp as fm
    >>> classify(fm.Identity(), (), torch.tensor([[0.1, 0.9], [0.8, 0.2]]))
    tensor([1, 0])
    """
    return predict(network, params, x).argmax(-1)


def evaluate(network: Layer, loss: Loss, params: Params, data: Dataset) -> Metrics:
    """The loss and the accuracy of a network over a data set.

    Accuracy is NaN where the targets are neither class indices nor one-hot.

    >>> import functional_mlp as fm
    >>> data = fm.Dataset(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([1, 1]))
    >>> evaluate(fm.Identity(), fm.CrossEntropy(), (), data).accuracy
    0.5
    """
    network = as_layer("evaluate: network", network)
    checks.instance("evaluate: loss", loss, Loss, "subclass functional_mlp.Loss to write your own")
    checks.instance("evaluate: data", data, Dataset, "make one with functional_mlp.Dataset")
    check_fit(network, loss, params, data)
    return _metrics(network, loss, checks.detached(params), data)


def check_fit(network: Layer, loss: Loss, params: Params, data: Dataset) -> None:
    """Raise unless the network, its params, the loss and the data fit each other."""
    params, row = checked_arguments(network, params, data.inputs[:1])
    prediction, _ = network.forward(params, row)
    for targets in data.targets.split(ROWS_AT_ONCE):
        loss.checked_targets(prediction.expand(len(targets), *prediction.shape[1:]), targets)


def _metrics(network: Layer, loss: Loss, params: Params, data: Dataset) -> Metrics:
    loss_sum, right = 0.0, 0
    for rows in torch.arange(len(data), device=data.inputs.device).split(ROWS_AT_ONCE):
        first, last = int(rows[0]), int(rows[-1]) + 1
        predictions, _ = network.forward(params, data.inputs[first:last])
        targets = loss.encode(data.targets[first:last], predictions)
        loss_sum += len(rows) * loss.batch_value(predictions, targets).item()
        if data.labels is not None:
            right += reference.count_right(predictions, data.labels[first:last])
    return Metrics(loss_sum / len(data), math.nan if data.labels is None else right / len(data))


def _step(
    network: Layer,
    loss: Loss,
    optimizer: Optimizer,
    state: TrainState,
    data: Dataset,
    batch_size: int,
    schedule: ScheduleLike | None,
    progress: Callable[[float], None] | None,
) -> tuple[TrainState, reference.EpochResult]:
    learning_rate = optimizer.learning_rate * _factor(schedule, state.epoch)
    start = attrs.evolve(
        state.optimizer_state, learning_rate=learning_rate, params=checks.detached(state.optimizer_state.params)
    )
    order = random.permutation(state.key.fold_in(state.epoch), len(data))
    outcome = reference.run_epoch(network, loss, optimizer, start, data, order, batch_size, progress)
    return TrainState(outcome.state, state.key, state.epoch + 1), outcome


def _factor(schedule: ScheduleLike | None, epoch: int) -> float:
    factor = 1.0 if schedule is None else schedule(epoch)
    checks.number(f"schedule({epoch})", factor, low=0.0)
    return factor


def _within_epoch(progress: Callable[[float], None], epoch: int) -> Callable[[float], None]:
    return lambda fraction: progress(epoch + fraction)


def _is_finite(state: TrainState) -> bool:
    return all(bool(leaf.isfinite().all()) for leaf in pytree.leaves(state))


def _initial_state(
    network: Layer,
    optimizer: Optimizer,
    data: Dataset,
    key: Key | None,
    params: Params | None,
    state: TrainState | None,
) -> TrainState:
    if key is not None:
        checks.instance("fit: key", key, Key, "make one with functional_mlp.random.key(seed)")
    if state is not None:
        checks.instance("fit: state", state, TrainState, "pass an earlier result's .state")
        if params is not None:
            raise ValueError("fit: state holds parameters already: pass params or state, not both")
        optimizer.check_state(state.optimizer_state)
        return state
    if key is None:
        raise TypeError("fit: key is missing: pass functional_mlp.random.key(seed), or the state of an earlier run")
    init_key, train_key = key.split()
    if params is None:
        params = network.init(init_key, dtype=data.inputs.dtype, device=data.inputs.device)
    return TrainState(optimizer.init(params), train_key, 0)


def _check_arguments(
    name: str,
    network: Layer,
    loss: Any,
    optimizer: Any,
    data: Any,
    batch_size: Any,
    schedule: Any,
    engine: Any,
) -> None:
    checks.instance(f"{name}: loss", loss, Loss, "subclass functional_mlp.Loss to write your own")
    checks.instance(f"{name}: optimizer", optimizer, Optimizer, "subclass functional_mlp.Optimizer to write your own")
    checks.instance(f"{name}: data", data, Dataset, "make one with functional_mlp.Dataset(inputs, targets)")
    checks.integer(f"{name}: batch_size", batch_size, minimum=1)
    if schedule is not None and not callable(schedule):
        raise TypeError(
            f"{name}: schedule must be callable, got {checks.describe(schedule)}: "
            "take one from functional_mlp.schedules"
        )
    if engine not in ("auto", "reference", "fused"):
        raise ValueError(f"{name}: engine must be 'auto', 'reference' or 'fused', got {checks.describe(engine)}")
    if engine == "fused":
        raise ValueError(f"{name}: engine='fused' is not there yet: pass 'auto' or 'reference'")
