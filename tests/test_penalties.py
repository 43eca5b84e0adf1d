import math
from typing import Any

import pytest
import torch

import functional_mlp as fm
from functional_mlp import engines, penalties, pytree
from functional_mlp.algebra import torch_namespace
from functional_mlp.state import Job, Member, Progress
from tests.helpers import (
    assert_close,
    assert_same_bits,
    autograd,
    bits,
    check_refused,
    draw,
    loss_oracle,
    oracle,
    refusal,
)
from tests.tables import PENALTIES

NETWORK = fm.Sequential(fm.Linear(2, 6), fm.Tanh(), fm.Residual(fm.Linear(6, 6, bias=False)), fm.Linear(6, 2))
LOSS, KEY = fm.MeanSquaredError(), fm.random.key(0)
DATA = fm.datasets.disk(fm.random.key(1), 23, dtype=torch.float64)
PARAMS = NETWORK.init(KEY.split()[0], dtype=torch.float64)
XP = torch_namespace(torch.float64, torch.device("cpu"))

every_penalty = pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
both_engines = pytest.mark.parametrize("engine", ["reference", "fused"])


class Curved(fm.penalties.Penalty):
    """A penalty whose derivative at 0 is not 0."""

    def value(self, xp: Any, w: Any) -> Any:
        return xp.sqrt(1 + (w - 1) * (w - 1))

    def derivative(self, xp: Any, w: Any) -> Any:
        return (w - 1) / xp.sqrt(1 + (w - 1) * (w - 1))


def penalty_oracle(penalty: penalties.Penalty, params: Any) -> torch.Tensor:
    """The penalty of the weights, written with torch's norms."""
    weights = [leaf for leaf in pytree.leaves(params) if leaf.ndim >= 2]
    match penalty:
        case penalties.l2():
            return sum(penalty.strength / 2 * weight.norm() ** 2 for weight in weights)
        case penalties.l1():
            return sum(penalty.strength * weight.abs().sum() for weight in weights)
        case _:
            return sum((1 + (weight - 1) ** 2).sqrt().sum() for weight in weights)


@pytest.mark.parametrize("penalty", [*PENALTIES, Curved()], ids=repr)
def test_value_and_grad_are_those_of_autograd(penalty: penalties.Penalty) -> None:
    def total(params: Any) -> torch.Tensor:
        outputs = oracle(NETWORK, params, DATA.inputs)
        return loss_oracle(LOSS, outputs, DATA.targets) + penalty_oracle(penalty, params)

    expected, (expected_grads,) = autograd(total, PARAMS)
    value, grads = fm.value_and_grad(NETWORK, LOSS, penalty)(PARAMS, DATA.inputs, DATA.targets)
    assert_close(value, expected)
    assert_close(grads, expected_grads)
    assert_close(penalty.total(PARAMS), penalty_oracle(penalty, PARAMS))


def test_the_derivative_of_l1_at_zero_is_zero_and_nan_travels() -> None:
    weights = torch.tensor([[0.0, -0.0, 2.0, -3.0, math.nan]], dtype=torch.float64)
    assert penalties.l1(0.5).derivative(XP, weights)[0, :4].tolist() == [0.0, 0.0, 0.5, -0.5]
    for penalty in PENALTIES:
        assert penalty.derivative(XP, weights)[0, 4].isnan()
        assert penalty.total((weights,)).isnan()


@every_penalty
def test_biases_and_scales_are_left_alone(penalty: penalties.Penalty) -> None:
    params = {"weight": draw(3, 2), "bias": draw(3, seed=1), "scale": draw(seed=2), "kernel": draw(2, 2, 2, seed=3)}
    grads = pytree.map(torch.zeros_like, params)
    before = bits((params, grads))
    added = penalty.added_to_grads(grads, params)
    assert bits((params, grads)) == before
    assert {name for name, grad in added.items() if grad.any()} == {"weight", "kernel"}


def by_hand(optimizer: fm.Optimizer, penalty: penalties.Penalty, epochs: int, batch_size: int) -> Any:
    """The optimizer's state after epochs of autograd of loss + penalty, batch by batch."""
    _, train_key = KEY.split()
    state = optimizer.init(PARAMS)
    for epoch in range(epochs):
        for rows in fm.random.permutation(train_key.fold_in(epoch), len(DATA)).split(batch_size):

            def total(params: Any, rows: torch.Tensor = rows) -> torch.Tensor:
                outputs = oracle(NETWORK, params, DATA.inputs[rows])
                return loss_oracle(LOSS, outputs, DATA.targets[rows]) + penalty_oracle(penalty, params)

            _, (grads,) = autograd(total, state.params)
            state = optimizer.update(state, grads)
    return state


# The fused engine makes its code for each batch size in another way: samples, whole batches, batches in pieces.
@both_engines
@pytest.mark.parametrize("batch_size", [1, 7, 23])
@pytest.mark.parametrize("penalty", [*PENALTIES, Curved()], ids=repr)
@pytest.mark.parametrize("optimizer", [fm.Adam(0.01), fm.BatchGD(0.1, 3)], ids=repr)
def test_training_is_that_of_autograd(optimizer: fm.Optimizer, penalty: Any, batch_size: int, engine: Any) -> None:
    expected = by_hand(optimizer, penalty, 2, batch_size)
    common = {"key": KEY, "epochs": 2, "batch_size": batch_size, "penalty": penalty, "engine": engine}
    alone = fm.fit(NETWORK, LOSS, optimizer, DATA, **common)
    assert_close(alone.state.optimizer_state, expected)
    keys = [common.pop("key"), *fm.random.key(5).split(16)]
    together = fm.fit_ensemble(NETWORK, LOSS, optimizer, DATA, keys=keys, **common)
    assert_close(together.member(0).state.optimizer_state, expected)


@both_engines
def test_the_losses_of_a_history_are_those_of_the_data(engine: Any) -> None:
    """With one batch an epoch, the first epoch's loss is that of the initial parameters."""
    result = fm.fit(
        NETWORK, LOSS, fm.SGD(0.1), DATA, key=KEY, epochs=2, batch_size=23, engine=engine,
        validation=DATA, penalty=penalties.l2(10.0),
    )  # fmt: skip
    alone = LOSS.value(NETWORK.apply(PARAMS, DATA.inputs), DATA.targets).item()
    assert result.history.train_loss[0] == pytest.approx(alone, rel=1e-12)
    assert result.history.validation_loss[0] == pytest.approx(result.history.train_loss[1], rel=1e-12)


@both_engines
def test_train_epoch_is_the_step_of_fit(engine: Any) -> None:
    optimizer, penalty = fm.Momentum(0.05), penalties.l1(0.01)
    state = fm.TrainState(optimizer.init(PARAMS), KEY.split()[1], 0)
    for _ in range(2):
        state, _ = fm.train_epoch(NETWORK, LOSS, state, DATA, optimizer=optimizer, penalty=penalty, engine=engine)
    whole = fm.fit(NETWORK, LOSS, optimizer, DATA, key=KEY, epochs=2, penalty=penalty, engine=engine)
    assert_same_bits(state, whole.state)


def test_a_compiled_epoch_has_the_penalty() -> None:
    optimizer, penalty = fm.SGD(0.05), penalties.l2(0.1)
    epoch = fm.engine.compile(NETWORK, LOSS, optimizer, batch_size=4, penalty=penalty, dtype=torch.float64)
    order = fm.random.permutation(KEY.split()[1].fold_in(0), len(DATA))
    state, _ = epoch(optimizer.init(PARAMS), DATA, order)
    whole = fm.fit(NETWORK, LOSS, optimizer, DATA, key=KEY, epochs=1, batch_size=4, penalty=penalty, engine="fused")
    assert_same_bits(state, whole.state.optimizer_state)


@pytest.mark.parametrize("batch_size", [1, 5])
def test_engines_agree_on_deep_networks_whose_layers_share_functions(batch_size: int) -> None:
    layers = [(fm.Linear(2 if i == 0 else 7, 7), fm.Tanh()) for i in range(14)]
    network = fm.Sequential(*(layer for pair in layers for layer in pair), fm.Linear(7, 2))
    common = {"key": KEY, "epochs": 1, "batch_size": batch_size, "penalty": penalties.l1(0.01)}
    runs = [fm.fit(network, LOSS, fm.Adam(0.01), DATA, engine=engine, **common) for engine in ("reference", "fused")]
    assert_close(runs[1].params, runs[0].params, 1e-9)


def test_half_precision_is_computed_in_float32() -> None:
    param, grad = torch.tensor([[300.0]], dtype=torch.float16), torch.tensor([[0.0]], dtype=torch.float16)
    assert penalties.l2(2.0).total((param,)).item() == 90000.0  # beyond float16
    assert penalties.l2(0.5).added_to_grads((grad,), (param,))[0].dtype == torch.float16


def test_a_penalty_that_is_more_than_its_expressions_trains_on_the_reference_alone() -> None:
    class Own(penalties.l2):
        def added_to(self, grad, param, where=None):
            return super().added_to(grad, param, where)

    reason = fm.engine.explain(NETWORK, LOSS, fm.SGD(0.1), penalty=Own(0.1))
    assert "Own(0.1) defines added_to itself" in str(reason)
    with pytest.raises(ValueError, match="defines added_to itself"):
        fm.fit(NETWORK, LOSS, fm.SGD(0.1), DATA, key=KEY, epochs=1, penalty=Own(0.1), engine="fused")
    with pytest.raises(ValueError, match=r"compile: .*defines added_to itself"):
        fm.engine.compile(NETWORK, LOSS, fm.SGD(0.1), batch_size=1, penalty=Own(0.1))
    start = Progress(fm.TrainState(fm.SGD(0.1).init(PARAMS), KEY, 0))
    member = Member(optimizer=fm.SGD(0.1), data=DATA, progress=start)
    job = Job(network=NETWORK, loss=LOSS, members=(member,), epochs=1, batch_size=1, penalty=Own(0.1), engine="auto")
    assert engines.choose(job) == "reference"


def test_a_checkpoint_knows_its_penalty(tmp_path: Any) -> None:
    def train(epochs: int, penalty: Any, **options: Any) -> fm.FitResult:
        checkpoint = fm.Checkpoint(tmp_path / "run.safetensors", **options)
        return fm.fit(
            NETWORK, LOSS, fm.Adam(0.01), DATA, key=KEY, epochs=epochs, penalty=penalty, checkpoint=checkpoint
        )

    train(2, penalties.l2(0.1))
    unbroken = fm.fit(NETWORK, LOSS, fm.Adam(0.01), DATA, key=KEY, epochs=4, penalty=penalties.l2(0.1))
    assert_same_bits(train(4, penalties.l2(0.1)).state, unbroken.state)
    for other in (None, penalties.l2(0.2), penalties.l1(0.1)):
        with pytest.raises(fm.CheckpointError, match=r"penalty is penalties\.l2\(0\.1\) there, and .* in this call"):
            train(4, other)
    train(5, None, allow=("penalty",))


FLOATS = fm.Dataset(DATA.inputs.float(), DATA.targets if DATA.targets.ndim == 1 else DATA.targets.float())
LARGE = penalties.l2(1e39)


@pytest.mark.parametrize(
    ("call", "error", "fragments"),
    [
        refusal("negative", lambda: penalties.l2(-0.1), ValueError, "l2: strength", "-0.1"),
        refusal("NaN", lambda: penalties.l1(math.nan), ValueError, "l1: strength", "nan"),
        refusal("infinite", lambda: penalties.l2(math.inf), ValueError, "l2: strength", "inf"),
        refusal("a string", lambda: penalties.l2("0.1"), TypeError, "l2: strength", "'0.1', a str"),
        refusal("a number", lambda: fm.value_and_grad(NETWORK, LOSS, 0.1), TypeError, "penalty", "penalties.l2"),
        refusal(
            "a number in fit",
            lambda: fm.fit(NETWORK, LOSS, fm.SGD(0.1), DATA, key=KEY, epochs=1, penalty=0.1),
            TypeError,
            "fit: penalty",
            "0.1, a float",
        ),
        refusal(
            "a class in fit_ensemble",
            lambda: fm.fit_ensemble(NETWORK, LOSS, fm.SGD(0.1), DATA, keys=[KEY], epochs=1, penalty=penalties.l2),
            TypeError,
            "fit_ensemble: penalty",
        ),
        *(
            refusal(f"a strength beyond float32, in {name}", call, ValueError, "l2: strength", "float32", "1e+39")
            for name, call in {
                "fit": lambda: fm.fit(NETWORK, LOSS, fm.SGD(0.1), FLOATS, key=KEY, epochs=1, penalty=LARGE),
                "fit_ensemble": lambda: fm.fit_ensemble(
                    NETWORK, LOSS, fm.SGD(0.1), FLOATS, keys=[KEY], epochs=1, penalty=LARGE
                ),
                "explain": lambda: fm.engine.explain(NETWORK, LOSS, fm.SGD(0.1), penalty=LARGE),
                "Online": lambda: fm.Online(NETWORK, LOSS, fm.SGD(0.1), penalty=LARGE),
                "total": lambda: LARGE.total((torch.zeros(2, 2),)),
                "added_to_grads": lambda: LARGE.added_to_grads((torch.zeros(2, 2),), (torch.zeros(2, 2),)),
            }.items()
        ),
        refusal(
            "gradients of other shapes",
            lambda: penalties.l2(0.1).added_to_grads((draw(2, 3),), (draw(2, 2),)),
            ValueError,
            "grads[0] must have the shape of params[0], (2, 2), got (2, 3)",
        ),
        refusal("explain", lambda: fm.engine.explain(NETWORK, LOSS, fm.SGD(0.1), penalty=1), TypeError, "penalty"),
        refusal("no expressions", lambda: penalties.Penalty().total((draw(2, 2),)), NotImplementedError, "value(self"),
    ],
)
def test_bad_penalties_are_refused(call: Any, error: Any, fragments: Any) -> None:
    check_refused(call, error, fragments)
