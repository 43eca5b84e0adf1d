"""What functions and classes do, as digests: two of one digest do the same, in whatever process they are.

A function is known by its code and what that reads (defaults, variables of the functions around it, globals), a class
by its bases and members, each as far as nothing can change it in place: numbers, words, tuples and frozen sets of
these, functions, classes, and the fields of frozen values. Of all else, as lists, dictionaries, tensors and other
objects, the class alone is known, and of variables and attributes to whose names the code assigns, nothing: use may
change them.

What is installed is known by its name. Comments, docstrings, annotations and the places of lines are no part of what is
known, but for annotations of functions within functions.
"""

import builtins
import dataclasses
import enum
import functools
import hashlib
import inspect
import sys
import types
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import attrs
import numpy as np
import torch
from attrs import define, field

from functional_mlp.bytecode import assigned_in, codes_in, instructions_of, is_installed, names_in
from functional_mlp.value import Value, in_package

_PLAIN = (int, float, complex, bool, str, bytes, types.NoneType, types.EllipsisType, types.NotImplementedType)
# Those of them that classes are derived from.
_EXTENDED: tuple[Any, ...] = (int, float, complex, str, bytes)
# Others that their repr tells all of.
_TOLD = (Fraction, Decimal, range, slice, np.generic, torch.dtype, torch.device, torch.layout, torch.memory_format)
# Where objects that are made of functions hold these, and what they are called with.
_HELD = {
    property: ("fget", "fset", "fdel"),
    functools.cached_property: ("func",),
    functools.partial: ("func", "args", "keywords"),
    functools.partialmethod: ("func", "args", "keywords"),
    types.MethodType: ("__func__", "__self__"),
    staticmethod: ("__func__",),
    classmethod: ("__func__",),
    np.vectorize: ("pyfunc",),
}
# Members of a class that do nothing: places, words for the reader, and what attrs and Python note down.
_NOTES = frozenset(
    (
        *(
            "__doc__",
            "__module__",
            "__qualname__",
            "__firstlineno__",
            "__static_attributes__",
            "__dict__",
            "__weakref__",
        ),
        *("__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__", "__parameters__"),
        *("__orig_bases__", "__abstractmethods__", "_abc_impl", "__match_args__", "__slots__"),
        *("__attrs_attrs__", "__attrs_own_setattr__", "__attrs_props__", "__dataclass_fields__"),
    )
)
# Globals that say where a module lies.
_PLACES = frozenset(("__name__", "__file__", "__spec__", "__loader__", "__package__", "__path__"))
# How deep in one another values and functions are told apart: each takes some of Python's frames.
DEEPEST = 64
_ABSENT = object()


def digest_of(found: Any) -> str:
    """The digest of a function, a class, or an object that is called.

    >>> def at_least(least):
    ...     return digest_of(functools.partial(max, least))
    >>> at_least(2) == at_least(2), at_least(2) == at_least(3)
    (True, False)
    >>> at_least([2]) == at_least([3])  # lists are not looked into
    True
    """
    first = found
    while isinstance(first, functools.partial):
        first = first.func
    home = getattr(first, "__module__", None) or ""
    variables: frozenset[str] = frozenset()
    attributes: frozenset[str] = frozenset()
    while True:  # until all that the code assigns to is known
        contents = _Contents(home.partition(".")[0], variables, attributes)
        digest = contents.of(found)
        if contents.found_variables <= variables and contents.found_attributes <= attributes:
            return digest
        variables |= contents.found_variables
        attributes |= contents.found_attributes


@define
class _Contents:
    """Goes from a function or a class to all that it is made of.

    `home` is the package that it is of. Code assigns to the names `variables` and `attributes`; what it turns out to
    assign to is found.
    """

    home: str
    variables: frozenset[str]
    attributes: frozenset[str]
    found_variables: set[str] = field(factory=set)
    found_attributes: set[str] = field(factory=set)
    _around: dict[int, int] = field(factory=dict)  # what is looked into, and how deep it lies
    _known: dict[int, tuple[str, Any]] = field(factory=dict)  # the objects too: another one may get a freed one's id

    def of(self, found: Any) -> str:
        """The digest of anything; where it is within itself, how many levels that is above."""
        if type(found) in _PLAIN:
            return f"{type(found).__name__} {found!r}"
        if id(found) in self._known:
            return self._known[id(found)][0]
        if id(found) in self._around:
            return f"{len(self._around) - self._around[id(found)]} above"
        if len(self._around) == DEEPEST:
            return _named(type(found))
        self._around[id(found)] = len(self._around)
        total = hashlib.blake2b(digest_size=16)
        for part in self._parts(found):
            total.update(f"{len(part)} {part}".encode(errors="backslashreplace"))
        del self._around[id(found)]
        self._known[id(found)] = total.hexdigest(), found
        return total.hexdigest()

    def _parts(self, found: Any) -> Iterator[str]:
        """What a thing is, in pieces."""
        if isinstance(found, types.FunctionType):
            yield from self._function(found)
        elif isinstance(found, type):
            yield from self._class(found)
        elif isinstance(found, types.ModuleType):
            yield from ("module", found.__name__)
        elif isinstance(found, types.CodeType):
            yield from (f"{name} {self.of(used)}" for name, used in instructions_of(found))
        else:
            yield self.of(type(found))
            yield from self._value(found)

    def _value(self, value: Any) -> Iterator[str]:
        """What is known of a value beside its class."""
        held = next((names for kind, names in _HELD.items() if isinstance(value, kind)), None)
        if held is not None:
            yield from (f"{name} = {self._of_held(getattr(value, name))}" for name in held)
        elif isinstance(value, enum.Enum):
            yield value.name
        elif isinstance(value, _EXTENDED):
            yield next(kind.__repr__(value) for kind in _EXTENDED if isinstance(value, kind))
        elif isinstance(value, _TOLD):
            yield repr(value)
        elif isinstance(value, tuple):
            yield from map(self.of, value)
        elif isinstance(value, frozenset):
            yield from sorted(map(self.of, value))
        elif inspect.isroutine(value) or isinstance(value, np.ufunc):
            yield _named(value)
            yield from (self._of_held(getattr(value, name, None)) for name in ("__self__", "__wrapped__"))
        else:
            yield from (f"{name} = {self.of(each)}" for name, each in _frozen_fields(value).items())

    def _of_held(self, held: Any) -> str:
        """The digest of what an object is made of: a dictionary among it holds arguments, by their names."""
        return self.of(tuple(sorted(held.items())) if isinstance(held, dict) else held)

    def _class(self, kind: type) -> Iterator[str]:
        if self._is_foreign(kind.__module__):
            yield _named(kind)
            return
        yield f"class {kind.__qualname__}"
        yield from map(self.of, (type(kind), *kind.__bases__))
        if issubclass(kind, enum.Enum):
            yield from (f"{name} = {self.of(each.value)}" for name, each in kind.__members__.items())
        for name, member in sorted(vars(kind).items()):
            if name not in _NOTES and not _is_made_by_enum(kind, name) and not self._is_assigned(name, member):
                yield from self._member(name, member)

    def _member(self, name: str, member: Any) -> Iterator[str]:
        if isinstance(member, types.FunctionType) and member.__code__.co_filename.startswith("<attrs generated"):
            # Of these, one has something of the user's: properties that are kept once they are asked for.
            kept = next((each for each in member.__defaults__ or () if isinstance(each, dict)), {})
            yield from (f"{each} = {self.of(function)}" for each, function in sorted(kept.items()))
        else:
            yield f"{name} = {self.of(member)}"

    def _function(self, function: types.FunctionType) -> Iterator[str]:
        if self._is_foreign(function.__globals__.get("__name__", "")):
            yield _named(function)  # of a decorator, say: what it decorates is the user's
            yield self.of(vars(function).get("__wrapped__"))
            return
        for code in codes_in(function.__code__):
            variables, attributes = assigned_in(code)
            self.found_variables |= variables
            self.found_attributes |= attributes
        yield f"def {function.__qualname__}"
        yield self.of(function.__code__)
        yield from (f"{name} = {self.of(each)}" for name, each in sorted(_defaults(function).items()))
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        held = sorted((name, _content(cell)) for name, cell in cells if name != "__class__")
        for name, each in (*held, *self._globals(function)):
            if name not in self.variables and not self._is_assigned(name.rpartition(".")[2], each):
                yield f"{name} = {'' if each is _ABSENT else self.of(each)}"

    def _globals(self, function: types.FunctionType) -> Iterator[tuple[str, Any]]:
        """The globals that a function reads: of modules, classes and frozen values among them the attribute alone."""
        for name, chain in sorted({each for code in codes_in(function.__code__) for each in names_in(code).globals}):
            if name in _PLACES:
                continue
            found = function.__globals__.get(name, vars(builtins).get(name, _ABSENT))
            for attribute in chain:
                inner = self._attribute(found, attribute)
                if inner is _ABSENT:
                    break
                name, found = f"{name}.{attribute}", inner
            yield name, found

    def _attribute(self, found: Any, name: str) -> Any:
        """What one attribute holds, where nothing else of a thing is read with it: one setting of all of a program."""
        if isinstance(found, types.ModuleType):
            return _ABSENT if self._is_foreign(found.__name__) else vars(found).get(name, _ABSENT)
        if isinstance(found, type):
            member = _ABSENT if isinstance(found, enum.EnumMeta) else inspect.getattr_static(found, name, _ABSENT)
            return _ABSENT if hasattr(type(member), "__get__") else member
        return _frozen_fields(found).get(name, _ABSENT)

    def _is_assigned(self, name: str, found: Any) -> bool:
        """Whether code may assign to an attribute: what a function or a class has defined under its name is left so."""
        return name in self.attributes and not hasattr(type(found), "__get__") and not isinstance(found, type)

    def _is_foreign(self, module: str) -> bool:
        """Whether a module is not the user's: the library's, Python's, or of an installed package."""
        top = module.partition(".")[0]
        if in_package(module) or top in sys.stdlib_module_names:
            return top != "__main__"
        if top == self.home:
            return False
        files = [getattr(sys.modules.get(name), "__file__", None) for name in (module, top)]
        return any(file is not None and is_installed(file) for file in files)


def _frozen_fields(value: Any) -> dict[str, Any]:
    """The fields of a frozen value, by their names; none of an object of another kind."""
    kind = type(value)
    names: list[str] = []
    if attrs.has(kind) and kind.__setattr__ is Value.__setattr__:  # what attrs gives all its frozen classes
        names = [each.name for each in attrs.fields(kind)]
    elif dataclasses.is_dataclass(kind) and kind.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        names = [each.name for each in dataclasses.fields(kind)]
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _named(found: Any) -> str:
    module = getattr(found, "__module__", None) or getattr(getattr(found, "__objclass__", None), "__module__", "")
    return f"{module}.{getattr(found, '__qualname__', getattr(found, '__name__', type(found).__qualname__))}"


def _defaults(function: types.FunctionType) -> dict[str, Any]:
    """The defaults of a function's arguments, by their names."""
    given, code = function.__defaults__ or (), function.__code__
    names = code.co_varnames[code.co_argcount - len(given) : code.co_argcount]
    return dict(zip(names, given, strict=True)) | (function.__kwdefaults__ or {})


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is empty
        return _ABSENT


def _is_made_by_enum(kind: type, name: str) -> bool:
    """Whether a member of a class is one of those that an enumeration is given beside its functions."""
    return issubclass(kind, enum.Enum) and (name in kind.__members__ or name.startswith("_"))
