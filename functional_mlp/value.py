"""Frozen values whose repr is the code that makes them."""

from collections.abc import Iterable
from typing import Any

import attrs

from functional_mlp import checks


@attrs.frozen(repr=False)
class Value:
    """The base of layers, losses, optimizers, initializers and schedules.

    A value is compared, hashed and pickled by its fields, and cannot be changed. Subclasses that have
    fields of their own are decorated with `@attrs.frozen(repr=False)`. Numbers of numpy are kept as Python's.
    """

    def __attrs_post_init__(self) -> None:
        for field in attrs.fields(type(self)):
            value = getattr(self, field.name)
            plain = checks.plain_number(value)
            if plain is not value:
                object.__setattr__(self, field.name, plain)

    def __repr__(self) -> str:
        return f"{self._constructor()}({', '.join(self._arguments())})"

    def _constructor(self) -> str:
        return type(self).__name__

    def _arguments(self) -> list[str]:
        """Required fields by position, the others by name where they differ from their default."""
        arguments = []
        for field in attrs.fields(type(self)):
            value = getattr(self, field.name)
            if field.default is attrs.NOTHING:
                arguments.append(repr(value))
            elif not _is_default(value, field.default):
                arguments.append(f"{field.name}={value!r}")
        return arguments


def replaced(value: Value, base: type[Value], functions: Iterable[str]) -> list[str]:
    """Which functions of a base the class of a value replaces with its own.

    >>> from functional_mlp import Linear
    >>> replaced(Linear(2, 2), Value, ("__repr__", "_arguments")), Linear.__repr__ is Value.__repr__
    ([], True)
    """
    return [name for name in functions if getattr(type(value), name) is not getattr(base, name)]


def _is_default(value: Any, default: Any) -> bool:
    equal = type(value) is type(default) and bool(value == default)
    return equal and repr(value) == repr(default)  # 0.0 and −0.0 are equal, and are written differently
