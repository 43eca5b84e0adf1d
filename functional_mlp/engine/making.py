"""Whether native code can be made and run here, found out by trying.

LLVM may be missing or broken, may not know the processor, or may refuse what another version of it takes; the system
may forbid memory that is written first and executed then. What has failed is remembered: it is not tried again,
`explain` gives it as the reason, and where the reference engine steps in, one warning says so.
"""

import contextlib
import functools
import importlib
import importlib.metadata
import warnings
from collections.abc import Hashable, Iterator

from functional_mlp import imports
from functional_mlp.engine.program import CannotFuseError

# What could not be made, and why.
_failures: dict[Hashable, str] = {}


class CannotMakeCodeError(CannotFuseError):
    """The reason why LLVM cannot make or load a code that the engine has written."""


@functools.cache
def llvm_missing() -> str | None:
    """Why LLVM cannot be loaded; `None` where it can."""
    try:
        with imports.importing():
            for module in ("llvmlite.binding", "llvmlite.ir"):
                importlib.import_module(module)
    except Exception as error:  # a broken library fails in any way
        reason = f"llvmlite cannot be loaded ({type(error).__name__}: {error}): pip install llvmlite"
        _failures["llvmlite"] = reason
        return reason
    return None


@contextlib.contextmanager
def remembering(what: Hashable) -> Iterator[None]:
    """Raise `CannotMakeCodeError` for whatever fails inside, and remember it as the failure of `what`.

    Only a `ValueError` is let through: it tells the user of something that they have asked for.
    """
    try:
        yield
    except ValueError:
        raise
    except Exception as error:  # LLVM raises RuntimeError; a library of another version may fail in any way
        first_line = (str(error).splitlines() or [""])[0]
        version = importlib.metadata.version("llvmlite")
        reason = f"llvmlite {version} cannot make code that runs here ({type(error).__name__}: {first_line})"
        _failures[what] = reason
        raise CannotMakeCodeError(reason) from error


def failure_of(what: Hashable) -> str | None:
    """Why `what` could not be made; `None` where it could, or has not been tried."""
    return _failures.get(what)


def warn_of_fallback(reason: str) -> None:
    """Say, once a process and reason, that the reference engine steps in because code cannot be made.

    Nothing is said of reasons that lie in the network, which are the same everywhere.
    """
    if reason in _failures.values():
        _warn(reason)


@functools.cache
def _warn(reason: str) -> None:
    message = f"the fused engine cannot be used, and the reference engine, which is slower, takes its place: {reason}"
    warnings.warn(message, RuntimeWarning, stacklevel=2)
