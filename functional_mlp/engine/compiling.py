"""The code of a network: an epoch, or a pass forward."""

import functools
from collections.abc import Hashable, Mapping
from typing import Generic, NamedTuple

import attrs

from functional_mlp.engine.batch.epoch import BatchEpoch
from functional_mlp.engine.batch.passes import ForwardPasses
from functional_mlp.engine.calls import Arguments, Scope, Share
from functional_mlp.engine.epochs import EpochsOfOne, Turn, emit_epochs, emit_shuffle, is_given, on_first_thread
from functional_mlp.engine.functions import Source, begin
from functional_mlp.engine.layout import Layout
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.denormals import denormals_flushed
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.records import Item, Kind, Pointer
from functional_mlp.engine.llvm.types import I64, Real
from functional_mlp.engine.plan import Plan
from functional_mlp.engine.program import LossProgram, Program, TrainingProgram
from functional_mlp.engine.shuffle import KEY
from functional_mlp.engine.single.epoch import SampleEpoch
from functional_mlp.engine.validation import Validation
from functional_mlp.engine.workspace import note_workspace
from functional_mlp.forks import cached_property


class Outputs(NamedTuple, Generic[Item]):
    """The further arguments of a pass forward that measures no loss: where the outputs go."""

    predictions: Pointer[Item]


@attrs.frozen
class NetworkSource(Source):
    """A program, and how its code is made. There is a function of the program's kind, and of an epoch also `epochs`."""

    program: Program
    plan: Plan

    @cached_property
    def layout(self) -> Layout:
        """Where the parameters lie in the workspace."""
        return Layout.of(self.program, self.plan.lanes)

    @property
    def numbers(self) -> int:
        """The size of the parameters and, in training, of the optimizer's slots."""
        slots = len(self.program.optimizer.slots()) if isinstance(self.program, TrainingProgram) else 0
        return self.layout.size * (1 + slots)

    @property
    def what(self) -> Hashable:
        return any_batch(self.program)

    @property
    def key(self) -> str | None:
        # What the library's own expressions emit is known by its source; for those of a user it must be looked at.
        return f"{self.program.kind} {self.program!r} {self.plan!r}" if self.program.is_ours else None

    @property
    def functions(self) -> Mapping[str, tuple[Kind, ...]]:
        share = (Share,) if self.plan.divided else ()
        if self.program.kind == "epoch":
            return {"epoch": (Arguments, *share), "epochs": (EpochsOfOne, *share)}
        return {self.program.kind: (Arguments, *share, *([Outputs] if self.program.kind == "predict" else []))}

    def check_unchanged(self) -> None:
        self.program.check_unchanged()

    def emit(self) -> ir.Module:
        program, plan = self.program, self.plan
        module = ir.Module(name=f"functional_mlp.{program.kind}")
        b, given = begin(module, program.kind, *self.functions[program.kind])
        if isinstance(program, TrainingProgram):
            scope = Scope.of_function(plan, *given)
            # In training numbers decay: a velocity of an idle weight soon has no normal exponent, and would make
            # each step ten times as long.
            with denormals_flushed(b, plan.architecture):
                if program.batch_size == 1:
                    size = SampleEpoch(program, b, scope).emit()
                else:
                    size = BatchEpoch(program, b, scope).emit()
        elif isinstance(program, LossProgram):
            size = ForwardPasses(program, b, Scope.of_function(plan, *given)).measure(program)
        else:
            *own, outputs = given
            size = ForwardPasses(program, b, Scope.of_function(plan, *own)).predict(outputs.predictions)
        b.ret_void()
        if isinstance(program, TrainingProgram):
            emit_epochs(module, self.functions["epochs"], program.batch_size, self._turn)
        note_workspace(module, size)
        return module

    def _turn(self, turn: Turn[EpochsOfOne[ir.Value]]) -> None:
        """Emit a turn of `epochs`, which draws the order of a key and calls `epoch`, with a learning rate of its own.

        An order is drawn into the memory `order`, by the function at the address `shuffle`; where `keys` is null, what
        lies there is the order of all. Of several threads the first one draws. On one thread, after each epoch follows
        the pass forward that `validation` tells of (see `functional_mlp.engine.validation`), unless it is null. The
        results of each epoch, and of the pass after it, follow those of the one before, and so do the parameters and
        slots after it in `snapshots`, unless that is null.
        """
        e, b, own, plan = turn.e, turn.e.builder, turn.arguments, self.plan
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
        )
        b.call(b.module.get_global("epoch"), [*arguments, *(turn.share or ())])
        if turn.share is None:
            with b.if_then(is_given(b, own.validation)):
                validation = Validation(b, self.program.dtype, plan.lanes)
                validation.copy(own.workspace, own.validation, self.layout.size)
                validation.emit(own.validation, e.address(result, 2))
        with b.if_then(is_given(b, own.snapshots)), on_first_thread(b, turn.share, plan):
            place = e.multiply(turn.number, self.numbers)
            Emitter(b, Real(self.program.dtype), plan.lanes).copy(
                "snapshot", 0, self.numbers, (own.workspace, 0), (own.snapshots, place)
            )


@functools.lru_cache(maxsize=256)
def any_batch(program: Program) -> Program:
    """What the programs that do one thing with a network have in common, whatever the batches."""
    if isinstance(program, LossProgram):
        program = attrs.evolve(program, class_targets=False, weighted=False)
    if isinstance(program, TrainingProgram):
        program = attrs.evolve(program, batch_size=1)
    return program
