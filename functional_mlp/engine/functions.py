"""Native functions: how all code is compiled, be it that of a network, of a group, of a single step or of the shuffle.

What code is made of is a `Source`. `compiled` gives its `Code`: from memory, from the disk, or emitted as LLVM and
compiled.
"""

import abc
import ctypes
import functools
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Generic, TypeVar

import attrs

from functional_mlp.engine import making
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm import target as machine
from functional_mlp.engine.llvm.records import Kind, records_of, types_of
from functional_mlp.engine.llvm.types import c_type
from functional_mlp.engine.workspace import WORKSPACE_SIZE


class Source(abc.ABC):
    """What code is made of: equal ones make the same code."""

    @property
    @abc.abstractmethod
    def what(self) -> Hashable:
        """What is remembered as that of which no code can be made, should LLVM refuse it."""

    @property
    @abc.abstractmethod
    def key(self) -> str | None:
        """What the code is kept under on disk; `None` where that is its text."""

    @property
    @abc.abstractmethod
    def functions(self) -> Mapping[str, tuple[Kind, ...]]:
        """The functions that Python calls, which return nothing, and the kinds of records that each is given."""

    @property
    def is_short(self) -> bool:
        """Whether a call is soon over, so that other threads of Python's need not be let run."""
        return False

    @abc.abstractmethod
    def emit(self) -> ir.Module:
        """The LLVM module."""

    @abc.abstractmethod
    def check_unchanged(self) -> None:
        """Raise `CannotFuseError` where expressions do something else than when the source was made."""


OfSource = TypeVar("OfSource", bound=Source)


@attrs.frozen(eq=False)
class Code(Generic[OfSource]):
    """Code that has been loaded: its functions, where they lie, and how many numbers of a workspace they need."""

    source: OfSource
    functions: Mapping[str, Callable[..., None]]
    addresses: Mapping[str, int]
    workspace_size: int
    memory: machine.MachineCode  # which stays as long as it is held


@functools.lru_cache(maxsize=256)
def compiled(source: Source, target: machine.Target) -> Code[Any]:
    """The code of a source.

    Raises `CannotMakeCodeError` where LLVM cannot make or load it.
    """
    source.check_unchanged()
    with making.remembering((source.what, target)):
        memory = machine.load(source.key, source.emit, target)
        prototype = ctypes.PYFUNCTYPE if source.is_short else ctypes.CFUNCTYPE
        addresses = {name: memory.address(name) for name in source.functions}
        functions = {
            name: prototype(None, *map(c_type, types_of(*kinds).values()))(addresses[name])
            for name, kinds in source.functions.items()
        }
        workspace_size = ctypes.c_int64.from_address(memory.address(WORKSPACE_SIZE)).value
        return Code(source, functions, addresses, workspace_size, memory)


def begin(module: ir.Module, name: str, *kinds: Kind) -> tuple[ir.IRBuilder, list[Any]]:
    """Begin a function of a module, which is given records of some kinds; returns what emits into it, and these."""
    types = types_of(*kinds)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), list(types.values())), name)
    for value, argument in zip(function.args, types, strict=True):
        value.name = argument
    return ir.IRBuilder(function.append_basic_block("entry")), records_of(function.args, *kinds)
