"""Times `functional_mlp.sklearn` beside `sklearn.neural_network`: the same arguments, the same data, as many epochs.

    python benchmarks/estimators.py [--repeats 5] [--batch-sizes auto 1] [--tasks iris wide] [--threads 1]

A row is a task at a batch size: the median seconds of a fit of theirs and of ours, taken in turn, their ratio, the
share of ours that is spent in native code, the seconds and their ratio for predicting all rows, and how many more
seconds our first fit, of nine tenths of the rows, takes than the second one, of all: the code that is made once. The
ratio divided by the share is what could be had if nothing but the native code took time. The cache on disk is off. With
`--dtype float32` both are given such rows.
`--threads` is how many threads both may use; by default as many as they choose.
"""

import argparse
import contextlib
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

os.environ["FUNCTIONAL_MLP_CACHE"] = "off"

import numpy as np
import threadpoolctl
import torch
from sklearn import datasets, neural_network
from sklearn.preprocessing import StandardScaler

from functional_mlp import sklearn as ours
from functional_mlp.engine import session

BATCH_SIZES = ("auto", "1")


def epochs_of(batch_size: str, rows: int) -> int:
    """Epochs of a fit: the 200 that are the default where that takes scikit-learn a few seconds, else fewer."""
    if batch_size == "auto":
        return 200 if rows <= 2000 else 20
    return max(1, 3000 // rows)


def wide() -> tuple[Any, Any]:
    return datasets.make_classification(10_000, 20, n_informative=10, n_classes=4, random_state=0)


TASKS: dict[str, tuple[Callable[[], tuple[Any, Any]], str, tuple[int, ...]]] = {
    "iris": (lambda: datasets.load_iris(return_X_y=True), "MLPClassifier", (100,)),
    "wine": (lambda: datasets.load_wine(return_X_y=True), "MLPClassifier", (100,)),
    "breast_cancer": (lambda: datasets.load_breast_cancer(return_X_y=True), "MLPClassifier", (100,)),
    "digits": (lambda: datasets.load_digits(return_X_y=True), "MLPClassifier", (100,)),
    "diabetes": (lambda: datasets.load_diabetes(return_X_y=True), "MLPRegressor", (100,)),
    "wide": (wide, "MLPClassifier", (100, 100)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch-sizes", nargs="+", default=BATCH_SIZES, choices=BATCH_SIZES)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--dtype", default="float64", choices=["float32", "float64"])
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")  # none of these runs converges
    print(f"{'task':<14}{'batch':>6}{'fit: theirs':>13}{'ours':>9}{'ratio':>8}{'native':>8}", end="")
    print(f"{'predict: theirs':>17}{'ours':>10}{'ratio':>8}{'first fit':>11}")
    for task in options.tasks:
        for batch_size in options.batch_sizes:
            with threadpoolctl.threadpool_limits(options.threads):
                print(row(task, batch_size, options.dtype, options.repeats), flush=True)


def row(task: str, batch_size: str, dtype: str, repeats: int) -> str:
    load, name, hidden = TASKS[task]
    X, y = load()
    X = StandardScaler().fit_transform(X).astype(dtype)
    y = (y - y.mean()) / y.std() if name == "MLPRegressor" else y
    epochs = epochs_of(batch_size, len(X))
    arguments = {
        "hidden_layer_sizes": hidden,
        "batch_size": batch_size if batch_size == "auto" else int(batch_size),
        "max_iter": epochs,
        "n_iter_no_change": max(1, epochs - 1),  # the losses are looked at, and end no run
        "random_state": 0,
    }
    theirs, own = (getattr(module, name)(**arguments) for module in (neural_network, ours))
    fewer = np.random.RandomState(0).permutation(len(X))[: len(X) * 9 // 10]
    first = seconds(lambda: own.fit(X[fewer], y[fewer]))
    second = seconds(lambda: own.fit(X, y))
    with native_seconds() as native:
        fits = in_turn([lambda: theirs.fit(X, y), lambda: own.fit(X, y)], repeats)
    calls = len(native) // repeats  # of native code in a fit
    share = statistics.median(sum(native[fit * calls : (fit + 1) * calls]) for fit in range(repeats)) / fits[1]
    predictions = in_turn([lambda: theirs.predict(X), lambda: own.predict(X)], 4 * repeats)
    return (
        f"{task:<14}{batch_size:>6}{fits[0]:>11.3f} s{fits[1]:>7.3f} s{fits[0] / fits[1]:>8.1f}{share:>8.0%}"
        f"{1e3 * predictions[0]:>14.2f} ms{1e3 * predictions[1]:>7.2f} ms{predictions[0] / predictions[1]:>8.1f}"
        f"{first - second:>+9.3f} s"
    )


@contextlib.contextmanager
def native_seconds() -> Iterator[list[float]]:
    """The seconds of each call of the fused engine's code."""
    taken: list[float] = []
    run = session.Session._run

    def timed(*arguments: Any) -> None:
        taken.append(seconds(lambda: run(*arguments)))

    with mock.patch.object(session.Session, "_run", timed):
        yield taken


def seconds(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def in_turn(calls: list[Callable[[], Any]], repeats: int) -> list[float]:
    """The median seconds of each call, all of them called one after the other, again and again."""
    taken = [[seconds(call) for call in calls] for _ in range(repeats)]
    return [statistics.median(column) for column in zip(*taken, strict=True)]


if __name__ == "__main__":
    main()
