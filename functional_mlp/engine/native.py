"""What the engine does once LLVM is there: compiled epochs, passes forward, and training runs."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from functional_mlp import checks
from functional_mlp.datasets import Dataset
from functional_mlp.engine import making, passes, rows, running, session
from functional_mlp.engine.compiling import NetworkSource, any_batch
from functional_mlp.engine.functions import compiled
from functional_mlp.engine.limits import check_code
from functional_mlp.engine.llvm.target import Target, host
from functional_mlp.engine.lowering import lower, lower_loss, lower_member, lower_steps, takes_classes
from functional_mlp.engine.making import CannotMakeCodeError
from functional_mlp.engine.plan import plan_of
from functional_mlp.engine.policy import Policy
from functional_mlp.engine.program import CannotFuseError, Program, TrainingProgram
from functional_mlp.layers.base import Layer
from functional_mlp.layers.combinators import Sequential
from functional_mlp.layers.elementwise import Tanh
from functional_mlp.layers.linear import Linear
from functional_mlp.losses import CrossEntropy, Loss, MeanSquaredError
from functional_mlp.metrics import Metrics, check_fit
from functional_mlp.optimizers import SGD, Optimizer
from functional_mlp.penalties import Penalty
from functional_mlp.state import Job, Member

# What is made to see whether code can be: a product, a part of a vector, an activation and a rule.
PROBE = Sequential(Linear(3, 2), Tanh())


def reason(lowered: Callable[[], Program], policy: Policy) -> str | None:
    """Why the engine cannot run a program, which is yet to be made, on this machine; `None` where it can."""
    try:
        with making.remembering("the processor"):
            target = host()
    except CannotMakeCodeError as error:
        return str(error)
    try:
        program = any_batch(lowered())
    except CannotFuseError as error:
        return str(error)
    refusal = _refusal(program, target, policy) or _failure_of_probe(target)
    if refusal is not None:
        return refusal
    return making.failure_of((program, target))


@functools.lru_cache(maxsize=256)
def _refusal(program: Program, target: Target, policy: Policy) -> str | None:
    try:
        check_code(program, target, policy)
    except CannotFuseError as error:
        return str(error)
    return None


@functools.cache
def _failure_of_probe(target: Target) -> str | None:
    try:
        loss, optimizer = MeanSquaredError(), SGD(0.01)
        program = lower(PROBE, loss, optimizer, batch_size=1, class_targets=False, dtype=torch.float32)
        compiled(NetworkSource(program, plan_of(program, target)), target)
    except CannotMakeCodeError as error:
        return str(error)
    return None


class CompiledEpoch:
    """A pure function `(optimizer_state, data, order) -> (optimizer_state, mean_loss)`, run as native code.

    `order` are the rows of the data that the epoch goes through, an int64 tensor; `mean_loss` is the mean of the
    samples' losses right before their own updates. Calls may run at once in many threads.

    Parameters
    ----------
    network
        What is trained.
    loss
        What training minimizes.
    optimizer
        How a gradient changes the parameters.
    penalty
        What is added to the loss for the size of the weights; None for nothing.
    batch_size
        Samples an update.
    dtype
        That of the parameters and of the data, float32 or float64.
    policy
        How the engine makes code, and runs it.
    """

    def __init__(
        self,
        network: Layer,
        loss: Loss,
        optimizer: Optimizer,
        batch_size: int,
        dtype: torch.dtype,
        penalty: Penalty | None,
        policy: Policy,
    ) -> None:
        self._network, self._loss, self._optimizer, self._penalty = network, loss, optimizer, penalty
        self._batch_size, self._dtype, self._policy = batch_size, dtype, policy
        session.code_to_run(self._program(isinstance(loss, CrossEntropy)), policy)

    def __repr__(self) -> str:
        given = (self._network, self._loss, self._optimizer)
        return f"<CompiledEpoch of {', '.join(map(repr, given))}, batches of {self._batch_size}>"

    def __call__(self, optimizer_state: Any, data: Dataset, order: Tensor) -> tuple[Any, float]:
        checks.instance("data", data, Dataset, "make one with functional_mlp.Dataset(inputs, targets)")
        self._optimizer.check_state(optimizer_state)
        _check_order(order, len(data))
        if data.inputs.dtype != self._dtype:
            raise ValueError(f"data must be of the dtype compiled for, {self._dtype}, got {data.inputs.dtype}")
        check_fit(self._network, self._loss, optimizer_state.params, data)
        program = self._program(takes_classes(self._loss, data.targets), weighted=data.weights is not None)
        run = running.FusedRun(program, optimizer_state, data, policy=self._policy)
        loss_sum, _ = run.sums_of_epoch(rows.plain(order), len(order), optimizer_state.learning_rate, None)
        return run.state(run.snapshot()), loss_sum / len(order)

    def _program(self, class_targets: bool, *, weighted: bool = False) -> TrainingProgram:
        return lower(
            self._network,
            self._loss,
            self._optimizer,
            batch_size=self._batch_size,
            class_targets=class_targets,
            dtype=self._dtype,
            weighted=weighted,
            penalty=self._penalty,
        )


def evaluate(network: Layer, loss: Loss, params: Any, data: Dataset, policy: Policy) -> Metrics:
    """Loss and accuracy over a data set, in native code; all arguments are taken to fit each other."""
    program = lower_loss(network, loss, class_targets=takes_classes(loss, data.targets), dtype=data.inputs.dtype)
    run = passes.Evaluation(program, data, policy)
    return run.metrics(run.packed(params))


def predict(network: Layer, params: Any, x: Tensor, policy: Policy) -> Tensor:
    """The outputs for inputs (..., in_features), in native code; all arguments are taken to fit each other."""
    program = lower_steps(network, dtype=x.dtype)
    outputs = passes.outputs(program, params, x.reshape(-1, program.in_features), policy)
    return outputs.reshape(*x.shape[:-1], program.out_features)


def start(job: Job, member: Member, policy: Policy) -> running.FusedRun:
    """A member of a job in training from its start."""
    return running.FusedRun(
        lower_member(job, member),
        member.start.optimizer_state,
        member.data,
        shuffle=job.shuffle,
        validation=member.validation,
        policy=policy,
    )


def _check_order(order: Tensor, rows: int) -> None:
    checks.plain_tensor("order", order)
    if order.dtype != torch.int64 or order.ndim != 1 or len(order) == 0 or order.device.type != "cpu":
        raise ValueError(f"order must be a torch.int64 tensor of shape (n,) on the CPU, got {checks.describe(order)}")
    bad = (order < 0) | (order >= rows)
    if bad.any():
        raise ValueError(f"order must hold row numbers below {rows}, got {int(order[bad][0])}")
