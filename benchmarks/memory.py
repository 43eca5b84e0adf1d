"""Shows that a million steps take no more memory than a thousand.

    python benchmarks/memory.py [--engine reference] [--steps 1000 1000000]

Each row is a new process that trains the paper's network at batch size 1 for a number of steps with `fm.fit`, on
1000 points, and tells the most memory that it held (its peak resident set size).
"""

import argparse
import resource
import subprocess
import sys
import time

SAMPLES = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="reference")
    parser.add_argument("--steps", type=int, nargs="+", default=[1_000, 1_000_000])
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        print(*measure(options.measure, options.engine))
        return
    print(f"{'steps':>10}{'peak MiB':>10}{'seconds':>10}")
    for steps in options.steps:
        command = [sys.executable, __file__, "--engine", options.engine, "--measure", str(steps)]
        mebibytes, seconds = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        print(f"{steps:>10,}{float(mebibytes):>10.1f}{float(seconds):>10.1f}", flush=True)


def measure(steps: int, engine: str) -> tuple[float, float]:
    """The peak memory in MiB of this process after a number of steps, and the seconds they took."""
    from peers.task import LEARNING_RATE, Task

    import functional_mlp as fm

    data = fm.datasets.disk(fm.random.key(0), SAMPLES)
    arguments = {"key": fm.random.key(1), "engine": engine, "epochs": steps // SAMPLES}
    started = time.perf_counter()
    fm.fit(Task(1).network, fm.MeanSquaredError(), fm.SGD(LEARNING_RATE), data, **arguments)
    seconds = time.perf_counter() - started
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, seconds


if __name__ == "__main__":
    main()
