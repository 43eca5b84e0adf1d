"""Training: a pure step from one `TrainState` to the next, and `fit`, a loop over it."""

import math
import time
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import attrs
from attrs import field
from torch import Tensor

from functional_mlp import checks, pytree, random, runs
from functional_mlp.datasets import Dataset
from functional_mlp.evaluation import EngineName, Metrics, check_fit
from functional_mlp.history import EpochRecord, History
from functional_mlp.layers.base import Layer, Params, as_layer
from functional_mlp.losses import Loss
from functional_mlp.optimizers import Optimizer, OptimizerState
from functional_mlp.orders import Orders
from functional_mlp.random import Key

if TYPE_CHECKING:
    from functional_mlp.checkpoint import Checkpoint

ScheduleLike = Callable[[int], float]

# Epochs in the first native call of a run whose orders are drawn ahead, and how much more each next one gets: the first
# is short, since nothing runs while its orders are drawn.
FIRST_GROUP, GROWTH = 4, 4


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
    checkpoint: "Checkpoint | None" = None,
) -> FitResult:
    """Train a network: `epochs` epochs in all, each over `data` in a new order.

    The key is split into one for `network.init` and one for the shuffles. `params` starts from given
    parameters; `state` goes on from an earlier run's, with its key and to the same bits as an unbroken run.
    The learning rate of an epoch is the optimizer's times `schedule(epoch)`. A callback is called
    `callback(epoch, state, history)` after each epoch and ends the training by returning True; `progress` is
    called now and then with the number of epochs done, a fraction within an epoch.

    `engine` is "reference", "fused" (a `ValueError` with the reason where that engine cannot run this), or "auto":
    whichever of the two is faster for such a network, by what is known before the run.

    A loss that stops being finite ends the training with a `RuntimeWarning`, and Ctrl-C ends it with what was
    learnt so far: see `FitResult`.

    With a `checkpoint` the run is saved as it goes, and the same call goes on with what is saved: its result has the
    same bits as that of an unbroken run, and the whole history (see `functional_mlp.Checkpoint`).

    >>> import functional_mlp as fm
    >>> network = fm.Sequential(fm.Linear(2, 25), fm.Tanh(), fm.Linear(25, 2))
    >>> data = fm.datasets.disk(fm.random.key(0), 200)
    >>> result = fm.fit(network, fm.MeanSquaredError(), fm.Adam(0.01), data, key=fm.random.key(1), epochs=5)
    >>> result.history.train_loss[-1] < result.history.train_loss[0]
    True
    """
    network = as_layer("fit: network", network)
    _check_arguments("fit", loss, optimizer, data, schedule, engine)
    batch_size = checks.integer("fit: batch_size", batch_size, minimum=1)
    _check_observers(progress, callbacks)
    epochs = checks.integer("fit: epochs", epochs, minimum=1)
    state, history = _initial_state(network, optimizer, data, key, params, state), History()
    if checkpoint is not None:
        _check_checkpoint(checkpoint)
        state, history = checkpoint.resume(state, network, loss, optimizer)
    if epochs < state.epoch:
        raise ValueError(f"fit: epochs is the total, at least the {state.epoch} that state has had, got {epochs}")
    check_fit(network, loss, state.optimizer_state.params, data)
    if validation is not None:
        checks.instance("fit: validation", validation, Dataset, "make one with functional_mlp.Dataset")
        check_fit(network, loss, state.optimizer_state.params, validation)

    run = runs.start(engine, network, loss, optimizer, state.optimizer_state, data, batch_size)
    if checkpoint is not None:  # a path that cannot be written is found before training
        checkpoint.save(state, history, network, loss, optimizer)
    records = history.records()
    first = state.epoch - len(records)  # the epoch of the first record
    epoch, snapshot, previous = state.epoch, run.snapshot(), None
    diverged_at, interrupted, settled = None, False, False
    at_once = 1 if validation or checkpoint or callbacks else run.epochs_at_once
    draws_ahead = batch_size == 1  # epochs of larger batches are over too soon: to hand over takes what it saves
    size = min(FIRST_GROUP, at_once) if draws_ahead else at_once
    orders = Orders(state.key, len(data))
    try:
        while epoch < epochs:
            some = range(epoch, min(epoch + size, epochs))
            size = min(GROWTH * size, at_once)
            following = range(some.stop, min(some.stop + size, epochs)) if draws_ahead and size > 1 else range(0)
            drawn = orders.take(some, following)
            group = _run_epochs(run, optimizer, some, drawn, schedule, validation, progress)
            finite = all(math.isfinite(record.train_loss) for record in group)
            settled = len(some) > 1 and finite and run.is_finite()
            if len(some) > 1 and not settled:
                run.restore(snapshot)  # find the epoch that diverges: the same again, one by one
                size = at_once = 1
                continue
            records += group
            if not finite:
                diverged_at = epoch
                break
            epoch, snapshot, previous = some.stop, run.snapshot(), snapshot
            if checkpoint is not None and checkpoint.is_due(epoch) and epoch < epochs:
                reached = TrainState(run.state(snapshot), state.key, epoch)
                checkpoint.save(reached, History.of(records), network, loss, optimizer)
            if callbacks:
                reached = TrainState(run.state(snapshot), state.key, epoch)
                stops = [callback(epoch - 1, reached, History.of(records)) for callback in callbacks]
                if any(stops):
                    break
    except KeyboardInterrupt:
        interrupted = True
        del records[epoch - first :]
    result = run.state(snapshot)
    settled = settled or (diverged_at is None and not interrupted and run.is_finite())
    if previous is not None and not settled and not checks.is_finite(result):  # a loss is that before the last update
        epoch, result = epoch - 1, run.state(previous)
        diverged_at = epoch if diverged_at is None else diverged_at
    final = TrainState(result, state.key, epoch)
    if checkpoint is not None:
        checkpoint.save(final, History.of(records[: epoch - first]), network, loss, optimizer)
    if diverged_at is not None:
        warnings.warn(
            f"fit: training diverged in epoch {diverged_at}, whose loss is {records[-1].train_loss}, and ends with "
            f"the last finite state, after {epoch} epochs: a smaller learning rate may help",
            RuntimeWarning,
            stacklevel=2,
        )
    return FitResult(final, History.of(records), diverged_at, interrupted)


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
    _check_arguments("train_epoch", loss, optimizer, data, schedule, engine)
    batch_size = checks.integer("train_epoch: batch_size", batch_size, minimum=1)
    _check_state("train_epoch", state, optimizer)
    check_fit(network, loss, state.optimizer_state.params, data)
    run = runs.start(engine, network, loss, optimizer, state.optimizer_state, data, batch_size)
    epochs = range(state.epoch, state.epoch + 1)
    orders = [random.permutation(state.key.fold_in(state.epoch), len(data))]
    (record,) = _run_epochs(run, optimizer, epochs, orders, schedule, None, None)
    return TrainState(run.state(run.snapshot()), state.key, state.epoch + 1), record.train_loss


def _run_epochs(
    run: runs.Run,
    optimizer: Optimizer,
    epochs: range,
    orders: Sequence[Tensor],
    schedule: ScheduleLike | None,
    validation: Dataset | None,
    progress: Callable[[float], None] | None,
) -> list[EpochRecord]:
    """Run epochs, several in one call of the engine where nothing is to be done in between."""
    started = time.perf_counter()
    rates = [optimizer.learning_rate * _factor(schedule, epoch) for epoch in epochs]
    if len(epochs) == 1:
        within = None if progress is None else lambda fraction: progress(epochs.start + fraction)
        outcomes = [run.epoch(orders[0], rates[0], within)]
    else:
        outcomes = run.epochs(orders, rates)
        if progress is not None:
            progress(float(epochs.stop))
    metrics = Metrics(math.nan, math.nan) if validation is None else run.evaluate(validation)
    seconds = (time.perf_counter() - started) / len(epochs)
    return [
        EpochRecord(loss, accuracy, metrics.loss, metrics.accuracy, rate, seconds)
        for (loss, accuracy), rate in zip(outcomes, rates, strict=True)
    ]


def _factor(schedule: ScheduleLike | None, epoch: int) -> float:
    if schedule is None:
        return 1.0
    return checks.number(f"schedule({epoch})", schedule(epoch), low=0.0)


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
        _check_state("fit", state, optimizer)
        if params is not None:
            raise ValueError("fit: state holds parameters already: pass params or state, not both")
        return state
    if key is None:
        raise TypeError("fit: key is missing: pass functional_mlp.random.key(seed), or the state of an earlier run")
    init_key, train_key = key.split()
    if params is None:
        params = network.init(init_key, dtype=data.inputs.dtype, device=data.inputs.device)
    return TrainState(optimizer.init(params), train_key, 0)


def _check_checkpoint(checkpoint: Any) -> None:
    from functional_mlp.checkpoint import Checkpoint  # loads cattrs and safetensors

    checks.instance("fit: checkpoint", checkpoint, Checkpoint, "make one with functional_mlp.Checkpoint(path)")


def _check_state(name: str, state: Any, optimizer: Optimizer) -> None:
    checks.instance(f"{name}: state", state, TrainState, "make one, or pass a result's .state")
    checks.instance(f"{name}: state.key", state.key, Key, "make one with functional_mlp.random.key(seed)")
    checks.integer(f"{name}: state.epoch", state.epoch, minimum=0)
    optimizer.check_state(state.optimizer_state)


def _check_observers(progress: Any, callbacks: Any) -> None:
    if progress is not None and not callable(progress):
        raise TypeError(f"fit: progress must be callable, got {checks.describe(progress)}: pass a function of a float")
    if not isinstance(callbacks, Sequence):
        raise TypeError(f"fit: callbacks must be a sequence, got {checks.describe(callbacks)}: pass [callback]")
    for index, callback in enumerate(callbacks):
        if not callable(callback):
            raise TypeError(f"fit: callbacks[{index}] must be callable, got {checks.describe(callback)}")


def _check_arguments(
    name: str,
    loss: Any,
    optimizer: Any,
    data: Any,
    schedule: Any,
    engine: Any,
) -> None:
    checks.instance(f"{name}: loss", loss, Loss, "subclass functional_mlp.Loss to write your own")
    checks.instance(f"{name}: optimizer", optimizer, Optimizer, "subclass functional_mlp.Optimizer to write your own")
    checks.hashable(f"{name}: loss", loss)
    checks.hashable(f"{name}: optimizer", optimizer)
    checks.instance(f"{name}: data", data, Dataset, "make one with functional_mlp.Dataset(inputs, targets)")
    if schedule is not None and (isinstance(schedule, type) or not callable(schedule)):
        got = f"the class {schedule.__name__}" if isinstance(schedule, type) else checks.describe(schedule)
        raise TypeError(f"{name}: schedule must be a callable value, got {got}: call one of functional_mlp.schedules")
    checks.engine(name, engine)
