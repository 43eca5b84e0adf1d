"""What values, functions and classes are, as digests: two of one digest do the same, in whatever process they are.

A value is known by its content, a function by its code and all that it reads (defaults, variables of the functions
around it, globals), a class by its bases and members. That is done for what a user has written; what is installed is
known by its name, and so is whatever changes as it is used: what code writes to, and objects that are compared by
identity, as generators of random numbers are.
"""

import builtins
import copyreg
import enum
import functools
import hashlib
import operator
import sys
import types
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

import attrs
import numpy as np
import torch
from attrs import define, field

from functional_mlp import pytree
from functional_mlp.bytecode import Written, codes_in, instructions_of, is_installed, names_in
from functional_mlp.value import in_package

_PLAIN = (int, float, complex, bool, str, bytes, types.NoneType, types.EllipsisType, types.NotImplementedType)
# Those of them that classes are derived from.
_EXTENDED: tuple[Any, ...] = (int, float, complex, str, bytes)
_PLAIN_OF_TORCH = (torch.dtype, torch.device, torch.layout, torch.memory_format)
# Values that a stateless copy tells all of, though they are compared by identity.
_COPIED = (functools.partial, functools.partialmethod, operator.itemgetter, operator.attrgetter, operator.methodcaller)
# Where objects that are made of functions hold them.
_HELD = ("__func__", "__wrapped__", "func", "fget", "fset", "fdel", "pyfunc")
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
# Functions in which an object is made: what they assign is not changed later.
_MAKING = ("__init__", "__new__", "__post_init__", "__attrs_post_init__", "__setstate__")
# How deep in one another values and functions are told apart: each takes some of Python's frames.
DEEPEST = 64
_ABSENT = object()


def digest_of_class(kind: type) -> str:
    """The digest of a class.

    >>> def scaled(by):
    ...     return digest_of_class(type("Scaled", (), {"value": lambda self, x: by * x}))
    >>> scaled(2) == scaled(2), scaled(2) == scaled(3)
    (True, False)
    """
    written: frozenset[Written] = frozenset()
    while True:  # until all that the code writes to is known
        contents = _Contents(kind.__module__.partition(".")[0], written)
        digest = contents.of(kind)
        if contents.found <= written:
            return digest
        written |= contents.found


@define
class _Contents:
    """Goes from a class to all that it is made of.

    `home` is the package that the class is of, and `written` what code writes to; `found` is what that turns out to be.
    """

    home: str
    written: frozenset[Written]
    found: set[Written] = field(factory=set)
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
            yield from self._code(found)
        else:
            yield self.of(type(found))
            yield from self._value(found)

    def _value(self, value: Any) -> Iterator[str]:
        """The content of a value, whatever its class."""
        if isinstance(value, torch.Tensor):
            yield from _tensor(value)
        elif isinstance(value, np.ndarray) and value.dtype != object:
            yield from (str(value.dtype), str(value.shape), _digest(value.tobytes()))
        elif isinstance(value, enum.Enum):
            yield from (value.name, self.of(value.value))
        elif isinstance(value, _EXTENDED):
            yield next(repr(kind(value)) for kind in _EXTENDED if isinstance(value, kind))
        elif isinstance(value, _PLAIN_OF_TORCH):
            yield repr(value)
        elif isinstance(value, dict | types.MappingProxyType):
            keys = value if isinstance(value, OrderedDict) else _in_order(value)
            pairs = [f"{self.of(key)}: {self.of(value[key])}" for key in keys]
            yield from pairs if isinstance(value, OrderedDict) else sorted(pairs)
        elif isinstance(value, set | frozenset):
            yield from sorted(map(self.of, _in_order(value)))
        elif isinstance(value, list | tuple):
            yield from map(self.of, value)
        elif isinstance(value, types.BuiltinFunctionType | types.MethodType):
            yield _named(value)
            bound = value.__self__
            yield "" if isinstance(bound, types.ModuleType | None) else self.of(bound)
            yield from self._held(value)
        else:
            yield from self._object(value)
        if not self._is_foreign(type(value)):
            yield from self._state(value)

    def _object(self, value: Any) -> Iterator[str]:
        """What is known of an object that is none of Python's containers and numbers."""
        if in_package(type(value).__module__) and attrs.has(type(value)):
            yield from self._state(value)
        elif self._is_foreign(type(value)):
            yield getattr(value, "__qualname__", getattr(value, "__name__", ""))
            by_content = "__eq__" in _defined(type(value)) or isinstance(value, _COPIED)
            yield self.of(_reduced(value)) if by_content else ""
            yield from self._held(value)

    def _held(self, value: Any) -> Iterator[str]:
        """The functions that an object is made of."""
        for name in _HELD:
            if (name in dir(type(value)) or name in getattr(value, "__dict__", ())) and hasattr(value, name):
                yield f"{name} {self.of(getattr(value, name))}"

    def _state(self, value: Any) -> Iterator[str]:
        """The attributes of an object, but for those that are written to, and those that are kept once asked for."""
        for name, each in sorted(_attributes(value).items()):
            if ("attribute", name) not in self.written and not hasattr(getattr(type(value), name, None), "attrname"):
                yield f"{name} = {self.of(each)}"

    def _class(self, kind: type) -> Iterator[str]:
        if self._is_foreign(kind):
            yield _named(kind)
            return
        yield f"class {kind.__qualname__}"
        yield from map(self.of, (type(kind), *kind.__bases__))
        if issubclass(kind, enum.Enum):
            yield from (f"{name} = {self.of(each.value)}" for name, each in kind.__members__.items())
        for name, member in sorted(vars(kind).items()):
            if name not in _NOTES and ("attribute", name) not in self.written and not _is_made_by_enum(kind, name):
                yield from self._member(name, member)

    def _member(self, name: str, member: Any) -> Iterator[str]:
        if isinstance(member, types.FunctionType) and member.__code__.co_filename.startswith("<attrs generated"):
            # Of these, one has something of the user's: properties that are kept once they are asked for.
            names = member.__code__.co_varnames[: member.__code__.co_argcount]
            given = dict(zip(reversed(names), reversed(member.__defaults__ or ()), strict=False))
            member = given.get("cached_properties", {})
            if not member:
                return
        yield f"{name} = {self.of(member)}"

    def _function(self, function: types.FunctionType) -> Iterator[str]:
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        held = {name: _content(cell) for name, cell in cells if name != "__class__"}
        if self._is_foreign_module(function.__globals__.get("__name__", "")):
            yield _named(function)  # of a decorator, say: what it decorates is the user's
            within = {**held, **vars(function)} if held else {}
            yield from (f"{name} = {self.of(each)}" for name, each in sorted(within.items()) if _is_made_once(each))
            return
        for code in codes_in(function.__code__):
            of_making = code is function.__code__ and code.co_name in _MAKING
            self.found |= {each for each in names_in(code).written if not of_making or each[0] != "attribute"}
        yield f"def {function.__qualname__}"
        yield self.of(function.__code__)
        yield from self._variables("argument", sorted(_defaults(function).items()))
        yield from self._variables("variable", sorted(held.items()))
        yield from self._variables("variable", self._globals(function))
        yield from self._variables("attribute", sorted(vars(function).items()))

    def _variables(self, kind: Any, found: Iterable[tuple[str, Any]]) -> Iterator[str]:
        for name, each in found:
            if (kind, name) not in self.written:
                yield f"{name} = {'' if each is _ABSENT else self.of(each)}"

    def _globals(self, function: types.FunctionType) -> Iterator[tuple[str, Any]]:
        """The globals that a function reads, and of modules of the user's and objects among them what it reads."""
        for name, chain in sorted({each for code in codes_in(function.__code__) for each in names_in(code).globals}):
            found = function.__globals__.get(name, vars(builtins).get(name, _ABSENT))
            written = name in _PLACES or ("variable", name) in self.written
            for attribute in chain:
                if not self._is_looked_into(found, attribute):
                    break
                written |= ("attribute", attribute) in self.written
                name, found = f"{name}.{attribute}", getattr(found, attribute, _ABSENT)
            if not written:
                yield name, found

    def _is_looked_into(self, found: Any, attribute: str) -> bool:
        """Whether an attribute of a thing is looked at and not the whole: one setting of all that a program has."""
        if isinstance(found, types.ModuleType):
            return not self._is_foreign_module(found.__name__)
        is_computed = hasattr(getattr(type(found), attribute, None), "__get__")
        is_object = not isinstance(found, type | types.FunctionType) and not is_computed
        return is_object and attribute in getattr(found, "__dict__", ())

    def _code(self, code: types.CodeType) -> Iterator[str]:
        for name, used in instructions_of(code):
            yield f"{name} {self.of(used)}"

    def _is_foreign(self, kind: type) -> bool:
        """Whether a class is not the user's: the library's, Python's, or of an installed package."""
        return self._is_foreign_module(kind.__module__)

    def _is_foreign_module(self, module: str) -> bool:
        top = module.partition(".")[0]
        if top in (self.home, "__main__"):
            return False
        if in_package(module) or top in sys.stdlib_module_names:
            return True
        files = [getattr(sys.modules.get(name), "__file__", None) for name in (module, top)]
        return any(file is not None and is_installed(file) for file in files)


def _is_made_once(found: Any) -> bool:
    """Whether a thing within a function of an installed package is what that was made with."""
    return callable(found) or isinstance(found, types.MappingProxyType)


def _defined(kind: type) -> set[str]:
    """The names of what a class has beside what every object has."""
    return {name for cls in kind.__mro__[:-1] for name in vars(cls)}


def _named(found: Any) -> str:
    module = getattr(found, "__module__", None) or getattr(getattr(found, "__objclass__", None), "__module__", "")
    return f"{module}.{getattr(found, '__qualname__', type(found).__qualname__)}"


def _tensor(tensor: torch.Tensor) -> Iterator[str]:
    yield from (str(tensor.dtype), str(tuple(tensor.shape)))
    if tensor.layout is torch.strided and not (tensor.is_meta or tensor.is_quantized):
        yield _digest(pytree.bits(tensor.cpu()).numpy().data)


def _digest(content: "bytes | memoryview") -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _in_order(found: Iterable[Any]) -> list[Any]:
    """The keys of a dictionary or a set in an order that is the same in each process, as far as they are told apart."""
    return sorted(found, key=lambda each: repr(each) if type(each) in _PLAIN else _named(each))


def _reduced(value: Any) -> Any:
    """What a copy of a value is made of; nothing where it has none."""
    reducer = copyreg.dispatch_table.get(type(value))
    try:
        reduced = value.__reduce_ex__(2) if reducer is None else reducer(value)
    except Exception:  # whatever an object says that cannot be copied
        return None
    return [list(part) if isinstance(part, Iterator) else part for part in reduced]


def _attributes(value: Any) -> dict[str, Any]:
    """What the attributes of an object hold."""
    if attrs.has(type(value)):
        names = [each.name for each in attrs.fields(type(value))]
    else:
        slots = [vars(cls).get("__slots__", ()) for cls in type(value).__mro__]
        names = [name for own in slots for name in ((own,) if isinstance(own, str) else own)]
        names += getattr(value, "__dict__", ())
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


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
    return issubclass(kind, enum.Enum) and (name in kind.__members__ or name.startswith(("_", "__")))
