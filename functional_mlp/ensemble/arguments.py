"""The arguments of `fit_ensemble`, checked: what is given once for all members is given to each."""

from collections.abc import Sequence
from typing import Any

from functional_mlp import checks, pytree, random, trees
from functional_mlp.arguments import check_schedule, check_score, checked_task
from functional_mlp.datasets import Dataset
from functional_mlp.ensemble.trees import count_members, unstack
from functional_mlp.layers.base import Layer, Params
from functional_mlp.monitor_checks import check_monitors
from functional_mlp.optimizers import Optimizer
from functional_mlp.penalties import check_penalty
from functional_mlp.random import Key
from functional_mlp.spread import count
from functional_mlp.state import Job, Member, Progress, ScheduleLike, TrainState


def job_of_ensemble(
    network: Any,
    loss: Any,
    optimizer: Any,
    data: Any,
    *,
    keys: Any,
    epochs: Any,
    batch_size: Any = 1,
    shuffle: Any = True,
    schedule: Any = None,
    penalty: Any = None,
    validation: Any = None,
    score: Any = None,
    params: Any = None,
    engine: Any = "auto",
    early_stopping: Any = None,
) -> Job:
    """The job that the arguments of `fit_ensemble` stand for.

    Parameters
    ----------
    network
        What is trained, one for all members.
    loss
        What training minimizes, one for all.
    penalty
        What is added to the loss for the size of the weights, if anything: one for all.
    score
        What is measured on the validation data in place of accuracy, if anything: one for all.
    optimizer
        How a gradient changes the parameters: one for all, or a sequence of one each.
    data
        What is learned from: one for all, or a sequence of one each.
    schedule
        What gives each epoch its learning rate, if anything: one for all, or a sequence of one each.
    validation
        The data measured after each epoch, if any: one for all, or a sequence of one each.
    keys
        One a member: what gives its first parameters and its orders.
    params
        The first parameters of each, in place of the keys'.
    epochs
        How many times each member goes through its data.
    batch_size
        Samples an update.
    shuffle
        Whether each epoch has an order of its own.
    engine
        "auto", "reference" or "fused".
    early_stopping
        What ends the training of a member before its last epoch, if anything.

    All are as `fit_ensemble` takes them; raises `TypeError` or `ValueError` for what it does not take.
    """
    settings = {"batch_size": batch_size, "shuffle": shuffle, "engine": engine}
    network, batch_size = checked_task("fit_ensemble", network, loss, **settings)
    epochs = checks.integer("fit_ensemble: epochs", epochs, minimum=1)
    keys = _checked_keys(keys)
    optimizers = each("optimizer", optimizer, Optimizer, len(keys), "subclass functional_mlp.Optimizer")
    datasets = each("data", data, Dataset, len(keys), "make one with functional_mlp.Dataset")
    _check_one_kind(optimizers, datasets)
    check_penalty("fit_ensemble", penalty, datasets[0].inputs.dtype)
    validations: Sequence[Dataset | None] = [None] * len(keys)
    if validation is not None:
        validations = each("validation", validation, Dataset, len(keys), "make one with functional_mlp.Dataset")
    schedules = _schedules(schedule, len(keys))
    states = _initial_states(network, optimizers, datasets, keys, params)
    members = tuple(
        Member(
            optimizer=optimizers[number],
            data=datasets[number],
            validation=validations[number],
            schedule=schedules[number],
            progress=Progress(states[number]),
            params_given=params is not None,
        )
        for number in range(len(keys))
    )
    for member in members:
        check_monitors("fit_ensemble", member, loss, early_stopping, score)
        check_score("fit_ensemble", score, member.validation)
    return Job(
        caller="fit_ensemble",
        network=network,
        loss=loss,
        members=members,
        epochs=epochs,
        batch_size=batch_size,
        shuffle=shuffle,
        penalty=penalty,
        score=score,
        early_stopping=early_stopping,
        engine=engine,
    )


def each(name: str, value: Any, kind: type, members: int, advice: str) -> Sequence[Any]:
    """One `value` a member: the same for all, or the sequence of them that was given."""
    if isinstance(value, kind):
        return [value] * members
    if not isinstance(value, Sequence) or isinstance(value, str):
        checks.instance(f"fit_ensemble: {name}", value, kind, f"{advice}, one for all or a list of one each")
    if len(value) != members:
        raise ValueError(f"fit_ensemble: {name} must be one for all or {members}, one a key, got {len(value)}")
    for index, item in enumerate(value):
        checks.instance(f"fit_ensemble: {name}[{index}]", item, kind, advice)
    return list(value)


def _checked_keys(keys: Any) -> list[Key]:
    if not isinstance(keys, Sequence):
        raise TypeError(
            f"fit_ensemble: keys must be a sequence of keys, one a member, got {checks.describe(keys)}: "
            "pass functional_mlp.random.key(seed).split(members)"
        )
    if not keys:
        raise ValueError("fit_ensemble: keys must hold at least one key, got none: an ensemble has a member a key")
    for index, key in enumerate(keys):
        random.check_key(f"fit_ensemble: keys[{index}]", key)
    return list(keys)


def _check_one_kind(optimizers: Sequence[Optimizer], datasets: Sequence[Dataset]) -> None:
    for index, optimizer in enumerate(optimizers):
        if type(optimizer) is not type(optimizers[0]):
            raise TypeError(
                f"fit_ensemble: optimizers must be of one kind, got {optimizers[0]!r} and, for member {index}, "
                f"{optimizer!r}: train ensembles of different kinds one after the other"
            )
    for index, samples in enumerate(datasets):
        checks.same_kind(
            f"fit_ensemble: data[{index}].inputs", samples.inputs, "data[0].inputs", datasets[0].inputs
        )  # their widths are the network's


def _schedules(schedule: Any, members: int) -> Sequence[ScheduleLike | None]:
    if schedule is None:
        return [None] * members
    given = [schedule] * members if callable(schedule) or not isinstance(schedule, Sequence) else list(schedule)
    if len(given) != members:
        raise ValueError(f"fit_ensemble: schedule must be one for all or {members}, one a key, got {len(given)}")
    for item in given:
        check_schedule("fit_ensemble", item, "a callable value or a list of one each")
    return given


def _initial_states(
    network: Layer, optimizers: Sequence[Optimizer], datasets: Sequence[Dataset], keys: Sequence[Key], params: Params
) -> list[TrainState]:
    """Each member's state before the first epoch: what `fit` starts from with its key."""
    like = datasets[0].inputs
    init_keys, train_keys = zip(*(key.split() for key in keys), strict=True)
    if params is None:
        initial = tuple(network.init(key, dtype=like.dtype, device=like.device) for key in init_keys)
    else:
        initial, own = _members_of(params, len(keys)), network.init(init_keys[0], dtype=like.dtype, device=like.device)
        for index, given in enumerate(initial):
            trees.like(f"params of member {index}", given, "the network's params", own)
    return [
        TrainState(optimizer.init(own), key, 0)
        for optimizer, own, key in zip(optimizers, initial, train_keys, strict=True)
    ]


def _members_of(params: Params, members: int) -> tuple[Params, ...]:
    if not pytree.leaves(params):
        return (params,) * members
    found = count_members("fit_ensemble: params", params)
    if found != members:
        raise ValueError(
            f"fit_ensemble: params must have a leading axis of {count(members, 'member')}, one a key, got {found}: "
            "make them with functional_mlp.ensemble.stack"
        )
    return unstack(params)
