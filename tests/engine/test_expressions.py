"""Native code does what expressions do now, whatever they did when code was made of them before."""

from collections.abc import Callable, Iterator
from typing import Any

import attrs
import numpy as np
import pytest
import torch

import functional_mlp as fm
from functional_mlp.engine import expressions
from functional_mlp.engine.program import CannotFuseError

KEY = fm.random.key(0)
DATA = fm.datasets.disk(KEY, 30)

# What the expressions below read.
FACTOR = 1.0


class Scaled(fm.Elementwise):
    def value(self, xp, s):
        return FACTOR * s

    def derivative(self, xp, s, y):
        return FACTOR


class ScaledError(fm.Loss):
    def sample_value(self, xp, prediction, target):
        return FACTOR * xp.sum((prediction - target) ** 2)

    def sample_grad(self, xp, prediction, target):
        return 2 * FACTOR * (prediction - target)


@attrs.frozen(repr=False)
class ScaledStep(fm.Optimizer):
    decay: float = 0.0

    def rule(self, xp, step, learning_rate, param, grad):
        return (param - FACTOR * learning_rate * grad - self.decay * param,)


class Signs(fm.Elementwise):
    """The operators of one operand, and a number of numpy's before an array."""

    def value(self, xp, s):
        return +s + np.sqrt(0.25) * abs(-s)

    def derivative(self, xp, s, y):
        return 1 + 0.5 * xp.sign(s)


def network_with(layer: fm.Layer) -> fm.Layer:
    return fm.Sequential(fm.Linear(2, 4), layer, fm.Linear(4, 2))


PLAIN = network_with(fm.Tanh())
OWN = {
    "activation": (network_with(Scaled()), fm.MeanSquaredError(), fm.SGD(0.1)),
    "loss": (PLAIN, ScaledError(), fm.SGD(0.1)),
    "rule": (PLAIN, fm.MeanSquaredError(), ScaledStep(0.1)),
}
Parts = tuple[fm.Layer, fm.Loss, fm.Optimizer]
Numbers = list[torch.Tensor]


def fit(parts: Parts, engine: str) -> Numbers:
    return fm.pytree.leaves(fm.fit(*parts, DATA, key=KEY, epochs=2, validation=DATA, engine=engine).params)


def train_epoch(parts: Parts, engine: str) -> Numbers:
    network, loss, optimizer = parts
    state = fm.TrainState(optimizer.init(network.init(KEY)), KEY, 0)
    state, mean_loss = fm.train_epoch(network, loss, state, DATA, optimizer=optimizer, batch_size=7, engine=engine)
    return [*fm.pytree.leaves(state.optimizer_state.params), torch.tensor(mean_loss)]


def fit_ensemble(parts: Parts, engine: str) -> Numbers:
    return fm.pytree.leaves(fm.fit_ensemble(*parts, DATA, keys=KEY.split(16), epochs=2, engine=engine).params)


def evaluate(parts: Parts, engine: str) -> Numbers:
    network, loss, _ = parts
    return [torch.tensor(fm.evaluate(network, loss, network.init(KEY), DATA, engine=engine).loss)]


def predict(parts: Parts, engine: str) -> Numbers:
    return [fm.predict(parts[0], parts[0].init(KEY), DATA.inputs, engine=engine)]


WAYS = [fit, train_epoch, fit_ensemble, evaluate, predict]


@pytest.fixture
def change(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Change what the expressions of the classes above do."""

    def make(what: str) -> None:
        if what == "global":
            monkeypatch.setitem(globals(), "FACTOR", FACTOR + 0.5)
            return
        changed = {
            Scaled: {"value": lambda self, xp, s: 0.3 * s, "derivative": lambda self, xp, s, y: 0.3},
            ScaledError: {
                "sample_value": lambda self, xp, y, t: 0.3 * xp.sum((y - t) ** 2),
                "sample_grad": lambda self, xp, y, t: 0.6 * (y - t),
            },
            ScaledStep: {"rule": lambda self, xp, step, rate, param, grad: (param - 0.3 * rate * grad,)},
        }
        for cls, methods in changed.items():
            for name, method in methods.items():
                monkeypatch.setattr(cls, name, method)

    return make


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("own", OWN)
@pytest.mark.parametrize("what", ["global", "method"])
def test_code_follows_an_expression(way: Callable[..., Numbers], own: str, what: str, change) -> None:
    parts = OWN[own]
    before = way(parts, "fused")
    change(what)
    now = way(parts, "fused")
    for a, b in zip(now, way(parts, "reference"), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    is_read = {evaluate: own != "rule", predict: own == "activation"}.get(way, True)
    assert is_read != all(map(torch.equal, before, now))


LIBRARY = {
    "activation": (network_with(fm.Tanh()), fm.MeanSquaredError(), fm.SGD(0.1)),
    "loss": (network_with(fm.ReLU()), fm.MeanSquaredError(), fm.SGD(0.1)),
    "rule": (network_with(fm.ReLU()), fm.MeanSquaredError(), fm.SGD(0.1)),
}
REPLACED = {
    "activation": (fm.Tanh, {"value": Scaled.value, "derivative": Scaled.derivative}),
    "loss": (
        fm.MeanSquaredError,
        {"sample_value": ScaledError.sample_value, "sample_grad": ScaledError.sample_grad},
    ),
    "rule": (fm.SGD, {"rule": lambda self, xp, step, rate, param, grad: (param - 0.3 * rate * grad,)}),
}


def replace(part: str, patch: pytest.MonkeyPatch) -> None:
    """Replace the expressions of a class of the library."""
    cls, functions = REPLACED[part]
    for name, function in functions.items():
        patch.setattr(cls, name, function)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("part", LIBRARY)
def test_code_follows_a_replaced_function_of_the_library(
    way: Callable[..., Numbers], part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = LIBRARY[part]
    before = {engine: way(parts, engine) for engine in ("fused", "reference")}
    with monkeypatch.context() as patch:
        replace(part, patch)
        now = way(parts, "fused")
        for a, b in zip(now, way(parts, "reference"), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    is_read = {evaluate: part != "rule", predict: part == "activation"}.get(way, True)
    assert is_read != all(map(torch.equal, before["fused"], now))
    for engine, numbers in before.items():
        assert all(map(torch.equal, numbers, way(parts, engine)))


@pytest.mark.parametrize("own", OWN)
def test_a_compiled_epoch_follows_an_expression(own: str, change) -> None:
    network, loss, optimizer = OWN[own]
    epoch = fm.engine.compile(network, loss, optimizer, batch_size=1)
    state = optimizer.init(network.init(KEY))
    order = fm.random.permutation(KEY, len(DATA))
    before, _ = epoch(state, DATA, order)
    change("global")
    now, _ = epoch(state, DATA, order)
    again, _ = fm.engine.compile(network, loss, optimizer, batch_size=1)(state, DATA, order)
    assert not fm.pytree.equal(before.params, now.params)
    assert fm.pytree.equal(now.params, again.params)


@pytest.mark.parametrize("part", OWN)
@pytest.mark.parametrize("whose", ["own", "the library's"])
@pytest.mark.parametrize("members", [None, 16])
def test_a_run_does_not_go_on_with_an_expression_that_has_changed(
    part: str, whose: str, members: int | None, change, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []

    def look(epoch: int, state: fm.TrainState, history: fm.History) -> None:
        told.append(epoch)
        if epoch == 5 and whose == "own":
            change("global")
        elif epoch == 5:
            replace(part, monkeypatch)

    keys = {"key": KEY} if members is None else {"keys": KEY.split(members)}
    train: Any = fm.fit if members is None else fm.fit_ensemble
    with pytest.raises(CannotFuseError, match="has changed since the run began"):
        train(*(OWN if whose == "own" else LIBRARY)[part], DATA, epochs=20, engine="fused", callbacks=[look], **keys)
    assert max(told) == 5


@pytest.mark.parametrize("part", OWN)
@pytest.mark.parametrize("whose", ["own", "the library's"])
def test_steps_do_not_go_on_with_an_expression_that_has_changed(
    part: str, whose: str, change, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, loss, optimizer = (OWN if whose == "own" else LIBRARY)[part]
    online = fm.Online(network, loss, optimizer)
    state = online.init(network.init(KEY))
    sample = DATA.inputs[0], DATA.targets[0]
    online.step(state, *sample)
    if whose == "own":
        change("method")
    else:
        replace(part, monkeypatch)
    with pytest.raises(CannotFuseError, match="has changed since the run began"):
        online.step(state, *sample)
    monkeypatch.undo()
    online.step(state, *sample)


def test_a_function_of_the_library_in_the_place_of_another_is_not_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = fm.Sequential(fm.Linear(2, 2), fm.Tanh()), torch.tensor([[-1.0, 0.5]])
    params = (fm.LinearParams(torch.eye(2), torch.zeros(2)), ())
    before = fm.predict(network, params, x, engine="fused")
    monkeypatch.setattr(fm.Tanh, "value", fm.ReLU.value)
    assert fm.predict(network, params, x, engine="fused").tolist() == [[0.0, 0.5]]
    monkeypatch.undo()
    assert fm.pytree.equal(fm.predict(network, params, x, engine="fused"), before)


def test_reasons_follow_an_expression(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = OWN["activation"]
    assert fm.engine.explain(*parts) is None
    with monkeypatch.context() as patch:
        patch.setattr(Scaled, "value", lambda self, xp, s: torch.relu(s))
        assert "Scaled() is not written in the array algebra: torch.relu" in str(fm.engine.explain(*parts))
    with monkeypatch.context() as patch:
        patch.setattr(Scaled, "apply", lambda self, params, x: x)
        assert "Scaled() defines apply itself" in str(fm.engine.explain(*parts))
    assert fm.engine.explain(*parts) is None


def classes_of_one_name() -> Iterator[type[fm.Elementwise]]:
    for factor in (1.0, -2.0, 3.0):

        class Times(fm.Elementwise):
            def value(self, xp, s, factor=factor):
                return factor * s

            def derivative(self, xp, s, y, factor=factor):
                return factor

        yield Times


@pytest.mark.parametrize("width", [3, 40])
def test_classes_of_one_name_are_told_apart_within_a_network(width: int) -> None:
    """In deep networks layers share functions."""
    layers: list[fm.Layer] = [fm.Linear(2, width)]
    for cls in [*classes_of_one_name()] * 2:
        layers += [cls(), fm.Linear(width, width)]
    network = fm.Sequential(*layers, fm.Linear(width, 2))
    for batch_size in (1, 8):
        fm.testing.check_engines_agree(network, fm.MeanSquaredError(), fm.SGD(0.001), DATA, batch_size=batch_size)


@attrs.frozen(repr=False)
class TimesZero(fm.Elementwise):
    zero: float = 0.0

    def value(self, xp, s):
        return self.zero * xp.abs(s)

    def derivative(self, xp, s, y):
        return self.zero * xp.sign(s)


@attrs.frozen(repr=False)
class MinusZero(fm.Optimizer):
    zero: float = 0.0

    def rule(self, xp, step, learning_rate, param, grad):
        return (xp.where(grad != 0, self.zero, self.zero),)


@pytest.mark.parametrize("engine", ["reference", "fused"])
@pytest.mark.parametrize("layer", [TimesZero, fm.LeakyReLU])
def test_zeros_of_either_sign_make_code_of_their_own(layer: type[fm.Elementwise], engine: str) -> None:
    x = torch.tensor([[-1.0, -2.0]])
    for zero in (0.0, -0.0, 0.0):
        network = fm.Sequential(fm.Linear(2, 2), layer(zero))
        params = (fm.LinearParams(torch.eye(2), torch.zeros(2)), ())
        expected = network.apply(params, x)
        assert expected.signbit().all() == (torch.tensor(zero).signbit() == (layer is TimesZero))
        assert fm.pytree.equal(fm.predict(network, params, x, engine=engine), expected)


@pytest.mark.parametrize("engine", ["reference", "fused"])
@pytest.mark.parametrize("members", [3, 16])
def test_members_whose_zeros_differ_in_sign_have_rules_of_their_own(engine: str, members: int) -> None:
    zeros = [(0.0, -0.0)[number % 2] for number in range(members)]
    result = fm.fit_ensemble(
        fm.Linear(2, 2),
        fm.MeanSquaredError(),
        [MinusZero(0.1, zero) for zero in zeros],
        DATA,
        keys=KEY.split(members),
        epochs=1,
        engine=engine,
    )
    for zero, params in zip(zeros, result.params.weight, strict=True):
        assert (params == 0).all()
        assert (params.signbit() == torch.tensor(zero).signbit()).all()


def test_a_number_of_the_reference_keeps_its_sign() -> None:
    xp = fm.algebra.torch_namespace(torch.float32, torch.device("cpu"))
    for zero in (0.0, -0.0, 0):
        chosen = xp.where(torch.tensor([True]), zero, torch.ones(1))
        assert chosen.signbit().item() == (str(zero) == "-0.0")


DIFFERENT: list[Callable[..., Any]] = [
    lambda xp, s: s * 2,
    lambda xp, s: 2 * s,
    lambda xp, s: s * 2.5,
    lambda xp, s: s + 2,
    lambda xp, s: s - s,
    lambda xp, s: -s,
    lambda xp, s: s**2,
    lambda xp, s: s**0.5,
    lambda xp, s: s / 0.0,
    lambda xp, s: s / -0.0,
    lambda xp, s: xp.exp(s),
    lambda xp, s: xp.expm1(s),
    lambda xp, s: s * xp.exp(1.0),
    lambda xp, s: s * xp.expm1(1.0),
    lambda xp, s: xp.where(s > 0, s, 1),
    lambda xp, s: xp.where(s >= 0, s, 1),
    lambda xp, s: xp.where(s > 0, 1, s),
    lambda xp, s: xp.where(True, s, 1),
    lambda xp, s: xp.maximum(s, 1),
    lambda xp, s: xp.maximum(1, s),
    lambda xp, s: xp.maximum(xp.maximum(0.5, 0.75), s),
    lambda xp, s: s,
    lambda xp, s: 0.0,
    lambda xp, s: -0.0,
]


def test_expressions_that_differ_have_records_that_differ() -> None:
    def records() -> list[str]:
        return [expressions.recorded(None, lambda xp, one=one: one(xp, *xp.arrays(1)), 1) for one in DIFFERENT]

    assert len(set(records())) == len(DIFFERENT)
    assert records() == records()


def test_a_loss_is_read_for_the_number_of_outputs() -> None:
    class Mean(fm.Loss):
        def sample_value(self, xp, prediction, target):
            return xp.sum(prediction - target) / prediction.shape[-1]

        def sample_grad(self, xp, prediction, target):
            return (prediction - target) / (prediction - target).shape[-1]

    assert "fdiv(%3, 5)" in expressions.loss_code(Mean(), 5)
    assert expressions.loss_code(Mean(), 5) != expressions.loss_code(Mean(), 6)


def test_classes_of_the_library_are_known_by_their_names() -> None:
    assert expressions.is_ours(fm.Tanh)
    assert not expressions.is_ours(Scaled)
    local = type("Tanh", (fm.Tanh,), {"__module__": fm.Tanh.__module__})
    assert not expressions.is_ours(local)


def test_operators_of_one_operand_are_native_code() -> None:
    fm.testing.check_engines_agree(network_with(Signs()), fm.MeanSquaredError(), fm.SGD(0.1), DATA)
    fm.testing.check_layer(Signs())
