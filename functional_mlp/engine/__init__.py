"""The fused engine: a whole epoch of training in one native call.

From a network, a loss and an optimizer, written in the array algebra, the engine makes machine code with LLVM:

    program.py    the network as a list of steps, and where their numbers lie in memory
    lengths.py    how much code the expressions make
    calls.py      the functions that layers share
    kernels.py    activations, loss and optimizer's rule
    running.py    compiled programs and the memory they run in
    cache.py      machine code on disk
    single/       an epoch of single samples, with the products of matvec.py and tails.py
    batch/        an epoch of minibatches, and passes forward, with the products of matmul.py
    members/      an epoch of many networks at once: its program, its array algebra, and how it is run
    llvm/         emitter.py, the assembler: vectors, memory, loops; vector.py, the array algebra over LLVM vectors:
                  expressions emit instructions; functions.py, exp, log, tanh, ... of vectors; target.py, processors
                  and machine code

A small network is emitted in one piece. In others, layers share functions: those of one shape where there are few
shapes, and otherwise all of them, with functions that are given the sizes. A deep network makes no more code than a
shallow one, whatever its shapes, and takes less than a second to compile. What would take longer is refused: networks
of thousands of layers, and expressions of thousands of instructions.

`python -m functional_mlp.engine` prints the program and the LLVM code of a network. In training, denormal numbers
are taken as zero; otherwise a run agrees with the reference up to rounding.
"""

import functools
from typing import Any

import torch
from torch import Tensor

from functional_mlp import checks, pytree
from functional_mlp.datasets import Dataset
from functional_mlp.engine import running
from functional_mlp.engine.cache import cache_folder, clear_cache
from functional_mlp.engine.lengths import check_expressions
from functional_mlp.engine.llvm.target import Target, host
from functional_mlp.engine.program import CannotFuseError, Program, lower
from functional_mlp.evaluation import Metrics, check_fit
from functional_mlp.layers.base import Layer, as_layer, template
from functional_mlp.losses import CrossEntropy, Loss, MeanSquaredError
from functional_mlp.optimizers import SGD, Optimizer, OptimizerState

# From here on torch's matrix products on several cores are faster than the engine's on one, as measured.
LARGE_MATRIX, LARGE_BATCH = 1 << 19, 64

# The loss of a sample is emitted without loops, for so many vectors of outputs at most.
MOST_OUTPUT_VECTORS = 64

__all__ = ["CompiledEpoch", "cache_folder", "clear_cache", "compile", "explain"]


def explain(
    network: Layer,
    loss: Loss,
    optimizer: Optimizer,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> str | None:
    """Why the engine cannot run a network under a loss and an optimizer; `None` where it can.

    >>> import functional_mlp as fm
    >>> explain(fm.Linear(2, 2), fm.MeanSquaredError(), fm.SGD(0.1), dtype=torch.float64)
    >>> explain(fm.Linear(2, 2), fm.MeanSquaredError(), fm.SGD(0.1), dtype=torch.float16)
    'the engine computes in torch.float32 and torch.float64, not in torch.float16'
    """
    checks.instance("explain: loss", loss, Loss, "subclass functional_mlp.Loss to write your own")
    checks.instance("explain: optimizer", optimizer, Optimizer, "subclass functional_mlp.Optimizer to write your own")
    checks.instance("explain: dtype", dtype, torch.dtype, "pass torch.float32 or torch.float64")
    checks.device("explain: device", device)
    if device is not None and torch.device(device).type != "cpu":
        return f"the engine runs on the CPU, not on {device}"
    if dtype not in (torch.float32, torch.float64):
        return f"the engine computes in torch.float32 and torch.float64, not in {dtype}"
    return _reason(as_layer("explain: network", network), loss, optimizer, dtype, host())


@functools.lru_cache(maxsize=256)
def _reason(network: Layer, loss: Loss, optimizer: Optimizer, dtype: torch.dtype, target: Target) -> str | None:
    try:
        program = lower(network, loss, optimizer, batch_size=1, class_targets=False, dtype=dtype)
        check_expressions(program, running.lanes_of(program, target))
    except CannotFuseError as error:
        return str(error)
    most = MOST_OUTPUT_VECTORS * running.lanes_of(program, target)
    if program.out_features > most:
        return f"the loss of {program.out_features} outputs would make too much code: the engine takes at most {most}"
    return None


def compile(
    network: Layer, loss: Loss, optimizer: Optimizer, *, batch_size: int, dtype: torch.dtype = torch.float32
) -> "CompiledEpoch":
    """The native epoch of a network, loss and optimizer; raises `ValueError` with `explain`'s reason if there is none.

    >>> import functional_mlp as fm
    >>> network, optimizer = fm.Linear(2, 2), fm.SGD(0.01)
    >>> epoch = compile(network, fm.MeanSquaredError(), optimizer, batch_size=10)
    >>> state = optimizer.init(network.init(fm.random.key(0)))
    >>> data = fm.datasets.disk(fm.random.key(1), 100)
    >>> state, mean_loss = epoch(state, data, fm.random.permutation(fm.random.key(2), 100))
    >>> state.step
    10
    """
    checks.integer("compile: batch_size", batch_size, minimum=1)
    reason = explain(network, loss, optimizer, dtype=dtype)
    if reason is not None:
        raise ValueError(f"compile: {reason}")
    return CompiledEpoch(as_layer("compile: network", network), loss, optimizer, batch_size, dtype)


class CompiledEpoch:
    """A pure function `(optimizer_state, data, order) -> (optimizer_state, mean_loss)`, run as native code.

    `order` are the rows of the data that the epoch goes through, an int64 tensor; `mean_loss` is the mean of the
    samples' losses right before their own updates. Calls may run at once in many threads.
    """

    def __init__(self, network: Layer, loss: Loss, optimizer: Optimizer, batch_size: int, dtype: torch.dtype) -> None:
        self._network, self._loss, self._optimizer = network, loss, optimizer
        self._batch_size, self._dtype = batch_size, dtype
        running.compiled(self._program(isinstance(loss, CrossEntropy)), "epoch", host())

    def __call__(self, optimizer_state: Any, data: Dataset, order: Tensor) -> tuple[Any, float]:
        checks.instance("data", data, Dataset, "make one with functional_mlp.Dataset(inputs, targets)")
        self._optimizer.check_state(optimizer_state)
        _check_order(order, len(data))
        if data.inputs.dtype != self._dtype:
            raise ValueError(f"data must be of the dtype compiled for, {self._dtype}, got {data.inputs.dtype}")
        check_fit(self._network, self._loss, optimizer_state.params, data)
        run = running.FusedRun(self._program(data.targets.ndim == 1), optimizer_state, data)
        mean_loss, _ = run.epoch(running.plain(order), optimizer_state.learning_rate, None)
        return run.state(run.snapshot()), mean_loss

    def _program(self, class_targets: bool) -> Program:
        return lower(
            self._network,
            self._loss,
            self._optimizer,
            batch_size=self._batch_size,
            class_targets=class_targets,
            dtype=self._dtype,
        )


def evaluate(network: Layer, loss: Loss, params: Any, data: Dataset) -> Metrics:
    """Loss and accuracy over a data set, in native code; all arguments are taken to fit each other."""
    program = _forward_program(network, loss, data.inputs.dtype)
    run = running.Evaluation(program, data)
    return run.metrics(run.packed(params))


def predict(network: Layer, params: Any, x: Tensor) -> Tensor:
    """The outputs for inputs (..., in_features), in native code; all arguments are taken to fit each other."""
    program = _forward_program(network, MeanSquaredError(), x.dtype)
    outputs = running.outputs(program, params, x.reshape(-1, program.in_features))
    return outputs.reshape(*x.shape[:-1], program.out_features)


def _forward_program(network: Layer, loss: Loss, dtype: torch.dtype) -> Program:
    return lower(network, loss, SGD(1.0), batch_size=1, class_targets=False, dtype=dtype)


@functools.lru_cache(maxsize=256)
def is_faster(network: Layer, batch_size: int) -> bool:
    """Whether the engine is the faster one for a network: for all but large batches through very wide layers."""
    sizes = [leaf.numel() for leaf in pytree.leaves(template(network, torch.float32))]
    return batch_size < LARGE_BATCH or max(sizes, default=0) <= LARGE_MATRIX


def start(
    network: Layer, loss: Loss, optimizer: Optimizer, state: OptimizerState, data: Dataset, batch_size: int
) -> running.FusedRun:
    """A training run from a state; network, loss, optimizer, state and data are taken to fit."""
    program = lower(
        network,
        loss,
        optimizer,
        batch_size=batch_size,
        class_targets=data.targets.ndim == 1,
        dtype=data.inputs.dtype,
    )
    return running.FusedRun(program, state, data)


def _check_order(order: Tensor, rows: int) -> None:
    checks.plain_tensor("order", order)
    if order.dtype != torch.int64 or order.ndim != 1 or len(order) == 0 or order.device.type != "cpu":
        raise ValueError(f"order must be a torch.int64 tensor of shape (n,) on the CPU, got {checks.describe(order)}")
    bad = (order < 0) | (order >= rows)
    if bad.any():
        raise ValueError(f"order must hold row numbers below {rows}, got {int(order[bad][0])}")
