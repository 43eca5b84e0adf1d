"""Records of what native code is handed: each states once which values there are, in which order and of which types.

A record is a named tuple. Its fields are `Pointer`, `Integer` or `Double`, whatever it holds: the values of emitted
code, where a function is made, or what Python hands over, where it is called. What a function takes is a list of such
records, one after the other.
"""

import itertools
import struct
from collections.abc import Iterable
from typing import Annotated, Any, TypeVar, get_type_hints

from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.types import DOUBLE, I64, POINTER

Item = TypeVar("Item")
Pointer = Annotated[Item, POINTER]
Integer = Annotated[Item, I64]
Double = Annotated[Item, DOUBLE]

Kind = type[Any]  # of a record

FIELD_SIZE = 8  # bytes: each field takes as many where a record lies in memory
_FORMATS = {I64: "q", DOUBLE: "d"}


def types_of(*kinds: Kind) -> dict[str, ir.Type]:
    """The names of the fields of some kinds of records, in order, and their types."""
    hints = [get_type_hints(kind, include_extras=True) for kind in kinds]
    return {name: hint.__metadata__[0] for own in hints for name, hint in own.items()}


def records_of(values: Iterable[Any], *kinds: Kind) -> list[Any]:
    """Records of some kinds that hold some values, one after the other."""
    left = iter(values)
    return [kind(*itertools.islice(left, len(types_of(kind)))) for kind in kinds]


def format_of(kind: Kind) -> struct.Struct:
    """How records of a kind lie in memory."""
    types = types_of(kind).values()
    return struct.Struct("=" + "".join("Q" if isinstance(own, ir.PointerType) else _FORMATS[own] for own in types))
