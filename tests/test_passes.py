"""The straight code of the passes does what they do, for what is the library's own, and as long as it is."""

import pickle
import re
from typing import Any

import pytest
import torch

import functional_mlp as fm
from functional_mlp import pytree
from functional_mlp.passes import MOST_KINDS, WrittenPasses
from tests.helpers import KEY, assert_same_bits, draw, random_network, unusable_tensors
from tests.tables import ACTIVATIONS, LOSSES, PENALTIES

NETWORK = fm.Sequential(fm.Linear(3, 4), fm.ReLU(), fm.Linear(4, 2))
MSE = fm.MeanSquaredError()
ARGUMENTS = NETWORK.init(KEY), draw(4, 3, dtype=torch.float32), draw(4, 2, dtype=torch.float32)


def counted(network: fm.Layer, loss: fm.Loss, penalty: Any = None) -> tuple[WrittenPasses, list[None]]:
    """Passes, and a list with an entry for each time that they were gone through layer by layer."""
    calls: list[None] = []

    def function(params: Any, x: Any, targets: Any, call: Any) -> Any:
        calls.append(None)
        prediction, tape = network.forward(params, x)
        value, grad = loss.batch_value_and_grad(prediction, call(loss.checked_targets, prediction, targets))
        grads = network.backward_params(params, tape, grad)
        return value, grads if penalty is None else penalty.added_to_grads(grads, params)

    return WrittenPasses(function, network, loss, penalty), calls


NESTED = [random_network(seed) for seed in range(6)]
CASES = [
    *((fm.Sequential(fm.Linear(3, 4), layer), MSE, None) for layer in ACTIVATIONS),
    *((network, MSE, None) for network in NESTED),
    *((NETWORK, loss, None) for loss in LOSSES),
    *((NETWORK, MSE, penalty) for penalty in PENALTIES),
]


@pytest.mark.parametrize(("network", "loss", "penalty"), CASES, ids=repr)
def test_what_comes_again_is_straight_code_with_the_same_bits(network: Any, loss: Any, penalty: Any) -> None:
    passes, calls = counted(network, loss, penalty)
    evaluate = fm.value_and_grad(network, loss, penalty)
    kinds = [(torch.float32, (1,)), (torch.bfloat16, (2, 3))]
    for dtype, rows in kinds:
        params = network.init(KEY, dtype=dtype)
        for seed in range(3):
            x = draw(*rows, network.in_features or 3, seed=seed, dtype=dtype)
            targets = draw(*rows, network.out_features or 3, seed=seed + 9, dtype=dtype).softmax(-1)
            value, grads = evaluate(params, x, targets)
            assert_same_bits((value, grads), fm.value_and_grad(network, loss, penalty)(params, x, targets))
            assert_same_bits(passes(params, x, targets)[1], grads)
            params = pytree.map(lambda param, grad: param - 0.1 * grad, params, grads)
    assert len(calls) == 2 * len(kinds)


UNUSABLE = {"a list": ([1.0], "a list"), **unusable_tensors((4, 2))}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_targets_are_refused_at_each_call(kind: str) -> None:
    evaluate = fm.value_and_grad(NETWORK, MSE)
    params, x, targets = ARGUMENTS
    unusable, name = UNUSABLE[kind]
    for _ in range(3):
        evaluate(params, x, targets)
        with pytest.raises((TypeError, ValueError), match=f"targets must .*{re.escape(name)}"):
            evaluate(params, x, unusable)


def forward_alone(params: Any, x: Any, targets: Any, call: Any) -> Any:
    return call(MSE.checked_targets, NETWORK.forward(params, x)[0], targets).sum(), params


def test_they_are_pickled_without_their_code() -> None:
    passes, (params, x, targets) = WrittenPasses(forward_alone, NETWORK, MSE, None), ARGUMENTS
    expected = [passes(params, x, targets) for _ in range(3)][-1]
    assert_same_bits(pickle.loads(pickle.dumps(passes))(params, x, targets), expected)


def test_a_function_in_the_place_of_ours_is_called_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    passes, calls = counted(NETWORK, MSE)
    before = [passes(*ARGUMENTS) for _ in range(3)][-1]
    with monkeypatch.context() as patch:
        patch.setattr(fm.ReLU, "value", lambda self, xp, s: xp.minimum(s, 0))
        assert not pytree.equal(passes(*ARGUMENTS), before)
    assert len(calls) == 3
    assert_same_bits(passes(*ARGUMENTS), before)


def test_the_kinds_that_came_last_are_kept() -> None:
    passes, calls = counted(NETWORK, MSE)
    last = MOST_KINDS + 1
    x, targets = draw(last, 3, dtype=torch.float32), draw(last, 2, dtype=torch.float32)
    for rows in (*range(1, last), last, last, last, 2, last):
        passes(ARGUMENTS[0], x[:rows], targets[:rows])
    assert len(calls) == last + 2  # each once, the last and the second, which were kept, once more, to be recorded
    passes(ARGUMENTS[0], x[:1], targets[:1])
    passes(ARGUMENTS[0], x[:1], targets[:1])
    assert len(calls) == last + 4


class Doubled(fm.Elementwise):
    def value(self, xp: Any, s: Any) -> Any:
        return 2 * s

    def derivative(self, xp: Any, s: Any, y: Any) -> Any:
        return 2


class Foreign:
    """An object that has the functions of a layer."""

    def init(self, key: Any, *, dtype: Any, device: Any) -> Any:
        return ()

    def apply(self, params: Any, x: Any) -> Any:
        return x

    def vjp(self, params: Any, x: Any, grad_out: Any) -> Any:
        return (), grad_out


@pytest.mark.parametrize("layer", [Doubled(), Foreign()], ids=["a layer", "an adapted one"])
def test_layers_of_others_are_called_each_time(layer: Any) -> None:
    network = fm.Sequential(fm.Linear(3, 2), fm.Residual(layer))
    passes, calls = counted(network, MSE)
    for _ in range(4):
        passes(network.init(KEY), *ARGUMENTS[1:])
    assert len(calls) == 4
