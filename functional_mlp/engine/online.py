"""Steps and passes forward of an `Online` as native calls."""

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from functional_mlp import checks, pytree
from functional_mlp.arrays import as_tensor
from functional_mlp.engine import passes
from functional_mlp.engine.lowering import lower, lower_steps
from functional_mlp.engine.once import Call, Said
from functional_mlp.engine.policy import Policy
from functional_mlp.engine.rows import plain
from functional_mlp.layers.arguments import template
from functional_mlp.layers.base import Layer
from functional_mlp.losses import CrossEntropy, Loss
from functional_mlp.optimizers import Optimizer, OptimizerState
from functional_mlp.penalties import Penalty
from functional_mlp.samples import Samples, checked_inputs, samples, weighted_inputs

CPU = torch.device("cpu")
Memory = Any  # an array of ctypes, or a tensor


def _memory(size: int, dtype: torch.dtype, policy: Policy) -> tuple[Callable[[], Memory], Callable[[Memory], int]]:
    """A function that allocates memory for `size` numbers, and one that gives its address."""
    if size * dtype.itemsize <= policy.most_bytes_of_ctypes:
        return ctypes.c_char * (size * dtype.itemsize), ctypes.addressof

    return functools.partial(_empty, "the numbers of a state", size, dtype=dtype), Tensor.data_ptr


def _empty(name: str, *shape: int, dtype: torch.dtype) -> Tensor:
    """Memory that native code may be given: refused where torch is told to make tensors without any."""
    made = torch.empty(shape, dtype=dtype, device=CPU)
    checks.in_memory(name, made)
    if type(made) is not Tensor:
        checks.plain_tensor(name, made)
    return made


# What `Steps.step` and `Steps.predict` are.
TakeStep = Callable[[Memory, int, float, Any, Any, Any], tuple[Memory, float]]
Predict = Callable[[Memory, Any], Tensor]

_STEP = """
def step(numbers, step, learning_rate, x, target, weight):
    if weight is None:
        inputs, label, values = 0, -1, 0
        try:
            row = x if type(x) is Tensor else as_tensor("x", x)
            if PLAIN(row, in_shape):
                inputs = row.data_ptr()
                if classes:
                    label = target if type(target) is int else label_of(target)
                elif takes_values:
                    outputs = target if type(target) is Tensor else as_tensor("target", target)
                    values = outputs.data_ptr() if PLAIN(outputs, out_shape) else 0
        except RuntimeError:  # tensors of some kinds have no shape, or no address
            pass
        if inputs and (values or 0 <= label < classes):
            after = new()
            CALL(
                source=address(numbers),
                destination=address(after),
                inputs=inputs,
                targets=values,
                labels=desk.labels,
                label=label,
                step=step,
                learning_rate=learning_rate,
            )
            return after, loss_sum
    return step_of_samples(numbers, step, learning_rate, x, target, weight)
"""
_PREDICT = """
def predict(numbers, x):
    inputs = destination = 0
    try:
        row = x if type(x) is Tensor else as_tensor("x", x)
        if PLAIN(row, in_shape):
            inputs = row.data_ptr()
            outputs = empty_like(like_outputs)
            destination = outputs.data_ptr() if type(outputs) is Tensor else 0
    except RuntimeError:  # tensors of some kinds have no shape, or no address
        pass
    if not (inputs and destination):
        return predict_others(numbers, x)
    CALL(
        source=address(numbers),
        destination=destination,
        inputs=inputs,
        targets=0,
        labels=desk.labels,
        label=-1,
        step=0,
        learning_rate=0.0,
    )
    return outputs
"""


class FusedSteps:
    """Steps and passes forward of an `Online` as native code; a state's numbers are one array, as that code reads them.

    What comes as a plain sample, the tensors of the dtype in their usual layout, is checked here, in less than a
    microsecond; all else is converted, or refused, by `samples`.

    Parameters
    ----------
    network
        What learns, that of the `Online`.
    loss
        What it minimizes.
    optimizer
        How a gradient changes the parameters.
    penalty
        Likewise; None for none.
    dtype
        Of all numbers.
    policy
        What the engine decides by.
    """

    def __init__(
        self,
        network: Layer,
        loss: Loss,
        optimizer: Optimizer,
        penalty: Penalty | None,
        dtype: torch.dtype,
        policy: Policy,
    ) -> None:
        self._network, self._loss, self._optimizer, self._penalty = network, loss, optimizer, penalty
        self._dtype, self._policy = dtype, policy
        self._names = ("params", *optimizer.slots())
        self._structure = pytree.structure(template(network, dtype))
        self._forward_program = lower_steps(network, dtype=dtype)
        self._in_shape, self._out_shape = (self._forward_program.in_features,), (self._forward_program.out_features,)
        self._classes = self._out_shape[0] if isinstance(loss, CrossEntropy) else 0
        self._call = functools.lru_cache(maxsize=policy.most_kept_calls)(self._new_call)
        self._forward = Call(self._forward_program, 1, policy)
        self._usual = self._call(1, 1, bool(self._classes), False)
        self._layout = self._usual.layout
        self._new, self._address = _memory(self._usual.size, dtype, policy)
        shapes = {"in_shape": self._in_shape, "out_shape": self._out_shape}
        names = {**shapes, "as_tensor": as_tensor, "address": self._address}
        self.step: TakeStep = self._usual.written(
            _STEP,
            **names,
            new=self._new,
            classes=self._classes,
            label_of=_label,
            takes_values=type(loss).encode in (Loss.encode, CrossEntropy.encode),
            step_of_samples=self._step_of_samples,
        )
        self.predict: Predict = self._forward.written(
            _PREDICT,
            **names,
            empty_like=torch.empty_like,
            like_outputs=torch.empty(self._out_shape, dtype=dtype, device=CPU),
            predict_others=self._predict_others,
        )

    def _new_call(self, rows: int, batch_size: int, class_targets: bool, weighted: bool) -> Call:
        """The native call of a step over `rows` rows, of code for batches of `batch_size`.

        One row in an array of rows has the code for batches of two, as a short one.
        """
        program = lower(
            self._network,
            self._loss,
            self._optimizer,
            batch_size=batch_size,
            class_targets=class_targets,
            dtype=self._dtype,
            weighted=weighted,
            penalty=self._penalty,
        )
        return Call(program, rows, self._policy)

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
        """The arrays of the parameters and of each slot, where they lie.

        Refused where tensors have no memory: numbers would be read from, or written to, another place.
        """
        _empty("the numbers of a state", 0, dtype=self._dtype)
        if not len(numbers):
            return [torch.empty(0, dtype=self._dtype, device=CPU)] * len(self._names)
        array = numbers if isinstance(numbers, Tensor) else torch.frombuffer(numbers, dtype=self._dtype)
        return list(array.split(self._layout.size))

    def _samples(self, x: Any, target: Any, weight: Any) -> Samples:
        inputs, weights = weighted_inputs(checked_inputs(x, self._dtype, CPU, *self._in_shape), weight)
        predictions = torch.zeros((*inputs.shape[:-1], *self._out_shape), dtype=self._dtype, device=CPU)
        return samples(self._loss, inputs, predictions, target, weights)

    def _step_of_samples(
        self, numbers: Memory, step: int, learning_rate: float, x: Any, target: Any, weight: Any
    ) -> tuple[Memory, float]:
        """A step with a batch, or with a sample that the written function leaves to others.

        Takes the arguments of `step`.
        """
        given = self._samples(x, target, weight)
        labels = given.labels if self._classes else None
        columns = [
            *([] if labels is not None else [given.targets]),
            *([] if given.weights is None else [given.weights]),
        ]
        inputs, targets = plain(given.inputs), plain(torch.cat(columns, -1)) if columns else None
        filled = torch.full((given.rows,), -1, device=CPU) if labels is None else plain(labels)
        batch_size = 1 if inputs.ndim == 1 else max(2, given.rows)
        after = self._new()
        said = Said(
            source=self._address(numbers),
            destination=self._address(after),
            inputs=inputs.data_ptr(),
            targets=0 if targets is None else targets.data_ptr(),
            labels=filled.data_ptr(),
            label=-1,
            step=step,
            learning_rate=learning_rate,
        )
        call = self._call(given.rows, batch_size, labels is not None, given.weights is not None)
        return after, call.run(said) / given.rows

    def _predict_others(self, numbers: Memory, x: Any) -> Tensor:
        """The outputs for a batch, or for a sample that the written function leaves to others."""
        inputs = checked_inputs(x, self._dtype, CPU, *self._in_shape)
        checks.in_memory("x", inputs)
        if inputs.ndim == 2 and len(inputs) > 1:
            return passes.outputs(self._forward_program, self.trees(numbers)["params"], inputs, self._policy)
        row = plain(inputs)
        outputs = _empty("predict: the result", *inputs.shape[:-1], *self._out_shape, dtype=self._dtype)
        self._forward.run(
            Said(
                source=self._address(numbers),
                destination=outputs.data_ptr(),
                inputs=row.data_ptr(),
                targets=0,
                labels=0,
                label=-1,
                step=0,
                learning_rate=0.0,
            )
        )
        return outputs


def _label(target: Any) -> int:
    """The class index that a tensor holds; -1 where it is anything else."""
    if type(target) is Tensor and target.dtype is torch.int64 and target.ndim == 0 and target.is_cpu:
        return int(target.item())
    return -1
