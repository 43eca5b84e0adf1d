"""The names that a piece of Python's code reads and writes, found by going through its instructions."""

import dis
import functools
import inspect
import os
import sysconfig
import types
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import frozen

# What a function does by these is not found in its code.
_BEYOND = (
    *("IMPORT", "DELETE_GLOBAL", "STORE_ATTR", "DELETE_ATTR", "DELETE_DEREF"),
    *("LOAD_NAME", "LOAD_CLASSDEREF", "LOAD_FROM_DICT", "LOAD_LOCALS", "LOAD_BUILD_CLASS"),
)
# What every class has.
OF_ALL = frozenset({"__class__", "__name__"})
_GLOBALS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR")
# With these, code assigns to what words in it name.
_BY_NAME = frozenset(("setattr", "delattr", "globals", "vars", "__dict__"))
# What class statements note down, and what does nothing.
_NOTES = ("__doc__", "__firstlineno__", "__static_attributes__")


@frozen
class Names:
    """The names that a piece of code reads: globals, each with the attributes that follow at once, and attributes.

    It assigns to the variables `stored`. `are_not_all` says that it may read what its instructions do not tell.
    """

    globals: frozenset[tuple[str, tuple[str, ...]]]
    attributes: frozenset[str]
    stored: frozenset[str]
    are_not_all: bool


@functools.lru_cache(maxsize=1024)
def names_in(code: types.CodeType) -> Names:
    """The names in a piece of code, without those within it.

    >>> names = names_in((lambda x: math.sqrt(x) + TABLE.rows.first[x]).__code__)
    >>> sorted(names.globals), names.stored, names.are_not_all
    ([('TABLE', ('rows', 'first')), ('math', ('sqrt',))], frozenset(), False)
    """
    instructions = [each for each in dis.get_instructions(code) if each.opname != "EXTENDED_ARG"]
    found, attributes, stored, beyond = set(), set(), set(), False
    for place, each in enumerate(instructions):
        if each.opname in _GLOBALS:
            found.add((each.argval, _chain(instructions[place + 1 : place + 1 + _LONGEST_CHAIN])))
        elif each.opname in _ATTRIBUTES:
            attributes.add(each.argval)
        elif each.opname in ("STORE_DEREF", "STORE_GLOBAL"):
            stored.add(each.argval)
        beyond |= each.opname.startswith(_BEYOND)
    hidden = {name for name in attributes if name.startswith("__")} - OF_ALL
    return Names(frozenset(found), frozenset(attributes), frozenset(stored), beyond or bool(hidden))


# Attributes of one another that are followed, as in `table.rows.first`; of more, the first ones.
_LONGEST_CHAIN = 8


def _chain(instructions: Sequence[dis.Instruction]) -> tuple[str, ...]:
    """The attributes that the first instructions read, one of the other."""
    chain = []
    for each in instructions:
        if each.opname not in ("LOAD_ATTR", "LOAD_METHOD"):
            break
        chain.append(each.argval)
    return tuple(chain)


@functools.lru_cache(maxsize=1024)
def assigned_in(code: types.CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """The names of the variables, global or of functions around, and of the attributes that code may assign to.

    >>> def count(self):
    ...     global calls
    ...     calls, self.last = calls + 1, 0
    ...     setattr(self, "first", 1)
    >>> variables, attributes = assigned_in(count.__code__)
    >>> sorted(variables), sorted(attributes)
    (['calls', 'first'], ['first', 'last'])
    """
    variables, attributes = set(), set()
    for each in dis.get_instructions(code):
        if each.opname in ("STORE_GLOBAL", "DELETE_GLOBAL") or (
            each.opname in ("STORE_DEREF", "DELETE_DEREF") and each.argval in code.co_freevars
        ):
            variables.add(each.argval)
        elif each.opname in ("STORE_ATTR", "DELETE_ATTR"):
            attributes.add(each.argval)
    words = {each for each in code.co_consts if isinstance(each, str)} if _BY_NAME & {*code.co_names} else set()
    return frozenset(variables | words), frozenset(attributes | words)


def codes_in(code: types.CodeType) -> list[types.CodeType]:
    """A piece of code, and those within it."""
    inner = [each for each in code.co_consts if isinstance(each, types.CodeType)]
    return [code, *(found for each in inner for found in codes_in(each))]


def instructions_of(code: types.CodeType) -> Iterator[tuple[str, object]]:
    """What a piece of code does, whatever its lines, comments and docstrings: its instructions, and what they use.

    First come its arguments, for they may be in another order.
    """
    flags = code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS | inspect.CO_GENERATOR | inspect.CO_COROUTINE)
    arguments = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 4) + bool(code.co_flags & 8)
    yield "arguments", (code.co_posonlyargcount, code.co_argcount, code.co_kwonlyargcount, flags)
    yield "named", code.co_varnames[:arguments]
    instructions = [*dis.get_instructions(code)]
    for each, following in zip(instructions, [*instructions[1:], instructions[-1]], strict=True):
        if each.argval not in _NOTES and following.argval not in _NOTES:
            yield each.opname, each.argval
    yield "handlers", code.co_exceptiontable


_STDLIB = sysconfig.get_path("stdlib")


@functools.lru_cache(maxsize=4096)
def is_installed(file: str) -> bool:
    """Whether a file is of Python's own library, or of a package that is installed."""
    return file.startswith(_STDLIB) or any(_has_packages(str(folder)) for folder in Path(file).parents)


@functools.lru_cache(maxsize=4096)
def _has_packages(folder: str) -> bool:
    """Whether packages are installed in a folder: pip notes down beside them what it has put there."""
    if Path(folder).name in ("site-packages", "dist-packages"):
        return True
    try:
        return any(name.endswith(".dist-info") for name in os.listdir(folder))
    except OSError:
        return False
