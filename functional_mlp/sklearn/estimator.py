"""The training of both estimators: `fit` and `partial_fit` over those of this library."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from functional_mlp import random, trees
from functional_mlp.ensemble import fit_ensemble, stack
from functional_mlp.layers.base import Layer, Params
from functional_mlp.optimizers import Optimizer
from functional_mlp.random import Key
from functional_mlp.sklearn import holdout, recipe
from functional_mlp.sklearn.fitted import DIVERGED, Fitted
from functional_mlp.sklearn.parameters import check_parameters
from functional_mlp.sklearn.progress import Printer
from functional_mlp.sklearn.samples import Samples, checked_weights, dense
from functional_mlp.state import FitResult, Score, TrainState
from functional_mlp.training import fit, train_epoch


class NotOfferedError(AttributeError, ValueError):
    """A method that the arguments of an estimator leave out: `hasattr` says so, and whoever calls it learns why."""


class OfferedWithoutStopping:
    """A method that an estimator with `early_stopping` has not got."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __get__(self, estimator: Any, owner: type) -> Callable[..., Any]:
        if estimator is None:
            return self._method
        if estimator.early_stopping:
            raise NotOfferedError(f"{self._method.__name__} does not support early_stopping=True")
        bound: Callable[..., Any] = self._method.__get__(estimator, owner)
        return bound


class Estimator(Fitted):
    """The base of both; a subclass says what its targets are, and what it learns from them."""

    warm_start: bool
    batch_size: Any
    shuffle: bool
    validation_fraction: float
    random_state: Any
    engine: Any
    dtype: Any

    takes_numbers: ClassVar[bool] = False
    """Whether targets must be numbers."""

    def _encoded(self, y: Any, dtype: Any) -> NDArray[Any]:
        """Targets as the loss takes them; sets `n_outputs_` and what is to be known of the classes."""
        raise NotImplementedError

    def _stopping_score(self) -> Score | None:
        """What early stopping looks at; None for the share of right answers."""
        return None

    def _strata(self, samples: Samples) -> NDArray[Any] | None:
        """The class of each row, where they are held out class by class."""
        return None

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train on rows X (n, features) with targets y (n,) or (n, outputs), and return the estimator.

        X may be an array, a data frame, or a sparse matrix, which is made dense. Weights (n,) count by their ratios.
        Raises `ValueError` where training diverges, and for arguments and data that do not fit.
        """
        check_parameters(self)
        again = self.warm_start and hasattr(self, "coefs_")
        if not again:
            self._begin()
        samples, held_out = self._samples(X, y, sample_weight, again=again), None
        generator = check_random_state(self.random_state)
        if self.early_stopping:
            held = holdout.held_out(
                samples.inputs, samples.weights, self._strata(samples), self.validation_fraction, generator
            )
            samples, held_out = samples.split(held)
        keys, network = self._keys(generator), recipe.network_of(self, self.n_features_in_, self.n_outputs_)
        params = self._params(network.init(keys[0], dtype=samples.dtype)) if again else None
        self._warn_of_batch_size(samples)
        results = self._train(network, keys, params, samples, held_out)
        self._record(results, len(samples))
        self._keep(network, [result.best if self.early_stopping else result.state for result in results])
        self._tell(results)
        return self

    def _train(
        self,
        network: Layer,
        keys: Sequence[Key],
        params: list[Params] | None,
        samples: Samples,
        held_out: Samples | None,
    ) -> tuple[FitResult, ...]:
        """What `fit` or `fit_ensemble` comes to."""
        task, data = self._task(), samples.dataset()
        arguments: dict[str, Any] = {
            "epochs": self.max_iter,
            "batch_size": recipe.batch_size_of(self),
            "shuffle": bool(self.shuffle),
            "schedule": recipe.schedule_of(self, task, len(samples)),
            "penalty": recipe.penalty_of(self, task, len(samples), samples.mean_weight),
            "validation": None if held_out is None else held_out.dataset(),
            "score": None if held_out is None else self._stopping_score(),
            "early_stopping": recipe.stopping_of(self, task),
            "engine": self.engine,
        }
        if self.verbose:
            in_training = tuple(key.split()[1] for key in keys)
            arguments["callbacks"] = [Printer(in_training, task.value, scores=held_out is not None)]
        what = network, task.loss, recipe.optimizer_of(self, task), data
        if self.members == 1:
            return (fit(*what, key=keys[0], params=None if params is None else params[0], **arguments),)
        return fit_ensemble(*what, keys=keys, params=None if params is None else stack(params), **arguments).members

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any) -> None:
        """Train for one epoch from where training stands."""
        check_parameters(self)
        again = hasattr(self, "coefs_")
        samples = self._samples(X, y, sample_weight, again=again)
        network, task = recipe.network_of(self, self.n_features_in_, self.n_outputs_), self._task()
        optimizer = recipe.optimizer_of(self, task)
        factor = recipe.factor_of(self, self.t_, self.loss_curve_)
        data, outcomes = samples.dataset(), []
        for state in self._states(network, optimizer, samples.dtype):
            outcome = train_epoch(
                network,
                task.loss,
                state,
                data,
                optimizer=optimizer,
                batch_size=recipe.batch_size_of(self),
                shuffle=bool(self.shuffle),
                schedule=lambda epoch: factor,
                penalty=recipe.penalty_of(self, task, len(samples), samples.mean_weight),
                engine=self.engine,
            )
            outcomes.append(outcome)
        if not all(trees.is_finite(state) for state, _ in outcomes):
            raise ValueError(DIVERGED)
        self.validation_scores_ = self.validation_loss_curve_ = None
        self._add([task.value * sum(loss for _, loss in outcomes) / len(outcomes)], len(samples))
        self._keep(network, [state for state, _ in outcomes])

    def _states(self, network: Layer, optimizer: Optimizer, dtype: torch.dtype) -> list[TrainState]:
        """Where the members stand, with the parameters of `coefs_` and `intercepts_`, where there are any."""
        states = getattr(self, "_members", None)
        if states is None:
            keys = [key.split() for key in self._keys(check_random_state(self.random_state))]
            states = [TrainState(optimizer.init(network.init(key, dtype=dtype)), after, 0) for key, after in keys]
        if not hasattr(self, "coefs_"):
            return list(states)
        return [
            attrs.evolve(state, optimizer_state=attrs.evolve(state.optimizer_state, params=params))
            for state, params in zip(states, self._params(states[0].optimizer_state.params), strict=True)
        ]

    def _keys(self, generator: np.random.RandomState) -> tuple[Key, ...]:
        """A key for each member, from the generator of `random_state`."""
        key = random.key(int(generator.randint(2**31)))
        return (key,) if self.members == 1 else key.split(self.members)

    def _samples(self, X: Any, y: Any, sample_weight: Any, *, again: bool) -> Samples:
        """Rows, targets and weights, checked and encoded."""
        rows, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            y_numeric=self.takes_numbers,
            dtype=self._dtype_of_rows(again),
            reset=not again,
        )
        inputs = dense(rows)
        return Samples(inputs, self._encoded(y, inputs.dtype), checked_weights(sample_weight, inputs))

    def _warn_of_batch_size(self, samples: Samples) -> None:
        if self.batch_size != "auto" and self.batch_size > len(samples):
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=3
            )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
