"""Saves the file of today's format that the tests keep: `python -m tests.checkpoint.make_format_file`."""

from pathlib import Path

import functional_mlp as fm
from functional_mlp.checkpoint.description import FORMAT


def main() -> None:
    layers = (fm.Linear(2, 3, weight_init=fm.initializers.uniform(-1, 1)), fm.GELU("tanh"), fm.Linear(3, 2, bias=False))
    network, loss, optimizer = fm.Sequential(*layers), fm.MeanSquaredError(), fm.Momentum(0.1, beta=0.5)
    data, schedule = fm.datasets.disk(fm.random.key(1), 20), fm.schedules.exponential_decay(0.9)
    arguments = {"key": fm.random.key(7), "epochs": 3, "batch_size": 4, "schedule": schedule, "engine": "reference"}
    result = fm.fit(network, loss, optimizer, data, **arguments)
    path = Path(__file__).parent.parent / "data" / f"format_{FORMAT}.safetensors"
    values = {"network": network, "optimizer": optimizer, "loss": loss, "history": result.history}
    fm.save(path, result.state, **values, extra={"classes": ["outside", "inside"]})
    print(path)


if __name__ == "__main__":
    main()
