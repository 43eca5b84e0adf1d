"""`MLPClassifier`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels

from functional_mlp.checks import Integer
from functional_mlp.layers.base import Layer
from functional_mlp.losses import BinaryCrossEntropy, CrossEntropy, Loss
from functional_mlp.optimizers import Optimizer
from functional_mlp.sklearn.estimator import Estimator, OfferedWithoutStopping
from functional_mlp.sklearn.recipe import Task
from functional_mlp.sklearn.samples import Samples

CROSS_ENTROPY, BINARY_CROSS_ENTROPY = CrossEntropy(), BinaryCrossEntropy()


def _has_probabilities(estimator: Any) -> bool:
    return not isinstance(estimator.loss, Loss) or isinstance(estimator.loss, CrossEntropy | BinaryCrossEntropy)


class MLPClassifier(ClassifierMixin, Estimator):  # type: ignore[misc] # scikit-learn has no types
    """`sklearn.neural_network.MLPClassifier`, trained by this library.

    Its arguments, attributes and methods are those of scikit-learn's class, for the solvers "adam" and "sgd". What it
    takes besides:

    Parameters
    ----------
    activation
        May be a layer of this library, such as `GELU()`.
    optimizer
        An optimizer of this library, in place of `solver` and its numbers.
    loss
        A loss of this library, in place of cross-entropy.
    network
        A network of this library, in place of `hidden_layer_sizes` and `activation`.
    members
        How many networks to train, each from another start and in another order. `predict_proba` is the mean of their
        probabilities, and `predict_std` the deviation. `coefs_` and `intercepts_` have a leading axis over them.
    engine
        "auto", "reference" or "fused", as `functional_mlp.fit` takes it.
    dtype
        That of the parameters and of all computation, "float32" say; None for that of X, float64 for integers.

    What differs: losses and `tol` are of the data alone, without the penalty; where the learning rate changes, momentum
    is that of `torch.optim.SGD`; `momentum` must be below 1; with `warm_start` each `fit` counts its epochs without a
    gain anew; `validation_loss_curve_` has the losses of early stopping's rows.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier((10,), learning_rate_init=0.05, max_iter=200, tol=0.01, random_state=0).fit(X / 8, y)
    >>> bool(model.score(X / 8, y) > 0.9)
    True
    """

    classes_: NDArray[Any]
    _is_multilabel: bool

    def __init__(
        self,
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
        loss: str | Loss = "log_loss",
        optimizer: Optimizer | None = None,
        network: Layer | None = None,
        members: Integer = 1,
        engine: str = "auto",
        dtype: Any = None,
    ) -> None:
        self._take(locals())

    @OfferedWithoutStopping
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> "MLPClassifier":
        """Train for one epoch from where training stands.

        `classes` are those of all calls, and needed at the first.
        """
        if not hasattr(self, "coefs_"):
            self._begin()
        if classes is not None and hasattr(self, "classes_"):
            if not np.array_equal(self.classes_, unique_labels(classes)):
                raise ValueError(
                    f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {self.classes_!r}"
                )
        elif not hasattr(self, "classes_"):
            if classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            self._learn_classes(y if type_of_target(y).startswith("multilabel") else classes)
        self._partial_fit(X, y, sample_weight)
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """The class of each row (n,), or its labels (n, outputs)."""
        said = self._outputs(X).mean(0)
        if self._has_output_a_class:
            named: NDArray[Any] = self.classes_[said.argmax(1)]
            return named
        if self._is_multilabel:
            labels: NDArray[Any] = self._binarizer.inverse_transform(said)
            return labels
        told: NDArray[Any] = self.classes_.take(said.ravel() > 0.5, mode="clip")  # there may be but one class
        return told

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> NDArray[Any]:
        """The probability of each class, or of each label by itself: (n, classes)."""
        probabilities: NDArray[Any] = self._said(X).mean(0)
        return probabilities

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_log_proba(self, X: Any) -> NDArray[Any]:
        """The logarithm of `predict_proba`."""
        probabilities = self.predict_proba(X)
        logarithms: NDArray[Any] = np.log(probabilities, out=probabilities)
        return logarithms

    def _said(self, X: Any) -> NDArray[Any]:
        outputs = self._outputs(X)
        return outputs if self.n_outputs_ > 1 else np.concatenate([1 - outputs, outputs], axis=-1)

    def _learn_classes(self, y: Any) -> None:
        """Set the classes to those of targets; a column a label is for several labels a row."""
        self._is_multilabel = np.ndim(y) == 2
        if self._is_multilabel:
            self._binarizer = LabelBinarizer().fit(y)
        self.classes_ = self._binarizer.classes_ if self._is_multilabel else np.unique(y)

    def _encoded(self, y: Any, dtype: Any) -> NDArray[Any]:
        y = column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y
        check_classification_targets(y)
        if hasattr(self, "classes_"):
            self._check_classes(unique_labels(y))
        else:
            self._learn_classes(y)
        self.n_outputs_ = len(self.classes_) if self._has_output_a_class or self._is_multilabel else 1
        if self._is_multilabel:
            return np.asarray(self._binarizer.transform(y)).astype(dtype)
        indices: NDArray[Any] = np.searchsorted(self.classes_, y)
        if self.n_outputs_ == 1 or isinstance(self._task().loss, CrossEntropy):
            return indices
        one_hot: NDArray[Any] = np.eye(self.n_outputs_, dtype=dtype)[indices]
        return one_hot

    @property
    def _has_output_a_class(self) -> bool:
        """Whether each class has an output; one tells two classes apart under cross-entropy."""
        is_own = isinstance(self.loss, Loss) and not isinstance(self.loss, BinaryCrossEntropy)
        return not self._is_multilabel and (len(self.classes_) > 2 or is_own)

    def _check_classes(self, classes: NDArray[Any]) -> None:
        """Raise `ValueError` for classes that are not those of earlier training."""
        if self.warm_start and hasattr(self, "coefs_") and set(classes) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                f"Previously got {self.classes_}, `y` has {classes}"
            )
        if not set(classes) <= set(self.classes_):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
            )

    def _task(self) -> Task:
        if isinstance(self.loss, CrossEntropy):
            return Task(self.loss, "softmax")
        if isinstance(self.loss, Loss):
            return Task(self.loss, "logistic" if isinstance(self.loss, BinaryCrossEntropy) else "identity")
        if self.loss != "log_loss":
            raise ValueError(f"MLPClassifier: loss must be 'log_loss' or a loss of this library, got {self.loss!r}")
        if self._has_output_a_class:
            return Task(CROSS_ENTROPY, "softmax")
        return Task(BINARY_CROSS_ENTROPY, "logistic", gradient=self.n_outputs_, value=self.n_outputs_)

    def _strata(self, samples: Samples) -> NDArray[Any] | None:
        return samples.targets if self.n_outputs_ == 1 else None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
