"""Frozen values whose repr is the code that makes them."""

import importlib
import sys
import types
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import attrs

from functional_mlp import checks
from functional_mlp.views import View


@attrs.frozen(repr=False)
class Value:
    """The base of layers, losses, optimizers, initializers, schedules and penalties.

    A value is compared, hashed and pickled by its fields, and cannot be changed: what is written into one all the same,
    by `object.__setattr__`, is not followed. Subclasses that have fields of their own are decorated with
    `@attrs.frozen(repr=False)`. Numbers of numpy are kept as Python's.
    """

    def __attrs_post_init__(self) -> None:
        for field in attrs.fields(type(self)):
            value = getattr(self, field.name)
            plain = checks.plain_number(value)
            if plain is not value:
                object.__setattr__(self, field.name, plain)

    def __repr__(self) -> str:
        return f"{self._constructor()}({', '.join(self._arguments())})"

    def _repr_latex_(self) -> str | None:
        """What a notebook shows: the formulas of the value, if it has any."""
        # Values are below what sets formulas, which loads sympy: it is looked for when a notebook asks.
        formulas = importlib.import_module("functional_mlp.symbolic.formulas")
        try:
            return f"$${formulas.latex(self)}$$"
        except TypeError:  # it has none, or they are not written in the array algebra
            return None

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


# The functions that values are written in, and what the engine takes for granted that their bases make of these.
EXPRESSIONS = ("value", "derivative", "pullback", "rule", "sample_value", "sample_grad", "wrong_outputs")
_PACKAGE = __name__.partition(".")[0]


def is_ours(cls: type) -> bool:
    """Whether a class is one of the library's own, and no one has put another function in the place of its expressions.

    >>> is_ours(Value), is_ours(int)
    (True, False)
    """
    made = _as_made.get(cls)
    if made is not None:
        return all(getattr(cls, name) is function for name, function in made.items())
    if not in_package(cls.__module__) or getattr(sys.modules[cls.__module__], cls.__qualname__, None) is not cls:
        return False
    names = (*EXPRESSIONS, *getattr(cls, "DERIVED", ()))
    functions = {name: getattr(cls, name) for name in names if hasattr(cls, name)}
    if not all(_is_as_made(cls, name, function) for name, function in functions.items()):
        return False
    _as_made[cls] = functions
    return True


# The functions of the library's own classes, as its source defines them, once somebody has asked.
_as_made: dict[type, dict[str, Any]] = {}


def is_function_of_ours(function: object) -> bool:
    """Whether this is a function of the library's own modules."""
    if not isinstance(function, types.FunctionType):
        return False
    module = function.__globals__.get("__name__", "")
    return in_package(module) and vars(sys.modules.get(module, types)) is function.__globals__


def _is_as_made(cls: type, name: str, function: Any) -> bool:
    """Whether a function is the one that the library's source defines under this name for a class."""
    if not is_function_of_ours(function):
        return False
    return function.__code__.co_qualname in [f"{base.__qualname__}.{name}" for base in cls.__mro__]


def in_package(module: str) -> bool:
    """Whether a module of this name is one of the library's."""
    return module == _PACKAGE or module.startswith(f"{_PACKAGE}.")


def replaced(value: object, base: type, functions: Iterable[str]) -> list[str]:
    """Which functions of a base the class of a value replaces with its own.

    >>> from functional_mlp import Linear
    >>> replaced(Linear(2, 2), Value, ("__repr__", "_arguments")), Linear.__repr__ is Value.__repr__
    ([], True)
    """
    return [name for name in functions if getattr(type(value), name) is not getattr(base, name)]


def _is_default(value: Any, default: Any) -> bool:
    equal = type(value) is type(default) and bool(value == default)
    return equal and repr(value) == repr(default)  # 0.0 and −0.0 are equal, and are written differently


def with_one_nan(figures: Any) -> Any:
    """A number, or a tuple of numbers, in which NaN equals NaN: what `==` and `hash` of recorded figures look at.

    >>> with_one_nan(float("nan")) == with_one_nan(float("nan")), with_one_nan((0.5, 1.0))
    (True, (0.5, 1.0))
    """
    if isinstance(figures, tuple | View):
        return tuple(map(with_one_nan, figures))
    return figures if figures == figures else "nan"


class Deferred:
    """A frozen attrs class, without slots, whose fields may be made when they are first asked for.

    >>> @attrs.frozen(slots=False)
    ... class Powers(Deferred):
    ...     square: int
    ...     cube: int
    >>> powers = Powers.deferred(lambda name: 9 if name == "square" else 27, {})
    >>> powers.cube, powers == Powers(9, 27)
    (27, True)
    """

    @classmethod
    def deferred(cls, make: Callable[[str], Any], own: dict[str, Any]) -> Any:
        """The value with some fields of its `own`, and the others as `make` makes them, by name."""
        value = object.__new__(cls)
        own["_make"] = make
        object.__setattr__(value, "__dict__", own)
        return value

    if not TYPE_CHECKING:  # to whom each name would be one of an attribute

        def __getattr__(self, name: str) -> Any:  # called where there is no such attribute yet
            make = vars(self).get("_make")
            if make is None or name not in self._field_names():
                raise AttributeError(f"{type(self).__name__} has no {name!r}")
            made = vars(self)[name] = make(name)
            return made

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._field_names()}

    @classmethod
    def _field_names(cls) -> tuple[str, ...]:
        fields: Any = cls  # each subclass is an attrs class
        return tuple(field.name for field in attrs.fields(fields))
