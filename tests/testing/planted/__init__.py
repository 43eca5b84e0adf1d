"""Correct layers, losses and optimizers that use little of the library, and mistakes planted in them.

Every mistake is a class that differs from a correct one in one place. To import this package fills the table.
"""

from tests.testing.planted import (
    batches,
    batches_of_losses,
    engines,
    expressions,
    gradients,
    inits,
    layers_everyday,
    layouts,
    losses,
    magnitudes,
    memory,
    needs,
    optimizers,
    penalties,
    precision,
    purity,
    rules_everyday,
    shapes,
    sizes,
    targets,
    updates,
    values,
)
from tests.testing.planted.gradients import BiasGradientOffByATenthOfAPercent, MissingFactor
from tests.testing.planted.layers import Affine, Square
from tests.testing.planted.losses import LogLoss, Squared
from tests.testing.planted.optimizers import Descent
from tests.testing.planted.table import MISTAKES, Check

__all__ = [
    "MISTAKES",
    "Affine",
    "BiasGradientOffByATenthOfAPercent",
    "Check",
    "Descent",
    "LogLoss",
    "MissingFactor",
    "Square",
    "Squared",
    "batches",
    "batches_of_losses",
    "engines",
    "expressions",
    "gradients",
    "inits",
    "layers_everyday",
    "layouts",
    "losses",
    "magnitudes",
    "memory",
    "needs",
    "optimizers",
    "penalties",
    "precision",
    "purity",
    "rules_everyday",
    "shapes",
    "sizes",
    "targets",
    "updates",
    "values",
]
