"""Trains for millions of steps with a checkpoint and shows the memory: `python -m tests.checkpoint.soak [MILLIONS]`.

Each row is the resident memory after a tenth of the run, on the fused engine at batch size 1.
"""

import sys
import tempfile
import time
from pathlib import Path

import functional_mlp as fm

SAMPLES = 10_000


def main(millions: int) -> None:
    epochs = millions * 1_000_000 // SAMPLES
    layers = [fm.Linear(2, 25), fm.ReLU(), fm.Linear(25, 25), fm.ReLU(), fm.Linear(25, 25), fm.Tanh(), fm.Linear(25, 2)]
    network = fm.Sequential(*layers)
    data, started = fm.datasets.disk(fm.random.key(0), SAMPLES), time.perf_counter()

    def show(epoch: int, state: fm.TrainState, history: fm.History) -> None:
        if (epoch + 1) % (epochs // 10) == 0:
            seconds = time.perf_counter() - started
            steps = state.optimizer_state.step
            print(f"{steps:>12,} steps {resident() / 2**20:>8.1f} MiB {seconds:>7.1f} s", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        checkpoint = fm.Checkpoint(Path(folder) / "model.safetensors", every=10)
        arguments = {"key": fm.random.key(1), "epochs": epochs, "engine": "fused", "checkpoint": checkpoint}
        fm.fit(network, fm.MeanSquaredError(), fm.Momentum(0.01), data, **arguments, callbacks=[show])


def resident() -> int:
    """The memory that this process holds now, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
