"""What hypothesis's `from_type` draws for classes of the library: what the testing kit's strategies draw.

Nothing is loaded for it before a class is asked for. A class is made known to hypothesis when it is defined, where
hypothesis is there already; else when hypothesis is imported, which then calls `register`: it is the package's entry
point in the group "hypothesis".
"""

import importlib
from typing import Any, TypeVar

from functional_mlp import imports

C = TypeVar("C", bound=type[Any])

_unknown_to_hypothesis: list[type[Any]] = []


def drawn(cls: C) -> C:
    """A decorator for classes that `functional_mlp.testing.STRATEGIES` has strategies for."""
    _unknown_to_hypothesis.append(cls)
    register()
    return cls


def register() -> None:
    """Tell hypothesis of the classes that it does not know yet, where it has been imported."""
    strategies = imports.loaded("hypothesis.strategies")
    if strategies is None:
        return
    for cls in imports.taken(_unknown_to_hypothesis):
        strategies.register_type_strategy(cls, _strategy_for(cls))


def _strategy_for(cls: type[Any]) -> Any:
    # The kit loads much, and is looked for when a test asks.
    return lambda _: importlib.import_module("functional_mlp.testing").STRATEGIES[cls]
