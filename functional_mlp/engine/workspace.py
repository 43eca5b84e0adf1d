"""How much memory the function of a module needs, as a constant of the module, which its own code may read."""

from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.types import I64

WORKSPACE_SIZE = "workspace_size"


def workspace_size(module: ir.Module) -> ir.GlobalVariable:
    """The constant, in numbers, whose value is known once all code is emitted."""
    known: ir.GlobalVariable | None = module.globals.get(WORKSPACE_SIZE)
    if known is not None:
        return known
    constant = ir.GlobalVariable(module, I64, WORKSPACE_SIZE)
    constant.global_constant = True
    return constant


def note_workspace(module: ir.Module, size: int) -> None:
    """Give the constant its value."""
    workspace_size(module).initializer = ir.Constant(I64, size)
