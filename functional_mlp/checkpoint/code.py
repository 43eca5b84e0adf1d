"""Digests of the code of classes of a user's own, by which another call knows that a class of one name has changed.

A digest is that of all that a class of the user's own does: comments and the places of lines are no part of it (see
`functional_mlp.checkpoint.contents`). Another version of Python makes other code of the same source, and another
version of the library may digest it in another way: such digests are not compared.
"""

import hashlib
import itertools
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from functional_mlp.checkpoint.contents import digest_of_class
from functional_mlp.reads import fields_of
from functional_mlp.value import Value, in_package

# The way of digesting: files of the first have no such number.
WAY = 2


def digests_of(values: Iterable[Any]) -> dict[str, str]:
    """The digest of each class of a user's own among values, and in their fields, by its name.

    That of several classes of one name is of all of them, in the order of their values.

    >>> import functional_mlp as fm
    >>> digests_of([fm.Sequential(fm.Linear(2, 2), fm.Tanh()), fm.SGD(0.1)])
    {}
    """
    kinds: dict[str, list[type]] = {}
    for value in _own(values):
        kinds.setdefault(type(value).__name__, []).append(type(value))
    return {name: f"{sys.implementation.cache_tag}/{WAY} {_digest(own)}" for name, own in kinds.items()}


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


def _digest(kinds: Iterable[type]) -> str:
    """The digest of classes of one name."""
    digests = {kind: digest_of_class(kind) for kind in kinds}
    turns = [digest for digest, _ in itertools.groupby(map(digests.__getitem__, kinds))]
    return hashlib.blake2b(" ".join(turns).encode(), digest_size=16).hexdigest()
