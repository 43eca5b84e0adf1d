"""`epochs`: a function that runs whole epochs in one native call, of a network or of a group of networks.

What it takes is a record, `EpochsOfOne` or `EpochsOfMembers`, which holds the arguments of a call, their values in the
emitted code, and their LLVM types: so their order is stated once.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

import attrs
import torch

from functional_mlp.engine.barrier import emit_barrier
from functional_mlp.engine.calls import Share
from functional_mlp.engine.functions import begin
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.llvm.types import DOUBLE, I64, POINTER, Real
from functional_mlp.engine.plan import Plan
from functional_mlp.random import DIGEST_SIZE
from functional_mlp.shuffling import NARROW

KEY = ir.ArrayType(ir.IntType(8), DIGEST_SIZE)
# What native code is given the address of, to draw an order: see `functional_mlp.engine.shuffle`.
SHUFFLE = ir.FunctionType(ir.VoidType(), [POINTER, POINTER, I64, I64, I64])

Item = TypeVar("Item")


class EpochsOfOne(NamedTuple, Generic[Item]):
    """The arguments of `epochs` of a network, which trains for some epochs, a turn of a loop each.

    The order of each is drawn at `order` with one of the `keys`, by the function at `shuffle`; `validation` tells of
    the pass forward after it (see `functional_mlp.engine.validation`). There are four `results` an epoch, and after
    each the parameters and slots are copied to its place in `snapshots`.
    """

    workspace: Item
    inputs: Item
    targets: Item
    labels: Item
    order: Item
    shuffle: Item
    keys: Item
    learning_rates: Item
    validation: Item
    turns: Item
    samples: Item
    step: Item
    strength: Item
    results: Item
    snapshots: Item


class EpochsOfMembers(NamedTuple, Generic[Item]):
    """The arguments of `epochs` of a group of networks.

    `pointers` and `scalars` are those of `MembersArguments`. `keys` holds a key for each member and epoch, and
    `validations` a row for each member. `places` holds two places for each of the `parameters`: the one among a
    member's numbers, and the one in the workspace of a forward pass.
    """

    workspace: Item
    pointers: Item
    scalars: Item
    shuffle: Item
    keys: Item
    validations: Item
    places: Item
    members: Item
    parameters: Item
    turns: Item
    samples: Item
    step: Item
    strength: Item
    results: Item


EPOCHS_OF_ONE: EpochsOfOne[Any] = EpochsOfOne(
    workspace=POINTER,
    inputs=POINTER,
    targets=POINTER,
    labels=POINTER,
    order=POINTER,
    shuffle=ir.PointerType(SHUFFLE),
    keys=POINTER,
    learning_rates=POINTER,
    validation=POINTER,
    turns=I64,
    samples=I64,
    step=I64,
    strength=DOUBLE,
    results=POINTER,
    snapshots=POINTER,
)
EPOCHS_OF_MEMBERS: EpochsOfMembers[Any] = EpochsOfMembers(
    workspace=POINTER,
    pointers=POINTER,
    scalars=POINTER,
    shuffle=ir.PointerType(SHUFFLE),
    keys=POINTER,
    validations=POINTER,
    places=POINTER,
    members=I64,
    parameters=I64,
    turns=I64,
    samples=I64,
    step=I64,
    strength=DOUBLE,
    results=POINTER,
)

Arguments = TypeVar("Arguments", EpochsOfOne[Any], EpochsOfMembers[Any])


@attrs.frozen(eq=False)
class Turn(Generic[Arguments]):
    """An epoch of the loop: where it is emitted, what the function was given, and its number."""

    e: Emitter
    arguments: Arguments
    share: Share | None
    number: Index
    batches: ir.Value

    def step(self) -> ir.Value:
        """The step before the epoch's first."""
        return self.e.builder.add(self.arguments.step, self.e.builder.mul(self.batches, self.e.index(self.number)))


def emit_epochs(
    module: ir.Module, types: Arguments, batch_size: int, one: Callable[[Turn[Arguments]], None], *, divided: bool
) -> None:
    """Emit `epochs`, a loop of turns that `one` emits. Where it is `divided` among threads, each is told its share.

    `batch_size` says how many steps an epoch of the given samples takes, and `types` what the function is given.
    """
    function, b = begin(module, "epochs", types._asdict() | (Share.types() if divided else {}))
    arguments = type(types)(*function.args[: len(types)])
    share = Share(*function.args[len(types) :]) if divided else None
    e, size = Emitter(b, Real(torch.float64), 1), ir.Constant(I64, batch_size)
    batches = b.udiv(b.add(arguments.samples, b.sub(size, ir.Constant(I64, 1))), size)
    e.loop("epoch", 0, arguments.turns, 1, lambda i: one(Turn(e, arguments, share, i, batches)))
    b.ret_void()


def is_given(b: ir.IRBuilder, pointer: ir.Value) -> ir.Value:
    """Whether a pointer is not null."""
    return b.icmp_unsigned("!=", b.ptrtoint(pointer, I64), ir.Constant(I64, 0))


def emit_shuffle(b: ir.IRBuilder, shuffle: ir.Value, order: ir.Value, key: ir.Value, samples: ir.Value) -> None:
    """Draw the whole order of a key into memory."""
    b.call(shuffle, [order, key, ir.Constant(I64, 0), samples, ir.Constant(I64, NARROW)])


@contextlib.contextmanager
def on_first_thread(b: ir.IRBuilder, share: Share | None, plan: Plan) -> Iterator[None]:
    """What is emitted runs on one thread of a team, once all have come, and before any goes on."""
    if share is None:
        yield
        return
    emit_barrier(b, share, plan)
    with b.if_then(b.icmp_unsigned("==", share.rank, ir.Constant(I64, 0))):
        yield
    emit_barrier(b, share, plan)
