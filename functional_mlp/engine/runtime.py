"""Compiled programs, and the memory that they run in."""

import ctypes
import functools
import math
from collections.abc import Callable
from typing import Any, Literal

import attrs
import torch
from llvmlite import ir
from torch import Tensor

from functional_mlp.datasets import Dataset
from functional_mlp.engine import target as machine
from functional_mlp.engine.batch import PIECE, BatchKernels
from functional_mlp.engine.emitter import I64, POINTER, denormals_flushed
from functional_mlp.engine.kernels import Arguments
from functional_mlp.engine.program import Branch, Layout, Pointwise, Program, Step, affine_steps
from functional_mlp.engine.sample import SampleEpoch
from functional_mlp.optimizers import Optimizer, OptimizerState

Kind = Literal["epoch", "evaluate", "predict"]

# A native call cannot be interrupted: it gets about this many operations, a few milliseconds.
OPERATIONS_PER_CALL = 100_000_000
# What an activation or a loss of one unit costs, in operations.
OPERATIONS_PER_UNIT = 100

_C_TYPES = [ctypes.c_void_p] * 5 + [ctypes.c_int64] * 4 + [ctypes.c_double, ctypes.c_void_p]



def emit(program: Program, kind: Kind, lanes: int) -> ir.Module:
    """The LLVM module of a function of a program, named as its kind.

    Its constant `workspace_size` is the size of the memory that the function needs, in numbers.
    """
    module = ir.Module(name=f"functional_mlp.{kind}")
    types = [*Arguments.TYPES, POINTER] if kind == "predict" else [*Arguments.TYPES]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), types), kind)
    names = [field.name for field in attrs.fields(Arguments)]
    for value, name in zip(function.args, [*names, "predictions"], strict=False):
        value.name = name
    arguments = Arguments(*function.args[: len(names)])
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    if kind == "epoch":
        # In training numbers decay: a velocity of an idle weight soon has no normal exponent, and would make
        # each step ten times as long.
        with denormals_flushed(builder):
            if program.batch_size == 1:
                size = SampleEpoch(program, lanes, builder, arguments).emit()
            else:
                size = BatchKernels(program, lanes, builder, arguments).epoch()
    else:
        predictions = function.args[-1] if kind == "predict" else None
        size = BatchKernels(program, lanes, builder, arguments).forward_only(predictions)
    builder.ret_void()
    constant = ir.GlobalVariable(module, I64, "workspace_size")
    constant.global_constant = True
    constant.initializer = ir.Constant(I64, size)
    return module


@attrs.frozen(eq=False)
class Function:
    """A compiled function of a program, and the size of the workspace it needs, in numbers."""

    call: Callable[..., None]
    workspace_size: int
    code: machine.MachineCode


@functools.lru_cache(maxsize=256)
def compiled(program: Program, kind: Kind, target: machine.Target) -> Function:
    """The machine code of a program: from memory, from the disk, or made."""
    lanes = lanes_of(program, target)
    # What the library's own expressions emit is known by its source; for those of a user it must be looked at.
    key = f"{kind} {program!r}" if _is_ours(program) else None
    code = machine.load(key, lambda: emit(program, kind, lanes), target)
    types = [*_C_TYPES, ctypes.c_void_p] if kind == "predict" else _C_TYPES
    size = ctypes.c_int64.from_address(code.address("workspace_size")).value
    return Function(ctypes.CFUNCTYPE(None, *types)(code.address(kind)), size, code)


def lanes_of(program: Program, target: machine.Target) -> int:
    return target.lanes(4 if program.dtype == torch.float32 else 8)


def _is_ours(program: Program) -> bool:
    values = [program.loss, program.optimizer, *_layers(program.steps)]
    return all(type(value).__module__.startswith("functional_mlp.") for value in values)


def _layers(steps: tuple[Step, ...]) -> list[object]:
    layers: list[object] = []
    for step in steps:
        if isinstance(step, Pointwise):
            layers.append(step.layer)
        elif isinstance(step, Branch):
            layers += _layers(step.steps)
    return layers


@attrs.frozen(eq=False)
class Rows:
    """A data set as native code reads it: contiguous, with a label a row (-1 where there are none)."""

    inputs: Tensor
    targets: Tensor
    labels: Tensor
    labelled: bool

    @classmethod
    def of(cls, data: Dataset) -> "Rows":
        labels = data.labels
        filled = torch.full((len(data),), -1) if labels is None else _plain(labels)
        return cls(_plain(data.inputs), _plain(data.targets), filled, labels is not None)

    def pointers(self) -> tuple[int, int, int]:
        return self.inputs.data_ptr(), self.targets.data_ptr(), self.labels.data_ptr()

    def accuracy(self, right: float, samples: int) -> float:
        return right / samples if self.labelled else math.nan


def _plain(tensor: Tensor) -> Tensor:
    """A tensor whose memory holds its numbers one after the other."""
    return tensor.detach().resolve_neg().resolve_conj().contiguous()


class Run:
    """A training run: an optimizer's state in the engine's layout, which epochs change in place."""

    def __init__(self, program: Program, state: OptimizerState, data: Dataset) -> None:
        self._target = machine.host()
        self._program = program
        self._function = compiled(program, "epoch", self._target)
        self._layout = Layout.of(program, lanes_of(program, self._target))
        self._rows = Rows.of(data)
        self._step = state.step
        self._workspace = torch.zeros(self._function.workspace_size, dtype=program.dtype)
        for name, array in self._arrays().items():
            self._layout.pack(getattr(state, name), array)
        cost = sum(6 * step.in_features * step.out_features for step in affine_steps(program.steps))
        cost += OPERATIONS_PER_UNIT * self._function.workspace_size // min(program.batch_size, PIECE)
        whole = program.batch_size if program.batch_size <= PIECE else PIECE
        self._rows_per_call = max(1, OPERATIONS_PER_CALL // (cost * whole)) * whole

    def _arrays(self) -> dict[str, Tensor]:
        """The part of the workspace that holds the params, and each slot of the optimizer."""
        names = ("params", *self._program.optimizer.slots())
        size = self._layout.size
        return {name: self._workspace[i * size : (i + 1) * size] for i, name in enumerate(names)}

    def epoch(
        self, order: Tensor, learning_rate: float, progress: Callable[[float], None] | None = None
    ) -> tuple[float, float]:
        """Run an epoch; returns the mean loss and the accuracy, each sample judged before its own update."""
        samples = len(order)
        results = (ctypes.c_double * 2)()
        call, pointers = self._function.call, (*self._rows.pointers(), order.data_ptr())
        for first in range(0, samples, self._rows_per_call):
            last = min(first + self._rows_per_call, samples)
            call(self._workspace.data_ptr(), *pointers, first, last, samples, self._step, learning_rate, results)
            if progress is not None:
                progress(last / samples)
        self._step += -(-samples // self._program.batch_size)
        return results[0] / samples, self._rows.accuracy(results[1], samples)

    def state(self, template: OptimizerState) -> OptimizerState:
        """The optimizer's state so far, in tensors of its own."""
        trees = {name: self._layout.unpack(array, template.params) for name, array in self._arrays().items()}
        return attrs.evolve(template, step=self._step, **trees)

    def params(self) -> Tensor:
        """The parameters in the engine's layout."""
        return self._arrays()["params"]
