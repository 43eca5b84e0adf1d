"""`MLPRegressor`."""

import functools
import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import column_or_1d
from torch import Tensor

from functional_mlp.checks import Integer
from functional_mlp.datasets import Dataset
from functional_mlp.layers.base import Layer
from functional_mlp.losses import Loss, MeanSquaredError, PoissonDeviance
from functional_mlp.optimizers import Optimizer
from functional_mlp.sklearn.estimator import Estimator, OfferedWithoutStopping
from functional_mlp.sklearn.recipe import Task
from functional_mlp.state import Score


class MLPRegressor(RegressorMixin, Estimator):  # type: ignore[misc] # scikit-learn has no types
    """`sklearn.neural_network.MLPRegressor`, trained by this library.

    Its arguments, attributes and methods are those of scikit-learn's class, for the solvers "adam" and "sgd" and the
    losses "squared_error" and "poisson". What it takes besides, and what differs, is as for `MLPClassifier`; `predict`
    is the mean over the members, and `predict(X, return_std=True)` gives their deviation with it.

    >>> import numpy as np
    >>> X = np.linspace(-1, 1, 100).reshape(-1, 1)
    >>> y = np.sin(3 * X[:, 0])
    >>> options = {"activation": "tanh", "learning_rate_init": 0.05, "max_iter": 60, "tol": 0.0, "n_iter_no_change": 60}
    >>> model = MLPRegressor(hidden_layer_sizes=(10,), members=3, random_state=0, batch_size=10, **options)
    >>> import warnings
    >>> with warnings.catch_warnings(action="ignore"):  # it has not converged
    ...     prediction, deviation = model.fit(X, y).predict(X, return_std=True)
    >>> prediction.shape, deviation.shape, bool(abs(prediction - y).mean() < 0.2)
    ((100,), (100,), True)
    """

    takes_numbers: ClassVar[bool] = True

    def __init__(
        self,
        loss: str | Loss = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: str | Layer = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Integer | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: Integer = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | Integer = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float | Integer = 10,
        max_fun: Integer = 15000,
        optimizer: Optimizer | None = None,
        network: Layer | None = None,
        members: Integer = 1,
        engine: str = "auto",
        dtype: Any = None,
    ) -> None:
        self._take(locals())

    @OfferedWithoutStopping
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> "MLPRegressor":
        """Train for one epoch from where training stands."""
        if not hasattr(self, "coefs_"):
            self._begin()
        self._partial_fit(X, y, sample_weight)
        return self

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """The mean prediction of the members, (n,) or (n, outputs); with `return_std` their deviation beside it."""
        said = self._said(X)
        mean: NDArray[Any] = said.mean(0)
        return (mean, self._deviation(said)) if return_std else mean

    def _said(self, X: Any) -> NDArray[Any]:
        outputs = self._outputs(X)
        return outputs if self.n_outputs_ > 1 else outputs[..., 0]

    def _encoded(self, y: Any, dtype: Any) -> NDArray[Any]:
        y = column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y
        targets: NDArray[Any] = y.reshape(len(y), -1).astype(dtype)
        self.n_outputs_ = targets.shape[1]
        return targets

    def _task(self) -> Task:
        outputs = self.n_outputs_
        if isinstance(self.loss, Loss):
            return Task(self.loss, "exp" if isinstance(self.loss, PoissonDeviance) else "identity")
        if self.loss == "poisson":
            return Task(PoissonDeviance(), "exp", gradient=outputs, value=outputs)
        if self.loss != "squared_error":
            wanted = "'squared_error', 'poisson' or a loss of this library"
            raise ValueError(f"MLPRegressor: loss must be {wanted}, got {self.loss!r}")
        return Task(MeanSquaredError(), "identity", gradient=outputs / 2, value=0.5)

    def _stopping_score(self) -> Score | None:
        return functools.partial(r_squared, self._task())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def r_squared(task: Task, outputs: Tensor, data: Dataset) -> float:
    """The share of the targets' variance that outputs explain; NaN where they are not finite."""
    predictions = task.activated(outputs).numpy()
    if not np.isfinite(predictions).all():
        return math.nan
    return float(r2_score(data.targets.numpy(), predictions, sample_weight=data.weights))
