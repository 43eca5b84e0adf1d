"""The arguments of the estimators, checked where scikit-learn asks for it: when they are used, not when given."""

import math
import numbers
from typing import Any

import numpy as np

from functional_mlp import checks
from functional_mlp.layers.base import Layer
from functional_mlp.optimizers import Optimizer

SOLVERS = ("sgd", "adam")
CHOICES = {"solver": SOLVERS, "learning_rate": ("constant", "invscaling", "adaptive")}
RANGES: dict[str, dict[str, Any]] = {
    "alpha": {"low": 0.0},
    "learning_rate_init": {"low": 0.0, "open_low": True},
    "power_t": {"low": 0.0},
    "tol": {"low": 0.0},
    "momentum": {"low": 0.0, "high": 1.0, "open_high": True},
    "validation_fraction": {"low": 0.0, "high": 1.0, "open_high": True},
    "beta_1": {"low": 0.0, "high": 1.0, "open_high": True},
    "beta_2": {"low": 0.0, "high": 1.0, "open_high": True},
    "epsilon": {"low": 0.0, "open_low": True},
}
COUNTS = ("max_iter", "max_fun", "members")
SWITCHES = ("shuffle", "warm_start", "nesterovs_momentum", "early_stopping")


def check_parameters(estimator: Any) -> None:
    """Raise `TypeError` or `ValueError` for an argument that is not what its estimator takes."""
    name = type(estimator).__name__
    if estimator.solver == "lbfgs":
        raise ValueError(
            f"{name}: solver='lbfgs' is not offered, for each of its steps goes over all of the data: take 'adam' or "
            "'sgd', or scikit-learn's own class"
        )
    for parameter, choices in CHOICES.items():
        _check_choice(f"{name}: {parameter}", getattr(estimator, parameter), choices)
    for parameter, bounds in RANGES.items():
        checks.number(f"{name}: {parameter}", getattr(estimator, parameter), **bounds)
    for parameter in COUNTS:
        checks.integer(f"{name}: {parameter}", getattr(estimator, parameter), minimum=1)
    for parameter in SWITCHES:
        if not isinstance(getattr(estimator, parameter), bool | np.bool_):
            checks.instance(f"{name}: {parameter}", getattr(estimator, parameter), bool, "pass True or False")
    if estimator.batch_size != "auto":
        checks.integer(f"{name}: batch_size", estimator.batch_size, minimum=1)
    if estimator.n_iter_no_change != math.inf:
        checks.integer(f"{name}: n_iter_no_change", estimator.n_iter_no_change, minimum=1)
    _check_sizes(name, estimator.hidden_layer_sizes)
    for parameter, kind in (("optimizer", Optimizer), ("network", Layer)):
        if getattr(estimator, parameter) is not None:
            advice = "pass a value of this library, or None"
            checks.instance(f"{name}: {parameter}", getattr(estimator, parameter), kind, advice)
    checks.engine(name, estimator.engine)


def sizes_of(hidden_layer_sizes: Any) -> tuple[int, ...]:
    """The sizes of the hidden layers, which may be one number.

    >>> sizes_of(5), sizes_of([3, 2])
    ((5,), (3, 2))
    """
    sizes = hidden_layer_sizes if hasattr(hidden_layer_sizes, "__iter__") else [hidden_layer_sizes]
    return tuple(int(size) for size in sizes)


def _check_sizes(name: str, hidden_layer_sizes: Any) -> None:
    for size in hidden_layer_sizes if hasattr(hidden_layer_sizes, "__iter__") else [hidden_layer_sizes]:
        if not isinstance(size, numbers.Integral) or size <= 0:
            raise ValueError(
                f"{name}: hidden_layer_sizes must be > 0, integers, one a hidden layer, got "
                f"{checks.describe(hidden_layer_sizes)}"
            )


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in choices:
        wanted = " or ".join([", ".join(map(repr, choices[:-1])), repr(choices[-1])])
        raise ValueError(f"{name} must be {wanted}, got {checks.describe(value)}")
