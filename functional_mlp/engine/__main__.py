"""`python -m functional_mlp.engine`: what the engine makes of a network, for reading."""

import argparse
from collections.abc import Sequence

import torch

import functional_mlp as fm
from functional_mlp.engine.compiling import NetworkSource
from functional_mlp.engine.layout import Layout
from functional_mlp.engine.llvm.target import host, instructions
from functional_mlp.engine.lowering import lower, lower_loss, lower_steps
from functional_mlp.engine.plan import plan_of
from functional_mlp.engine.program import Program, TrainingProgram

PAPER_NETWORK = "Sequential(Linear(2, 25), ReLU(), Linear(25, 25), ReLU(), Linear(25, 25), Tanh(), Linear(25, 2))"


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    names = {name: getattr(fm, name) for name in fm.__all__}
    # The expressions are those of whoever runs the command.
    network, loss, optimizer = (eval(text, names) for text in (options.network, options.loss, options.optimizer))
    dtype = getattr(torch, options.dtype)
    reason = fm.engine.explain(network, loss, optimizer, dtype=dtype)
    if reason is not None:
        raise SystemExit(f"this cannot be fused: {reason}")
    classes = isinstance(loss, fm.CrossEntropy)
    program: Program = lower_steps(network, dtype=dtype)
    if options.function == "evaluate":
        program = lower_loss(network, loss, class_targets=classes, dtype=dtype)
    elif options.function == "epoch":
        program = lower(network, loss, optimizer, batch_size=options.batch_size, class_targets=classes, dtype=dtype)
    plan = plan_of(program, host())
    mark = "#" if options.assembly else ";"
    print(_commented(f"{program}\n\n{_places(program, plan.lanes)}", mark))
    code = str(NetworkSource(program, plan).emit())
    print(instructions(code, host()) if options.assembly else code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m functional_mlp.engine", description=__doc__)
    parser.add_argument("--network", default=PAPER_NETWORK, help="a network, as Python code (the paper's)")
    parser.add_argument("--loss", default="MeanSquaredError()", help="a loss, as Python code")
    parser.add_argument("--optimizer", default="SGD(0.01)", help="an optimizer, as Python code")
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--function", choices=["epoch", "evaluate", "predict"], default="epoch")
    parser.add_argument("--assembly", action="store_true", help="the processor's instructions in place of LLVM's")
    return parser


def _places(program: Program, lanes: int) -> str:
    """Where the parameters lie in the workspace, in numbers from its start."""
    lines = [f"workspace, in vectors of {lanes}:"]
    for matrix in Layout.of(program, lanes).matrices:
        rows = "inputs" if matrix.input_major else "outputs"
        place = f"{matrix.offset:6}  linear{matrix.step.number}.weight: {matrix.rows} rows ({rows}) of {matrix.stride}"
        lines.append(place)
        if matrix.step.bias:
            lines.append(f"{matrix.bias_offset:6}  linear{matrix.step.number}.bias")
    slots = program.optimizer.slots() if isinstance(program, TrainingProgram) else ()
    for number, slot in enumerate(slots, 1):
        lines.append(f"{number * Layout.of(program, lanes).size:6}  {slot}, in the same layout")
    return "\n".join(lines)


def _commented(text: str, mark: str) -> str:
    return "\n".join(f"{mark} {line}".rstrip() for line in text.splitlines())


if __name__ == "__main__":
    main()
