"""What functions read beside their arguments, found by looking at their code: whether they may do something else now.

A function's outcome depends on its code and on what it reads: globals, variables of the functions around it, defaults,
attributes of its `self`, and other functions, which read more. Where all of this is known, and made of numbers, words,
functions and frozen values, it is enough to ask whether each name still stands for the same object. That takes some ten
nanoseconds a name, where to read an expression of the array algebra takes ten microseconds an operation.

>>> SLOPE = 0.5
>>> class Scaled(Value):
...     def value(self, xp, s):
...         return SLOPE * s
>>> reads = Reads.of({Scaled: ()}, ["value"])
>>> unchanged = reads.unchanged()
>>> reads.is_all, unchanged()
(True, True)
>>> SLOPE = 2.0
>>> unchanged()
False
"""

import builtins
import inspect
import types
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import Any

import attrs
import numpy as np
from attrs import define, field, frozen

from functional_mlp.bytecode import OF_ALL, codes_in, is_installed, names_in
from functional_mlp.value import Value, is_function_of_ours, is_ours

# Immutable, whatever is done with them.
_PLAIN = (int, float, complex, bool, str, bytes, types.NoneType, Fraction, types.EllipsisType, np.ufunc)
_PURE = (
    *(abs, all, any, bool, bytes, complex, dict, divmod, enumerate, filter, float, format, frozenset, int, isinstance),
    *(issubclass, iter, len, list, map, max, min, next, object, pow, print, range, repr, reversed, round, set, slice),
    *(sorted, str, sum, super, tuple, type, zip),
)
_MODULES_OF_PURE = ("math", "cmath", "_operator")
# What classes of values have from attrs.
_OF_VALUES = frozenset(dir(Value)) | {"__attrs_init__", "__dict__", "__getattr__", "__slots__", "__weakref__"}
_ABSENT = object()


_HOLDS = """
def holds():
    try:
        return {}
    except (AttributeError, ValueError):  # it is there no more
        return False
"""


# Whether all that is read is what it was.
Unchanged = Callable[[], bool]


def never_sure() -> bool:
    """What is said where not all that is read is known."""
    return False


@frozen(eq=False)
class Place:
    """Where something was found: the attribute of an object, or the entry of a dictionary, of a name."""

    holder: Any
    name: str
    found: Any

    @property
    def test(self) -> str:
        """An expression of `holder` and `found` that says whether it is still there, in Python."""
        return f"holder.get({self.name!r}, absent)" if isinstance(self.holder, dict) else f"holder.{self.name}"


@frozen(eq=False)
class Reads:
    """The functions that some functions of values may call, themselves among them, and the places that these read.

    Not `is_all` that they read may be found in their code: they are then told apart by what they do alone.
    """

    functions: tuple[types.FunctionType, ...]
    places: tuple[Place, ...]
    is_all: bool

    @classmethod
    def of(cls, kinds: Mapping[type, Iterable[Any]], called: Iterable[str]) -> "Reads":
        """What the functions `called` so read, of classes of values, given with what the fields of the values hold.

        The library's own classes, and what a class has `DERIVED` from theirs, are only to stay as they are: these have
        places, and are not looked into.
        """
        walk = _Walk(tuple(called))
        for kind, fields in kinds.items():
            walk.take_value(kind, fields)
        return walk.reads()

    def unchanged(self) -> "Unchanged":
        """A function that says whether each place still holds what was found there; always not so, where not all is."""
        if not self.is_all:
            return never_sure
        own: dict[str, Any] = {"absent": _ABSENT}
        tests = []
        for number, place in enumerate(self.places):
            own |= {f"holder{number}": place.holder, f"found{number}": place.found}
            tests.append(f"{place.test.replace('holder', f'holder{number}', 1)} is found{number}")
        # Python reads an attribute of a class in some nanoseconds where it stands in code, and by no other way.
        exec(_HOLDS.format(" and ".join(tests) or True), own)
        holds: Unchanged = own["holds"]
        return holds


@define
class _Walk:
    """Goes from function to function, from those of the names `called`.

    `attributes` are the names that they read of whatever is at hand.
    """

    called: tuple[str, ...]
    attributes: set[str] = field(init=False)
    functions: dict[types.FunctionType, None] = field(factory=dict)
    places: dict[tuple[int, str], Place] = field(factory=dict)
    is_all: bool = True
    _kinds: dict[type, None] = field(factory=dict)
    _calls_super: bool = False
    _kept: set[tuple[type, str]] = field(factory=set)
    _seen: set[tuple[int, str, bool]] = field(factory=set)

    @attributes.default
    def _first_attributes(self) -> set[str]:
        return set(self.called)

    def reads(self) -> Reads:
        while pending := [pair for pair in self._pairs() if pair not in self._seen]:
            self._seen.update(pending)
            kinds = {id(kind): kind for kind in self._kinds}
            for kind, name, _ in pending:
                self._take_attribute(kinds[kind], name)
        return Reads(tuple(self.functions), tuple(self.places.values()), self.is_all)

    def _pairs(self) -> list[tuple[int, str, bool]]:
        return [(id(kind), name, self._calls_super) for kind in self._kinds for name in self.attributes]

    def _keep(self, kind: type, names: Iterable[str]) -> None:
        for name in names:
            if hasattr(kind, name):
                self._kept.add((kind, name))
                self._note(kind, name, getattr(kind, name))

    def take_value(self, kind: type, fields: Iterable[Any]) -> None:
        if is_ours(kind):  # no one's functions but ours
            self._keep(kind, self.called)
        else:
            derived = getattr(kind, "DERIVED", ())
            self._keep(kind, [name for name in derived if is_function_of_ours(getattr(kind, name))])
            self._take_kind(kind)
        for value in fields:
            self.take(value)

    def _take_kind(self, kind: type) -> None:
        self._kinds[kind] = None
        # What is called without its name: a schedule, say.
        own = [pair for cls in kind.__mro__[:-1] for pair in vars(cls).items()]
        special = {name for name, found in own if name.startswith("__") and isinstance(found, types.FunctionType)}
        self.attributes |= special - _OF_VALUES
        if "__getattribute__" in {name for name, _ in own} or not _is_of_attrs(getattr(kind, "__getattr__", None)):
            self.is_all = False

    def take(self, found: Any) -> None:
        """Something that a function has at hand."""
        if isinstance(found, types.FunctionType):
            self._take_function(found)
        elif isinstance(found, tuple | frozenset):
            for each in found:
                self.take(each)
        elif isinstance(found, Value):
            for each in attrs.fields(type(found)):
                self._note(found, each.name, getattr(found, each.name))
            self.take_value(type(found), fields_of(found))
        elif isinstance(found, type) and issubclass(found, Value):
            self._take_kind(found)
        elif not is_pure(found):
            self.is_all = False

    def _take_attribute(self, kind: type, name: str) -> None:
        """What an attribute of a value of this kind may be, its fields aside."""
        is_field = attrs.has(kind) and name in (each.name for each in attrs.fields(kind))
        if name in OF_ALL or is_field or (kind, name) in self._kept:
            return
        for cls in kind.__mro__[:-1] if self._calls_super else (kind,):
            found = inspect.getattr_static(cls, name, _ABSENT)
            if found is _ABSENT:
                continue
            if getattr(cls, name) is not found and not isinstance(found, staticmethod):
                self.is_all = False  # a method of the class, say, which is made anew each time
            else:
                self._note(cls, name, getattr(cls, name))
            self.take(_function_in(found))

    def _note(self, holder: Any, name: str, found: Any) -> None:
        self.places.setdefault((id(holder), name), Place(holder, name, found))

    def _take_function(self, function: types.FunctionType) -> None:
        if function in self.functions:
            return
        if self._is_foreign(function):  # it may lead far
            self.is_all = False
            return
        self.functions[function] = None
        if vars(function):
            self.is_all = False
        for name in ("__code__", "__defaults__", "__kwdefaults__"):
            self._note(function, name, getattr(function, name))
        self.take(function.__defaults__ or ())
        self._take_defaults_by_name(function.__code__, function.__kwdefaults__)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            self._take_cell(name, cell)
        ours = is_function_of_ours(function)
        for code in codes_in(function.__code__):
            names = names_in(code)
            self.attributes |= names.attributes
            if ours:  # what the library's own functions read beside attributes changes with its source alone
                continue
            if names.are_not_all or names.stored & {*function.__code__.co_freevars, *function.__globals__}:
                self.is_all = False
            for name, chain in names.globals:
                self._take_global(function, name, chain[0] if chain else None)

    def _take_defaults_by_name(self, code: types.CodeType, defaults: dict[str, Any] | None) -> None:
        if defaults is not None:
            for name in code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]:
                self._note(defaults, name, defaults.get(name, _ABSENT))  # the dictionary itself may be written to
            self.take(tuple(defaults.values()))

    def _is_foreign(self, function: types.FunctionType) -> bool:
        """Whether a function is of an installed package that is neither ours nor that of the classes looked at."""
        homes = {__name__.partition(".")[0], *(kind.__module__.partition(".")[0] for kind in self._kinds)}
        installed = is_installed(function.__code__.co_filename)
        return installed and (function.__module__ or "").partition(".")[0] not in homes

    def _take_cell(self, name: str, cell: types.CellType) -> None:
        if name == "__class__":
            self._calls_super = True
            return
        try:
            found = cell.cell_contents
        except ValueError:  # it is empty
            self.is_all = False
            return
        self._note(cell, "cell_contents", found)
        self.take(found)

    def _take_global(self, function: types.FunctionType, name: str, attribute: str | None) -> None:
        """A global of a function, of which an attribute may be read at once."""
        found = function.__globals__.get(name, _ABSENT)
        self._note(function.__globals__, name, found)
        if found is _ABSENT:
            found = vars(builtins).get(name, _ABSENT)
            self._note(vars(builtins), name, found)
            self._calls_super |= name == "super"
            if not is_pure(found):
                self.is_all = False
        elif type(found) in (types.ModuleType, type) and attribute is not None and hasattr(found, attribute):
            inner = getattr(found, attribute)
            self._note(found, attribute, inner)
            self.take(inner)
        else:
            self.take(found)


def fields_of(value: Value) -> tuple[Any, ...]:
    """What the fields of a value hold."""
    return tuple(getattr(value, each.name) for each in attrs.fields(type(value)))


def _is_of_attrs(function: types.FunctionType | None) -> bool:
    """Whether `__getattr__` is what attrs writes for properties that are kept once they are known, or is not there."""
    return function is None or function.__code__.co_filename.startswith("<attrs generated")


def _function_in(attribute: Any) -> Any:
    """The function that an attribute of a class calls, or what it is."""
    if isinstance(attribute, property):
        return attribute.fget
    return attribute.__func__ if isinstance(attribute, staticmethod | classmethod) else attribute


def is_pure(found: Any) -> bool:
    """Whether a thing gives the same whenever it is read or called, as numbers and the functions of math do."""
    if type(found) in _PLAIN or isinstance(found, np.generic) or found is NotImplemented:
        return True
    if isinstance(found, types.BuiltinFunctionType) and found.__module__ in _MODULES_OF_PURE:
        return True
    return any(found is each for each in _PURE) or (isinstance(found, type) and issubclass(found, BaseException))
