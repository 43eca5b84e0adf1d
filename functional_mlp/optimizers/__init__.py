"""Optimizers: frozen values with pure functions, and rules written for one array of parameters."""

from functional_mlp.optimizers.base import Optimizer, OptimizerState
from functional_mlp.optimizers.rules import (
    SGD,
    Adam,
    AdamState,
    AdamW,
    AdamWState,
    BatchGD,
    BatchGDState,
    Lion,
    LionState,
    Momentum,
    MomentumState,
    Nesterov,
    NesterovState,
    RMSProp,
    RMSPropState,
)

__all__ = [
    "Adam",
    "AdamState",
    "AdamW",
    "AdamWState",
    "BatchGD",
    "BatchGDState",
    "Lion",
    "LionState",
    "Momentum",
    "MomentumState",
    "Nesterov",
    "NesterovState",
    "Optimizer",
    "OptimizerState",
    "RMSProp",
    "RMSPropState",
    "SGD",
]
