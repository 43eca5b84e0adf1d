"""What holds on the CPU holds on a GPU: the same properties, of what computes there."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch

import functional_mlp as fm
from functional_mlp import captured, pytree
from functional_mlp.testing import check_layer, check_loss, check_optimizer
from functional_mlp.testing.engines.cases import Outcome, TrainingRun
from functional_mlp.testing.engines.check import compare
from tests.helpers import KEY, assert_same_bits, descent_from
from tests.properties.test_ensembles import Ensemble, assert_members_are_lone_fits, disks
from tests.tables import ACTIVATIONS, LAYERS, LOSSES, OPTIMIZERS, PENALTIES

pytestmark = pytest.mark.cuda

DEVICE = "cuda"
FUNCTIONS = ("init", "apply", "vjp", "value", "grad", "update")
NETWORK = fm.Sequential(fm.Linear(2, 5), fm.ReLU(), fm.Residual(fm.Linear(5, 5)), fm.Tanh(), fm.Linear(5, 2))


def there(tree: Any) -> Any:
    return pytree.map(lambda leaf: leaf.to(DEVICE), tree)


def back(tree: Any) -> Any:
    return pytree.map(lambda leaf: leaf if leaf.is_meta else leaf.cpu(), tree)


def moved(data: fm.Dataset) -> fm.Dataset:
    return fm.Dataset(*(None if own is None else own.to(DEVICE) for own in (data.inputs, data.targets, data.weights)))


@attrs.frozen
class OnTheGpu:
    """A layer, loss or optimizer that computes there: its arguments go there, and its results come back."""

    thing: Any

    def __repr__(self) -> str:
        return repr(self.thing)

    def __getattr__(self, name: str) -> Any:
        if name.endswith("_features"):
            return getattr(self.thing, name)
        if name not in FUNCTIONS or not hasattr(self.thing, name):
            raise AttributeError(name)
        function = getattr(self.thing, name)

        @functools.wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            if "key" in options or isinstance(arguments[0], fm.random.Key):
                return back(function(*arguments, **{"device": DEVICE, **options}))
            return back(function(*map(there, arguments), **options))

        return call


@pytest.fixture(autouse=True)
def _exact_products() -> None:
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_a_layer_keeps_its_contract(layer: fm.Layer) -> None:
    check_layer(OnTheGpu(layer), value=False, examples=5)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_a_loss_keeps_its_contract(loss: fm.Loss) -> None:
    check_loss(OnTheGpu(loss), value=False, examples=5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_an_optimizer_keeps_its_contract(optimizer: fm.Optimizer) -> None:
    check_optimizer(OnTheGpu(optimizer), value=False, examples=5)


class GpuRun(TrainingRun):
    """A training run of which all but the reference happens on the GPU."""

    def on_the_gpu(self) -> TrainingRun:
        fields = {field.name: getattr(self, field.name) for field in attrs.fields(TrainingRun)}
        return TrainingRun(**{**fields, "data": moved(self.data)})

    def outcome(self, params: Any, engine: Any, *, validated: bool = True) -> Outcome:
        if engine == "reference":
            return super().outcome(params, engine, validated=validated)
        outcome = self.on_the_gpu().outcome(there(params), "reference", validated=validated)
        return attrs.evolve(outcome, state=back(outcome.state), diverged=back(outcome.diverged))

    def following(self, state: fm.TrainState, engine: Any) -> tuple[fm.TrainState, float]:
        if engine == "reference":
            return super().following(state, engine)
        following, loss = self.on_the_gpu().following(there(state), "reference")
        return back(following), loss


def check_training(
    network: fm.Layer, loss: fm.Loss, optimizer: fm.Optimizer, dtype: torch.dtype, batch_size: int = 4
) -> None:
    """Within the bound between engines: 1e-10 in float64, rounding in float32."""
    data = fm.datasets.disk(KEY, 22, dtype=dtype)
    compare(GpuRun(network, loss, optimizer, data, 3, batch_size, None, None, KEY), None, "fused")


dtypes = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)


@dtypes
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_training_with_an_optimizer_agrees(optimizer: fm.Optimizer, dtype: torch.dtype) -> None:
    check_training(NETWORK, fm.CrossEntropy(), optimizer, dtype)


@dtypes
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("batch_size", [1, 22])
def test_training_with_a_loss_agrees(loss: fm.Loss, batch_size: int, dtype: torch.dtype) -> None:
    check_training(NETWORK, loss, fm.SGD(0.05), dtype, batch_size)


@dtypes
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
def test_training_with_an_activation_agrees(activation: fm.Layer, dtype: torch.dtype) -> None:
    network = fm.Sequential(fm.Linear(2, 5), activation, fm.Linear(5, 2))
    check_training(network, fm.MeanSquaredError(), fm.Momentum(0.05), dtype)


@dtypes
def test_training_with_weights_and_a_penalty_agrees(dtype: torch.dtype) -> None:
    data = fm.datasets.disk(KEY, 22, dtype=dtype)
    weighted = fm.Dataset(data.inputs, data.targets, torch.arange(22))
    compare(GpuRun(NETWORK, fm.CrossEntropy(), fm.SGD(0.05), weighted, 3, 4, None, PENALTIES[0], KEY), None, "fused")


class GpuEnsemble(Ensemble):
    """An ensemble that is trained on the GPU; its lone members are on the CPU."""

    def fit(self, engine: Any) -> fm.EnsembleResult:
        result = Ensemble.fit(attrs.evolve(self, data=[moved(data) for data in self.data]), engine)
        return fm.EnsembleResult(tuple(attrs.evolve(own, state=back(own.state)) for own in result.members))


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_members_are_lone_fits(optimizer: fm.Optimizer, batch_size: int) -> None:
    rules = [attrs.evolve(optimizer, learning_rate=optimizer.learning_rate / (1 + index)) for index in range(5)]
    ensemble = GpuEnsemble(NETWORK, fm.CrossEntropy(), rules, disks(5, [10]), list(KEY.split(5)), batch_size)
    assert_members_are_lone_fits(ensemble, "reference", [0, 4])


def test_members_with_one_data_set_and_rate_are_lone_fits() -> None:
    ensemble = GpuEnsemble(NETWORK, fm.CrossEntropy(), [fm.Adam(0.01)] * 4, disks(1, [30]) * 4, list(KEY.split(4)), 4)
    assert_members_are_lone_fits(ensemble, "reference", [0, 3])


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each function that is to be captured, whether it was."""
    found: list[bool] = []

    def capture(*arguments: Any) -> Any:
        graph = CAPTURE(*arguments)
        found.append(graph is not None)
        return graph

    monkeypatch.setattr(captured, "capture", capture)
    return found


CAPTURE = captured.capture


def train(network: fm.Layer = NETWORK, **options: Any) -> fm.FitResult:
    data = moved(fm.datasets.disk(KEY, 70))
    arguments = {"optimizer": fm.Adam(0.01), "key": KEY, "epochs": 4, "batch_size": 2, **options}
    return fm.fit(network, fm.CrossEntropy(), data=data, **arguments)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_captured_steps_have_the_bits_of_plain_ones(
    optimizer: fm.Optimizer, captures: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = train(optimizer=optimizer, penalty=PENALTIES[0])
    assert captures == [True, True]  # the pieces of an epoch but for its last, and that
    monkeypatch.setattr(captured, "capture", lambda *arguments: None)
    plain = train(optimizer=optimizer, penalty=PENALTIES[0])
    assert_same_bits(result.state, plain.state)
    assert result.history.train_loss == plain.history.train_loss


def test_a_run_goes_on_from_a_state_or_a_checkpoint_with_the_same_bits(tmp_path: Path) -> None:
    whole = train(epochs=5)
    assert_same_bits(train(epochs=5, state=train(epochs=2).state, key=None).state, whole.state)
    for epochs in (2, 5):
        result = train(epochs=epochs, checkpoint=fm.Checkpoint(tmp_path / "run.safetensors"))
    assert_same_bits(result.state, whole.state)
    assert all(leaf.is_cuda for leaf in pytree.leaves(result.params))


class ReadsANumber(fm.Tanh):
    """Asks the GPU for a number in each pass."""

    def value(self, xp: Any, s: Any) -> Any:
        return xp.tanh(s) if s.sum().item() > -1e9 else s


class Synchronizes(fm.Tanh):
    """Waits for the GPU in each pass."""

    def value(self, xp: Any, s: Any) -> Any:
        torch.cuda.synchronize()
        return xp.tanh(s)


@pytest.mark.parametrize("activation", [ReadsANumber(), Synchronizes()], ids=repr)
def test_layers_that_cannot_be_captured_are_trained_all_the_same(activation: fm.Layer, captures: list[bool]) -> None:
    def network(activation: fm.Layer) -> fm.Layer:
        return fm.Sequential(fm.Linear(2, 5), activation, fm.Linear(5, 2))

    result = train(network=network(activation))
    assert captures == [False, False]
    assert_same_bits(result.state, train(network=network(fm.Tanh())).state)
    assert captures == [False, False, True, True]
    assert torch.cuda.current_stream() == torch.cuda.default_stream()


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize("optimizer", [fm.SGD(0.1), fm.Adam(0.01), fm.BatchGD(0.1, 3)], ids=repr)
def test_an_epoch_waits_for_nothing(optimizer: fm.Optimizer) -> None:
    """Outcomes are read once, when the epochs that an engine was given are over; a capture waits as well."""
    data = moved(fm.datasets.disk(KEY, 70))
    state = optimizer.init(NETWORK.init(KEY, device=DEVICE))
    descent = descent_from(state, NETWORK, fm.CrossEntropy(), optimizer, data, batch_size=2, penalty=PENALTIES[0])
    arrays, modes = descent.rule.arrays([state]), ["error", "default", "error"]  # plain, captured, replayed
    for epoch, mode in enumerate(modes):
        arrays, _ = waiting(mode, lambda arrays=arrays, epoch=epoch: descent.epoch(arrays, 35 * epoch, 0.1, ORDER))
    with pytest.raises(RuntimeError, match="synchronizing"):
        waiting("error", lambda: arrays[0].sum().item())


ORDER = fm.random.permutation(KEY, 70)


def waiting(mode: str, call: Callable[[], Any]) -> Any:
    """A call's result, where torch raises an error for whatever waits for the GPU."""
    torch.cuda.set_sync_debug_mode(mode)
    try:
        return call()
    finally:
        torch.cuda.set_sync_debug_mode("default")
