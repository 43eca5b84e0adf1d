"""How good one command is on public tables: `python -m benchmarks.tables [--epochs N ...]`.

17 tables that scikit-learn and statsmodels ship with themselves, so that nothing is fetched, are written as CSV files
as they come, and learned by `functional-mlp train --data FILE --target COLUMN`, with five seeds. Beside it are
scikit-learn's MLP and its logistic or linear regression, with their defaults but for more iterations, on the same
training rows, with standardized numbers. What is compared is the accuracy, or R², on the same validation rows; the last
column is the command's lead on the better of the two, and its standard error. A table
is won where the mean of the command is at least that of the better of the two, less one standard error of their
difference over the seeds: where one seed alone differs, the two are equal.

Arguments are passed on to `train`.
"""

import argparse
import contextlib
import io
import json
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sklearn.datasets
import statsmodels.datasets
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor

import functional_mlp as fm
from functional_mlp.cli import main
from functional_mlp.spread import Spread, plus_minus

SEEDS = range(5)
# Where one seed alone differs, the mean difference is its standard error, but for the last digits.
ROUNDING = 1e-6

SKLEARN = ("iris", "wine", "breast_cancer", "digits", "diabetes")
STATSMODELS = {
    "anes96": "vote",
    "modechoice": "choice",
    "spector": "GRADE",
    "heart": "censors",
    "fair": "affairs",
    "ccard": "AVGEXP",
    "grunfeld": "invest",
    "randhie": "mdvis",
    "star98": "NABOVE",
    "statecrime": "murder",
    "engel": "foodexp",
    "macrodata": "infl",
}


def tables() -> Iterator[tuple[str, Any, str]]:
    """The name of each table, the table as pandas has it, and its target."""
    for name in SKLEARN:
        loaded = getattr(sklearn.datasets, f"load_{name}")(as_frame=True)
        yield name, loaded.frame, "target"
    for name, target in STATSMODELS.items():
        yield name, getattr(statsmodels.datasets, name).load_pandas().data, target


def trained(path: Path, target: str, seed: int, options: Sequence[str]) -> float:
    """The accuracy or R² on the validation rows that the command prints."""
    out = io.StringIO()
    arguments = ("train", "--data", str(path), "--target", target, "--seed", str(seed), "--json", "--quiet", *options)
    with contextlib.redirect_stdout(out):
        assert main(arguments) == 0
    scores = json.loads(out.getvalue())["results"]["validation"]
    return float(scores.get("accuracy", scores.get("r2")))


def peers(path: Path, target: str, seed: int) -> tuple[float, float]:
    """The same of scikit-learn's MLP and of its linear model, on the same rows."""
    table = fm.tables.read_table(path, target)
    parts = fm.tables.split_table(table, fm.random.key(seed).split()[0])
    assert parts.validation is not None
    training, validation = parts.training, parts.validation
    models: tuple[Any, Any] = (LogisticRegression(max_iter=1000), MLPClassifier(max_iter=500, random_state=seed))
    if table.task == "regression":
        models = LinearRegression(), MLPRegressor(max_iter=500, random_state=seed)
    targets = [part.targets[:, 0] if part.labels is None else part.labels for part in (training, validation)]
    linear, mlp = (
        model.fit(training.inputs, targets[0]).score(validation.inputs.numpy(), targets[1].numpy()) for model in models
    )
    return float(mlp), float(linear)


def compare(options: Sequence[str]) -> None:
    """Print a line a table, and how many are won."""
    won = []
    with tempfile.TemporaryDirectory() as folder:
        for name, frame, target in tables():
            path = Path(folder) / f"{name}.csv"
            frame.to_csv(path, index=False)
            ours = Spread.of(trained(path, target, seed, options) for seed in SEEDS)
            mlp, linear = (Spread.of(each) for each in zip(*(peers(path, target, seed) for seed in SEEDS), strict=True))
            best = max(mlp, linear, key=lambda spread: spread.mean)
            difference = ours.minus(best)
            won.append(difference.mean + difference.standard_error >= -ROUNDING)
            figures = "  ".join(f"{plus_minus(each, 3):>16}" for each in (ours, mlp, linear))
            lead = f"{difference.mean:+.4f} ± {difference.standard_error:.4f}"
            print(f"{name:<14}{len(frame):>6} rows  {figures}  {lead}  {'won' if won[-1] else 'lost'}", flush=True)
    print(f"{sum(won)} of {len(won)} won")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    compare(parser.parse_known_args()[1])
