"""functional_mlp: a functional, stateless neural-network framework on torch tensors.

A network is a value and a few pure functions; every gradient is written by hand; parameters, optimizer state
and random keys are explicit, immutable pytrees.

The names that this package gives are listed in `api.py`, and loaded, torch with them, when the first one is used.
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from functional_mlp import imports

if TYPE_CHECKING:  # for type checkers and editors, which do not run the functions below
    from functional_mlp import checkpoint as checkpoint
    from functional_mlp import engine as engine
    from functional_mlp import interop as interop
    from functional_mlp import plotting as plotting
    from functional_mlp import random as random
    from functional_mlp import sklearn as sklearn
    from functional_mlp import symbolic as symbolic
    from functional_mlp import tables as tables
    from functional_mlp import testing as testing
    from functional_mlp.api import *  # noqa: F403 - a page of nothing but public names
    from functional_mlp.api import __all__ as __all__

__version__ = "0.1.0"

# The modules that are not among the names of `api.py`.
_MODULES = ("checkpoint", "engine", "interop", "plotting", "random", "sklearn", "symbolic", "tables", "testing")

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """A module of the package or a name of `api.py`, which is found without this function from then on."""
        if name.startswith("_") and name != "__all__":
            raise AttributeError(f"module 'functional_mlp' has no attribute {name!r}")
        with imports.importing():
            # Modules come first, and for themselves: each of them may be the first that is imported.
            if importlib.util.find_spec(f"functional_mlp.{name}") is not None:
                return importlib.import_module(f"functional_mlp.{name}")
            api = importlib.import_module("functional_mlp.api")
        if not hasattr(api, name):
            raise AttributeError(f"module 'functional_mlp' has no attribute {name!r}")
        return globals().setdefault(name, getattr(api, name))

    def __dir__() -> list[str]:
        return sorted({*globals(), *_MODULES, *__getattr__("__all__")})
