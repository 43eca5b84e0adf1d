"""A trained estimator: the attributes that training leaves, and the outputs of the network."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from functional_mlp.arrays import as_tensor
from functional_mlp.checks import Integer
from functional_mlp.evaluation import predict
from functional_mlp.layers.base import Layer, Params
from functional_mlp.sklearn.progress import mean_curve
from functional_mlp.sklearn.recipe import Task
from functional_mlp.sklearn.samples import dense
from functional_mlp.sklearn.weights import to_arrays, to_members
from functional_mlp.spread import deviation
from functional_mlp.state import FitResult, TrainState

FLOATS = (np.float64, np.float32)
# Rows that are made dense, and passed through the network, at a time: 16 MB of a thousand features. Of the time of
# `predict` 0.98 for 256, 0.68 for 16,384 and 0.53 for all, which may not fit into memory (40,000 of 1000, 1 % filled).
ROWS_AT_ONCE = 4096
DIVERGED = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)


class Fitted(BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """The base of `Estimator`; a subclass of that says what it learns."""

    max_iter: Integer
    tol: float
    n_iter_no_change: float | Integer
    early_stopping: bool
    verbose: Any
    members: Integer

    n_features_in_: int
    n_outputs_: int
    n_layers_: int
    n_iter_: int
    t_: int
    coefs_: list[NDArray[Any]]
    intercepts_: list[NDArray[Any]]
    out_activation_: str
    loss_: float
    loss_curve_: list[float]
    best_loss_: float | None
    validation_scores_: list[float] | None
    validation_loss_curve_: list[float] | None
    best_validation_score_: float | None

    def _take(self, arguments: dict[str, Any]) -> None:
        """Keep the arguments of `__init__`, as they are: scikit-learn has them checked when they are used."""
        for name, value in arguments.items():
            if name not in ("self", "__class__"):
                setattr(self, name, value)

    def _task(self) -> Task:
        """What is learnt, once the targets are known."""
        raise NotImplementedError

    def predict_std(self, X: Any) -> NDArray[Any]:
        """The standard deviation over the members, where they disagree, of what they say; 0 for one member alone.

        Of the predictions of a regressor, and of the probabilities of a classifier: an array of the same shape.
        """
        return self._deviation(self._said(X))

    def _deviation(self, said: NDArray[Any]) -> NDArray[Any]:
        return deviation(torch.from_numpy(said)).numpy()

    def _said(self, X: Any) -> NDArray[Any]:
        """What each member says of rows: (members, ...)."""
        raise NotImplementedError

    def _outputs(self, X: Any) -> NDArray[Any]:
        """The members' outputs for rows, activated: (members, n, outputs)."""
        check_is_fitted(self, "coefs_")
        rows = validate_data(self, X, accept_sparse=["csr", "csc"], dtype=self._dtype_of_rows(True), reset=False)
        parts = [dense(rows[batch]) for batch in gen_batches(rows.shape[0], ROWS_AT_ONCE)]
        members = self._params(self._members[0].optimizer_state.params)
        outputs = [[self._activated(params, as_tensor("X", part)) for part in parts] for params in members]
        return np.stack([np.concatenate(own) for own in outputs])

    def _activated(self, params: Params, rows: Tensor) -> NDArray[Any]:
        outputs = predict(self._network, params, rows, engine=self.engine)
        activated: NDArray[Any] = self._task().activated(outputs).numpy()
        return activated

    def _params(self, template: Params) -> list[Params]:
        """Each member's parameters, which are those of `coefs_` and `intercepts_`, whoever has set them."""
        return to_members(template, self.coefs_, self.intercepts_, int(self.members))

    def _dtype_of_rows(self, again: bool) -> Any:
        """The dtypes that rows may have: those of the parameters, where there are any."""
        if again:
            return self.coefs_[0].dtype
        return FLOATS if self.dtype is None else self.dtype

    def _begin(self) -> None:
        """Set the attributes to what they are before the first epoch: nothing is known of earlier training."""
        self.loss_curve_, self.t_ = [], 0
        self.validation_scores_, self.validation_loss_curve_ = ([], []) if self.early_stopping else (None, None)
        for name in ("_members", "coefs_", "intercepts_", "classes_"):
            if hasattr(self, name):
                delattr(self, name)

    def _record(self, results: Sequence[FitResult], samples: int) -> None:
        """Add the epochs of training to the curves."""
        histories, value = [result.history for result in results], self._task().value
        if self.validation_scores_ is not None and self.validation_loss_curve_ is not None:
            self.validation_scores_ += mean_curve([history.validation_accuracy for history in histories])
            self.validation_loss_curve_ += mean_curve([history.validation_loss for history in histories], value)
        self._add(mean_curve([history.train_loss for history in histories], value), samples)

    def _add(self, losses: list[float], samples: int) -> None:
        """Add epochs, by their losses; each went over `samples` samples."""
        self.loss_curve_ = [*self.loss_curve_, *losses]
        self.n_iter_, self.loss_ = len(losses), losses[-1]
        self.t_ += len(losses) * samples
        scores = self.validation_scores_
        self.best_loss_ = None if scores is not None else min(self.loss_curve_)
        self.best_validation_score_ = None if scores is None else float(np.nanmax([-np.inf, *scores]))

    def _keep(self, network: Layer, states: Sequence[TrainState]) -> None:
        """Keep where the members stand."""
        self._network, self._members = network, tuple(states)
        self.coefs_, self.intercepts_ = to_arrays([state.optimizer_state.params for state in states])
        self.n_layers_, self.out_activation_ = len(self.coefs_) + 1, self._task().out_activation

    def _tell(self, results: Sequence[FitResult]) -> None:
        """Say how training ended. Raises `ValueError` where a member diverged whose best state is not asked for."""
        if any(result.diverged_at is not None for result in results) and not self.early_stopping:
            raise ValueError(DIVERGED)
        if any(result.interrupted for result in results):
            warnings.warn("Training interrupted by user.", stacklevel=3)
        elif not all(result.stopped_early for result in results) and self.n_iter_ == self.max_iter:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
                "converged yet.",
                ConvergenceWarning,
                stacklevel=3,
            )
        elif self.verbose:
            what = "Validation score" if self.early_stopping else "Training loss"
            print(
                f"{what} did not improve more than tol={self.tol:f} for {self.n_iter_no_change} consecutive epochs. "
                "Stopping."
            )
