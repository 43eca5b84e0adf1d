"""Scores of `functional_mlp.sklearn` beside `sklearn.neural_network`, with the same arguments, over some seeds.

    python benchmarks/estimator_scores.py [--seeds 10] [--tasks iris wine ...]

Each seed splits the data, and trains both; a row has the mean test scores (accuracy, or R²), and the mean of the
differences seed by seed with its standard error. A second table has what was trained: the losses on the rows that both
learnt from (cross-entropy, or half the mean squared error, without the penalty) and the norms of all weights, each the
mean over the seeds with its standard error. "california" is made up: 2000 rows of eight features, a target with the
curves and products that house prices have, and noise.
"""

import argparse
import warnings
from typing import Any

import numpy as np
from sklearn import datasets, neural_network
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from functional_mlp import sklearn as ours


def california() -> tuple[Any, Any]:
    generator = np.random.RandomState(0)
    X = generator.normal(size=(2000, 8))
    income, age, rooms, latitude, longitude = X[:, 0], X[:, 1], X[:, 2], X[:, 6], X[:, 7]
    coast = np.exp(-((latitude + longitude) ** 2))
    y = 0.8 * income + 0.2 * np.tanh(age) + 0.3 * rooms * income + 1.5 * coast + 0.3 * generator.normal(size=2000)
    return X, (y - y.mean()) / y.std()


def diabetes() -> tuple[Any, Any]:
    X, y = datasets.load_diabetes(return_X_y=True)
    return X, (y - y.mean()) / y.std()


TASKS = {
    "iris": (lambda: datasets.load_iris(return_X_y=True), "MLPClassifier"),
    "wine": (lambda: datasets.load_wine(return_X_y=True), "MLPClassifier"),
    "breast_cancer": (lambda: datasets.load_breast_cancer(return_X_y=True), "MLPClassifier"),
    "digits": (lambda: datasets.load_digits(return_X_y=True), "MLPClassifier"),
    "diabetes": (diabetes, "MLPRegressor"),
    "california": (california, "MLPRegressor"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # 200 epochs, the default, are too few for some to converge
    trained = {}
    print("| data | scikit-learn | functional_mlp | difference |")
    print("|---|---|---|---|")
    for task in options.tasks:
        figures = np.array([of_seed(task, seed) for seed in range(options.seeds)])
        scores, trained[task] = figures[:, :, 0], figures[:, :, 1:]
        theirs, own = scores.mean(0)
        print(f"| {task} | {theirs:.4f} | {own:.4f} | {around(scores[:, 1] - scores[:, 0], '+.4f')} |", flush=True)
    print("\n| data | loss: scikit-learn | functional_mlp | weights: scikit-learn | functional_mlp |")
    print("|---|---|---|---|---|")
    for task, figures in trained.items():
        losses, norms = ([around(figures[:, one, kind]) for one in (0, 1)] for kind in (0, 1))
        print(f"| {' | '.join([task, *losses, *norms])} |")


def around(values: Any, form: str = ".4f") -> str:
    """The mean and its standard error."""
    return f"{values.mean():{form}} ± {values.std(ddof=1) / np.sqrt(len(values)):.4f}"


def of_seed(task: str, seed: int) -> list[tuple[float, float, float]]:
    """The test score, the loss on the rows that were learnt from and the norm of the weights, of theirs and of ours."""
    load, name = TASKS[task]
    X, y = load()
    X, X_test, y, y_test = train_test_split(X, y, random_state=seed, stratify=y if name == "MLPClassifier" else None)
    models = [getattr(module, name)(random_state=seed) for module in (neural_network, ours)]
    return [figures_of(make_pipeline(StandardScaler(), model).fit(X, y), X, y, X_test, y_test) for model in models]


def figures_of(fitted: Any, X: Any, y: Any, X_test: Any, y_test: Any) -> tuple[float, float, float]:
    classifies = hasattr(fitted, "predict_proba")
    loss = log_loss(y, fitted.predict_proba(X)) if classifies else mean_squared_error(y, fitted.predict(X)) / 2
    norm = np.sqrt(sum((weights**2).sum() for weights in fitted[-1].coefs_))
    return fitted.score(X_test, y_test), loss, float(norm)


if __name__ == "__main__":
    main()
