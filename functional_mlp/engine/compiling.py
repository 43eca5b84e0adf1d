"""Compiled functions: what all have in common, and those of a network."""

import contextlib
import ctypes
import functools
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import torch

from functional_mlp.engine import making
from functional_mlp.engine.batch.epoch import BatchEpoch
from functional_mlp.engine.batch.passes import ForwardPasses
from functional_mlp.engine.calls import Arguments, Share
from functional_mlp.engine.layout import Layout
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm import target as machine
from functional_mlp.engine.llvm.denormals import denormals_flushed
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.llvm.types import DOUBLE, I64, POINTER, Real
from functional_mlp.engine.meeting import emit_meeting
from functional_mlp.engine.plan import Plan, plan_of
from functional_mlp.engine.policy import MEASURED, Policy
from functional_mlp.engine.program import LossProgram, Program, TrainingProgram
from functional_mlp.engine.single.epoch import SampleEpoch
from functional_mlp.engine.single.exchange import workspace_size
from functional_mlp.engine.validation import Validation
from functional_mlp.random import DIGEST_SIZE
from functional_mlp.shuffling import NARROW

_C_TYPES_OF_EPOCHS = [ctypes.c_void_p] * 9 + [ctypes.c_int64] * 3 + [ctypes.c_double, ctypes.c_void_p]
_C_TYPES = [ctypes.c_void_p] * 5 + [ctypes.c_int64] * 4 + [ctypes.c_double] * 2 + [ctypes.c_void_p]
_C_TYPES_OF_SHARE = [ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]


def begin(module: ir.Module, name: str, arguments: Mapping[str, ir.Type]) -> tuple[ir.Function, ir.IRBuilder]:
    """A function of a module, and what emits into it."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), list(arguments.values())), name)
    for value, argument in zip(function.args, arguments, strict=True):
        value.name = argument
    return function, ir.IRBuilder(function.append_basic_block("entry"))


def note_workspace(module: ir.Module, size: int) -> None:
    """Say in a constant how much memory the function of a module needs, in numbers."""
    workspace_size(module).initializer = ir.Constant(I64, size)


@attrs.frozen(eq=False)
class Code:
    """Machine code that has been loaded, and the size of the memory that its function needs, in numbers."""

    code: machine.MachineCode
    workspace_size: int

    def function(self, name: str, types: Sequence[Any], *, short: bool = False) -> Callable[..., None]:
        """The function of a name, which returns nothing; other threads run Python meanwhile, unless it is short."""
        prototype = ctypes.PYFUNCTYPE if short else ctypes.CFUNCTYPE
        return prototype(None, *types)(self.address(name))

    def address(self, name: str) -> int:
        return self.code.address(name)


def load(what: Hashable, key: str | None, emit: Callable[[], ir.Module], target: machine.Target) -> Code:
    """The machine code of a module: from the disk, or made.

    Raises `CannotMakeCodeError` where LLVM cannot make or load it, which is remembered of `what`.
    """
    with making.remembering(what):
        code = machine.load(key, emit, target)
        return Code(code, ctypes.c_int64.from_address(code.address("workspace_size")).value)


# Networks


def emit(program: Program, plan: Plan) -> ir.Module:
    """The LLVM module of the function of a program, named as its kind."""
    module = ir.Module(name=f"functional_mlp.{program.kind}")
    types = Arguments.types(divided=plan.divided)
    more = {"predictions": POINTER} if program.kind == "predict" else {}
    function, builder = begin(module, program.kind, types | more)
    arguments = Arguments.of(function.args[: len(types)])
    if isinstance(program, TrainingProgram):
        # In training numbers decay: a velocity of an idle weight soon has no normal exponent, and would make
        # each step ten times as long.
        with denormals_flushed(builder, plan.architecture):
            if program.batch_size == 1:
                size = SampleEpoch(program, plan, builder, arguments).emit()
            else:
                size = BatchEpoch(program, plan, builder, arguments).emit()
    elif isinstance(program, LossProgram):
        size = ForwardPasses(program, plan, builder, arguments).measure(program)
    else:
        size = ForwardPasses(program, plan, builder, arguments).predict(function.args[-1])
    builder.ret_void()
    if isinstance(program, TrainingProgram):
        emit_epochs(function, program, plan)
    note_workspace(module, size)
    return module


KEY = ir.ArrayType(ir.IntType(8), DIGEST_SIZE)
# What native code is given the address of, to draw an order: see `functional_mlp.engine.shuffle`.
SHUFFLE = ir.FunctionType(ir.VoidType(), [POINTER, POINTER, I64, I64, I64])

_ARGUMENTS_OF_EPOCHS = {
    "workspace": POINTER,
    "inputs": POINTER,
    "targets": POINTER,
    "labels": POINTER,
    "order": POINTER,
    "shuffle": ir.PointerType(SHUFFLE),
    "keys": POINTER,
    "learning_rates": POINTER,
    "validation": POINTER,
    "count": I64,
    "samples": I64,
    "step": I64,
    "strength": DOUBLE,
    "results": POINTER,
}


def emit_epochs(epoch: ir.Function, program: TrainingProgram, plan: Plan) -> None:
    """Emit `epochs`, which draws the order of each of `count` keys and calls `epoch`, with a learning rate each.

    An order is drawn into the memory `order`, by the function at the address `shuffle`; where `keys` is null, what lies
    there is the order of all. Of several threads the first one draws. On one thread, after each epoch follows the pass
    forward that `validation` tells of (see `functional_mlp.engine.validation`), unless it is null. The results of each
    epoch, and of the pass after it, follow those of the one before.
    """
    function, b = begin(epoch.module, "epochs", _ARGUMENTS_OF_EPOCHS | (Share.types() if plan.divided else {}))
    own = dict(zip(_ARGUMENTS_OF_EPOCHS, function.args, strict=False))
    share = function.args[len(own) :]
    pointers = [own[name] for name in ("workspace", "inputs", "targets", "labels", "order")]
    count, samples, step = own["count"], own["samples"], own["step"]
    e = Emitter(b, Real(torch.float64), 1)
    size = ir.Constant(I64, program.batch_size)
    batches = b.udiv(b.add(samples, b.sub(size, ir.Constant(I64, 1))), size)
    whole = Share(*share) if share else None

    def one(i: Index) -> None:
        with b.if_then(is_given(b, own["keys"])), on_first_thread(b, whole, plan):
            emit_shuffle(b, own["shuffle"], own["order"], e.address(own["keys"], i, KEY), samples)
        rate = e.load_number(own["learning_rates"], i)
        begun = b.add(step, b.mul(batches, e.index(i)))
        result = e.address(own["results"], e.multiply(i, 4))
        rows = (ir.Constant(I64, 0), samples, samples)
        b.call(epoch, [*pointers, *rows, begun, rate, own["strength"], result, *share])
        if whole is None:
            with b.if_then(is_given(b, own["validation"])):
                validation = Validation(b, program.dtype, plan.lanes)
                validation.copy(own["workspace"], own["validation"], Layout.of(program, plan.lanes).size)
                validation.emit(own["validation"], e.address(result, 2))

    e.loop("epoch", 0, count, 1, one)
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
    emit_meeting(b, share, plan)
    with b.if_then(b.icmp_unsigned("==", share.rank, ir.Constant(I64, 0))):
        yield
    emit_meeting(b, share, plan)


@attrs.frozen(eq=False)
class Function:
    """A compiled function of a program, and its address.

    `workspace_size` is the size of the memory that it needs, in numbers; `layout` says where the parameters lie in
    it, and `plan` how it was made. `call_epochs` is there for epochs alone.
    """

    call: Callable[..., None]
    address: int
    call_epochs: Callable[..., None] | None
    workspace_size: int
    layout: Layout
    plan: Plan
    code: Code


def function_of(
    program: Program, target: machine.Target, policy: Policy = MEASURED, *, divided: bool = False
) -> Function:
    """The function of a program, as a policy plans it; `divided`, for several threads."""
    plan = plan_of(program, target, policy)
    return compiled(program, attrs.evolve(plan, divided=True) if divided else plan, target)


@functools.lru_cache(maxsize=256)
def compiled(program: Program, plan: Plan, target: machine.Target) -> Function:
    """The machine code of a program: from memory, from the disk, or made.

    Raises `CannotMakeCodeError` where LLVM cannot make or load it.
    """
    # What the library's own expressions emit is known by its source; for those of a user it must be looked at.
    key = f"{program.kind} {program!r} {plan!r}" if program.is_ours else None
    program.check_unchanged()
    code = load(any_batch(program, target), key, lambda: emit(program, plan), target)
    share = _C_TYPES_OF_SHARE if plan.divided else []
    more = [ctypes.c_void_p] if program.kind == "predict" else []
    call = code.function(program.kind, [*_C_TYPES, *share, *more])
    call_epochs = code.function("epochs", [*_C_TYPES_OF_EPOCHS, *share]) if program.kind == "epoch" else None
    layout = Layout.of(program, plan.lanes)
    return Function(call, code.address(program.kind), call_epochs, code.workspace_size, layout, plan, code)


@functools.lru_cache(maxsize=256)
def any_batch(program: Program, target: machine.Target) -> Hashable:
    """What the programs that do one thing with a network have in common, whatever the batches."""
    if isinstance(program, LossProgram):
        program = attrs.evolve(program, class_targets=False, weighted=False)
    if isinstance(program, TrainingProgram):
        program = attrs.evolve(program, batch_size=1)
    return program, target
