"""The lists of arguments in docstrings: whoever calls a function with many of them finds out what each is."""

import ast
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import functional_mlp as fm

# A signature with more arguments is not read at a glance.
MOST_UNLISTED = 5
MODULES = (
    *("datasets", "distributed", "engine", "ensemble", "initializers", "interop", "penalties", "plotting", "pytree"),
    *("random", "schedules", "sklearn", "tables", "testing"),
)


def public() -> dict[str, Any]:
    """The public classes and functions of the package and of its modules, by name."""
    found = {name: getattr(fm, name) for name in fm.__all__}
    for name in MODULES:
        module = importlib.import_module(f"functional_mlp.{name}")
        names = getattr(module, "__all__", [own for own in vars(module) if not own.startswith("_")])
        found |= {f"{name}.{own}": getattr(module, own) for own in names}
    return {name: value for name, value in found.items() if is_ours(value)}


def is_ours(value: Any) -> bool:
    return not isinstance(value, ModuleType) and getattr(value, "__module__", "").startswith("functional_mlp")


def functions() -> dict[str, tuple[Callable[..., Any], str]]:
    """The public functions and methods, with their docstrings, where they say what a base class says of the base's."""
    found = {}
    for name, value in public().items():
        if inspect.isfunction(value):
            found[name] = value, inspect.getdoc(value) or ""
        elif inspect.isclass(value):
            for own, method in inspect.getmembers(value, inspect.isroutine):
                if (own == "__call__" or not own.startswith("_")) and is_ours(method):
                    found[f"{name}.{own}"] = method, inspect.getdoc(getattr(value, own)) or ""
    return found


FUNCTIONS = functions()


def arguments(function: Callable[..., Any]) -> list[str]:
    given = inspect.signature(function).parameters.values()
    return [each.name for each in given if each.name not in ("self", "cls") and each.kind is not each.VAR_KEYWORD]


def listed(docstring: str) -> list[str]:
    """The names that have an entry of their own in the section "Parameters" of a docstring, at its margin."""
    return [entry for entry in entries(docstring) if "," not in entry]


def entries(docstring: str) -> list[str]:
    _, _, section = docstring.partition("Parameters\n----------\n")
    return re.findall(r"^\w+(?:, \w+)*$", section, re.MULTILINE)


LONG = [name for name, (function, _) in FUNCTIONS.items() if len(arguments(function)) > MOST_UNLISTED]


@pytest.mark.parametrize("name", LONG)
def test_many_arguments_are_listed_one_by_one(name: str) -> None:
    function, docstring = FUNCTIONS[name]
    expected, given = arguments(function), {*listed(docstring)}
    if name.endswith(".rule"):  # each has slots of its own, which the list of the base class calls so
        expected = [*expected[:MOST_UNLISTED], "slots"]
    assert {*expected} <= given


def test_long_signatures_are_found() -> None:
    assert {"fit", "datasets.disk", "testing.check_layer", "Adam.rule", "initializers.uniform.__call__"} <= {*LONG}


# Whatever is not public as well, read and not imported.


def docstrings() -> Iterator[tuple[str, str]]:
    """The names of all classes and functions of the package, and their docstrings."""
    for node in NODES:
        yield node.name, ast.get_docstring(node) or ""


def defined(node: ast.AST, owner: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    """All functions within a piece of code, with the docstring of the class whose constructor it is, or its own."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            yield (owner if child.name == "__init__" else ast.get_docstring(child) or ""), child
        yield from defined(child, ast.get_docstring(child) or "" if isinstance(child, ast.ClassDef) else "")


def to_list(function: ast.FunctionDef) -> list[str]:
    """The arguments, but for `self` and options of the command line, which are listed where their class is."""
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(positional) - len(given.defaults)) + given.defaults + given.kw_defaults
    pairs = zip([*positional, *given.kwonlyargs], defaults, strict=True)
    names = [each.arg for each, default in pairs if not isinstance(default, ast.Call)]
    return [name for name in names if name not in ("self", "cls", "draw")]  # Hypothesis draws


TREES = [ast.parse(path.read_text()) for path in sorted(Path(fm.__file__).parent.rglob("*.py"))]
NODES = [node for tree in TREES for node in ast.walk(tree) if isinstance(node, ast.ClassDef | ast.FunctionDef)]


def unlisted(docstring: str, function: ast.FunctionDef) -> set[str]:
    """The arguments of a long signature that neither the docstring lists nor that of what has the same arguments."""
    names = to_list(function)
    if len(names) <= MOST_UNLISTED:
        return set()
    same = re.findall(r"[Tt]akes the arguments of `(\w+)`", docstring)
    given = {*listed(docstring)}.union(*(listed(text) for name, text in docstrings() if name in same))
    return {*names} - given


def says_what_a_base_says(docstring: str, function: ast.FunctionDef) -> bool:
    return not docstring and (not function.name.startswith("_") or function.name == "__call__")


def follows_another_library(function: ast.FunctionDef) -> bool:
    """Constructors of estimators: scikit-learn's own page has the list, and the class says what differs."""
    return function.name == "__init__" and "hidden_layer_sizes" in to_list(function)


def test_many_arguments_of_what_is_private_are_listed_too() -> None:
    found = {
        function.name: names
        for tree in TREES
        for docstring, function in defined(tree)
        if not says_what_a_base_says(docstring, function) and not follows_another_library(function)
        if (names := unlisted(docstring, function))
    }
    assert found == {}


def test_an_entry_is_of_one_argument() -> None:
    assert [(name, entry) for name, text in docstrings() for entry in entries(text) if "," in entry] == []


def test_an_entry_of_several_arguments_lists_none() -> None:
    assert listed("F.\n\nParameters\n----------\na, b\n    Both.\nc\n    A third.\n\nSays no more.") == ["c"]


def test_arguments_without_a_list_are_found() -> None:
    (function,) = ast.parse("def f(self, a, b, c, *, d, e, f=1): 'F.'").body
    assert isinstance(function, ast.FunctionDef)
    assert unlisted("F.", function) == {*"abcdef"}
