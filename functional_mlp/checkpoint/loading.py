"""`load`: what a file holds, once every part of it is known to belong where it is."""

from pathlib import Path
from typing import Any

import attrs
import torch
from attrs import frozen
from torch import Tensor

import functional_mlp
from functional_mlp import checks, markup, pytree
from functional_mlp.checkpoint.container import CheckpointError, unpack
from functional_mlp.checkpoint.description import (
    BEST,
    FORMAT,
    HISTORY,
    Description,
    Reached,
    check_params,
    encoded_value,
)
from functional_mlp.checkpoint.settings import Settings
from functional_mlp.checkpoint.values import Registry, check_sizes, converter, differences
from functional_mlp.files import PathLike
from functional_mlp.history import History
from functional_mlp.layers.adapting import Adapted, as_layer
from functional_mlp.layers.arguments import template
from functional_mlp.layers.base import Layer, Params
from functional_mlp.losses import Loss
from functional_mlp.optimizers import Optimizer
from functional_mlp.spread import count
from functional_mlp.state import TrainState


@frozen(eq=False, repr=False)
class Saved:
    """What `load` found. `state` is None where bare parameters were saved, and what was left out is None.

    `settings` are those of a run that a `Checkpoint` keeps, `ended` says that a callback ended it, and `best` is the
    state after its best epoch, where early stopping asked for it, of those from the place `judged_from` in the history
    on. In a file of `fit_ensemble` each of `members` is what `load` would find of that member, `params` are stacked,
    `optimizer` is the first member's, and `state` and `history` are None.
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
    judged_from: int = 0
    members: "tuple[Saved, ...]" = ()

    def __repr__(self) -> str:
        members = f"{count(len(self.members), 'member')} of " if self.members else ""
        after = "" if self.state is None else f" after {count(self.state.epoch, 'epoch')}"
        return f"<Saved {members}{self.network!r}{after}{'' if self.history is None else self.history.outcome()}>"

    def _repr_html_(self) -> str:
        return markup.tree(repr(self), self.params)


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
    encoded = {name: encoded_value(value, registry) for name, value in expected.items() if value is not None}
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
        description = converter(registry).structure(described, Description)
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


def _filled(description: Description, tensors: dict[str, Tensor], extra: Any) -> Saved:
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


def _filled_member(description: Description, index: int, tensors: dict[str, Tensor]) -> Saved:
    """One member of an ensemble, in tensors of its own."""
    member = description.members[index]
    if member.epochs < 0:
        raise ValueError(f"the history of member {index} has {member.epochs} epochs")
    own = {
        name: tensor[index, : member.epochs] if name.startswith(HISTORY) else tensor[index]
        for name, tensor in tensors.items()
    }
    alone = Description(
        description.network,
        member.optimizer,
        description.loss,
        member.progress,
        member.settings,
        member.ended,
        member.best,
        member.judged_from,
    )
    return _filled_one(alone, {name: tensor.clone() for name, tensor in own.items()}, None)


def _filled_one(description: Description, tensors: dict[str, Tensor], extra: Any) -> Saved:
    """The values of a description of one network with their tensors."""
    network, optimizer, progress = description.network, description.optimizer, description.progress
    as_layer("network", network)
    figures = {name: tensor for name, tensor in tensors.items() if name.startswith(HISTORY)}
    best = {name.removeprefix(BEST): tensor for name, tensor in tensors.items() if name.startswith(BEST)}
    own = {name: tensor for name, tensor in tensors.items() if name not in figures and not name.startswith(BEST)}
    params, state = _state(description, progress, own)
    _, best_state = _state(description, description.best, best) if description.best or best else (None, None)
    layer = network.layer if isinstance(network, Adapted) else network
    history, settings = _history(figures), description.settings
    judged_from = checks.integer("judged_from", description.judged_from, minimum=0)
    reached = (history, extra, settings, description.ended, best_state, judged_from)
    return Saved(layer, params, state, optimizer, description.loss, *reached)


def _state(
    description: Description, progress: Reached | None, tensors: dict[str, Tensor]
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
    check_params(network, params)
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
    return History(**{name.removeprefix(HISTORY): tuple(figure.tolist()) for name, figure in figures.items()})
