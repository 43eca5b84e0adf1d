"""One step, or one pass forward, as one short native call from Python.

The function of a program works on a workspace that it changes. Here the numbers of a state are read from one place and
written to another, so that the state stays what it is, and a workspace belongs to a call for as long as it takes. What
a call is told lies in a table beside the workspace, and the native function is given its address alone: each argument
that ctypes hands over costs about a tenth of a microsecond, as much as the arithmetic of a small network.
"""

import ctypes
import functools
import struct
from collections.abc import Callable, Sequence
from typing import Any

import torch
from llvmlite import ir
from torch import Tensor

from functional_mlp import checks, pytree
from functional_mlp.arrays import as_tensor
from functional_mlp.engine import compiling, passes, session
from functional_mlp.engine.calls import Arguments
from functional_mlp.engine.expressions import strength_of
from functional_mlp.engine.functions import begin, load
from functional_mlp.engine.layout import Layout
from functional_mlp.engine.llvm import target as machine
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.types import DOUBLE, I64, POINTER, Real
from functional_mlp.engine.lowering import lower, lower_steps
from functional_mlp.engine.meeting import alone
from functional_mlp.engine.plan import Plan, plan_of
from functional_mlp.engine.policy import MEASURED, Policy
from functional_mlp.engine.program import Program, TrainingProgram
from functional_mlp.layers.arguments import template
from functional_mlp.layers.base import Layer
from functional_mlp.losses import CrossEntropy, Loss
from functional_mlp.optimizers import Optimizer, OptimizerState
from functional_mlp.penalties import Penalty
from functional_mlp.samples import Samples, checked_inputs, samples

# The fields of a table, of 64 bits each: what every call says anew, what belongs to the table, what comes out.
SAID = {
    "source": POINTER,
    "destination": POINTER,
    "inputs": POINTER,
    "targets": POINTER,
    "labels": POINTER,
    "label": I64,
    "step": I64,
    "learning_rate": DOUBLE,
}
KEPT = {"workspace": POINTER, "order": POINTER, "strength": DOUBLE}
RESULTS = {"loss_sum": DOUBLE, "right": DOUBLE}
FIELDS = [*SAID, *KEPT, *RESULTS]

FIELD_SIZE = 8
_SAID, _KEPT, _RESULT = struct.Struct("=QQQQQqqd"), struct.Struct("=QQd"), struct.Struct("=d")
_KEPT_AT, _RESULT_AT = FIELD_SIZE * len(SAID), FIELD_SIZE * (len(SAID) + len(KEPT))
_LABEL_AT = FIELD_SIZE * FIELDS.index("label")


def emit(program: Program, plan: Plan, rows: int) -> ir.Module:
    """The module of a program's function, with `once`, which passes `rows` rows through it, by a table."""
    module = compiling.emit(program, plan)
    function = module.get_global(program.kind)
    once, builder = begin(module, "once", {"table": POINTER})
    (table,) = once.args
    e = Emitter(builder, Real(program.dtype), plan.lanes)

    def place(name: str) -> ir.Value:
        return e.address(table, FIELDS.index(name), I64)

    told = {name: builder.load(place(name), typ=kind) for name, kind in {**SAID, **KEPT}.items()}
    workspace, numbers = told["workspace"], numbers_of(program, plan)
    e.copy("copy", 0, numbers, (told["source"], 0), (workspace, 0))
    for name in RESULTS:
        builder.store(ir.Constant(DOUBLE, 0.0), place(name))
    arguments = Arguments(
        workspace=workspace,
        inputs=told["inputs"],
        targets=told["targets"],
        labels=told["labels"],
        order=told["order"],
        first=ir.Constant(I64, 0),
        last=ir.Constant(I64, rows),
        samples=ir.Constant(I64, rows),
        step=told["step"],
        learning_rate=told["learning_rate"],
        strength=told["strength"],
        results=place("loss_sum"),
        share=alone(builder) if plan.divided else None,
    )
    more = [told["destination"]] if program.kind == "predict" else []
    builder.call(function, [*arguments.values(), *more])
    if isinstance(program, TrainingProgram):
        e.copy("copy", 0, numbers, (workspace, 0), (told["destination"], 0))
    builder.ret_void()
    return module


def numbers_of(program: Program, plan: Plan) -> int:
    """The size of what a call reads: the parameters, and in training the optimizer's slots."""
    slots = len(program.optimizer.slots()) if isinstance(program, TrainingProgram) else 0
    return Layout.of(program, plan.lanes).size * (1 + slots)


class Desk:
    """The memory that one call works in: a workspace, and the table that says what to do there."""

    __slots__ = ("_kept", "address", "labels", "table")

    def __init__(self, workspace_size: int, dtype: torch.dtype, order: Tensor, strength: float) -> None:
        workspace = session.new_workspace(workspace_size, dtype)
        self.table = bytearray(FIELD_SIZE * len(FIELDS))
        view = (ctypes.c_char * len(self.table)).from_buffer(self.table)
        _KEPT.pack_into(self.table, _KEPT_AT, workspace.data_ptr(), order.data_ptr(), strength)
        self.address = ctypes.addressof(view)
        self.labels = self.address + _LABEL_AT
        self._kept = workspace, order, view


class Call:
    """The function of a program for a number of rows, called from state to state. Threads may call it at once."""

    def __init__(self, program: Program, rows: int) -> None:
        target = machine.host()
        plan = plan_of(program, target)
        self.policy, self.layout = plan.policy, Layout.of(program, plan.lanes)
        self.size = numbers_of(program, plan)
        key = f"once {rows} {program.kind} {program!r} {plan!r}" if program.is_ours else None
        code = load((program, rows, target), key, lambda: emit(program, plan, rows), target)
        short = plan.rows_per_call >= plan.policy.fewest_steps_in_a_call * rows
        self._code, self._once = code, code.function("once", [POINTER], short=short)
        order = torch.arange(rows, device="cpu")
        strength = strength_of(program.penalty) if isinstance(program, TrainingProgram) else 0.0
        self._new_desk = functools.partial(Desk, code.workspace_size, program.dtype, order, strength)
        self._desks: list[Desk] = []  # those that no call works at: to take one, and to put it back, is one operation
        self._is_unchanged, self._check_unchanged = program.is_surely_unchanged, program.check_unchanged

    def __call__(
        self,
        source: int,
        destination: int,
        inputs: int,
        targets: int = 0,
        labels: int | None = None,
        label: int = -1,
        step: int = 0,
        learning_rate: float = 0.0,
    ) -> float:
        """Pass rows through the function; returns the sum of their losses.

        Parameters
        ----------
        source, destination
            The addresses of the numbers before, and of those after, which are the outputs where it only passes forward.
        inputs, targets
            The addresses of the rows, and of their targets, where the function reads any.
        labels, label
            The address of the rows' labels; without one, the label of a single row.
        step, learning_rate
            Those of the update.
        """
        if not self._is_unchanged():
            self._check_unchanged()
        try:
            desk = self._desks.pop()
        except IndexError:
            desk = self._new_desk()
        if labels is None:
            labels = desk.labels
        _SAID.pack_into(desk.table, 0, source, destination, inputs, targets, labels, label, step, learning_rate)
        self._once(desk.address)
        (loss_sum,) = _RESULT.unpack_from(desk.table, _RESULT_AT)
        self._desks.append(desk)
        return float(loss_sum)


CPU = torch.device("cpu")
Memory = Any  # an array of ctypes, or a tensor


def _memory(size: int, dtype: torch.dtype, policy: Policy) -> tuple[Callable[[], Memory], Callable[[Memory], int]]:
    """A function that allocates memory for `size` numbers, and one that gives its address."""
    if size * dtype.itemsize <= policy.most_bytes_of_ctypes:
        return ctypes.c_char * (size * dtype.itemsize), ctypes.addressof

    def tensor() -> Tensor:
        made = torch.empty(size, dtype=dtype, device=CPU)
        if type(made) is not Tensor:  # where torch is told to make tensors without memory
            checks.plain_tensor("the numbers of a state", made)
        return made

    return tensor, Tensor.data_ptr


class FusedSteps:
    """Steps and passes forward of an `Online` as native code; a state's numbers are one array, as that code reads them.

    What comes as a plain sample, the tensors of the dtype in their usual layout, is checked here, in less than a
    microsecond; all else is converted, or refused, by `samples`.
    """

    def __init__(
        self, network: Layer, loss: Loss, optimizer: Optimizer, penalty: Penalty | None, dtype: torch.dtype
    ) -> None:
        self._network, self._loss, self._optimizer, self._penalty = network, loss, optimizer, penalty
        self._dtype = dtype
        self._names = ("params", *optimizer.slots())
        self._structure = pytree.structure(template(network, dtype))
        self._forward_program = lower_steps(network, dtype=dtype)
        self._in_shape, self._out_shape = (self._forward_program.in_features,), (self._forward_program.out_features,)
        self._takes_classes = isinstance(loss, CrossEntropy)
        self._takes_values = type(loss).encode in (Loss.encode, CrossEntropy.encode)
        self._call = functools.lru_cache(maxsize=MEASURED.most_kept_calls)(self._new_call)
        self._forward = Call(self._forward_program, 1)
        self._usual = self._call(1, self._takes_classes, False)
        self._layout = self._usual.layout
        self._new, self._address = _memory(self._usual.size, dtype, self._usual.policy)
        self._like_outputs = torch.empty(self._out_shape, dtype=dtype, device=CPU)

    def _new_call(self, rows: int, class_targets: bool, weighted: bool) -> Call:
        program = lower(
            self._network,
            self._loss,
            self._optimizer,
            batch_size=rows,
            class_targets=class_targets,
            dtype=self._dtype,
            weighted=weighted,
            penalty=self._penalty,
        )
        return Call(program, rows)

    def numbers(self, state: OptimizerState) -> Memory:
        """The parameters of a state, and the optimizer's slots, in one array."""
        numbers = self._new()
        for name, array in zip(self._names, self._arrays(numbers), strict=True):
            self._layout.pack(getattr(state, name), array.zero_())
        return numbers

    def trees(self, numbers: Memory) -> dict[str, Any]:
        """The parameters and the slots by their names, in tensors of their own."""
        arrays = self._arrays(numbers)
        return {
            name: self._layout.unpack(array, self._structure) for name, array in zip(self._names, arrays, strict=True)
        }

    def _arrays(self, numbers: Memory) -> Sequence[Tensor]:
        """The arrays of the parameters and of each slot, where they lie."""
        if not len(numbers):
            return [torch.empty(0, dtype=self._dtype, device=CPU)] * len(self._names)
        array = numbers if isinstance(numbers, Tensor) else torch.frombuffer(numbers, dtype=self._dtype)
        return list(array.split(self._layout.size))

    def step(
        self, numbers: Memory, step: int, learning_rate: float, x: Any, target: Any, weight: Any
    ) -> tuple[Memory, float]:
        """The numbers after a step, and the mean loss of the samples before it.

        Parameters
        ----------
        numbers
            The parameters, and the optimizer's slots, before it.
        step, learning_rate
            The number of the step, from 1, and its learning rate.
        x, target, weight
            A sample, or a batch, as `Online.step` takes them.
        """
        after = self._new()
        if weight is None:
            plain_x = x if type(x) is Tensor else as_tensor("x", x)
            if self._is_plain(plain_x, self._in_shape):
                if self._takes_classes:
                    label = target if type(target) is int else self._label(target)
                    if 0 <= label < self._out_shape[0]:
                        places = self._address(numbers), self._address(after), plain_x.data_ptr(), 0
                        return after, self._usual(*places, None, label, step, learning_rate)
                elif self._takes_values:
                    values = target if type(target) is Tensor else as_tensor("target", target)
                    if self._is_plain(values, self._out_shape):
                        places = (
                            self._address(numbers),
                            self._address(after),
                            plain_x.data_ptr(),
                            values.data_ptr(),
                        )
                        return after, self._usual(*places, None, -1, step, learning_rate)
        return after, self._step(numbers, after, step, learning_rate, self._samples(x, target, weight))

    def _is_plain(self, x: Any, shape: tuple[int]) -> bool:
        return (
            type(x) is Tensor
            and x.dtype is self._dtype
            and x.shape == shape
            and x.is_cpu
            and x.layout is torch.strided
            and x.is_contiguous()
            and not x.is_neg()
        )

    def _label(self, target: Any) -> int:
        """The class index that a tensor holds; -1 where it is anything else."""
        if type(target) is Tensor and target.dtype is torch.int64 and target.ndim == 0 and target.is_cpu:
            return int(target.item())
        return -1

    def _samples(self, x: Any, target: Any, weight: Any) -> Samples:
        inputs = checked_inputs(x, self._dtype, CPU, *self._in_shape)
        predictions = torch.zeros((*inputs.shape[:-1], *self._out_shape), dtype=self._dtype, device=CPU)
        return samples(self._loss, inputs, len(x.shape) == 2, predictions, target, weight)

    def _step(self, numbers: Memory, after: Memory, step: int, learning_rate: float, given: Samples) -> float:
        rows, labels = given.rows, given.labels if self._takes_classes else None
        columns = [
            *([] if labels is not None else [given.targets]),
            *([] if given.weights is None else [given.weights]),
        ]
        inputs, targets = session.plain(given.inputs), session.plain(torch.cat(columns, -1)) if columns else None
        filled = torch.full((rows,), -1, device=CPU) if labels is None else session.plain(labels)
        call = self._call(rows, labels is not None, given.weights is not None)
        loss_sum = call(
            self._address(numbers),
            self._address(after),
            inputs.data_ptr(),
            0 if targets is None else targets.data_ptr(),
            filled.data_ptr(),
            step=step,
            learning_rate=learning_rate,
        )
        return loss_sum / rows

    def predict(self, numbers: Memory, x: Any) -> Tensor:
        """The outputs for a sample, or a batch."""
        plain_x = x if type(x) is Tensor else as_tensor("x", x)
        if not self._is_plain(plain_x, self._in_shape):
            inputs = checked_inputs(x, self._dtype, CPU, *self._in_shape)
            if inputs.ndim == 2:
                return passes.outputs(self._forward_program, self.trees(numbers)["params"], inputs)
            outputs = self.predict(numbers, session.plain(inputs))
            return outputs.unsqueeze(0) if plain_x.ndim == 2 else outputs
        outputs = torch.empty_like(self._like_outputs)
        if type(outputs) is not Tensor:
            checks.plain_tensor("predict: the result", outputs)
        self._forward(self._address(numbers), outputs.data_ptr(), plain_x.data_ptr())
        return outputs
