"""Shows how time and memory grow with the data: they should not, but for the data themselves.

    python benchmarks/growth.py [--rows 10000 100000 1000000 5000000] [--threads 2]

Each row is a new process. It trains 20-64-32-2 with Adam in batches of 32 on its number of rows, and says how many ns a
sample takes, with the shuffle and without validation; what validation on as many rows adds, and what a pass forward
over them takes, in ns a row; and the MiB that the process holds at most beyond the data, and beyond what it held when
ten thousand rows had been through all of it, as Linux counts them.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from epochs import pin

SIZES, BATCH_SIZE, WARM_UP = (20, 64, 32, 2), 32, 10_000
SECONDS = 2.0
COLUMNS = ("train, ns", "validate, ns", "evaluate, ns", "predict, ns", "MiB more")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000, 3_000_000, 5_000_000])
    parser.add_argument("--threads", type=int, default=2, help="cores and threads (2)")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    pin(options.threads)
    if options.measure is not None:
        print(*measure(options.measure))
        return
    print(f"{'rows':>10}" + "".join(f"{name:>14}" for name in COLUMNS))
    for rows in options.rows:
        command = [sys.executable, __file__, "--threads", str(options.threads), "--measure", str(rows)]
        figures = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        print(f"{rows:>10,}" + "".join(f"{float(figure):>14.1f}" for figure in figures), flush=True)


def measure(rows: int) -> list[float]:
    """The figures of a row."""
    work(dataset(WARM_UP))
    data = dataset(rows)
    held = forget_peak()
    return [*work(data), peak_mebibytes() - held]


def dataset(rows: int) -> Any:
    import functional_mlp as fm

    inputs = fm.random.uniform(fm.random.key(0), (rows, SIZES[0]), -1.0, 1.0)
    return fm.Dataset(inputs, (inputs[:, 0] * inputs[:, 1] > 0).long())


def work(data: Any) -> list[float]:
    """The ns a row of training, of validation beside it, of `evaluate` and of `predict`."""
    import functional_mlp as fm

    layers = [fm.Linear(20, 64), fm.ReLU(), fm.Linear(64, 32), fm.ReLU(), fm.Linear(32, 2)]
    network, loss, optimizer, key = fm.Sequential(*layers), fm.CrossEntropy(), fm.Adam(1e-3), fm.random.key(1)
    settings: dict[str, Any] = {"key": key, "batch_size": BATCH_SIZE, "engine": "fused"}
    epochs = max(2, round(SECONDS / (100e-9 * len(data)) / 4))
    trained = fm.fit(network, loss, optimizer, data, epochs=epochs, **settings)
    validated = fm.fit(network, loss, optimizer, data, epochs=epochs, validation=data, **settings)
    seconds = min(trained.history.seconds)

    def nanoseconds(call: Callable[[], object]) -> float:
        call()
        started = time.perf_counter()
        call()
        return (time.perf_counter() - started) / len(data) * 1e9

    return [
        seconds / len(data) * 1e9,
        (min(validated.history.seconds) - seconds) / len(data) * 1e9,
        nanoseconds(lambda: fm.evaluate(network, loss, trained.params, data, engine="fused")),
        nanoseconds(lambda: fm.predict(network, trained.params, data.inputs, engine="fused")),
    ]


def peak_mebibytes() -> float:
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 2**10


def forget_peak() -> float:
    """Count the peak from now on, which is what the process holds."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_mebibytes()


if __name__ == "__main__":
    main()
