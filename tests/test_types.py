"""What type checkers, and editors with them, know of the package: mistakes are found, and nothing else."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent

CORRECT = """
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

import functional_mlp as fm

network, loss, optimizer = fm.Sequential(fm.Linear(2, 8), fm.Tanh(), fm.Linear(8, 2)), fm.CrossEntropy(), fm.Adam(0.01)
key: fm.random.Key = fm.random.key(0)
data: fm.Dataset = fm.datasets.disk(key, 100)
result: fm.FitResult = fm.fit(network, loss, optimizer, data, key=key, epochs=2)
losses: tuple[float, ...] = result.history.train_loss
reason: str | None = fm.engine.explain(network, loss, optimizer, dtype=torch.float64)
epoch: fm.engine.CompiledEpoch = fm.engine.compile(network, loss, optimizer, batch_size=10)
state, mean_loss = epoch(result.state.optimizer_state, data, fm.random.permutation(key, 100))
outputs: torch.Tensor = fm.predict(network, result.params, data.inputs)
accuracy: float = fm.evaluate(network, loss, result.params, data).accuracy
fm.testing.check_layer(network)
fm.plotting.learning_curves(result.history).savefig("curves.png")
table = fm.tables.read_table("points.csv", "side")
fm.save(Path("model.safetensors"), result.state, network=network, optimizer=optimizer)
saved: fm.Saved = fm.load("model.safetensors")
error: type[Exception] = fm.checkpoint.CheckpointError
params: fm.Params = result.params
adam, sgd = fm.Adam(0.01), fm.SGD(0.01)
moment: fm.Params = adam.update(adam.init(params), params).second_moment
either: fm.Optimizer = sgd if accuracy > 0.5 else adam
row: tuple[torch.Tensor, ...] = data[np.int64(0)]
loader = torch.utils.data.DataLoader(cast("torch.utils.data.Dataset[Any]", data))
module: torch.nn.Module = fm.interop.to_torch(network, params)
fm.Checkpoint(Path("run.safetensors"), every=np.int64(5), allow=("code",))
ensemble: fm.EnsembleResult = fm.fit_ensemble(network, loss, optimizer, data, keys=key.split(3), epochs=2)
"""

# Integers of numpy, wherever some are asked for; what is made of them has Python's.
INTEGERS = """
import numpy as np

import functional_mlp as fm

two, three, ten = np.int64(2), np.int32(3), np.uint8(10)
net = fm.Sequential(fm.Linear(two, three), fm.Tanh(), fm.Linear(three, two))
own: fm.Layer = net[two]
size: int = fm.Linear(three, two).in_features
keys = fm.random.key(three).fold_in(two).split(three)
points = fm.datasets.spirals(keys[0], ten, classes=two)
rule = fm.BatchGD(0.1, two)
count: int = rule.batch_size
stopping = fm.EarlyStopping(three, monitor="train_loss", plateaus=two)
decay = fm.schedules.step_decay(0.5, two)
run = fm.fit(
    net,
    fm.CrossEntropy(),
    rule,
    points,
    key=keys[1],
    epochs=three,
    batch_size=two,
    schedule=decay,
    early_stopping=stopping,
    engine="reference",
)
fm.train_epoch(net, fm.CrossEntropy(), run.state, points, optimizer=rule, batch_size=two, engine="reference")
runs = fm.fit_ensemble(net, fm.CrossEntropy(), rule, points, keys=keys, epochs=two, batch_size=two, engine="reference")
history: fm.History = runs.member(two).history
epochs: int = fm.TrainState(run.state.optimizer_state, keys[0], three).epoch
steps: int = fm.OptimizerState(run.params, 0.1, ten).step
fm.engine.compile(net, fm.CrossEntropy(), rule, batch_size=two)
fm.initializers.normal(0.0, 1.0)(keys[0], fm.random.uniform(keys[0], (two, three)).shape, fan_in=three, fan_out=two)
fm.initializers.zeros()(keys[0], (three, two), fan_in=three, fan_out=two)
factor: float = fm.schedules.warmup(three, fm.schedules.cosine_decay(ten))(two)
fm.tables.stratified_folds(keys[0], fm.random.permutation(keys[0], ten) % 2, two)
"""

MISTAKES = """
import torch

import functional_mlp as fm
from functional_mlp import no_such_name  # wrong

network, loss, optimizer = fm.Linear(2, 2), fm.MeanSquaredError(), fm.SGD(0.1)
data, key = fm.datasets.disk(fm.random.key(0), 10), fm.random.key(1)
print(fm.no_such_name)  # wrong
print(fm.engine.no_such_name)  # wrong
print(fm.testing.no_such_name)  # wrong
print(fm.plotting.no_such_name)  # wrong
print(fm.tables.no_such_name)  # wrong
print(fm.checkpoint.no_such_name)  # wrong
print(fm.random.no_such_name)  # wrong
fm.engine.compile(network, loss, optimizer, batch_size="10")  # wrong
fm.engine.compile(network, optimizer, loss, batch_size=10)  # wrong
fm.engine.compile(network, loss, optimizer, batch_size=torch.tensor(10))  # wrong
fm.testing.check_layer(network, seed="zero")  # wrong
fm.Linear(2.0, 2)  # wrong
fm.random.key("0")  # wrong
fm.fit(network, loss, optimizer, data, key=key, epochs=10.0)  # wrong
fm.Checkpoint(3)  # wrong
fm.Checkpoint("run.safetensors", every="5")  # wrong
fm.Online(3, loss, optimizer)  # wrong
fm.OptimizerState((), "fast", 1)  # wrong
fm.plotting.learning_curves([0.5, 0.4])  # wrong
fm.fit(network, loss, optimizer, data, key=0, epochs=1)  # wrong
result = fm.fit(network, loss, optimizer, data, key=key, epochs=1, engine="auto")
fm.fit(network, loss, optimizer, data, key=key, epochs=1, engine="fast")  # wrong
print(result.parameters)  # wrong
adam, sgd = fm.Adam(0.01), fm.SGD(0.01)
print(sgd.init(result.params).second_moment)  # wrong
print(adam.init(result.params).grad_sum)  # wrong
adam.update(sgd.init(result.params), result.params)  # wrong
result.history.train_loss.append(0.5)  # wrong
first: str = result.history.train_loss[0]  # wrong
result.history = fm.History()  # wrong
print(result.history.train_los)  # wrong
print(result.state.epcoh)  # wrong
"""


def lines_of_mypy(path: Path) -> list[int]:
    """The lines in which mypy finds errors."""
    command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode in (0, 1), done.stderr + done.stdout
    found = re.findall(rf"{path.name}:(\d+): error", done.stdout)
    assert len(found) == done.stdout.count(": error:"), done.stdout  # none in the package itself
    return [int(line) for line in found]


def lines_of_pyright(path: Path) -> list[int]:
    """The lines in which pyright finds errors."""
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, str(path)]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, timeout=600)
    assert done.returncode in (0, 1), done.stderr + done.stdout
    found = json.loads(done.stdout)["generalDiagnostics"]
    return [problem["range"]["start"]["line"] + 1 for problem in found if problem["severity"] == "error"]


@pytest.mark.parametrize("find", [lines_of_mypy, lines_of_pyright])
@pytest.mark.parametrize("program", [CORRECT + INTEGERS, MISTAKES], ids=["correct", "mistakes"])
def test_type_checkers_find_the_mistakes(tmp_path: Path, program: str, find: Callable[[Path], list[int]]) -> None:
    path = tmp_path / "program.py"
    path.write_text(program)
    wrong = {number for number, line in enumerate(program.splitlines(), 1) if line.endswith("# wrong")}
    assert set(find(path)) == wrong


def test_integers_of_numpy_run() -> None:
    names: dict[str, Any] = {}
    exec(INTEGERS, names)
    assert {type(names[name]) for name in ("size", "count", "epochs", "steps")} == {int}
