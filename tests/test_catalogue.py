"""The list of the library's own values holds all of them, and so does everything that goes by such a list."""

import importlib
import pkgutil
from typing import get_args

import pytest

import functional_mlp as fm
from functional_mlp import catalogue
from functional_mlp.cli.network import ACTIVATIONS
from functional_mlp.cli.recipes import OptimizerName
from functional_mlp.cli.training import OPTIMIZERS
from functional_mlp.layers.adapting import Adapted
from functional_mlp.value import Value
from tests import tables

# These hold values for purposes of their own: members that are stacked, expressions that are read.
INNER = ("checkpoint", "cli", "engine", "ensemble", "experiments", "testing")


def modules() -> list[str]:
    return [
        module.name
        for module in pkgutil.walk_packages(fm.__path__, "functional_mlp.")
        if module.name.split(".")[1] not in INNER and not module.name.endswith("__main__")
    ]


def classes_of(name: str) -> set[type]:
    kept = vars(importlib.import_module(name)).values()
    return {cls for cls in kept if isinstance(cls, type) and issubclass(cls, Value) and cls.__module__ == name}


def test_every_class_of_values_is_in_the_catalogue_or_a_base() -> None:
    defined = {cls for name in modules() for cls in classes_of(name)} - {Value}
    assert defined == {*catalogue.VALUES.values(), *catalogue.BASES}


@pytest.mark.parametrize("name", catalogue.VALUES)
def test_every_value_has_its_row_in_the_tables_of_the_tests(name: str) -> None:
    cls = catalogue.VALUES[name]
    assert cls in {type(value) for value in tables.VALUES} or cls is Adapted


@pytest.mark.parametrize("name", catalogue.LAYERS | catalogue.LOSSES | catalogue.OPTIMIZERS)
def test_layers_losses_and_optimizers_are_public(name: str) -> None:
    assert name in fm.__all__ or catalogue.VALUES[name] is Adapted


@pytest.mark.parametrize("value", tables.VALUES, ids=repr)
def test_a_value_is_called_in_its_repr_as_it_is_in_the_catalogue(value: Value) -> None:
    assert catalogue.VALUES[repr(value).split("(")[0]] is type(value)


def test_the_command_knows_every_activation_and_optimizer_that_it_could() -> None:
    assert {type(make()) for make in ACTIVATIONS.values()} == {*catalogue.ACTIVATIONS.values()}
    # `--batch-size` does what BatchGD does.
    assert {name for name, _ in OPTIMIZERS.values()} == {*catalogue.OPTIMIZERS} - {"BatchGD"}
    assert get_args(OptimizerName) == (*OPTIMIZERS,) == tuple(name.lower() for name, _ in OPTIMIZERS.values())
