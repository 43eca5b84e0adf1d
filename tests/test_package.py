"""The package as a whole: its names, what importing it loads, and what it must not use."""

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import functional_mlp as fm

ROOT = Path(fm.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))

# Section 2 of the design, name by name.
LAYERS = (
    "Linear LinearParams ReLU Tanh Sigmoid LeakyReLU ELU Softplus SiLU GELU Identity Elementwise Sequential Residual "
    "count_parameters"
)
VALUES = "MeanSquaredError CrossEntropy SGD BatchGD Momentum Nesterov Adam AdamW"
TRAINING = "value_and_grad Dataset fit train_epoch predict classify evaluate TrainState History"
MODULE_NAMES = {
    "initializers": (
        "uniform normal xavier_uniform xavier_normal kaiming_uniform kaiming_normal torch_default constant zeros"
    ),
    "random": "key Key uniform normal permutation",
    "schedules": "constant exponential_decay step_decay inverse_decay cosine_decay warmup on_plateau",
    "datasets": "disk moons spirals rings checkers",
    "pytree": "map leaves paths structure equal NAMESPACE",
}


@pytest.mark.parametrize("name", f"{LAYERS} {VALUES} {TRAINING}".split())
def test_the_package_exports(name: str) -> None:
    assert name in fm.__all__
    assert callable(getattr(fm, name))


@pytest.mark.parametrize(("module", "names"), MODULE_NAMES.items())
def test_a_module_of_the_package_exports(module: str, names: str) -> None:
    missing = [name for name in names.split() if not hasattr(getattr(fm, module), name)]
    assert not missing


def test_every_name_that_all_lists_is_there_once() -> None:
    assert len(set(fm.__all__)) == len(fm.__all__)
    assert all(hasattr(fm, name) for name in fm.__all__)


def test_star_import_does_not_hide_the_standard_librarys_random() -> None:
    names: dict[str, object] = {}
    exec("from functional_mlp import *", names)
    assert "initializers" in names
    assert "random" not in names


def test_the_version_is_one() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+([a-z]+\d+)?", fm.__version__)


@pytest.mark.parametrize("name", fm.__all__)
def test_every_public_name_has_a_docstring(name: str) -> None:
    assert inspect.getdoc(getattr(fm, name))


def loaded_by(code: str, modules: Sequence[str]) -> list[str]:
    """Those of some modules that a Python process has loaded at the end of some code, which prints nothing."""
    code = f"import sys\n{code}\nprint([m for m in {list(modules)} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True, timeout=300)
    return ast.literal_eval(done.stdout)


EXTRAS = ["matplotlib", "hypothesis", "polars", "pandas", "sklearn", "sympy", "onnx", "jax"]


def test_importing_the_package_loads_torch_with_the_first_name() -> None:
    assert not loaded_by("import functional_mlp, functional_mlp.cli", ["torch", "llvmlite", "safetensors", *EXTRAS])
    heavy = ["cyclopts", "rich", "llvmlite", "safetensors", *EXTRAS]
    assert loaded_by("import functional_mlp as fm\nfm.Linear(2, 2)", ["torch", *heavy]) == ["torch"]


COMMANDS = ["train", "sweep", "summary", "trace", "predict", "export", "inspect", "reproduce", "playground"]


@pytest.mark.parametrize("arguments", ["--version", "--help", *(f"{command} --help" for command in COMMANDS)])
def test_the_command_explains_itself_without_torch(arguments: str) -> None:
    code = f"""
import contextlib, io
from functional_mlp.cli import main
with contextlib.redirect_stdout(io.StringIO()) as out:
    assert main({arguments.split()}) == 0
assert out.getvalue()
"""
    assert not loaded_by(code, ["torch", "numpy", "llvmlite", *EXTRAS])


def test_the_package_runs_as_the_command() -> None:
    command = [sys.executable, "-m", "functional_mlp", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout == f"{fm.__version__}\n"


@pytest.mark.parametrize("module", ["layers.linear", "random", "engine", "checkpoint", "cli.app", "testing"])
def test_any_module_may_be_the_first_that_is_imported(module: str) -> None:
    assert not loaded_by(f"import functional_mlp.{module}\nimport functional_mlp as fm\nfm.fit, fm.random.key(0)", [])


def test_names_of_the_package_are_found_once_and_listed() -> None:
    assert fm.Linear is fm.Linear
    assert "Linear" in vars(fm)
    assert {*fm.__all__, "random", "checkpoint", "engine", "plotting", "tables", "testing"} <= set(dir(fm))
    with pytest.raises(AttributeError, match="module 'functional_mlp' has no attribute 'no_such_name'"):
        fm.no_such_name  # noqa: B018 - what it does is to raise
    with pytest.raises(ImportError, match="cannot import name 'no_such_name'"):
        exec("from functional_mlp import no_such_name")


def test_threads_may_use_the_package_first_at_once() -> None:
    code = """
import threading
import functional_mlp as fm
errors = []
threading.excepthook = errors.append
names = ["Linear", "fit", "random", "engine", "testing", "tables", "load", "checkpoint"] * 2
threads = [threading.Thread(target=getattr, args=(fm, name)) for name in names]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
fm.Linear, fm.fit, fm.random, fm.engine, fm.testing, fm.tables, fm.load, fm.checkpoint
assert not errors, errors
"""
    assert not loaded_by(code, [])


FORBIDDEN = ("torch.autograd", "torch.nn", "torch.func", "torch.optim", "torch._functorch")
# Those that compare with torch or hand over to it, inside functions and classes: section 3 of the design.
MAY_COMPARE = ("testing", "experiments", "interop")
# What asks whether others differentiate through the package in forward mode.
MAY_ASK = {"usual.py": ["torch.autograd.forward_ad"]}


def torch_names(tree: ast.AST) -> list[str]:
    """What a source file imports, and the attributes of torch that it reads, as dotted names."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names.append(ast.unparse(node))
    return names


def forbidden_names(source: str) -> list[str]:
    return [
        name
        for name in torch_names(ast.parse(source))
        if any(name == forbidden or name.startswith(f"{forbidden}.") for forbidden in FORBIDDEN)
    ]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_uses_autograd(path: Path) -> None:
    tree = ast.parse(path.read_text())
    if path.relative_to(ROOT).parts[0] in MAY_COMPARE:  # only at the top is it forbidden there
        tree.body = [node for node in tree.body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert forbidden_names(ast.unparse(tree)) == MAY_ASK.get(str(path.relative_to(ROOT)), [])


@pytest.mark.parametrize(
    "source",
    [
        "import torch.nn",
        "from torch import nn",
        "from torch.nn import functional as F",
        "import torch.autograd as ad",
        "import torch\ndef f(x):\n    return torch.func.grad(x)",
        "import torch\ntorch.nn.functional.relu(1)",
        "import torch\ntorch.optim.SGD([])",
    ],
)
def test_the_scan_finds_autograd(source: str) -> None:
    assert forbidden_names(source)
