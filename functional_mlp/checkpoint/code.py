"""Digests of the code of classes of a user's own, by which another call knows that a class of one name has changed.

A digest is that of Python's code of all functions that the class defines, and of the functions of the user's own that
they call, with the numbers and words that these read; comments and the places of lines are no part of it. Another
version of Python makes other code of the same source: digests of two versions are not compared.
"""

import dis
import hashlib
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from functional_mlp.reads import Place, Reads, fields_of
from functional_mlp.value import Value, in_package


def digests_of(values: Iterable[Any]) -> dict[str, str]:
    """The digest of each class of a user's own among values, and in their fields, by its name.

    >>> import functional_mlp as fm
    >>> digests_of([fm.Sequential(fm.Linear(2, 2), fm.Tanh()), fm.SGD(0.1)])
    {}
    """
    kinds = {type(value): None for value in _own(values)}
    return {kind.__name__: f"{sys.implementation.cache_tag} {_digest(kind)}" for kind in kinds}


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The classes of whose code two digests are known that can be compared, and differ."""
    both = {name: (before[name], now[name]) for name in before if name in now}
    return [name for name, (a, b) in both.items() if a != b and a.partition(" ")[0] == b.partition(" ")[0]]


def _own(values: Iterable[Any]) -> Iterator[Any]:
    """The values of a user's own classes among values, and in their fields."""
    pending = list(values)
    while pending:
        value = pending.pop()
        if isinstance(value, tuple):
            pending += value
        elif isinstance(value, Value) or (attrs.has(type(value)) and not in_package(type(value).__module__)):
            pending += fields_of(value)
            if not in_package(type(value).__module__):
                yield value


def _digest(kind: type) -> str:
    own = [cls for cls in kind.__mro__[:-1] if not in_package(cls.__module__)]
    reads = Reads.of({kind: ()}, {name for cls in own for name, found in vars(cls).items() if _is_written(found)})
    total = hashlib.blake2b(digest_size=16)
    for function in sorted(reads.own_functions, key=lambda function: (function.__module__, function.__qualname__)):
        total.update(f"{function.__qualname__} {list(_code(function.__code__))}\n".encode())
    for text in sorted(filter(None, map(_text, reads.own_places))):
        total.update(f"{text}\n".encode())
    return total.hexdigest()


def _is_written(found: Any) -> bool:
    """Whether an attribute of a class is written by the user, and not by attrs."""
    function = found.fget if isinstance(found, property) else getattr(found, "__func__", found)
    return isinstance(function, types.FunctionType) and not function.__code__.co_filename.startswith("<attrs")


def _code(code: types.CodeType) -> Iterator[str]:
    """What a piece of code does, in words: its instructions, and what they use."""
    for each in dis.get_instructions(code):
        if isinstance(each.argval, types.CodeType):
            yield f"{each.opname} {list(_code(each.argval))}"
        else:
            yield f"{each.opname} {_constant(each.argval)}"


def _constant(constant: Any) -> str:
    """A constant in words that do not depend on the order of a set."""
    return repr(sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant)


def _text(place: Place) -> str | None:
    """What is read there, where it is a number, a word, or several."""
    plain = (int, float, complex, bool, str, bytes)
    several = place.found if isinstance(place.found, tuple) else (place.found,)
    return f"{place.name} = {place.found!r}" if all(type(each) in plain for each in several) else None
