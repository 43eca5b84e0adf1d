"""Checking that an object is a value: hashed, compared, pickled, and written as the code that makes it."""

import pickle
import sys
from collections.abc import Collection, Iterator
from typing import Any

from functional_mlp import api


def check_value(value: Any) -> None:
    """Raise `AssertionError` unless `value` is hashable, survives pickling and `eval(repr(value))`, and equals both.

    The repr is evaluated with the public names of `functional_mlp`, and with those of the modules in which the
    classes of the value and of its fields are defined.

    >>> import functional_mlp as fm
    >>> check_value(fm.Linear(3, 2))
    >>> check_value([1, 2])
    Traceback (most recent call last):
    ...
    AssertionError: [1, 2] cannot be hashed (unhashable type: 'list'): make its class frozen, attrs.frozen for example
    """
    try:
        hashed = hash(value)
    except Exception as error:
        raise AssertionError(
            f"{value!r} cannot be hashed ({error}): make its class frozen, attrs.frozen for example"
        ) from error
    copies = {"its pickled copy": _pickled(value), "eval(repr(…))": _evaluated(value)}
    for name, copy in copies.items():
        if type(copy) is not type(value):
            raise AssertionError(f"{name} of {value!r} is a {type(copy).__name__}, not a {type(value).__name__}")
        if not (copy == value) or copy != value:
            raise AssertionError(
                f"{value!r} does not equal {name}, {copy!r}: compare by fields, with attrs.frozen for example"
            )
        if hash(copy) != hashed:
            raise AssertionError(f"{value!r} equals {name} and has another hash")
    if value == object():
        raise AssertionError(f"{value!r} equals an object of another kind")


def _pickled(value: Any) -> Any:
    try:
        return pickle.loads(pickle.dumps(value))
    except Exception as error:
        raise AssertionError(
            f"{value!r} cannot be pickled ({error}): define its class, and functions that it holds, at the top "
            "level of a module"
        ) from error


def _evaluated(value: Any) -> Any:
    try:
        code = compile(repr(value), "<repr>", "eval")
        return eval(code, _names(value, code.co_names))
    except Exception as error:
        raise AssertionError(
            f"repr must be the code that makes the value, but evaluating {value!r} raised "
            f"{type(error).__name__}: {error}"
        ) from error


def _names(value: Any, used: Collection[str]) -> dict[str, Any]:
    """The names that a repr may use; of the public ones those that it does: to load others may take long."""
    names = {name: getattr(api, name) for name in api.__all__ if name in used}
    for cls in _classes(value, set()):
        names.update(vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else {})
        names[cls.__name__] = cls
    return names


def _classes(value: Any, seen: set[int]) -> Iterator[type]:
    """The classes of an object, of its fields, and so on, builtins aside."""
    if id(value) in seen or type(value).__module__ in ("torch",):
        return
    seen.add(id(value))
    if isinstance(value, tuple | list):
        fields = list(value)
    elif type(value).__module__ == "builtins":
        return
    else:
        yield type(value)
        slots = [name for cls in type(value).__mro__ for name in getattr(cls, "__slots__", ())]
        fields = [*getattr(value, "__dict__", {}).values(), *(getattr(value, name, None) for name in slots)]
    for field in fields:
        yield from _classes(field, seen)
