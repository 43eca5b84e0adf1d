"""Passes forward: which engine makes them, on how many threads, and in how much memory."""

import functools
import warnings
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
import torch

import functional_mlp as fm
from functional_mlp import engine, engines
from functional_mlp.engine import session as sessions
from functional_mlp.engine.llvm.target import host
from functional_mlp.engine.lowering import lower_steps
from functional_mlp.engine.plan import plan_of
from functional_mlp.engine.policy import Policy
from functional_mlp.engine.program import Program
from functional_mlp.engine.rows import Rows
from functional_mlp.engine.session import Session, code_to_run
from functional_mlp.metrics import ROWS_AT_ONCE
from tests.helpers import KEY, assert_same_bits

NETWORK = fm.Sequential(fm.Linear(3, 200), fm.Tanh(), fm.Linear(200, 100), fm.ReLU(), fm.Linear(100, 4))
PARAMS = NETWORK.init(KEY)
ROWS = 12_000
LABELS = torch.arange(ROWS) % 4
INPUTS = fm.random.normal(KEY, (ROWS, 3))
DATA = fm.Dataset(INPUTS, LABELS)
LONG = ROWS_AT_ONCE + 1


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def fused() -> tuple[Any, ...]:
    training = fm.fit(
        NETWORK,
        fm.CrossEntropy(),
        fm.SGD(0.1),
        fm.Dataset(INPUTS[:50], LABELS[:50]),
        key=KEY,
        epochs=2,
        batch_size=10,
        validation=DATA,
        engine="fused",
    )
    outputs = fm.predict(NETWORK, PARAMS, INPUTS, engine="fused")
    figures = fm.evaluate(NETWORK, fm.CrossEntropy(), PARAMS, DATA, engine="fused")
    return outputs, torch.tensor([figures.loss, figures.accuracy, *training.history.validation_loss])


EXPECTED = fused()


def test_the_rows_are_shared_out() -> None:
    assert plan_of(lower_steps(NETWORK, dtype=torch.float32), host()).rows_per_share * 3 < ROWS


def test_the_bits_do_not_depend_on_the_number_of_threads(threads: int) -> None:
    assert_same_bits(fused(), EXPECTED)


def test_both_engines_agree() -> None:
    by_torch = fm.predict(NETWORK, PARAMS, INPUTS, engine="reference")
    torch.testing.assert_close(EXPECTED[0], by_torch, rtol=1e-4, atol=1e-5)
    figures = fm.evaluate(NETWORK, fm.CrossEntropy(), PARAMS, DATA, engine="reference")
    torch.testing.assert_close(EXPECTED[1][:2], torch.tensor(attrs.astuple(figures)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(), (1,), (LONG,), (0,), (3, LONG // 2), (2, 2, LONG // 3)])
def test_the_reference_passes_rows_in_pieces(shape: tuple[int, ...]) -> None:
    x = fm.random.normal(KEY, (*shape, 3), dtype=torch.float64)
    params = NETWORK.init(KEY, dtype=torch.float64)
    expected = NETWORK.apply(params, x)
    torch.testing.assert_close(fm.predict(NETWORK, params, x, engine="reference"), expected)


class Widest(fm.Elementwise):
    """An activation that notes how many rows it is given at most."""

    most = 0

    def value(self, xp: Any, s: Any) -> Any:
        type(self).most = max(self.most, len(s))
        return s

    def derivative(self, xp: Any, s: Any, y: Any) -> Any:
        return 1.0


def test_no_layer_holds_the_activations_of_all_rows() -> None:
    network = fm.Sequential(fm.Linear(3, 2), Widest())
    fm.predict(network, network.init(KEY), INPUTS, engine="reference")
    assert 0 < Widest.most <= 4096 < ROWS


def test_many_rows_run_fused_by_default() -> None:
    assert not engine.is_faster_forward(NETWORK, ROWS, Policy())
    assert engine.is_faster_forward(NETWORK, 2_000_000, Policy())
    by_torch = fm.predict(NETWORK, PARAMS, INPUTS)
    assert_same_bits(by_torch, fm.predict(NETWORK, PARAMS, INPUTS, engine="reference"))
    policy = Policy(fewest_products=ROWS)
    assert_same_bits(engines.predict(NETWORK, PARAMS, INPUTS, "auto", policy), EXPECTED[0])
    assert engines.evaluate(NETWORK, fm.CrossEntropy(), PARAMS, DATA, "auto", policy).loss == EXPECTED[1][0]


def test_passes_run_by_the_policy_that_is_handed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    policy, used = Policy(samples_at_once=32), []

    def record(program: Program, policy: Policy) -> Any:
        used.append(policy)
        return code_to_run(program, policy)

    monkeypatch.setattr(sessions, "code_to_run", record)
    engines.predict(NETWORK, PARAMS, INPUTS, "fused", policy)
    engines.evaluate(NETWORK, fm.CrossEntropy(), PARAMS, DATA, "fused", policy)
    assert used == [policy, policy]


def test_what_a_policy_refuses_is_not_run() -> None:
    policy = Policy(most_steps=1)
    with pytest.raises(ValueError, match="the engine takes 1; pass"):
        engines.predict(NETWORK, PARAMS, INPUTS, "fused", policy)
    with pytest.raises(ValueError, match="the engine takes 1; pass"):
        engines.evaluate(NETWORK, fm.CrossEntropy(), PARAMS, DATA, "fused", policy)


def test_what_the_engine_cannot_run_is_left_to_the_reference() -> None:
    x, params = INPUTS[:5].half(), NETWORK.init(KEY, dtype=torch.float16)
    outputs = engines.predict(NETWORK, params, x, "auto", Policy(fewest_products=1))
    assert_same_bits(outputs, NETWORK.apply(params, x))


def test_what_torch_follows_is_left_to_the_reference_or_refused() -> None:
    """`functionalize` makes tensors whose memory is nowhere: to read it ends the process."""
    policy, transformed = Policy(fewest_products=1), torch.func.functionalize
    predict = functools.partial(engines.predict, NETWORK, PARAMS, engine="auto", policy=policy)
    assert_same_bits(transformed(predict)(INPUTS), NETWORK.apply(PARAMS, INPUTS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch.jit's end, and of checks that are not traced
        traced = torch.jit.trace(lambda x: predict(x), INPUTS)
    assert_same_bits(traced(2 * INPUTS), NETWORK.apply(PARAMS, 2 * INPUTS))
    more = {"key": KEY, "epochs": 1, "engine": "reference"}
    for refused in (
        lambda x: fm.evaluate(NETWORK, fm.CrossEntropy(), PARAMS, DATA),
        lambda x: fm.fit(NETWORK, fm.CrossEntropy(), fm.SGD(0.1), DATA, **more),
    ):
        with pytest.raises(TypeError, match=r"one that torch\.func transforms: call this outside"):
            transformed(refused)(INPUTS)
    with pytest.raises(ValueError, match=r"torch\.func or torch\.jit\.trace follows"):
        transformed(lambda x: fm.predict(NETWORK, PARAMS, x, engine="fused"))(INPUTS)


def test_an_error_on_any_thread_ends_all(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session.of(lower_steps(NETWORK, dtype=torch.float32), Policy())
    starts: list[int] = []

    def fail(*arguments: Any) -> None:
        starts.append(arguments[5])
        raise ArithmeticError

    monkeypatch.setattr(session, "_call", fail)
    nothing = torch.empty(0)
    rows = Rows(INPUTS, nothing, nothing, ROWS, answered=False)
    with pytest.raises(ArithmeticError):
        session.pass_forward(rows, 1_000_000_000)
    assert len(starts) <= torch.get_num_threads()
