"""scikit-learn's own tests of its multi-layer perceptrons, from the installed package, run with our classes.

The file is executed with its import of the classes replaced, so that its parametrizations take ours as well.
"""

import importlib.util
from pathlib import Path
from typing import Any

# What is left out, and why.
LBFGS = "asks for the solver lbfgs, which we do not offer"
PRIVATE = "reads private attributes of scikit-learn's class"
LEFT_OUT = {
    "test_gradient": LBFGS,
    "test_lbfgs_classification": LBFGS,
    "test_lbfgs_classification_maxfun": LBFGS,
    "test_lbfgs_regression": LBFGS,
    "test_lbfgs_regression_maxfun": LBFGS,
    "test_mlp_vs_poisson_glm_equivalent": LBFGS,
    "test_multilabel_classification": LBFGS,
    "test_multioutput_regression": LBFGS,
    "test_partial_fit_errors": LBFGS,
    "test_predict_proba_multilabel": LBFGS,
    "test_sparse_matrices": LBFGS,
    "test_warm_start": LBFGS,
    "test_adaptive_learning_rate": f"{PRIVATE}: _optimizer",
    "test_learning_rate_warmstart": f"{PRIVATE}: _optimizer",
    "test_n_iter_no_change": f"{PRIVATE}: _no_improvement_count",
    "test_n_iter_no_change_inf": f"{PRIVATE}: _no_improvement_count",
}
# What is put in the place of what: our classes, and the solvers that there are in a test of all solvers.
REPLACED = {
    "from sklearn.neural_network import MLPClassifier, MLPRegressor": (
        "from functional_mlp.sklearn import MLPClassifier, MLPRegressor"
    ),
    '("solver", ["sgd", "adam", "lbfgs"])': '("solver", ["sgd", "adam"])',
}


def theirs() -> dict[str, Any]:
    """The tests that their file defines, of our classes."""
    spec = importlib.util.find_spec("sklearn.neural_network.tests.test_mlp")
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).read_text()
    for old, new in REPLACED.items():
        assert source.count(old) == 1
        source = source.replace(old, new)
    namespace: dict[str, Any] = {"__name__": __name__}
    exec(compile(source, spec.origin, "exec"), namespace)
    return {name: value for name, value in namespace.items() if name.startswith("test_")}


TESTS = theirs()
globals().update({name: test for name, test in TESTS.items() if name not in LEFT_OUT})


def test_what_is_left_out_is_there() -> None:
    assert set(LEFT_OUT) < set(TESTS)
