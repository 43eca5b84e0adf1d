"""When it pays to divide the batches of one network among ranks: milliseconds a step, alone and with others.

    torchrun --nproc-per-node 2 benchmarks/ranks.py [--rounds 5]

Each rank has one thread, as rank 0 has where it trains alone, on either engine. Alone and together take turns; a figure
is the median of the rounds. Where ranks are on one machine, gradients go over the loopback address.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed

import functional_mlp as fm
from functional_mlp import distributed

STEPS = 4
SIZES = (((784, 256, 128, 10), 512), ((784, 1024, 1024, 10), 1024), ((784, 1024, 1024, 10), 8192))


def network_of(sizes: tuple[int, ...]) -> fm.Sequential:
    layers: list[fm.Layer] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [fm.Linear(inputs, outputs), fm.ReLU()]
    return fm.Sequential(*layers[:-1])


def milliseconds(fit: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]) -> float:
    """Those of a step: of an epoch of some, without what a call costs."""
    times = []
    for epochs in (1, 2):
        started = time.perf_counter()
        fit(*arguments, epochs=epochs, **options)
        times.append(time.perf_counter() - started)
    return (times[1] - times[0]) / STEPS * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    first = torch.distributed.get_rank() == 0
    for sizes, batch_size in SIZES:
        rows = STEPS * batch_size
        inputs = fm.random.normal(fm.random.key(0), (rows, sizes[0]))
        data = fm.Dataset(inputs, torch.arange(rows) % sizes[-1])
        arguments = (network_of(sizes), fm.CrossEntropy(), fm.SGD(0.01), data)
        options = {"key": fm.random.key(1), "batch_size": batch_size}
        times: dict[str, list[float]] = {"reference": [], "fused": [], "together": []}
        for _ in range(rounds):
            for engine in ("reference", "fused") if first else ():
                times[engine].append(milliseconds(fm.fit, arguments, {**options, "engine": engine}))
            torch.distributed.barrier()
            times["together"].append(milliseconds(distributed.fit, arguments, options))
        if first:
            medians = ", ".join(f"{name} {statistics.median(own):.2f} ms" for name, own in times.items())
            print(f"{'-'.join(map(str, sizes))}, batch size {batch_size}: {medians}", flush=True)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
