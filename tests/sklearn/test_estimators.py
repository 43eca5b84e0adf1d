"""The estimators: beside scikit-learn's, from the same parameters, and what they do besides."""

import io
import pickle
import warnings
from typing import Any

import joblib
import numpy as np
import polars
import pytest
import sklearn
import torch
from scipy import sparse
from sklearn import neural_network
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.inspection import permutation_importance
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import functional_mlp as fm
from functional_mlp.sklearn import MLPClassifier, MLPRegressor
from functional_mlp.sklearn.holdout import held_out

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, BINARY = make_classification(45, 6, random_state=0)
CLASSES = make_classification(45, 6, n_classes=3, n_informative=4, random_state=1)[1]
LABELS = make_multilabel_classification(45, 6, n_classes=4, random_state=0)[1]
NUMBERS = make_regression(45, 6, n_targets=3, noise=1.0, random_state=0)[1] / 50
COUNTS = np.random.RandomState(0).poisson(2.0, 45)
WEIGHTS = np.random.RandomState(1).uniform(0.5, 2.0, 45)
QUICK: dict[str, Any] = {"hidden_layer_sizes": (5,), "max_iter": 8, "random_state": 0, "engine": "reference"}


def pair(regression: bool) -> tuple[Any, Any]:
    """Our class, and theirs."""
    if regression:
        return MLPRegressor, neural_network.MLPRegressor
    return MLPClassifier, neural_network.MLPClassifier


def start(make: Any, y: Any, arguments: dict[str, Any]) -> Any:
    """An estimator that has had one epoch with a tiny step, and goes on with the parameters that others may set."""
    model = make(**arguments | {"max_iter": 1, "warm_start": True, "learning_rate_init": 1e-12}).fit(X, y)
    return model.set_params(**{"learning_rate_init": 1e-3} | arguments)


SGD: dict[str, Any] = {"solver": "sgd", "learning_rate_init": 0.05}
# What is learnt from which targets, by which arguments.
CASES: list[tuple[bool, Any, dict[str, Any]]] = [
    (False, BINARY, {}),
    (False, BINARY, {"activation": "logistic", "hidden_layer_sizes": (4, 3), "batch_size": 15}),
    (False, CLASSES, {"activation": "tanh", "alpha": 0.5}),
    (False, CLASSES, SGD | {"batch_size": 9}),
    (False, LABELS, SGD | {"nesterovs_momentum": False}),
    (False, LABELS, {"learning_rate_init": 0.01}),
    (True, NUMBERS, SGD | {"momentum": 0.0, "alpha": 0.3}),
    (True, NUMBERS, {"learning_rate_init": 0.01, "batch_size": 15}),
    (True, NUMBERS[:, 0], SGD | {"learning_rate": "invscaling", "power_t": 0.3, "momentum": 0.0}),
    (True, NUMBERS[:, 0], SGD | {"learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 1, "momentum": 0.0}),
    (True, COUNTS, {"loss": "poisson", "learning_rate_init": 0.01}),
]


@pytest.mark.parametrize(("regression", "y", "changes"), CASES, ids=lambda value: str(value)[:60])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "weights"])
def test_training_is_scikit_learns_from_the_same_parameters(
    regression: bool, y: Any, changes: dict[str, Any], weights: Any
) -> None:
    arguments = {"hidden_layer_sizes": (5,), "max_iter": 12, "random_state": 0, "shuffle": False} | changes
    arguments["epsilon"] = 1e-13  # which they add in another place
    own, other = (start(make, y, arguments) for make in pair(regression))
    other.best_loss_, other._no_improvement_count, own.t_, other.t_ = np.inf, 0, 0, 0  # we count from each fit's start
    own.coefs_, own.intercepts_ = ([array.copy() for array in arrays] for arrays in (other.coefs_, other.intercepts_))
    if weights is not None:  # they divide by the weight of each batch, and we by its rows: alike for one batch
        own.set_params(batch_size="auto")
        other.set_params(batch_size="auto")
    own.fit(X, y, sample_weight=weights)
    other.fit(X, y, sample_weight=weights)
    assert own.n_iter_ == other.n_iter_
    for ours, theirs in zip(own.coefs_ + own.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(own.predict(X), other.predict(X), rtol=1e-5, atol=1e-8)
    if not regression:
        np.testing.assert_allclose(own.predict_proba(X), other.predict_proba(X), rtol=1e-5)
    if arguments.get("alpha", 0) < 0.1:  # theirs has the penalty in it
        np.testing.assert_allclose(own.loss_curve_[1:], other.loss_curve_[1:], rtol=1e-3)
    assert (own.out_activation_, own.n_layers_, own.n_outputs_, own.t_) == (
        other.out_activation_,
        other.n_layers_,
        other.n_outputs_,
        other.t_,
    )


def test_an_estimator_without_arguments_is_theirs() -> None:
    for regression in (False, True):
        own, other = (make().get_params() for make in pair(regression))
        assert other.items() <= (own | {"loss": other.get("loss", own["loss"])}).items()
        assert set(own) - set(other) <= {"loss", "optimizer", "network", "members", "engine", "dtype"}


def test_the_attributes_after_a_fit_are_theirs() -> None:
    for regression in (False, True):
        for stopping in (False, True):
            own, other = (
                make(max_iter=2, early_stopping=stopping).fit(X, BINARY.astype(float if regression else int))
                for make in pair(regression)
            )
            public = {name for name in vars(other) if name.endswith("_")}
            assert public <= set(vars(own))
            for name in public:
                assert isinstance(getattr(other, name), type(getattr(own, name))), name


def test_early_stopping_looks_at_rows_that_are_held_out() -> None:
    arguments = QUICK | {"early_stopping": True, "max_iter": 30, "n_iter_no_change": 3, "learning_rate_init": 0.05}
    model = MLPRegressor(**arguments).fit(X, NUMBERS[:, 0], sample_weight=WEIGHTS)
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert len(model.validation_scores_) == len(model.validation_loss_curve_) == model.n_iter_ < 30
    assert model.best_loss_ is None
    held = held_out(X, WEIGHTS, None, 0.1, np.random.RandomState(0))
    score = r2_score(NUMBERS[held, 0], model.predict(X[held]), sample_weight=WEIGHTS[held])
    assert score == pytest.approx(model.best_validation_score_)
    loss = np.average((NUMBERS[held, 0] - model.predict(X[held])) ** 2, weights=WEIGHTS[held]) / 2
    best = model.validation_scores_.index(model.best_validation_score_)
    assert loss == pytest.approx(model.validation_loss_curve_[best])


def test_equal_rows_are_held_out_together_and_as_their_weights_say() -> None:
    rows = np.arange(60.0).reshape(30, 2)
    counts = np.random.RandomState(3).randint(0, 4, 30)
    weighted = held_out(rows, counts.astype(float), None, 0.3, np.random.RandomState(0))
    repeated = held_out(np.repeat(rows, counts, axis=0), None, None, 0.3, np.random.RandomState(0))
    assert repeated.tolist() == np.repeat(weighted, counts).tolist()
    assert 0.3 * counts.sum() <= counts[weighted].sum() < 0.3 * counts.sum() + 3
    assert weighted.tolist() != held_out(rows, None, None, 0.3, np.random.RandomState(1)).tolist()


# An ensemble


def test_members_are_the_networks_that_would_be_trained_alone() -> None:
    model = MLPClassifier(**QUICK, members=3).fit(X, CLASSES)
    outputs = model.predict_proba(X)
    assert model.coefs_[0].shape == (3, 6, 5)
    alone = []
    for member in range(3):
        single = MLPClassifier(**QUICK | {"max_iter": 1}).fit(X, CLASSES)
        single.coefs_ = [coef[member] for coef in model.coefs_]
        single.intercepts_ = [intercept[member] for intercept in model.intercepts_]
        alone.append(single.predict_proba(X))
    np.testing.assert_allclose(outputs, np.mean(alone, axis=0), rtol=1e-12)
    np.testing.assert_allclose(model.predict_std(X), np.std(alone, axis=0, ddof=1), rtol=1e-9)
    assert len({array.tobytes() for array in model.coefs_[0]}) == 3
    again = model.partial_fit(X, CLASSES).predict_proba(X)
    assert not np.allclose(again, outputs)


def test_a_regressor_gives_its_deviation_beside_its_mean() -> None:
    model = MLPRegressor(**QUICK, members=2).fit(X, NUMBERS)
    mean, deviation = model.predict(X, return_std=True)
    np.testing.assert_array_equal(mean, model.predict(X))
    np.testing.assert_array_equal(deviation, model.predict_std(X))
    assert mean.shape == deviation.shape == (45, 3)
    assert (deviation > 0).all()
    assert not MLPRegressor(**QUICK).fit(X, NUMBERS).predict_std(X).any()


# Values of this library


def test_values_of_the_library_take_the_place_of_names() -> None:
    arguments = {"activation": fm.GELU(), "loss": fm.CrossEntropy(label_smoothing=0.1), "optimizer": fm.Lion(0.003)}
    model = MLPClassifier(**QUICK | arguments).fit(X, BINARY)
    assert (model.out_activation_, model.n_outputs_) == ("softmax", 2)
    np.testing.assert_allclose(model.predict_proba(X).sum(1), 1)
    assert set(model.predict(X)) <= {0, 1}
    squares = MLPClassifier(**QUICK, loss=fm.MeanSquaredError()).fit(X, CLASSES)
    assert not hasattr(squares, "predict_proba")
    assert set(squares.predict(X)) <= {0, 1, 2}
    assert MLPRegressor(**QUICK | {"loss": fm.Huber()}).fit(X, NUMBERS).predict(X).shape == (45, 3)


def test_a_network_takes_the_place_of_layer_sizes() -> None:
    block = fm.Residual(fm.Sequential(fm.Linear(6, 6), fm.Tanh()))
    network = fm.Sequential(block, fm.Linear(6, 3, bias=False))
    model = MLPClassifier(**QUICK, network=network).fit(X, CLASSES)
    assert [coef.shape for coef in model.coefs_] == [(6, 6), (6, 3)]
    hidden = X + np.tanh(X @ model.coefs_[0] + model.intercepts_[0])
    logits = hidden @ model.coefs_[1]
    np.testing.assert_allclose(model.predict_proba(X), torch.softmax(torch.from_numpy(logits), 1).numpy(), rtol=1e-9)
    with pytest.raises(ValueError, match="MLPClassifier: network must have out_features=1 for these data, got 3"):
        model.fit(X, BINARY)


@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_both_engines_train_the_same(engine: str) -> None:
    arguments = QUICK | {"early_stopping": True, "members": 2, "batch_size": 10}
    model = MLPRegressor(**arguments | {"engine": engine}).fit(X, NUMBERS)
    np.testing.assert_allclose(model.predict(X), MLPRegressor(**arguments).fit(X, NUMBERS).predict(X), rtol=1e-6)


def test_the_dtype_is_that_of_the_rows_or_the_one_asked_for() -> None:
    for dtype, asked, expected in (
        (np.float32, None, "float32"),
        (np.float64, "float32", "float32"),
        (int, None, "f8"),
    ):
        model = MLPRegressor(**QUICK, dtype=asked).fit((10 * X).astype(dtype), NUMBERS)
        assert {array.dtype for array in model.coefs_ + model.intercepts_} == {np.dtype(expected)}
        assert model.predict(10 * X).dtype == np.dtype(expected)


# In the company of scikit-learn


def test_it_works_in_pipelines_searches_and_calibration() -> None:
    model = MLPClassifier(**QUICK | {"learning_rate_init": 0.05})
    pipeline = make_pipeline(StandardScaler().set_output(transform="polars"), model)
    frame = polars.DataFrame(X, schema=[f"column {i}" for i in range(6)])
    assert list(pipeline.fit(frame, BINARY)[-1].feature_names_in_) == frame.columns
    search = GridSearchCV(pipeline, {"mlpclassifier__alpha": [1e-4, 1.0]}, cv=2).fit(frame, BINARY)
    assert search.best_score_ > 0.5
    assert len(cross_val_score(model, X, BINARY, cv=2)) == 2
    assert CalibratedClassifierCV(model, cv=2).fit(X, BINARY).predict_proba(X).shape == (45, 2)
    importance = permutation_importance(model.fit(X, BINARY), X, BINARY, n_repeats=1, random_state=0)
    assert importance.importances_mean.shape == (6,)


def test_weights_are_routed_to_it() -> None:
    with sklearn.config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(StandardScaler(), MLPClassifier(**QUICK).set_fit_request(sample_weight=True))
        pipeline[0].set_fit_request(sample_weight=False)
        weighted = pipeline.fit(X, BINARY, sample_weight=WEIGHTS).predict_proba(X)
    assert not np.allclose(
        weighted, make_pipeline(StandardScaler(), MLPClassifier(**QUICK)).fit(X, BINARY).predict_proba(X)
    )


@pytest.mark.parametrize("members", [1, 2])
def test_a_copy_predicts_and_goes_on_as_the_original(members: int) -> None:
    model = MLPClassifier(**QUICK, members=members).fit(X, CLASSES)
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    for copy in (pickle.loads(pickle.dumps(model)), joblib.load(file)):
        np.testing.assert_allclose(copy.predict_proba(X), model.predict_proba(X), rtol=1e-12)
        further = pickle.loads(pickle.dumps(model)).partial_fit(X, CLASSES).predict_proba(X)
        np.testing.assert_allclose(copy.partial_fit(X, CLASSES).predict_proba(X), further, rtol=1e-12)
    assert clone(model).get_params() == model.get_params()
    assert not hasattr(clone(model), "coefs_")


def test_sparse_rows_are_dense_ones() -> None:
    rows = np.where(X > 0.5, X, 0)
    model = MLPRegressor(**QUICK).fit(sparse.csr_array(rows), NUMBERS)
    expected = MLPRegressor(**QUICK).fit(rows, NUMBERS).predict(rows)
    np.testing.assert_array_equal(model.predict(sparse.csc_matrix(rows)), expected)
    huge = sparse.csr_array((10**6, 10**9))
    with pytest.raises(MemoryError, match=r"X of shape \(1000000, 1000000000\) takes 7450580.6 GiB when it"):
        MLPRegressor(**QUICK).fit(huge, np.zeros(10**6))


def test_verbose_prints_each_epoch_of_each_member(capsys: pytest.CaptureFixture[str]) -> None:
    model = MLPClassifier(**QUICK | {"max_iter": 2, "members": 2, "verbose": True, "early_stopping": True}).fit(
        X, BINARY
    )
    lines = capsys.readouterr().out.splitlines()
    assert sorted(line.split(" = ")[0] for line in lines if "loss" in line) == [
        f"Member {member}, Iteration {epoch}, loss" for member in (1, 2) for epoch in (1, 2)
    ]
    assert sum("Validation score" in line for line in lines) == 4
    assert model.n_iter_ == 2


def test_the_end_of_training_is_told() -> None:
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(3\) reached"):
        MLPClassifier(**QUICK | {"max_iter": 3}).fit(X, BINARY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert MLPClassifier(**QUICK | {"tol": 10.0, "max_iter": 30}).fit(X, BINARY).n_iter_ == 12


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"solver": "lbfgs"}, "MLPClassifier: solver='lbfgs' is not offered"),
        ({"solver": "rmsprop"}, "MLPClassifier: solver must be 'sgd' or 'adam', got 'rmsprop', a str"),
        ({"learning_rate": "fast"}, "learning_rate must be 'constant', 'invscaling' or 'adaptive', got 'fast'"),
        (
            {"activation": "swish"},
            "activation must be one of 'identity', 'logistic', 'tanh', 'relu', or a layer such",
        ),
        ({"hidden_layer_sizes": (5, 0)}, "hidden_layer_sizes must be > 0, integers, one a hidden layer"),
        ({"alpha": -1.0}, r"MLPClassifier: alpha must be a finite number in \[0.0"),
        ({"beta_1": 1.0}, r"beta_1 must be a finite number in \[0.0, 1.0\)"),
        ({"max_iter": 0}, "max_iter must be a positive integer, got 0"),
        ({"members": 0}, "members must be a positive integer, got 0"),
        ({"batch_size": 0}, "batch_size must be a positive integer, got 0"),
        ({"loss": "hinge"}, "loss must be 'log_loss' or a loss of this library, got 'hinge'"),
        ({"engine": "fast"}, "engine must be 'auto', 'reference' or 'fused'"),
        ({"optimizer": "adam"}, "optimizer must be an Optimizer, got 'adam'"),
        ({"warm_start": 1}, "warm_start must be a bool, got 1"),
    ],
)
def test_bad_arguments_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        MLPClassifier(**QUICK | changes).fit(X, BINARY)
