"""Steps on a GPU beside those of torch.nn with torch.optim, eager and compiled, and many networks beside one.

    python benchmarks/gpu.py [--quick]

prints microseconds a step: the time of an epoch, its order and its outcome included, over its number of steps. All
kinds take turns in one process, and a figure is the median over the rounds. `--quick` leaves out what torch.compile
takes a minute to prepare.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

import functional_mlp as fm

Epoch = Callable[[], None]
ROUNDS = 7
PAPER = (2, 25, 25, 25, 2)
WIDE = (784, 1024, 1024, 10)


def network(sizes: tuple[int, ...]) -> fm.Sequential:
    """The paper's kinds of layers: ReLU, and tanh before the last one."""
    layers: list[fm.Layer] = [fm.Linear(sizes[0], sizes[1])]
    for inputs, outputs in itertools.pairwise(sizes[1:]):
        layers += [fm.Tanh() if outputs == sizes[-1] else fm.ReLU(), fm.Linear(inputs, outputs)]
    return fm.Sequential(*layers)


def module(sizes: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Linear(sizes[0], sizes[1])]
    for inputs, outputs in itertools.pairwise(sizes[1:]):
        layers += [nn.Tanh() if outputs == sizes[-1] else nn.ReLU(), nn.Linear(inputs, outputs)]
    return nn.Sequential(*layers).cuda()


def samples(sizes: tuple[int, ...], n: int) -> fm.Dataset:
    generator = torch.Generator().manual_seed(0)
    inputs, targets = (torch.randn(n, size, generator=generator) for size in (sizes[0], sizes[-1]))
    return fm.Dataset(inputs.cuda(), targets.cuda())


def seconds_of(epoch: Epoch) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    epoch()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def of_torch(sizes: tuple[int, ...], data: fm.Dataset, batch_size: int, mode: str | None) -> Epoch:
    """An epoch of torch's own at its fastest: shuffled once, in batches that are slices, its loss read once.

    The optimizer is torch's fused one, which was faster than the default one, compiled or not.
    """
    net, criterion = module(sizes), nn.MSELoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, fused=True)

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return criterion(net(x), y)

    forward = loss_of if mode is None else torch.compile(loss_of, mode=mode)

    def epoch() -> None:
        order = torch.randperm(len(data)).cuda()
        inputs, targets = data.inputs[order], data.targets[order]
        total = torch.zeros((), device="cuda")
        for x, y in zip(inputs.split(batch_size), targets.split(batch_size), strict=True):
            optimizer.zero_grad()
            loss = forward(x, y)
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(x)
        total.item()

    return epoch


def of_fit(sizes: tuple[int, ...], data: fm.Dataset, batch_size: int, epochs: int) -> float:
    """Seconds of an epoch of `fit`, once it is under way: in the second half of its epochs."""
    result = fm.fit(
        network(sizes), fm.MeanSquaredError(), fm.SGD(0.01), data, key=fm.random.key(0), epochs=epochs,
        batch_size=batch_size,
    )  # fmt: skip
    return statistics.median(result.history.seconds[epochs // 2 :])


def of_members(members: int, data: fm.Dataset, batch_size: int, epochs: int) -> float:
    """Seconds of an epoch of `fit_ensemble`, of all members together."""
    result = fm.fit_ensemble(
        network(PAPER), fm.MeanSquaredError(), fm.SGD(0.01), data, keys=fm.random.key(0).split(members),
        epochs=epochs, batch_size=batch_size,
    )  # fmt: skip
    return members * statistics.median(result.member(0).history.seconds[epochs // 2 :])


def print_steps(name: str, sizes: tuple[int, ...], n: int, batch_size: int, epochs: int, compiled: bool) -> None:
    data = samples(sizes, n)
    kinds = {"torch.nn, eager": of_torch(sizes, data, batch_size, None)}
    if compiled:
        kinds["torch.compile, reduce-overhead"] = of_torch(sizes, data, batch_size, "reduce-overhead")
    for epoch in kinds.values():
        for _ in range(3):
            epoch()
    times: dict[str, list[float]] = {kind: [] for kind in ["fit", *kinds]}
    for _ in range(ROUNDS):
        times["fit"].append(of_fit(sizes, data, batch_size, epochs))
        for kind, epoch in kinds.items():
            times[kind].append(seconds_of(epoch))
    steps = -(-n // batch_size)
    ours = statistics.median(times["fit"])
    print(f"\n{name}, batch size {batch_size}, {n} samples")
    for kind, own in times.items():
        middle = statistics.median(own)
        print(f"  {kind:32}{middle / steps * 1e6:10.1f} µs a step{middle / ours:8.2f} times fit's")


def print_members(members: int, n: int, batch_size: int, epochs: int) -> None:
    data = samples(PAPER, n)
    together, alone = [], []
    for _ in range(3):
        together.append(of_members(members, data, batch_size, epochs))
        alone.append(of_fit(PAPER, data, batch_size, epochs))
    ours, one = statistics.median(together), statistics.median(alone)
    print(f"\n{members} networks {'-'.join(map(str, PAPER))}, batch size {batch_size}, {n} samples: an epoch of all")
    print(
        f"  at once {ours * 1e3:.1f} ms, one after the other {members * one * 1e3:.1f} ms: {members * one / ours:.0f}×"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="leave torch.compile out")
    arguments = parser.parse_args()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, TF32 {torch.backends.cuda.matmul.allow_tf32}")
    print_steps("-".join(map(str, PAPER)), PAPER, 10_240, 32, 12, not arguments.quick)
    print_steps("-".join(map(str, WIDE)), WIDE, 40_960, 4096, 104, compiled=False)
    for batch_size in (1, 32):
        print_members(1000, 1000, batch_size, 4 if batch_size == 1 else 64)


if __name__ == "__main__":
    main()
