"""The public names of the package, which loads this page when one of them is first used.

`__all__` is what `from functional_mlp import *` gives: it leaves out the module `random`, for the sake of Python's own.
"""

import importlib
from typing import TYPE_CHECKING, Any

from functional_mlp import datasets, ensemble, imports, initializers, penalties, pytree, schedules
from functional_mlp.backprop import value_and_grad
from functional_mlp.datasets import Dataset
from functional_mlp.ensemble import EnsembleHistory, EnsembleResult, fit_ensemble
from functional_mlp.evaluation import classify, evaluate, predict
from functional_mlp.history import EpochRecord, History
from functional_mlp.layers.base import Layer
from functional_mlp.layers.combinators import Residual, Sequential
from functional_mlp.layers.elementwise import (
    ELU,
    GELU,
    Elementwise,
    Identity,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from functional_mlp.layers.linear import Linear, LinearParams
from functional_mlp.layers.summary import count_parameters
from functional_mlp.losses import BinaryCrossEntropy, CrossEntropy, Huber, Loss, MeanSquaredError, PoissonDeviance
from functional_mlp.lost import LostError
from functional_mlp.metrics import Metrics
from functional_mlp.online import Online, OnlineState
from functional_mlp.optimizers import (
    SGD,
    Adam,
    AdamW,
    BatchGD,
    Lion,
    Momentum,
    Nesterov,
    Optimizer,
    OptimizerState,
    RMSProp,
)
from functional_mlp.pytree import Params
from functional_mlp.state import FitResult, TrainState
from functional_mlp.stopping import EarlyStopping
from functional_mlp.tracing import Trace, trace
from functional_mlp.training import fit, train_epoch

if TYPE_CHECKING:
    from functional_mlp.checkpoint import Checkpoint, CheckpointError, Registry, Saved, load, save
    from functional_mlp.symbolic.formulas import latex

__all__ = [
    "ELU",
    "GELU",
    "SGD",
    "Adam",
    "AdamW",
    "BatchGD",
    "BinaryCrossEntropy",
    "Checkpoint",
    "CheckpointError",
    "CrossEntropy",
    "Dataset",
    "EarlyStopping",
    "Elementwise",
    "EnsembleHistory",
    "EnsembleResult",
    "EpochRecord",
    "FitResult",
    "History",
    "Huber",
    "Identity",
    "Layer",
    "LeakyReLU",
    "Linear",
    "LinearParams",
    "Lion",
    "Loss",
    "LostError",
    "MeanSquaredError",
    "Metrics",
    "Momentum",
    "Nesterov",
    "Online",
    "OnlineState",
    "Optimizer",
    "OptimizerState",
    "Params",
    "PoissonDeviance",
    "RMSProp",
    "ReLU",
    "Registry",
    "Residual",
    "Saved",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "Tanh",
    "Trace",
    "TrainState",
    "classify",
    "count_parameters",
    "datasets",
    "ensemble",
    "evaluate",
    "fit",
    "fit_ensemble",
    "initializers",
    "latex",
    "load",
    "penalties",
    "predict",
    "pytree",
    "save",
    "schedules",
    "trace",
    "train_epoch",
    "value_and_grad",
]

# Names whose modules are loaded when one of them is used: `checkpoint` loads cattrs and safetensors, `symbolic` sympy.
_LATER = {
    **dict.fromkeys(("Checkpoint", "CheckpointError", "Registry", "Saved", "load", "save"), "checkpoint"),
    "latex": "symbolic.formulas",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name in _LATER:
            with imports.importing():
                return getattr(importlib.import_module(f"functional_mlp.{_LATER[name]}"), name)
        raise AttributeError(f"module 'functional_mlp.api' has no attribute {name!r}")
