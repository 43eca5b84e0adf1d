"""`epochs`: a function that runs whole epochs in one native call, of a network or of a group of networks."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Generic, NamedTuple, TypeVar

import attrs
import torch

from functional_mlp.engine.barrier import emit_barrier
from functional_mlp.engine.calls import Share
from functional_mlp.engine.functions import begin
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.llvm.records import Double, Integer, Item, Kind, Pointer
from functional_mlp.engine.llvm.types import I64, Real
from functional_mlp.engine.plan import Plan
from functional_mlp.engine.shuffle import SHUFFLE, Places
from functional_mlp.shuffling import NARROW


class EpochsOfOne(NamedTuple, Generic[Item]):
    """The arguments of `epochs` of a network, which trains for some epochs, a turn of a loop each.

    The order of each is drawn at `order` with one of the `keys`, by the function at `shuffle`; `validation` tells of
    the pass forward after it (see `functional_mlp.engine.validation`). There are four `results` an epoch, and after
    each the parameters and slots are copied to its place in `snapshots`.
    """

    workspace: Pointer[Item]
    inputs: Pointer[Item]
    targets: Pointer[Item]
    labels: Pointer[Item]
    order: Pointer[Item]
    shuffle: Annotated[Item, ir.PointerType(SHUFFLE)]
    keys: Pointer[Item]
    learning_rates: Pointer[Item]
    validation: Pointer[Item]
    turns: Integer[Item]
    samples: Integer[Item]
    step: Integer[Item]
    strength: Double[Item]
    results: Pointer[Item]
    snapshots: Pointer[Item]


class EpochsOfMembers(NamedTuple, Generic[Item]):
    """The arguments of `epochs` of a group of networks.

    `pointers` and `scalars` are those of `MembersArguments`. `keys` holds a key for each member and epoch, and
    `validations` a row for each member. `places` holds two places for each of the `parameters`: the one among a
    member's numbers, and the one in the workspace of a forward pass.
    """

    workspace: Pointer[Item]
    pointers: Pointer[Item]
    scalars: Pointer[Item]
    shuffle: Annotated[Item, ir.PointerType(SHUFFLE)]
    keys: Pointer[Item]
    validations: Pointer[Item]
    places: Pointer[Item]
    members: Integer[Item]
    parameters: Integer[Item]
    turns: Integer[Item]
    samples: Integer[Item]
    step: Integer[Item]
    strength: Double[Item]
    results: Pointer[Item]


OfEpochs = TypeVar("OfEpochs", EpochsOfOne[Any], EpochsOfMembers[Any])


@attrs.frozen(eq=False)
class Turn(Generic[OfEpochs]):
    """An epoch of the loop: where it is emitted, what the function was given, and its number."""

    e: Emitter
    arguments: OfEpochs
    share: Share[ir.Value] | None
    number: Index
    batches: ir.Value

    def step(self) -> ir.Value:
        """The step before the epoch's first."""
        return self.e.builder.add(self.arguments.step, self.e.builder.mul(self.batches, self.e.index(self.number)))


def emit_epochs(module: ir.Module, kinds: Sequence[Kind], batch_size: int, one: Callable[[Turn[Any]], None]) -> None:
    """Emit `epochs`, a loop of turns that `one` emits.

    `kinds` are those of the arguments, and of the share where the work is divided among threads; `batch_size` says how
    many steps an epoch of the given samples takes.
    """
    b, (arguments, *shares) = begin(module, "epochs", *kinds)
    share = shares[0] if shares else None
    e, size = Emitter(b, Real(torch.float64), 1), ir.Constant(I64, batch_size)
    batches = b.udiv(b.add(arguments.samples, b.sub(size, ir.Constant(I64, 1))), size)
    e.loop("epoch", 0, arguments.turns, 1, lambda i: one(Turn(e, arguments, share, i, batches)))
    b.ret_void()


def is_given(b: ir.IRBuilder, pointer: ir.Value) -> ir.Value:
    """Whether a pointer is not null."""
    return b.icmp_unsigned("!=", b.ptrtoint(pointer, I64), ir.Constant(I64, 0))


def emit_shuffle(b: ir.IRBuilder, shuffle: ir.Value, order: ir.Value, key: ir.Value, samples: ir.Value) -> None:
    """Draw the whole order of a key into memory."""
    places = Places(order=order, key=key, first=ir.Constant(I64, 0), last=samples, narrow=ir.Constant(I64, NARROW))
    b.call(shuffle, places)


@contextlib.contextmanager
def on_first_thread(b: ir.IRBuilder, share: Share[ir.Value] | None, plan: Plan) -> Iterator[None]:
    """What is emitted runs on one thread of a team, once all have come, and before any goes on."""
    if share is None:
        yield
        return
    emit_barrier(b, share, plan)
    with b.if_then(b.icmp_unsigned("==", share.rank, ir.Constant(I64, 0))):
        yield
    emit_barrier(b, share, plan)
