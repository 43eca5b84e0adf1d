"""Passes of a network over data, forward only."""

import ctypes
import math
from typing import Any

import torch
from torch import Tensor

from functional_mlp import checks
from functional_mlp.datasets import Dataset
from functional_mlp.engine.layout import Layout
from functional_mlp.engine.lowering import takes_classes
from functional_mlp.engine.policy import Policy
from functional_mlp.engine.program import LossProgram, Program
from functional_mlp.engine.rows import Rows, plain
from functional_mlp.engine.session import Session, new_workspace
from functional_mlp.engine.validation import HeldOut
from functional_mlp.metrics import Metrics

# Losses and accuracies, one each an epoch.
Figures = tuple[tuple[float, ...], tuple[float, ...]]


class Evaluation:
    """Passes of a network over one data set, forward only."""

    def __init__(self, program: LossProgram, data: Dataset, policy: Policy) -> None:
        self._session = Session.of(program_of_pass(program, data), policy)
        self.rows: Rows = Rows.of(data, program.loss)
        self.samples: int = len(data)
        told = HeldOut(
            function=self._session.address,
            workspace=self._session.workspace.data_ptr(),
            inputs=self.rows.pointers.inputs,
            targets=self.rows.pointers.targets,
            labels=self.rows.pointers.labels,
            rows=self.samples,
        )
        self.table = (ctypes.c_int64 * len(told))(*told)

    @property
    def is_short(self) -> bool:
        """Whether one call makes the pass."""
        return self.samples <= self._session.plan.rows_per_share

    @property
    def layout(self) -> Layout:
        """Where the parameters lie for a pass."""
        return self._session.layout

    def packed(self, params: Any) -> Tensor:
        """Parameters in the engine's layout."""
        array = new_workspace(self._session.layout.size, self.rows.inputs.dtype)
        self._session.layout.pack(params, array)
        return array

    def metrics(self, params: Tensor) -> Metrics:
        """Loss and accuracy with parameters in the engine's layout."""
        self._session.array(0).copy_(params)
        loss_sum, right = self._session.pass_forward(self.rows, self.samples)
        (loss,), (accuracy,) = self.rows.figures([loss_sum], [right])
        return Metrics(loss, accuracy)


def nothing(epochs: int) -> Figures:
    """The figures where no data are passed forward."""
    return (math.nan,) * epochs, (math.nan,) * epochs


def program_of_pass(program: LossProgram, data: Dataset) -> LossProgram:
    """The program of a pass over data; their targets and weights may be of another kind than the given program's."""
    return program.with_loss(program.loss, takes_classes(program.loss, data.targets), data.weights is not None)


def outputs(program: Program, params: Any, x: Tensor, policy: Policy) -> Tensor:
    """The network's outputs (n, out_features) for inputs (n, in_features)."""
    session = Session.of(program, policy)
    session.layout.pack(params, session.array(0))
    result = torch.empty(len(x), program.out_features, dtype=x.dtype, device="cpu")
    checks.plain_tensor("predict: the result", result)
    untold = torch.empty(0, device="cpu")  # neither targets nor labels
    session.pass_forward(Rows(plain(x), untold, untold, len(x), answered=False), len(x), result)
    return result
