"""How much memory a run takes whose data are mapped from a file, which may be larger than memory.

    python benchmarks/larger_than_memory.py [--gigabytes 8] [--folder /tmp] [--parquet]

Writes a file of random inputs, trains for one epoch on them, and prints the most memory that was resident, as the
system counts it at its highest, pages of the file included. With --parquet the inputs lie in Parquet files, from which
the mapped file is made first, piece by piece.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars

import functional_mlp as fm

FEATURES = 256
ROWS_AT_ONCE = 100_000


def resident() -> float:
    """The most megabytes that were resident so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def pieces(rows: int) -> Iterator[np.ndarray]:
    """Random inputs, some rows at a time."""
    draws = np.random.default_rng(0)
    for first in range(0, rows, ROWS_AT_ONCE):
        yield draws.random((min(ROWS_AT_ONCE, rows - first), FEATURES), dtype="float32")


def write(path: Path, rows: int) -> None:
    with path.open("wb") as file:
        for piece in pieces(rows):
            piece.tofile(file)


def write_parquet(folder: Path, rows: int) -> None:
    folder.mkdir()
    for number, piece in enumerate(pieces(rows)):
        polars.from_numpy(piece).write_parquet(folder / f"{number:05}.parquet")


def mapped(folder: Path, rows: int) -> np.memmap:
    """The rows of Parquet files in a file that is mapped, through Arrow's columns of some rows at a time."""
    table = polars.scan_parquet(folder / "*.parquet")
    with (folder / "inputs").open("wb") as file:
        for first in range(0, rows, ROWS_AT_ONCE):
            table.slice(first, ROWS_AT_ONCE).collect().to_numpy().tofile(file)
    return np.memmap(folder / "inputs", "float32", "r", shape=(rows, FEATURES))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=8)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--parquet", action="store_true")
    arguments = parser.parse_args()
    rows = int(arguments.gigabytes * 2**30) // (4 * FEATURES)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder) / "inputs"
        (write_parquet if arguments.parquet else write)(path, rows)
        before = resident()
        if arguments.parquet:
            started = time.perf_counter()
            inputs = mapped(path, rows)
            print(f"made a file to be mapped of the Parquet files in {time.perf_counter() - started:.0f} s")
        else:
            inputs = np.memmap(path, "float32", "r", shape=(rows, FEATURES))
        started = time.perf_counter()
        data = fm.Dataset(inputs, np.arange(rows) % 2)
        checked = time.perf_counter() - started
        fm.fit(
            fm.Linear(FEATURES, 2),
            fm.CrossEntropy(),
            fm.SGD(0.01),
            data,
            key=fm.random.key(0),
            epochs=1,
            batch_size=256,
        )
        took = time.perf_counter() - started
        print(f"{arguments.gigabytes:g} GB on disk, {rows:,} rows: checked in {checked:.1f} s, trained in {took:.1f} s")
        print(f"most memory: {resident():.0f} MB resident, {before:.0f} MB before")


if __name__ == "__main__":
    main()
