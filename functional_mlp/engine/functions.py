"""Compiled functions: what those of networks, of groups and the shuffle have in common."""

import ctypes
from collections.abc import Callable, Hashable, Iterable, Mapping

import attrs

from functional_mlp.engine import making
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm import target as machine
from functional_mlp.engine.llvm.types import c_type
from functional_mlp.engine.workspace import WORKSPACE_SIZE


def begin(module: ir.Module, name: str, arguments: Mapping[str, ir.Type]) -> tuple[ir.Function, ir.IRBuilder]:
    """A function of a module, and what emits into it."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), list(arguments.values())), name)
    for value, argument in zip(function.args, arguments, strict=True):
        value.name = argument
    return function, ir.IRBuilder(function.append_basic_block("entry"))


@attrs.frozen(eq=False)
class Code:
    """Machine code that has been loaded, and the size of the memory that its function needs, in numbers."""

    code: machine.MachineCode
    workspace_size: int

    def function(self, name: str, types: Iterable[ir.Type], *, short: bool = False) -> Callable[..., None]:
        """The function of a name, which returns nothing; other threads run Python meanwhile, unless it is short."""
        prototype = ctypes.PYFUNCTYPE if short else ctypes.CFUNCTYPE
        return prototype(None, *map(c_type, types))(self.address(name))

    def address(self, name: str) -> int:
        return self.code.address(name)


def load(what: Hashable, key: str | None, emit: Callable[[], ir.Module], target: machine.Target) -> Code:
    """The machine code of a module: from the disk, or made.

    Raises `CannotMakeCodeError` where LLVM cannot make or load it, which is remembered of `what`.
    """
    with making.remembering(what):
        code = machine.load(key, emit, target)
        return Code(code, ctypes.c_int64.from_address(code.address(WORKSPACE_SIZE)).value)
