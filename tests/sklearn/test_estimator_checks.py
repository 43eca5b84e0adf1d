"""scikit-learn's checks of what an estimator must do, which ours pass without a failure, expected or not."""

from typing import Any

import pytest
from sklearn.utils.estimator_checks import check_estimator

from functional_mlp.sklearn import MLPClassifier, MLPRegressor

# Small and quick, for the checks train some hundred networks. Which engine trains them makes no difference to a check.
QUICK: dict[str, Any] = {"hidden_layer_sizes": (10,), "learning_rate_init": 0.1, "max_iter": 40, "engine": "reference"}


# So few epochs need not be enough: scikit-learn ignores the warning too when it checks its own networks.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("make", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("changes", [{}, {"members": 3}, {"early_stopping": True}], ids=str)
def test_an_estimator_passes_all_checks(make: Any, changes: dict[str, Any]) -> None:
    results = check_estimator(make(**QUICK, **changes), on_fail=None, on_skip=None)
    assert [result["check_name"] for result in results if result["status"] not in ("passed", "skipped")] == []
    assert len(results) > 50
