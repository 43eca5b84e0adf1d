"""`save` and `load`: a state with its network, optimizer, loss and history as one file."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import cattrs
import torch
from attrs import frozen
from torch import Tensor

import functional_mlp
from functional_mlp import checks, pytree
from functional_mlp.checkpoint.container import CheckpointError, check_nesting, pack, unpack
from functional_mlp.checkpoint.settings import Settings
from functional_mlp.checkpoint.values import Registry, check_sizes, converter, differences
from functional_mlp.files import write_atomically
from functional_mlp.history import History
from functional_mlp.layers.adapting import Adapted, as_layer
from functional_mlp.layers.arguments import template
from functional_mlp.layers.base import Layer, Params
from functional_mlp.losses import Loss
from functional_mlp.optimizers import Optimizer
from functional_mlp.random import Key
from functional_mlp.state import Job, Progress, TrainState

# Raised by one whenever a file of the new kind could be misread by an older version of the library.
FORMAT = 1

PathLike = str | os.PathLike[str]


@frozen(eq=False)
class Saved:
    """What `load` found. `state` is None where bare parameters were saved, and what was left out is None.

    `settings` are those of a run that a `Checkpoint` keeps, `ended` says that a callback ended it, and `best` is the
    state after its best epoch, where early stopping asked for it. In a file of
    `fit_ensemble` each of `members` is what `load` would find of that member, `params` are stacked, `optimizer` is the
    first member's, and `state` and `history` are None.
    """

    network: Layer
    params: Params
    state: TrainState | None
    optimizer: Optimizer
    loss: Loss | None
    history: History | None
    extra: Any
    settings: Settings | None = None
    ended: bool = False
    best: TrainState | None = None
    members: "tuple[Saved, ...]" = ()


@frozen
class _Progress:
    """What is left of a `TrainState` without its tensors."""

    learning_rate: float
    step: int
    epoch: int
    key: Key


@frozen
class _Member:
    """What a document says of a member of an ensemble; `epochs` are those of its history."""

    optimizer: Optimizer
    progress: _Progress
    epochs: int
    settings: Settings
    ended: bool
    best: _Progress | None = None


@frozen
class _Description:
    """What a checkpoint's document says of its tensors; what is left out of it has its default."""

    network: Layer
    optimizer: Optimizer
    loss: Loss | None
    progress: _Progress | None
    settings: Settings | None = None
    ended: bool = False
    best: _Progress | None = None
    members: tuple[_Member, ...] = ()


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
    network, optimizer
        What made the state.
    loss, history
        Saved with it where they are given.
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
    description = _Description(network, optimizer, loss, progress)
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
    """Save how far each member of a job has come, with its settings; `load` finds them."""
    tensors, described = [], []
    for member, reached, own in zip(job.members, progress, settings, strict=True):
        optimizer, best = member.optimizer, None
        saved = _tensors(job.network, _trees(reached.state, optimizer), reached.history)
        if job.early_stopping is not None:
            best = reached.state if reached.best is None else reached.best
            trees = _tensors(job.network, _trees(best, optimizer), None)
            saved |= {f"{_BEST}{name}": tensor for name, tensor in trees.items()}
        tensors.append(saved)
        told = (_progress(reached.state, optimizer), len(reached.history), own, reached.ended)
        described.append(_Member(optimizer, *told, best=None if best is None else _progress(best, optimizer)))
    first = described[0]
    if len(described) == 1:
        description = _Description(
            job.network, first.optimizer, job.loss, first.progress, first.settings, first.ended, first.best
        )
        _write(path, description, tensors[0], extra, registry)
    else:
        description = _Description(job.network, first.optimizer, job.loss, None, members=tuple(described))
        _write(path, description, _stacked(tensors), extra, registry)


# What the names of the tensors of the best state begin with.
_BEST = "best."


def _write(path: Path, description: _Description, tensors: dict[str, Tensor], extra: Any, registry: Registry) -> None:
    _check_extra(extra)
    try:
        encoded = _encoded(description, registry)
    except RecursionError:
        raise ValueError("save: the fields of the network, the optimizer or the loss are nested too deep") from None
    document = {"format": FORMAT, "version": functional_mlp.__version__, **encoded, "extra": extra}
    write_atomically(path, pack(tensors, document))


def _tensors(network: Layer, trees: dict[str, Any], history: History | None) -> dict[str, Tensor]:
    """The tensors of a state by their names in the file, once they are known to fit the network."""
    _check_params(network, trees["params"])
    tensors = {f"{name}{at}": _plain(leaf) for name, tree in trees.items() for at, leaf in pytree.items(tree)}
    figures = {} if history is None else history.to_dict()
    return tensors | {
        f"history.{name}": torch.tensor(values, dtype=torch.float64, device="cpu") for name, values in figures.items()
    }


def _stacked(members: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of many members as one each, with an axis over the members; shorter histories end in zeros."""
    stacked = {}
    for name in members[0]:
        own = [tensors[name] for tensors in members]
        if name.startswith("history."):
            longest = max(map(len, own))
            own = [torch.cat([figures, figures.new_zeros(longest - len(figures))]) for figures in own]
        stacked[name] = torch.stack(own)
    return stacked


def load(
    path: PathLike,
    *,
    network: Layer | None = None,
    optimizer: Optimizer | None = None,
    loss: Loss | None = None,
    registry: Registry = Registry(),  # noqa: B008 - frozen
) -> Saved:
    """Load what `save` saved: the same bits, in tensors on the CPU.

    No code of the file's is run, and classes of your own are found in `registry` alone. Where `network`, `optimizer`
    or `loss` are given, the file must hold the same.

    Raises `CheckpointError` for a file that is damaged in any bit, that no `save` has written or a newer format's,
    and for another network, optimizer or loss than expected, with the differences by path; `OSError` where the file
    cannot be read.

    >>> import functional_mlp as fm, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> network, optimizer = fm.Linear(2, 1), fm.SGD(0.1)
    >>> fm.save(path, network.init(fm.random.key(0)), network=network, optimizer=optimizer)
    >>> saved = fm.load(path)
    >>> saved.network, fm.pytree.equal(saved.params, network.init(fm.random.key(0)))
    (Linear(2, 1), True)
    >>> fm.load(path, network=fm.Linear(3, 1))
    Traceback (most recent call last):
    functional_mlp.checkpoint.container.CheckpointError: ...: network.in_features is 2, expected 3
    """
    checks.instance("load: registry", registry, Registry, "make one with functional_mlp.Registry(YourLayer)")
    expected = {
        "network": None if network is None else as_layer("load: network", network),
        "optimizer": optimizer,
        "loss": loss,
    }
    encoded = {name: _encoded_value(value, registry) for name, value in expected.items() if value is not None}
    try:
        tensors, document = unpack(Path(path))
        return _restored(tensors, document, encoded, registry)
    except ValueError as error:
        raise CheckpointError(path, str(error), error.names if isinstance(error, _DiffersError) else ()) from error


def _restored(
    tensors: dict[str, Tensor], document: dict[str, Any], expected: dict[str, Any], registry: Registry
) -> Saved:
    """What the tensors and the document of a file stand for; every `ValueError` says what the file is."""
    if document.get("format") != FORMAT:
        raise ValueError(
            f"is of the format {str(document.get('format'))[:60]}, and functional_mlp {functional_mlp.__version__} "
            f"reads format {FORMAT}: load it with a newer version"
        )
    differing = [
        (name, text) for name, value in expected.items() for text in differences(name, value, document.get(name))
    ]
    if differing:
        raise _DiffersError(
            "; ".join(text for _, text in differing), tuple(dict.fromkeys(name for name, _ in differing))
        )
    try:
        check_sizes(document["network"], sum(tensor.numel() for tensor in tensors.values()))
        described = {name: value for name, value in document.items() if name not in _ENVELOPE}
        description = converter(registry).structure(described, _Description)
        return _filled(description, tensors, document["extra"])
    except Exception as error:  # constructors and validators may raise anything, and it is the file that is wrong
        raise ValueError(f"does not describe a network and its state: {type(error).__name__}: {error}") from error


class _DiffersError(ValueError):
    """A file of other values than expected, and their names."""

    def __init__(self, reason: str, names: tuple[str, ...]) -> None:
        super().__init__(reason)
        self.names = names


# The parts of the document that are not the description's.
_ENVELOPE = ("digest", "format", "version", "extra")


def _filled(description: _Description, tensors: dict[str, Tensor], extra: Any) -> Saved:
    """The values of a description with their tensors, once each tensor is known to be where it belongs."""
    if not description.members:
        return _filled_one(description, tensors, extra)
    count = len(description.members)
    if any(tensor.ndim == 0 or len(tensor) != count for tensor in tensors.values()):
        raise ValueError(f"its tensors are not those of {count} members")
    members = tuple(_filled_member(description, index, tensors) for index in range(count))
    params = pytree.map(lambda *leaves: torch.stack(leaves), *(member.params for member in members))
    return attrs.evolve(
        members[0], params=params, state=None, history=None, extra=extra, settings=None, ended=False, members=members
    )


def _filled_member(description: _Description, index: int, tensors: dict[str, Tensor]) -> Saved:
    """One member of an ensemble, in tensors of its own."""
    member = description.members[index]
    if member.epochs < 0:
        raise ValueError(f"the history of member {index} has {member.epochs} epochs")
    own = {
        name: tensor[index, : member.epochs] if name.startswith("history.") else tensor[index]
        for name, tensor in tensors.items()
    }
    alone = _Description(
        description.network,
        member.optimizer,
        description.loss,
        member.progress,
        member.settings,
        member.ended,
        member.best,
    )
    return _filled_one(alone, {name: tensor.clone() for name, tensor in own.items()}, None)


def _filled_one(description: _Description, tensors: dict[str, Tensor], extra: Any) -> Saved:
    """The values of a description of one network with their tensors."""
    network, optimizer, progress = description.network, description.optimizer, description.progress
    as_layer("network", network)
    figures = {name: tensor for name, tensor in tensors.items() if name.startswith("history.")}
    best = {name.removeprefix(_BEST): tensor for name, tensor in tensors.items() if name.startswith(_BEST)}
    own = {name: tensor for name, tensor in tensors.items() if name not in figures and not name.startswith(_BEST)}
    params, state = _state(description, progress, own)
    _, best_state = _state(description, description.best, best) if description.best or best else (None, None)
    layer = network.layer if isinstance(network, Adapted) else network
    history, settings = _history(figures), description.settings
    return Saved(
        layer, params, state, optimizer, description.loss, history, extra, settings, description.ended, best_state
    )


def _state(
    description: _Description, progress: _Progress | None, tensors: dict[str, Tensor]
) -> tuple[Params, TrainState | None]:
    """The params that tensors hold, and their state where there is progress to go on from."""
    network, optimizer = description.network, description.optimizer
    shapes = template(network, torch.float32)
    trees = ["params"] if progress is None else ["params", *(f"slots.{slot}" for slot in optimizer.slots())]
    names = {tree: [f"{tree}{path}" for path in pytree.paths(shapes)] for tree in trees}
    missing = [name for tree in names.values() for name in tree if name not in tensors]
    unexpected = tensors.keys() - {name for tree in names.values() for name in tree}
    if missing or unexpected:
        raise ValueError(f"of its tensors {missing or 'none'} are missing and {sorted(unexpected) or 'none'} too many")
    params, *slots = (pytree.unflatten(shapes, [tensors[name] for name in tree]) for tree in names.values())
    _check_params(network, params)
    if progress is None:
        return params, None
    named = dict(zip(optimizer.slots(), slots, strict=True))
    optimizer_state = optimizer.State(params, progress.learning_rate, progress.step, **named)
    optimizer.check_state(optimizer_state)
    checks.integer("epoch", progress.epoch, minimum=0)
    return params, TrainState(optimizer_state, progress.key, progress.epoch)


def _history(figures: dict[str, Tensor]) -> History | None:
    if not figures:
        return None
    if len({figure.shape for figure in figures.values()}) > 1 or any(figure.ndim != 1 for figure in figures.values()):
        raise ValueError("the figures of its history differ in length")
    return History(**{name.removeprefix("history."): tuple(figure.tolist()) for name, figure in figures.items()})


def _progress(state: TrainState, optimizer: Optimizer) -> _Progress:
    optimizer_state = state.optimizer_state
    optimizer.check_state(optimizer_state)
    return _Progress(optimizer_state.learning_rate, optimizer_state.step, state.epoch, state.key)


def _trees(state: TrainState, optimizer: Optimizer) -> dict[str, Any]:
    """The trees of a state by their names in the file."""
    slots = {f"slots.{slot}": getattr(state.optimizer_state, slot) for slot in optimizer.slots()}
    return {"params": state.optimizer_state.params, **slots}


def _plain(leaf: Tensor) -> Tensor:
    """The numbers of a leaf, one after the other in memory of its own on the CPU."""
    return leaf.detach().resolve_neg().to("cpu").clone(memory_format=torch.contiguous_format)


def _encoded(description: _Description, registry: Registry) -> dict[str, Any]:
    """The description as JSON, once it is known to come back as it is."""
    convert = converter(registry)
    encoded: dict[str, Any] = convert.unstructure(description)
    try:
        decoded = convert.structure(json.loads(json.dumps(encoded)), _Description)
    except (TypeError, ValueError, cattrs.StructureHandlerNotFoundError) as error:
        raise ValueError(f"save: {description.network!r} and {description.optimizer!r} as JSON: {error}") from error
    defaults = {field.name: field.default for field in attrs.fields(_Description)}
    for field in attrs.fields(_Description):
        value, again = getattr(description, field.name), getattr(decoded, field.name)
        if value != again:
            raise ValueError(
                f"save: {field.name} {value!r} would be loaded as {again!r}: give the fields of its classes types, "
                "and let them hold numbers, words, tuples and values"
            )
    return {name: value for name, value in encoded.items() if getattr(description, name) != defaults[name]}


def _encoded_value(value: Any, registry: Registry) -> Any:
    return json.loads(json.dumps(converter(registry).unstructure(value)))


def _check_params(network: Layer, params: Params) -> None:
    """Raise `TypeError` or `ValueError` for params that are not those of the network."""
    leaves = pytree.leaves(params)
    for path, leaf in pytree.items(params):
        checks.float_tensor(f"params{path}", leaf)
    reference = leaves[0] if leaves else None
    checks.tree_like("params", params, "the network's params", template(network, torch.float32), reference=reference)


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
