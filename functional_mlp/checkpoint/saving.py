"""`save`: a state with its network, optimizer, loss and history as one file; `load` is the way back."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import functional_mlp
from functional_mlp import checks, pytree
from functional_mlp.checkpoint.container import check_nesting, pack
from functional_mlp.checkpoint.description import (
    BEST,
    FORMAT,
    HISTORY,
    Description,
    Member,
    Reached,
    check_params,
    encoded_description,
)
from functional_mlp.checkpoint.settings import Settings
from functional_mlp.checkpoint.values import Registry
from functional_mlp.files import PathLike, write_atomically
from functional_mlp.history import History
from functional_mlp.layers.adapting import as_layer
from functional_mlp.layers.base import Layer, Params
from functional_mlp.losses import Loss
from functional_mlp.optimizers import Optimizer
from functional_mlp.state import Job, Progress, TrainState


def save(
    path: PathLike,
    state: TrainState | Params,
    *,
    network: Layer,
    optimizer: Optimizer,
    loss: Loss | None = None,
    history: History | None = None,
    extra: Any = None,
    registry: Registry = Registry(),  # noqa: B008 - frozen
) -> None:
    """Save a `TrainState`, or bare parameters, with the values that they belong to; `load` is the way back.

    Parameters
    ----------
    path
        The file, which is written whole or not at all, and is on the disk when this returns.
    state
        A `TrainState`, or the params of the network.
    network
        The network whose parameters these are.
    optimizer
        The optimizer that made the state.
    loss
        The loss it was trained with, saved where it is given.
    history
        The history of the training, saved where it is given.
    extra
        Anything of your own that JSON can hold.
    registry
        Holds classes of your own.

    Raises `TypeError` or `ValueError`, before anything is written, for a state that does not fit the network and the
    optimizer, or that could not be loaded again, and `OSError` where the file cannot be written: a file that was
    there is then as it was.

    >>> import functional_mlp as fm, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> network, loss, optimizer = fm.Linear(2, 2), fm.MeanSquaredError(), fm.SGD(0.1)
    >>> data = fm.datasets.disk(fm.random.key(0), 50)
    >>> result = fm.fit(network, loss, optimizer, data, key=fm.random.key(1), epochs=2)
    >>> fm.save(path, result.state, network=network, optimizer=optimizer, loss=loss, history=result.history)
    >>> saved = fm.load(path)
    >>> on = fm.fit(saved.network, saved.loss, saved.optimizer, data, state=saved.state, epochs=3)
    >>> on.state.epoch
    3
    """
    network = as_layer("save: network", network)
    checks.instance("save: optimizer", optimizer, Optimizer, "pass the one that made the state")
    if loss is not None:
        checks.instance("save: loss", loss, Loss, "leave it out, or pass a loss")
    if history is not None:
        checks.instance("save: history", history, History, "pass a result's .history")
    checks.instance("save: registry", registry, Registry, "make one with functional_mlp.Registry(YourLayer)")
    progress, trees = None, {"params": state}
    if isinstance(state, TrainState):
        progress, trees = _progress(state, optimizer), _trees(state, optimizer)
    description = Description(network, optimizer, loss, progress)
    _write(Path(path), description, _tensors(network, trees, history), extra, registry)


def save_run(
    path: Path,
    job: Job,
    progress: Sequence[Progress],
    settings: Sequence[Settings],
    *,
    extra: Any,
    registry: Registry,
) -> None:
    """Save how far each member of a job has come; `load` finds it.

    Parameters
    ----------
    path
        The file, which is written whole or not at all.
    job
        The networks, their optimizers and the loss.
    progress
        How far each member has come.
    settings
        What else each member is trained with.
    extra
        Anything that JSON can hold.
    registry
        Holds classes of the user's own.
    """
    tensors, described = [], []
    for member, reached, own in zip(job.members, progress, settings, strict=True):
        optimizer, best = member.optimizer, None
        saved = _tensors(job.network, _trees(reached.state, optimizer), reached.history)
        if job.early_stopping is not None:
            best = reached.state if reached.best is None else reached.best
            trees = _tensors(job.network, _trees(best, optimizer), None)
            saved |= {f"{BEST}{name}": tensor for name, tensor in trees.items()}
        tensors.append(saved)
        told = (_progress(reached.state, optimizer), len(reached.history), own, reached.ended)
        told_of_best = (None if best is None else _progress(best, optimizer), reached.judged_from)
        described.append(Member(optimizer, *told, *told_of_best))
    first = described[0]
    if len(described) == 1:
        alone = (first.settings, first.ended, first.best, first.judged_from)
        description = Description(job.network, first.optimizer, job.loss, first.progress, *alone)
        _write(path, description, tensors[0], extra, registry)
    else:
        description = Description(job.network, first.optimizer, job.loss, None, members=tuple(described))
        _write(path, description, _stacked(tensors), extra, registry)


def _write(path: Path, description: Description, tensors: dict[str, Tensor], extra: Any, registry: Registry) -> None:
    _check_extra(extra)
    try:
        encoded = encoded_description(description, registry)
    except RecursionError:
        raise ValueError("save: the fields of the network, the optimizer or the loss are nested too deep") from None
    document = {"format": FORMAT, "version": functional_mlp.__version__, **encoded, "extra": extra}
    write_atomically(path, pack(tensors, document))


def _tensors(network: Layer, trees: dict[str, Any], history: History | None) -> dict[str, Tensor]:
    """The tensors of a state by their names in the file, once they are known to fit the network."""
    check_params(network, trees["params"])
    tensors = {f"{name}{at}": _plain(leaf) for name, tree in trees.items() for at, leaf in pytree.items(tree)}
    figures = {} if history is None else history.to_dict()
    return tensors | {
        f"{HISTORY}{name}": torch.tensor(values, dtype=torch.float64, device="cpu") for name, values in figures.items()
    }


def _stacked(members: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of many members as one each, with an axis over the members; shorter histories end in zeros."""
    stacked = {}
    for name in members[0]:
        own = [tensors[name] for tensors in members]
        if name.startswith(HISTORY):
            longest = max(map(len, own))
            own = [torch.cat([figures, figures.new_zeros(longest - len(figures))]) for figures in own]
        stacked[name] = torch.stack(own)
    return stacked


def _progress(state: TrainState, optimizer: Optimizer) -> Reached:
    optimizer_state = state.optimizer_state
    optimizer.check_state(optimizer_state)
    return Reached(optimizer_state.learning_rate, optimizer_state.step, state.epoch, state.key)


def _trees(state: TrainState, optimizer: Optimizer) -> dict[str, Any]:
    """The trees of a state by their names in the file."""
    slots = {f"slots.{slot}": getattr(state.optimizer_state, slot) for slot in optimizer.slots()}
    return {"params": state.optimizer_state.params, **slots}


def _plain(leaf: Tensor) -> Tensor:
    """The numbers of a leaf, one after the other in memory of its own on the CPU."""
    return leaf.detach().resolve_neg().to("cpu").clone(memory_format=torch.contiguous_format)


def _check_extra(extra: Any) -> None:
    """Raise `TypeError` for what JSON would not give back, and `ValueError` for what is nested too deep."""
    check_nesting("save: extra", extra)
    advice = "extra must be made of dicts with str keys, lists, strings, finite numbers, booleans and None"
    try:
        again = json.loads(json.dumps(extra, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise TypeError(f"save: {advice}, got {checks.describe(extra)}: {error}") from error
    if again != extra:
        raise TypeError(f"save: {advice}, got {checks.describe(extra)}, which would come back as {again!r}")
