"""The names that a piece of Python's code reads and writes, found by going through its instructions."""

import dis
import functools
import inspect
import os
import sysconfig
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

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
# How many values lie above the container where one of these writes to it.
_WRITES = {"STORE_SUBSCR": 1, "DELETE_SUBSCR": 1, "STORE_SLICE": 2}
# Methods of containers that change them, beside those of torch, whose names end in an underscore.
_CHANGING = frozenset(
    (
        *("add", "append", "appendleft", "clear", "difference_update", "discard", "extend", "extendleft", "fill"),
        *("insert", "intersection_update", "itemset", "move_to_end", "pop", "popitem", "popleft", "put", "remove"),
        *("resize", "reverse", "rotate", "setdefault", "sort", "subtract", "symmetric_difference_update", "update"),
    )
)
# A variable is a global, or one of a function around.
Written = tuple[Literal["variable", "attribute", "argument"], str]


@frozen
class Names:
    """The names that a piece of code reads: globals, each with the attributes that follow at once, and attributes.

    It assigns to the variables `stored`, and changes what those that are `written` hold. `are_not_all` says that it may
    read what its instructions do not tell.
    """

    globals: frozenset[tuple[str, tuple[str, ...]]]
    attributes: frozenset[str]
    stored: frozenset[str]
    written: frozenset[Written]
    are_not_all: bool


@functools.lru_cache(maxsize=1024)
def names_in(code: types.CodeType) -> Names:
    """The names in a piece of code, without those within it.

    >>> names = names_in((lambda x: math.sqrt(x) + TABLE.rows.first[x]).__code__)
    >>> sorted(names.globals), names.stored, names.are_not_all
    ([('TABLE', ('rows', 'first')), ('math', ('sqrt',))], frozenset(), False)
    >>> names_in((lambda x: CACHE.setdefault(x, len(x))).__code__).written
    frozenset({('variable', 'CACHE')})
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
    written = frozenset(_written(code, instructions))
    return Names(frozenset(found), frozenset(attributes), frozenset(stored), written, beyond or bool(hidden))


_LONGEST_CHAIN = 8


def _chain(instructions: Sequence[dis.Instruction]) -> tuple[str, ...]:
    """The attributes that the first instructions read, one of the other."""
    chain = []
    for each in instructions:
        if each.opname not in ("LOAD_ATTR", "LOAD_METHOD"):
            break
        chain.append(each.argval)
    return tuple(chain)


def _written(code: types.CodeType, instructions: Sequence[dis.Instruction]) -> Iterator[Written]:
    """What a piece of code changes: the variables and attributes whose containers it writes to, say."""
    for place, each in enumerate(instructions):
        if each.opname.startswith(("STORE_DEREF", "DELETE_DEREF", "STORE_GLOBAL", "DELETE_GLOBAL")):
            yield "variable", each.argval
        elif each.opname in ("STORE_ATTR", "DELETE_ATTR"):
            yield "attribute", each.argval
        elif each.opname in _ATTRIBUTES and (each.argval in _CHANGING or _is_in_place(each.argval)):
            yield from _held(code, instructions, place - 1)
        elif each.opname in _WRITES:
            yield from _held(code, instructions, _below(instructions, place - 1, _WRITES[each.opname]))


def _is_in_place(name: str) -> bool:
    """Whether a method of this name is one of torch's that change a tensor."""
    return name.endswith("_") and not name.startswith("_")


def _below(instructions: Sequence[dis.Instruction], place: int, values: int) -> int | None:
    """The place of the instruction that loads what lies below some values, whose last one is loaded at `place`.

    None where that is not known.
    """
    if instructions[place].opname == "SWAP":  # as in a[b] += c: a and b are copied first
        copies = [at for at in range(place) if instructions[at].opname == "COPY"]
        return _below(instructions, copies[-1 - values] - 1, values) if len(copies) > values else None
    while values > 0 and place >= 0:
        each = instructions[place]
        if each.opname in ("COPY", "SWAP") or each.opcode in dis.hasjrel or each.opcode in dis.hasjabs:
            return None
        values -= dis.stack_effect(each.opcode, each.arg)
        place -= 1
    return place if values == 0 else None


def _held(code: types.CodeType, instructions: Sequence[dis.Instruction], place: int | None) -> Iterator[Written]:
    """What holds the container that an instruction loads; whatever it may be, where that is not known."""
    known = () if place is None or place < 0 else (instructions[place],)
    for each in known or instructions:
        if each.opname in _GLOBALS or each.opname in ("LOAD_DEREF", "LOAD_CLASSDEREF"):
            yield "variable", each.argval
        elif each.opname in _ATTRIBUTES:
            yield "attribute", each.argval
        elif each.opname.startswith("LOAD_FAST") and known:
            yield from _assigned(code, instructions, each.argval)
        elif each.opname == "BINARY_SUBSCR" and known and place:  # a container within another
            yield from _held(code, instructions, _below(instructions, place - 1, 1))
        elif each.opname == "FOR_ITER" and known and place:
            yield from _held(code, instructions, place - 2)


def _assigned(code: types.CodeType, instructions: Sequence[dis.Instruction], local: str) -> Iterator[Written]:
    """What a local variable may be another name of."""
    if local in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
        yield "argument", local
    for place, each in enumerate(instructions[1:]):
        before = instructions[place]
        if each.opname == "STORE_FAST" and each.argval == local and not before.opname.startswith("LOAD_FAST"):
            yield from _held(code, instructions, place)


def codes_in(code: types.CodeType) -> list[types.CodeType]:
    """A piece of code, and those within it."""
    inner = [each for each in code.co_consts if isinstance(each, types.CodeType)]
    return [code, *(found for each in inner for found in codes_in(each))]


def instructions_of(code: types.CodeType) -> Iterator[tuple[str, object]]:
    """What a piece of code does, whatever its lines and comments: its instructions, and what they use.

    First come its arguments, for they may be in another order.
    """
    flags = code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS | inspect.CO_GENERATOR | inspect.CO_COROUTINE)
    arguments = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 4) + bool(code.co_flags & 8)
    yield "arguments", (code.co_posonlyargcount, code.co_argcount, code.co_kwonlyargcount, flags)
    yield "named", code.co_varnames[:arguments]
    for each in dis.get_instructions(code):
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
