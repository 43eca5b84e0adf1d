"""The testing kit: prove a layer, a loss, an optimizer or a penalty right in one line.

    >>> import functional_mlp as fm
    >>> from functional_mlp import testing
    >>> testing.check_layer(fm.Sequential(fm.Linear(2, 3), fm.Tanh()))
    >>> testing.check_loss(fm.MeanSquaredError())
    >>> testing.check_optimizer(fm.Momentum(0.1))
    >>> testing.check_penalty(fm.penalties.l2(0.1))

Each check tries a list of properties on cases: those that hypothesis draws, and those that every seed goes through.
It raises `AssertionError` with the smallest case that fails. A check is deterministic: the same `examples` and `seed`
give the same cases, on every machine and in every order of tests. `testing.search` says how a check is made.

The checks take any object with the right functions; it need not be a subclass of anything here:

    check_layer       init, apply, vjp
    check_loss        value, grad
    check_optimizer   init, update
    check_penalty     total, added_to_grads

The strategies draw what the checks are fed with, for properties of your own. hypothesis's `from_type` knows them, for
`Dataset`, `Key`, `Layer`, `Loss`, `Optimizer` and `Sequential`, always once `import functional_mlp.testing` has run.
Without it hypothesis has to find the entry point of the installed library, which a `PYTHONPATH` alone does not give.

This package needs the extra `testing`: from a checkout, `pip install '.[testing]'`.
"""

from typing import Any

from functional_mlp.extras import installing

try:
    import hypothesis as hypothesis
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"functional_mlp.testing needs hypothesis: {installing('testing')}",
        name=error.name,
    ) from error

from functional_mlp.datasets import Dataset
from functional_mlp.from_type import register
from functional_mlp.layers.base import Layer
from functional_mlp.layers.combinators import Sequential
from functional_mlp.losses import Loss
from functional_mlp.optimizers import Optimizer
from functional_mlp.random import Key
from functional_mlp.testing.engines import check_engines_agree
from functional_mlp.testing.layer import check_layer, check_vjp
from functional_mlp.testing.loss import check_loss
from functional_mlp.testing.networks import layers, networks
from functional_mlp.testing.optimizer import check_optimizer
from functional_mlp.testing.penalty import check_penalty
from functional_mlp.testing.proof import Proof
from functional_mlp.testing.proving import prove
from functional_mlp.testing.strategies import datasets, keys, losses, optimizers, tensors
from functional_mlp.testing.trees import assert_trees_close

# What `from_type` draws, and arguments that `given` finds by their annotations.
STRATEGIES: dict[type[Any], hypothesis.strategies.SearchStrategy[Any]] = {
    Dataset: networks().flatmap(datasets),
    Key: keys(),
    Layer: networks() | layers(),
    Loss: losses(),
    Optimizer: optimizers(),
    Sequential: networks(),
}
"""For each class, the strategy that draws its values where hypothesis is asked `from_type`."""
register()  # what hypothesis has not been told of: it may have been asked to leave entry points alone

__all__ = [
    "STRATEGIES",
    "Proof",
    "assert_trees_close",
    "check_engines_agree",
    "check_layer",
    "check_loss",
    "check_optimizer",
    "check_penalty",
    "check_vjp",
    "datasets",
    "keys",
    "layers",
    "losses",
    "networks",
    "optimizers",
    "prove",
    "tensors",
]
