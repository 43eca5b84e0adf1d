"""Times an epoch of functional_mlp beside other libraries that do the same work.

    python benchmarks/epochs.py [--json FILE] [--peers reference torch.nn jax ...] [--cases ...] [--threads 2]

The work is the paper's, its network 2-25-25-25-2 on 1000 points under SGD or momentum, and that of wide networks with
ReLU under cross-entropy; in float32, from the same initial parameters, with a new order and the mean loss in every
epoch. The peers take turns, round by round, so that a busy moment of the machine meets them all; a figure is the median
over the rounds. A turn has many epochs, for it begins with code and data that the peer before has driven out of the
caches: of the 0.08 ms an epoch that the fused engine takes in turns of 100 epochs, 0.01 come from there. Before a case
is timed its peers are checked against ours: the same losses, in the same orders where the peer can be told them.

Of a wide case the table also says which share of what the machine can do a peer's fastest epoch reaches: of the
multiplications and additions that `peak.py` measures, and of the bytes, where each batch reads the weights twice and
writes them once; weights that stay in the caches reach more than memory can.

"first epoch" is the time from imported libraries to the first epoch's loss, in a new process each time.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs


@attrs.frozen
class Case:
    """What `peers.Task` is given."""

    name: str
    batch_size: int
    momentum: bool = False
    sizes: tuple[int, ...] = (2, 25, 25, 25, 2)
    samples: int = 1000

    @classmethod
    def wide(cls, sizes: tuple[int, ...], samples: int, batch_size: int) -> "Case":
        return cls(f"{'-'.join(map(str, sizes))}, batch size {batch_size}", batch_size, sizes=sizes, samples=samples)


PAPER = [
    Case("batch size 1", 1),
    Case("batch size 1, momentum", 1, momentum=True),
    Case("batch size 10", 10),
    Case("batch size 100", 100),
]
DIGITS = (784, 256, 128, 10)
WIDE = [
    Case.wide((17, 64, 64, 6), 8192, 64),
    Case.wide((30, 128, 64, 2), 8192, 32),
    Case.wide((30, 128, 64, 2), 8192, 256),
    Case.wide(DIGITS, 8192, 1),
    Case.wide(DIGITS, 8192, 32),
    Case.wide(DIGITS, 8192, 128),
    Case.wide((784, 1024, 1024, 10), 4096, 256),
]
CASES = PAPER + WIDE
FIRST_EPOCH = "first epoch"
BASELINE = "torch.nn"
PACKAGES = ["functional-mlp", "torch", "llvmlite", "jax", "jaxlib", "equinox", "optax", "scikit-learn", "numpy"]


def main() -> None:
    options = parse_arguments()
    pin(options.threads)
    header = machine(options.threads)
    print("\n".join(f"{name}: {value}" for name, value in header.items()), end="\n\n", flush=True)
    results, peak = [], None
    for case in CASES:
        if case.name in options.cases:
            times = time_epochs(case, options)
            results += report(case.name, "ms an epoch", times)
            if case in WIDE:
                peak = peak or measure_peak(options.threads)
                results += report_shares(case, times, peak)
    if FIRST_EPOCH in options.cases:
        results += report(FIRST_EPOCH, "ms", time_first_epochs(options))
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": header, "results": results}, indent=2) + "\n")


def parse_arguments() -> Any:
    names = [case.name for case in CASES] + [FIRST_EPOCH]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--peers", nargs="+", default=None, help="some of the peers; all by default")
    parser.add_argument("--cases", nargs="+", default=names, choices=names, metavar="CASE", help=f"some of {names}")
    parser.add_argument("--threads", type=int, default=2, help="cores and threads for every peer (2)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each peer (7)")
    parser.add_argument("--seconds", type=float, default=0.5, help="how long a turn takes, roughly (0.5)")
    parser.add_argument("--epochs", type=int, default=1000, help="the most epochs a turn takes (1000)")
    return parser.parse_args()


def pin(threads: int) -> None:
    """Keep this process, and what it starts, to as many cores and threads; before numpy, torch or jax is imported."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(threads)


def machine(threads: int) -> dict[str, str]:
    versions = {name: version(name) for name in PACKAGES}
    return {
        "machine": f"{processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "threads": str(threads),
        "python": platform.python_version(),
        "versions": ", ".join(f"{name} {number}" for name, number in versions.items() if number),
        "load": ", ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def time_epochs(case: Case, options: Any) -> dict[str, list[float] | str]:
    """The milliseconds an epoch of each peer in each round, or why it has none."""
    from peers import PEERS, Task, UnavailableError

    task = Task(case.batch_size, case.momentum, case.sizes, case.samples)
    times: dict[str, list[float] | str] = {}
    trainers, epochs = {}, {}
    for peer in PEERS:
        if options.peers is not None and peer.name not in options.peers:
            continue
        if peer.missing():
            times[peer.name] = f"not installed: {', '.join(peer.missing())}"
            continue
        try:
            trainers[peer.name] = peer.trainer(task)
        except UnavailableError as error:
            times[peer.name] = f"not available: {error}"
            continue
        check(peer, trainers[peer.name], task)
        trainers[peer.name](1)
        once = timed(trainers[peer.name], 3)
        epochs[peer.name] = min(options.epochs, max(1, round(options.seconds * 1e3 / once)))
        times[peer.name] = []
    for _ in range(options.rounds):
        for name, trainer in trainers.items():
            measured = times[name]
            assert isinstance(measured, list)
            measured.append(timed(trainer, epochs[name]))
    return times


def timed(trainer: Any, epochs: int) -> float:
    """Milliseconds an epoch."""
    started = time.perf_counter()
    trainer(epochs)
    return (time.perf_counter() - started) / epochs * 1e3


def check(peer: Any, trainer: Any, task: Any) -> None:
    """End the benchmark unless the peer learns as ours does."""
    from peers import peer as named

    same_work = peer.same_orders and peer.same_network
    # Rounding in float32 sets the runs apart in time: an ulp in the parameters moves these losses by up to 0.6 %.
    # In the first epoch much depends on the order; later ones of other orders and networks lie within a fifth.
    first, epochs, tolerance = (0, 2, 0.01) if same_work else (1, 10, 0.5)
    expected = named("reference").trainer(task)(epochs)
    actual = trainer(epochs, fixed_orders=True)
    for epoch, (ours, theirs) in enumerate(zip(expected[first:], actual[first:], strict=True), start=first):
        if not abs(theirs - ours) <= tolerance * ours:
            sys.exit(f"{peer.name} does not do the same work: loss {theirs} in epoch {epoch}, ours {ours}")


def time_first_epochs(options: Any) -> dict[str, list[float] | str]:
    """The milliseconds to each peer's first loss at batch size 1, in new processes, or why it has none.

    The fused engine is timed twice: without a cache of its code on disk, and with one that holds it.
    """
    from peers import PEERS

    times: dict[str, list[float] | str] = {}
    chosen = [peer for peer in PEERS if options.peers is None or peer.name in options.peers]
    with tempfile.TemporaryDirectory() as folder:
        starts = [(peer.name, peer, "off") for peer in chosen]
        for name, peer, _ in starts[:]:
            if name == "fused":
                time_first_epoch(peer, folder)  # fills the cache
                starts.append(("fused, from its cache", peer, folder))
        for _ in range(max(3, options.rounds // 2)):
            for name, peer, cache in starts:
                measured = times.setdefault(name, [])
                if isinstance(measured, list):
                    outcome = time_first_epoch(peer, cache)
                    times[name] = outcome if isinstance(outcome, str) else [*measured, outcome]
    return times


def time_first_epoch(peer: Any, cache: str) -> float | str:
    """The milliseconds to a peer's first loss in a new process, or why it has none."""
    if peer.missing():
        return f"not installed: {', '.join(peer.missing())}"
    script = Path(__file__).with_name("first_epoch.py")
    environment = {**os.environ, "FUNCTIONAL_MLP_CACHE": cache}
    child = subprocess.run(
        [sys.executable, script, peer.name], capture_output=True, text=True, check=False, env=environment
    )
    if child.returncode:
        return f"not available: {child.stderr.strip().splitlines()[-1].removeprefix('peers.task.UnavailableError: ')}"
    return float(child.stdout)


def report(case: str, unit: str, times: dict[str, list[float] | str]) -> list[dict[str, Any]]:
    """Print a case's table, and return its rows."""
    baseline = times.get(BASELINE)
    print(f"{case:<26}{unit:>14}{'fastest':>10}{'slowest':>10}{'of ' + BASELINE:>14}")
    rows: list[dict[str, Any]] = []
    for name, measured in times.items():
        if isinstance(measured, str):
            print(f"  {name:<24}{measured}")
            rows.append({"case": case, "peer": name, "unavailable": measured})
            continue
        median = statistics.median(measured)
        ratio = ratio_to(baseline, measured)
        shown = "" if ratio is None else f"{ratio:.4f}"
        print(f"  {name:<24}{median:>14.3f}{min(measured):>10.3f}{max(measured):>10.3f}{shown:>14}")
        rows.append({"case": case, "peer": name, "median_ms": median, "ratio": ratio, "times_ms": measured})
    print(flush=True)
    return rows


def measure_peak(threads: int) -> Any:
    from peak import measure

    peak = measure(threads)
    print(
        f"peak: {peak.multiplications / 1e9:.0f} products and sums a ns, {peak.bytes / 1e9:.0f} GB a second",
        end="\n\n",
    )
    return peak


def report_shares(case: Case, times: dict[str, list[float] | str], peak: Any) -> list[dict[str, Any]]:
    """Print which share of the machine's peak each peer reaches, and return the rows."""
    from peers import Task

    task, rows = Task(case.batch_size, case.momentum, case.sizes, case.samples), []
    print(f"{'of the peak':<26}{'products':>14}{'bytes':>10}")
    for name, measured in times.items():
        if not isinstance(measured, str):
            seconds = min(measured) / 1e3
            products = task.products / seconds / peak.multiplications
            moved = task.bytes_of_weights / seconds / peak.bytes
            print(f"  {name:<24}{products:>14.2f}{moved:>10.2f}")
            rows.append({"case": case.name, "peer": name, "share_of_products": products, "share_of_bytes": moved})
    print(flush=True)
    return rows


def ratio_to(baseline: Sequence[float] | str | None, measured: Sequence[float]) -> float | None:
    """The median over the rounds of a peer's time as a share of the baseline's in the same round."""
    if baseline is None or isinstance(baseline, str):
        return None
    return statistics.median(m / b for m, b in zip(measured, baseline, strict=True))


if __name__ == "__main__":
    main()
