"""Measures what a machine can do: multiplications and additions, and bytes from memory, a second.

    python benchmarks/peak.py [--threads 2]

The multiplications, each with an addition, are those of independent chains of vectors in registers, in float32, emitted
with LLVM as the engine's code is; the bytes are those of a copy of arrays that no cache holds, read and written.
"""

import argparse
import ctypes
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import attrs

CHAINS, ROUNDS, TURNS = 12, 2_000_000, 5
ARRAY_BYTES = 256 << 20


@attrs.frozen
class Peak:
    """What all threads do together in a second."""

    multiplications: float
    bytes: float


def main() -> None:
    from epochs import pin

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="cores and threads (2)")
    options = parser.parse_args()
    pin(options.threads)
    peak = measure(options.threads)
    print(f"{peak.multiplications / 1e9:.1f} multiplications and additions a ns, {peak.bytes / 1e9:.1f} GB a second")


def measure(threads: int) -> Peak:
    """The most that was reached in some turns."""
    products, lanes = chains()
    return Peak(
        CHAINS * ROUNDS * lanes * threads / fastest(products, threads), 2 * ARRAY_BYTES / fastest(*copies(threads))
    )


def fastest(work: Callable[[int], object], threads: int) -> float:
    """The seconds of the fastest turn, in which each thread works once."""
    seconds = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(TURNS):
            started = time.perf_counter()
            list(pool.map(work, range(threads)))
            seconds.append(time.perf_counter() - started)
    return min(seconds)


def copies(threads: int) -> tuple[Callable[[int], object], int]:
    """A copy of an array, of which each thread does its share."""
    import numpy as np

    source, target = np.ones(ARRAY_BYTES, np.uint8), np.zeros(ARRAY_BYTES, np.uint8)
    share = ARRAY_BYTES // threads

    def copy(thread: int) -> None:
        part = slice(thread * share, (thread + 1) * share)
        np.copyto(target[part], source[part])

    return copy, threads


def chains() -> tuple[Callable[[int], object], int]:
    """A native function of chains of products and sums, and the lanes of its vectors."""
    import torch
    from llvmlite import ir

    from functional_mlp.engine.llvm import target as machine
    from functional_mlp.engine.llvm.emitter import Emitter
    from functional_mlp.engine.llvm.types import POINTER, Real

    host = machine.host()
    real, module = Real(torch.float32), ir.Module(name="peak")
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER]), "chains")
    e = Emitter(ir.IRBuilder(function.append_basic_block("entry")), real, host.lanes(4))
    (memory,) = function.args
    factor = e.load(memory, 0)
    start = [e.load(memory, (1 + chain) * e.lanes) for chain in range(CHAINS)]
    ends = e.loop("round", 0, ROUNDS, 1, lambda i, *sums: [e.multiply_add(factor, sum, factor) for sum in sums], start)
    for chain, value in enumerate(ends):
        e.store(value, memory, (1 + chain) * e.lanes)
    e.builder.ret_void()
    code = machine.MachineCode(machine.assemble(str(module), host), host)
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code.address("chains"))

    def run(thread: int, code: machine.MachineCode = code) -> None:
        numbers = torch.full(((1 + CHAINS) * e.lanes,), 0.5)
        call(numbers.data_ptr())

    return run, e.lanes


if __name__ == "__main__":
    main()
