"""The docstrings of what is public: whoever calls a function with many arguments finds each of them on a line."""

import importlib
import inspect
import re
from collections.abc import Callable, Iterator
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


def listed(docstring: str) -> Iterator[str]:
    """The names in the section "Parameters" of a docstring: those of one line stand at its margin."""
    _, _, section = docstring.partition("Parameters\n----------\n")
    for line in section.splitlines():
        if re.fullmatch(r"\w+(, \w+)*", line):
            yield from line.split(", ")


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
