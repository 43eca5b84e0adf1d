"""The compiled functions of a network."""

import functools
from collections.abc import Callable, Hashable

import attrs

from functional_mlp.engine.batch.epoch import BatchEpoch
from functional_mlp.engine.batch.passes import ForwardPasses
from functional_mlp.engine.calls import Arguments, Share
from functional_mlp.engine.epochs import (
    EPOCHS_OF_ONE,
    KEY,
    EpochsOfOne,
    Turn,
    emit_epochs,
    emit_shuffle,
    is_given,
    on_first_thread,
)
from functional_mlp.engine.functions import Code, begin, load
from functional_mlp.engine.layout import Layout
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm import target as machine
from functional_mlp.engine.llvm.denormals import denormals_flushed
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.types import I64, POINTER, Real
from functional_mlp.engine.plan import Plan, plan_of
from functional_mlp.engine.policy import Policy
from functional_mlp.engine.program import LossProgram, Program, TrainingProgram
from functional_mlp.engine.single.epoch import SampleEpoch
from functional_mlp.engine.validation import Validation
from functional_mlp.engine.workspace import note_workspace


def emit(program: Program, plan: Plan) -> ir.Module:
    """The LLVM module of the function of a program, named as its kind."""
    module = ir.Module(name=f"functional_mlp.{program.kind}")
    function, builder = begin(module, program.kind, types_of(program, plan))
    arguments = Arguments.of(function.args[: len(Arguments.types(divided=plan.divided))])
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
        _emit_epochs(function, program, plan)
    note_workspace(module, size)
    return module


def types_of(program: Program, plan: Plan) -> dict[str, ir.Type]:
    """The arguments of the function of a program, and their types: where it makes outputs, the last says where."""
    more = {"predictions": POINTER} if program.kind == "predict" else {}
    return Arguments.types(divided=plan.divided) | more


def _emit_epochs(epoch: ir.Function, program: TrainingProgram, plan: Plan) -> None:
    """Emit `epochs`, whose turn draws the order of a key and calls `epoch`, with a learning rate of its own.

    An order is drawn into the memory `order`, by the function at the address `shuffle`; where `keys` is null, what lies
    there is the order of all. Of several threads the first one draws. On one thread, after each epoch follows the pass
    forward that `validation` tells of (see `functional_mlp.engine.validation`), unless it is null. The results of each
    epoch, and of the pass after it, follow those of the one before, and so do the parameters and slots after it in
    `snapshots`, unless that is null.
    """
    size = Layout.of(program, plan.lanes).size
    numbers = size * (1 + len(program.optimizer.slots()))

    def one(turn: Turn[EpochsOfOne[ir.Value]]) -> None:
        e, b, own = turn.e, turn.e.builder, turn.arguments
        with b.if_then(is_given(b, own.keys)), on_first_thread(b, turn.share, plan):
            emit_shuffle(b, own.shuffle, own.order, e.address(own.keys, turn.number, KEY), own.samples)
        rate = e.load_number(own.learning_rates, turn.number)
        step = turn.step()
        result = e.address(own.results, e.multiply(turn.number, 4))
        arguments = Arguments(
            workspace=own.workspace,
            inputs=own.inputs,
            targets=own.targets,
            labels=own.labels,
            order=own.order,
            first=ir.Constant(I64, 0),
            last=own.samples,
            samples=own.samples,
            step=step,
            learning_rate=rate,
            strength=own.strength,
            results=result,
            share=turn.share,
        )
        b.call(epoch, arguments.values())
        if turn.share is None:
            with b.if_then(is_given(b, own.validation)):
                validation = Validation(b, program.dtype, plan.lanes)
                validation.copy(own.workspace, own.validation, size)
                validation.emit(own.validation, e.address(result, 2))
        with b.if_then(is_given(b, own.snapshots)), on_first_thread(b, turn.share, plan):
            place = e.multiply(turn.number, numbers)
            Emitter(b, Real(program.dtype), plan.lanes).copy(
                "snapshot", 0, numbers, (own.workspace, 0), (own.snapshots, place)
            )

    emit_epochs(epoch.module, EPOCHS_OF_ONE, program.batch_size, one, divided=plan.divided)


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


def function_of(program: Program, target: machine.Target, policy: Policy, *, divided: bool = False) -> Function:
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
    call = code.function(program.kind, types_of(program, plan).values())
    share = Share.types().values() if plan.divided else ()
    call_epochs = code.function("epochs", [*EPOCHS_OF_ONE, *share]) if program.kind == "epoch" else None
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
