"""Digests of what is a user's own, by which another call knows that a class or function of one name has changed.

A digest is that of all that a class or a function does, as far as it is looked into: see
`functional_mlp.checkpoint.contents`. Another version of Python makes other code of the same source, as does its option
`-O`, and another version of the library may digest it in another way: such digests are not compared.
"""

import hashlib
import itertools
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from functional_mlp.checkpoint.contents import digest_of
from functional_mlp.reads import fields_of
from functional_mlp.value import Value, in_package

# The way of digesting: files of the first have no such number.
WAY = 3
_BY = f"{sys.implementation.cache_tag}{'-O' * sys.flags.optimize}/{WAY}"


def digests_of(arguments: Mapping[str, Any]) -> dict[str, str]:
    """The digest of each class of a user's own among arguments, and in their fields, by its name.

    Functions, and objects that are called as they are, have the names of the arguments. The digest of several of one
    name is of all of them, in their order.

    >>> import functional_mlp as fm
    >>> digests_of({"network": fm.Sequential(fm.Linear(2, 2), fm.Tanh()), "schedule": fm.schedules.constant()})
    {}
    >>> [*digests_of({"schedule": lambda epoch: 0.9**epoch})]
    ['schedule']
    """
    own: dict[str, list[Any]] = {}
    for argument, value in arguments.items():
        for name, each in _own(argument, value):
            own.setdefault(name, []).append(each)
    return {name: f"{_BY} {_digest(each)}" for name, each in own.items()}


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The names for which two digests are known that can be compared, and differ."""
    both = {name: (before[name], now[name]) for name in before if name in now}
    return [name for name, (a, b) in both.items() if a != b and a.partition(" ")[0] == b.partition(" ")[0]]


def _own(argument: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The user's own classes and functions in an argument and its fields, with their names."""
    if isinstance(value, tuple):
        for each in value:
            yield from _own(argument, each)
    elif isinstance(value, Value) or (attrs.has(type(value)) and not in_package(type(value).__module__)):
        yield from _own(argument, fields_of(value))
        if not in_package(type(value).__module__):
            yield type(value).__name__, type(value)
    elif callable(value):
        yield argument, value


def _digest(found: list[Any]) -> str:
    """The digest of classes or functions of one name."""
    digests = {id(each): digest_of(each) for each in found}
    turns = [digest for digest, _ in itertools.groupby(digests[id(each)] for each in found)]
    return hashlib.blake2b(" ".join(turns).encode(), digest_size=16).hexdigest()
