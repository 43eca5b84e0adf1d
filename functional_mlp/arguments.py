"""What training is asked for, checked: the arguments of `fit`, and what all of its kind take."""

from collections.abc import Sequence
from typing import Any

from functional_mlp import checks
from functional_mlp.datasets import Dataset
from functional_mlp.layers.adapting import as_layer
from functional_mlp.layers.base import Layer, Params
from functional_mlp.losses import Loss
from functional_mlp.metrics import check_fit
from functional_mlp.monitor_checks import check_history, check_monitors
from functional_mlp.optimizers import Optimizer
from functional_mlp.penalties import Penalty, check_penalty
from functional_mlp.random import Key
from functional_mlp.state import EngineName, Job, Keeper, Member, Progress, ScheduleLike, Score, TrainState
from functional_mlp.stopping import EarlyStopping


def job_of_fit(
    network: Layer,
    loss: Loss,
    optimizer: Optimizer,
    data: Dataset,
    *,
    key: Key | None,
    epochs: checks.Integer,
    batch_size: checks.Integer,
    shuffle: bool,
    schedule: ScheduleLike | None,
    penalty: Penalty | None,
    validation: Dataset | None,
    score: Score | None,
    params: Params | None,
    state: TrainState | None,
    engine: EngineName,
    early_stopping: EarlyStopping | None,
) -> Job:
    """The job that the arguments of `fit` stand for; where it starts, which a checkpoint may change, is not looked at.

    Parameters
    ----------
    network
        What is trained.
    loss
        What the training minimizes.
    optimizer
        How a gradient changes the parameters.
    data
        What is learned from.
    epochs
        The number of epochs in all, those of `state` included.
    batch_size
        Samples an update.
    shuffle
        Whether each epoch has an order of its own.
    schedule
        What gives each epoch its learning rate, if anything.
    penalty
        What is added to the loss for the size of the weights, if anything.
    engine
        "auto", "reference" or "fused".
    validation
        The data measured after each epoch, if any.
    score
        What is measured on the validation data in place of accuracy, if anything.
    early_stopping
        What ends the training before its last epoch, if anything.
    key
        Gives the first parameters and the orders.
    params
        The first parameters, in place of the key's.
    state
        Where to go on from, in place of a start.

    All are as `fit` takes them; raises `TypeError` or `ValueError` for what it does not take.
    """
    network, batch_size = checked_task("fit", network, loss, batch_size=batch_size, shuffle=shuffle, engine=engine)
    epochs = checks.integer("fit: epochs", epochs, minimum=1)
    check_optimizer("fit", optimizer)
    check_data("fit", data)
    check_schedule("fit", schedule)
    check_penalty("fit", penalty, data.inputs.dtype)
    member = Member(
        optimizer=optimizer,
        data=data,
        validation=validation,
        schedule=schedule,
        progress=Progress(_start(network, optimizer, data, key=key, params=params, state=state)),
        params_given=params is not None or state is not None,
    )
    check_monitors("fit", member, loss, early_stopping, score)
    check_score("fit", score, validation)
    return Job(
        network=network,
        loss=loss,
        members=(member,),
        epochs=epochs,
        batch_size=batch_size,
        shuffle=shuffle,
        penalty=penalty,
        score=score,
        early_stopping=early_stopping,
        engine=engine,
    )


def _start(
    network: Layer,
    optimizer: Optimizer,
    data: Dataset,
    *,
    key: Key | None,
    params: Params | None,
    state: TrainState | None,
) -> TrainState:
    """The state that `fit` starts from.

    Parameters
    ----------
    network
        What makes the parameters.
    optimizer
        What makes its first state with them.
    data
        What the parameters have the dtype and the device of.
    key
        Is split into one for the parameters and one for the orders.
    params
        Take the place of the parameters that the key would give.
    state
        Takes the place of all of it.
    """
    if key is not None:
        checks.instance("fit: key", key, Key, "make one with functional_mlp.random.key(seed)")
    if state is not None:
        check_state("fit", state, optimizer)
        if params is not None:
            raise ValueError("fit: state holds parameters already: pass params or state, not both")
        return state
    if key is None:
        raise TypeError("fit: key is missing: pass functional_mlp.random.key(seed), or the state of an earlier run")
    init_key, train_key = key.split()
    if params is None:
        params = network.init(init_key, dtype=data.inputs.dtype, device=data.inputs.device)
    return TrainState(optimizer.init(params), train_key, 0)


def check_start(job: Job) -> None:
    """Raise unless the members of a job can be trained from where they stand, to as many epochs as it is to have."""
    for member in job.members:
        if job.epochs < member.start.epoch:
            raise ValueError(
                f"{job.caller}: epochs is the total, at least the {member.start.epoch} that there have been, got "
                f"{job.epochs}"
            )
        check_history(job.caller, member)
    check_samples(job)


def check_samples(job: Job) -> None:
    """Raise unless the network, the loss and the data of each member of a job fit each other."""
    for member in job.members:
        params = member.start.optimizer_state.params
        check_fit(job.network, job.loss, params, member.data)
        if member.validation is not None:
            check_fit(job.network, job.loss, params, member.validation)


def check_optimizer(name: str, optimizer: Any) -> None:
    """Raise unless this is an optimizer; `name` is that of the caller's function, here as below."""
    checks.instance(f"{name}: optimizer", optimizer, Optimizer, "subclass functional_mlp.Optimizer to write your own")
    checks.hashable(f"{name}: optimizer", optimizer)


def check_data(name: str, data: Any) -> None:
    """Raise unless this is a data set."""
    checks.instance(f"{name}: data", data, Dataset, "make one with functional_mlp.Dataset(inputs, targets)")


def checked_task(
    name: str, network: Any, loss: Any, *, batch_size: Any, shuffle: Any, engine: Any
) -> tuple[Layer, int]:
    """The network as a layer, and the batch size; raises unless all of these are what training takes.

    Parameters
    ----------
    name
        That of the caller's function, for messages.
    network
        What the caller was given to train.
    loss
        What it was given to minimize.
    batch_size
        The samples of an update, as given.
    shuffle
        Whether each epoch has an order of its own, as given.
    engine
        The name of an engine, as given.
    """
    layer = as_layer(f"{name}: network", network)
    size = checks.integer(f"{name}: batch_size", batch_size, minimum=1)
    checks.instance(f"{name}: shuffle", shuffle, bool, "pass True or False")
    checks.instance(f"{name}: loss", loss, Loss, "subclass functional_mlp.Loss to write your own")
    checks.hashable(f"{name}: loss", loss)
    checks.engine(name, engine)
    return layer, size


def check_schedule(name: str, schedule: Any, wanted: str = "a callable value") -> None:
    """Raise TypeError unless this is a schedule, or None."""
    if schedule is not None and (isinstance(schedule, type) or not callable(schedule)):
        got = f"the class {schedule.__name__}" if isinstance(schedule, type) else checks.describe(schedule)
        raise TypeError(f"{name}: schedule must be {wanted}, got {got}: call one of functional_mlp.schedules")


def check_score(name: str, score: Any, validation: Dataset | None) -> None:
    """Raise unless this is a score of validation data that there are, or None."""
    if score is not None:
        if not callable(score):
            raise TypeError(
                f"{name}: score must be callable, got {checks.describe(score)}: pass f(outputs, validation)"
            )
        if validation is None:
            raise ValueError(f"{name}: score looks at validation data, and there are none: pass validation")


def check_state(name: str, state: Any, optimizer: Optimizer) -> None:
    """Raise unless this is a `TrainState` of the optimizer's kind."""
    checks.instance(f"{name}: state", state, TrainState, "make one, or pass a result's .state")
    checks.instance(f"{name}: state.key", state.key, Key, "make one with functional_mlp.random.key(seed)")
    checks.integer(f"{name}: state.epoch", state.epoch, minimum=0)
    optimizer.check_state(state.optimizer_state)


def check_observers(name: str, progress: Any, callbacks: Any, checkpoint: Any) -> None:
    """Raise TypeError unless these are what training takes to be watched by."""
    if not (progress is None or isinstance(progress, bool) or callable(progress)):
        raise TypeError(
            f"{name}: progress must be True or callable, got {checks.describe(progress)}: pass a function of a float"
        )
    if not isinstance(callbacks, Sequence):
        raise TypeError(f"{name}: callbacks must be a sequence, got {checks.describe(callbacks)}: pass [callback]")
    for index, callback in enumerate(callbacks):
        if not callable(callback):
            raise TypeError(f"{name}: callbacks[{index}] must be callable, got {checks.describe(callback)}")
    if checkpoint is not None and not isinstance(checkpoint, Keeper):
        raise TypeError(
            f"{name}: checkpoint must be a Checkpoint, got {checks.describe(checkpoint)}: "
            "make one with functional_mlp.Checkpoint(path)"
        )
