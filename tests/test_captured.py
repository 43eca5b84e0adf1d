"""Steps as CUDA graphs: what can be said of them where there is no GPU."""

import gc
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch

import functional_mlp as fm
from functional_mlp import captured, pytree
from functional_mlp.buffers import Layout
from functional_mlp.captured import Graphs, WaitsError, Watch, takes_arrays
from tests.helpers import KEY, assert_close, assert_same_bits, descent_from, draw
from tests.tables import ACTIVATIONS, LOSSES, OPTIMIZERS, PENALTIES

CPU = torch.device("cpu")
NETWORK = fm.Sequential(fm.Linear(2, 4), *ACTIVATIONS, fm.Residual(fm.Linear(4, 4)), fm.Linear(4, 2, bias=False))
DATA = fm.datasets.disk(KEY, 12, dtype=torch.float64)
WEIGHTED = fm.Dataset(DATA.inputs, DATA.targets, torch.arange(12))


def piece_of(optimizer: fm.Optimizer, loss: fm.Loss) -> tuple[Any, list[Any]]:
    """The function of a piece, with its rows and arrays of the third step."""
    params = NETWORK.init(KEY, dtype=torch.float64)
    state = optimizer.init(params)
    descent = descent_from(state, NETWORK, loss, optimizer, WEIGHTED, batch_size=5, penalty=PENALTIES[0])
    descent._encoded = loss.encode(DATA.targets, DATA.targets)  # as on a GPU
    return descent.piece, descent.rule.arrays([state])


def number(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_steps_and_rates_may_be_tensors(optimizer: fm.Optimizer) -> None:
    assert takes_arrays(optimizer, torch.float32)
    piece, arrays = piece_of(optimizer, fm.MeanSquaredError())
    rows = torch.arange(12)
    expected, actual = piece(rows, 2, 0.01, *arrays), piece(rows, number(2), number(0.01), *arrays)
    assert_close(actual, expected, 1e-12)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_no_step_reads_a_number(optimizer: fm.Optimizer, loss: fm.Loss) -> None:
    piece, arrays = piece_of(optimizer, loss)
    expected = piece(torch.arange(12), number(2), number(0.01), *arrays)
    with Watch(CPU):
        actual = piece(torch.arange(12), number(2), number(0.01), *arrays)
    assert_same_bits(actual, expected)


class Warmup(fm.SGD):
    """Branches on the step."""

    def rule(self, xp, step, learning_rate, param, grad):
        return (param - (learning_rate if step > 3 else 0.1 * learning_rate) * grad,)


class Table(fm.SGD):
    """Looks a number up by the step."""

    def rule(self, xp, step, learning_rate, param, grad):
        return (param - (0.1, 0.2)[step % 2] * grad,)


@pytest.mark.parametrize("optimizer", [Warmup(0.1), Table(0.1)], ids=repr)
def test_rules_that_need_numbers_are_found(optimizer: fm.Optimizer) -> None:
    assert not takes_arrays(optimizer, torch.float32)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.any()),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: torch.equal(x, x),
        lambda x: x.to("meta"),
        lambda x: torch.empty_like(x, device="meta").copy_(x),
    ],
    ids=["item", "bool", "nonzero", "mask", "equal", "to another device", "copied to another device"],
)
def test_what_waits_is_refused(call: Any) -> None:
    x = draw(3)
    with pytest.raises(WaitsError), Watch(CPU):
        call(x)


def test_what_is_read_is_kept() -> None:
    """And what was made since is not: it would take the memory of all steps."""
    kept, x = draw(3), draw(3)
    with Watch(CPU) as watch:
        y = (x[1:] + kept[torch.tensor([0, 1])]).exp_()
        y.add_(kept[0])
    assert {x.data_ptr(), kept.data_ptr()} <= watch.read.keys()
    assert y.data_ptr() not in watch.read


class Replay:
    """A graph that says which call it was."""

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls

    def replay(self, tensors: Any) -> list[torch.Tensor]:
        self.calls.append("replayed")
        return [2 * tensor for tensor in tensors]


@pytest.mark.parametrize("is_captured", [True, False])
def test_a_function_is_captured_when_sizes_come_again(is_captured: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def double(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        calls.append("called")
        return [2 * x for x in tensors]

    def capture(function: Any, tensors: Any) -> Replay | None:
        calls.append("captured")
        return Replay(calls) if is_captured else None

    monkeypatch.setattr(captured, "capture", capture)
    graphs = Graphs()
    for x in (draw(2), draw(3), draw(2), draw(2)):
        assert_same_bits(graphs.call(double, [x]), [2 * x])
    again = "replayed" if is_captured else "called"
    assert calls == ["called", "called", "captured", again, again]


def test_layers_without_params_are_trained() -> None:
    loss, optimizer = fm.MeanSquaredError(), fm.Adam(0.1)
    state = optimizer.init(())
    descent = descent_from(state, fm.Tanh(), loss, optimizer, DATA, batch_size=4)
    arrays, tally = descent.epoch(descent.rule.arrays([state]), 0, 0.1, torch.arange(12))
    (metrics,) = tally.metrics(descent.is_answered)
    assert metrics.loss == pytest.approx(fm.evaluate(fm.Tanh(), loss, (), DATA).loss)
    assert not any(map(torch.numel, pytree.leaves(arrays)))


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Weak references to the launchers of runs; Python does not look for cycles meanwhile."""
    found: list[Any] = []
    make = captured.Launcher.__init__

    def remember(self: captured.Launcher, *arguments: Any) -> None:
        make(self, *arguments)
        found.append(weakref.ref(self))

    monkeypatch.setattr(captured.Launcher, "__init__", remember)
    gc.disable()
    yield found
    gc.enable()


def test_no_run_outlives_its_training(runs: list[Any]) -> None:
    """For it has the graphs: neither in a cycle, nor for a result whose state nobody has asked for yet."""
    options = {"epochs": 2, "batch_size": 5, "engine": "reference"}
    lone = fm.fit(NETWORK, fm.MeanSquaredError(), fm.SGD(0.1), DATA, key=KEY, **options)
    many = fm.fit_ensemble(NETWORK, fm.MeanSquaredError(), fm.SGD(0.1), DATA, keys=KEY.split(2), **options)
    assert [run() for run in runs] == [None, None]
    assert lone.state.optimizer_state.step == many.member(1).state.optimizer_state.step == 6


def test_leaves_of_any_shape_lie_in_one_array() -> None:
    trees = [{"scale": draw(seed=seed), "weight": draw(2, 3, seed=seed), "none": draw(0)} for seed in (0, 1)]
    layout = Layout.of(trees[0])
    assert_same_bits(layout.tree(layout.array(trees[0])), trees[0])
    stacked = fm.ensemble.stack(trees)
    assert_same_bits(layout.tree(layout.array(stacked, (2,))), stacked)
