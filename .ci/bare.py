"""What works with the wheel alone, and what each missing extra says: run with a Python that has no extras."""

import importlib
import importlib.util
import os
import pkgutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import functional_mlp as fm
from functional_mlp.extras import installing

PROGRAM = Path(sys.executable).with_name("functional-mlp")
# What needs an extra, by the name of the extra: code, or the arguments of the command.
NEEDS = {
    "plot": [
        "import functional_mlp.plotting",
        ["train", "--epochs", "1", "--plot", "curves.png"],
        ["reproduce", "--quick"],
    ],
    "table": [
        "import functional_mlp as fm; fm.tables.read_table('points.csv', 'side')",
        ["train", "--data", "points.csv", "--target", "side"],
        ["predict", "--model", "model.safetensors", "--data", "points.csv", "--out", "classes.csv"],
    ],
    "sklearn": ["from functional_mlp.sklearn import MLPClassifier"],
    "testing": ["import functional_mlp.testing"],
    "onnx": [
        "import functional_mlp as fm; fm.interop.to_onnx('model.onnx', fm.ReLU(), ())",
        ["export", "--model", "model.safetensors", "--out", "model.onnx"],
    ],
    "playground": [["playground", "--no-browser"]],
}


def main() -> None:
    os.chdir(tempfile.mkdtemp())
    warnings.simplefilter("error")
    check_that_extras_are_missing()
    check_imports()
    check_library()
    check_command()
    check_missing_extras()


def check_that_extras_are_missing() -> None:
    found = [
        name
        for name in ("polars", "matplotlib", "hypothesis", "onnx", "sklearn", "pytest")
        if importlib.util.find_spec(name)
    ]
    assert not found, f"this environment is not bare: it has {found}"


def check_imports() -> None:
    """Every module can be imported, or says which extra it needs."""
    names = [module.name for module in pkgutil.walk_packages(fm.__path__, "functional_mlp.", onerror=lambda name: None)]
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            if "from a checkout, pip install '.[" not in str(error):
                raise AssertionError(f"{name} does not say which extra it needs") from error
    print(f"{len(names)} modules")


def check_library() -> None:
    network, optimizer, loss = (
        fm.Sequential(fm.Linear(2, 8), fm.Tanh(), fm.Linear(8, 2)),
        fm.Adam(0.01),
        fm.CrossEntropy(),
    )
    data = fm.datasets.disk(fm.random.key(0), 100)
    assert fm.engine.explain(network, loss, optimizer) is None
    for engine in ("reference", "fused"):
        result = fm.fit(network, loss, optimizer, data, key=fm.random.key(1), epochs=3, engine=engine)
        fm.save(f"{engine}.safetensors", result.state, network=network, optimizer=optimizer)
        saved = fm.load(f"{engine}.safetensors")
        assert fm.pytree.equal(saved.state, result.state)
        assert fm.evaluate(saved.network, loss, saved.params, data).loss > 0
    print("fit, save, load")


def check_command() -> None:
    run("train", "--epochs", "3", "--out", "model.safetensors")
    run("train", "--epochs", "5", "--out", "model.safetensors", "--resume")
    run("inspect", "--model", "model.safetensors")
    run("summary")
    print("train --out, --resume, inspect, summary")


def run(*arguments: str) -> None:
    subprocess.run([PROGRAM, *arguments], check=True, stdout=subprocess.DEVNULL, timeout=300)


def check_missing_extras() -> None:
    """Each feature that needs an extra ends with one line, which says how to install it."""
    Path("points.csv").write_text("x,y,side\n0,1,left\n1,0,right\n")
    for extra, uses in NEEDS.items():
        for use in uses:
            command = [sys.executable, "-c", use] if isinstance(use, str) else [str(PROGRAM), *use]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300)
            last = done.stderr.splitlines()[-1] if done.stderr else ""
            assert done.returncode == 1, f"{use}: {done}"
            assert installing(extra) in last, f"{use}: {done.stderr}"
            print(f"without {extra}: {last}")


if __name__ == "__main__":
    main()
