import functools
import importlib
import inspect
import re
from pathlib import Path

import pytest
import torch

import functional_mlp as fm
from functional_mlp import backprop, pytree
from tests.helpers import (
    KEY,
    assert_close,
    assert_same_bits,
    autograd,
    bits,
    check_refused,
    draw,
    draw_like,
    loss_oracle,
    oracle,
    random_network,
    refusal,
    unusable_tensors,
)
from tests.tables import LOSSES


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("seed", range(15))
def test_it_agrees_with_torch_autograd(loss: fm.Loss, seed: int) -> None:
    network = random_network(seed)
    params, x = draw_like(network.init(KEY, dtype=torch.float64)), draw(9, network.in_features or 4)
    targets = draw_like(network.apply(params, x), seed=4).softmax(-1)
    expected, (expected_grads,) = autograd(lambda p: loss_oracle(loss, oracle(network, p, x), targets), params)
    value, grads = fm.value_and_grad(network, loss)(params, x, targets)
    assert_close(value, expected)
    assert_close(grads, expected_grads)


def test_one_call_is_one_forward_and_one_backward_pass() -> None:
    calls = []

    class Counted(fm.Elementwise):
        def value(self, xp, s):
            calls.append("value")
            return s

        def derivative(self, xp, s, y):
            calls.append("derivative")
            return 1

    fm.value_and_grad(fm.Sequential(Counted(), fm.Residual(Counted())), fm.MeanSquaredError())(
        ((), ()), draw(3), draw(3)
    )
    assert calls == ["value", "value", "derivative", "derivative"]


def test_arguments_come_back_untouched_and_results_unconnected() -> None:
    network = fm.Sequential(fm.Linear(3, 4), fm.Tanh(), fm.Linear(4, 2))
    params = pytree.map(lambda leaf: leaf.requires_grad_(), network.init(KEY, dtype=torch.float64))
    x, targets = draw(5, 6)[:, ::2].requires_grad_(), draw(1, 2).expand(5, 2)
    before = bits((params, x, targets))
    results = fm.value_and_grad(network, fm.MeanSquaredError())(params, x, targets)
    assert bits((params, x, targets)) == before
    assert not any(leaf.requires_grad for leaf in pytree.leaves(results))


def test_targets_may_be_class_indices() -> None:
    network, x, indices = fm.Linear(3, 4), draw(5, 3), torch.tensor([0, 3, 1, 2, 2])
    params = network.init(KEY, dtype=torch.float64)
    evaluate = fm.value_and_grad(network, fm.CrossEntropy())
    assert_same_bits(evaluate(params, x, indices), evaluate(params, x, torch.nn.functional.one_hot(indices)))


LINEAR = fm.Linear(3, 2)
PARAMS = LINEAR.init(KEY)
X, T = torch.ones(4, 3), torch.zeros(4, 2)
evaluate = fm.value_and_grad(LINEAR, fm.MeanSquaredError())
for _ in range(3):  # what comes again goes another way, which refuses the same
    evaluate(PARAMS, X, T)


@pytest.mark.parametrize(
    ("call", "error", "fragments"),
    [
        refusal("loss class", lambda: fm.value_and_grad(LINEAR, fm.MeanSquaredError), TypeError, "loss", "the class"),
        refusal("torch's loss", lambda: fm.value_and_grad(LINEAR, torch.nn.MSELoss()), TypeError, "loss", "MSELoss()"),
        refusal(
            "network class", lambda: fm.value_and_grad(fm.ReLU, fm.CrossEntropy()), TypeError, "network", "class ReLU"
        ),
        refusal("no network", lambda: fm.value_and_grad(None, fm.CrossEntropy()), TypeError, "network", "None"),
        refusal("width", lambda: evaluate(PARAMS, X[:, :2], T), ValueError, "Linear(in_features=3", "(4, 2)", "be 3"),
        refusal("0-d", lambda: evaluate(PARAMS, X[0, 0], T), ValueError, "0-d"),
        refusal("list", lambda: evaluate(PARAMS, [1.0], T), TypeError, "inputs", "torch.Tensor", "a list"),
        refusal("inputs' dtype", lambda: evaluate(PARAMS, X.double(), T), ValueError, "params.weight", "torch.float64"),
        refusal("targets' dtype", lambda: evaluate(PARAMS, X, T.double()), ValueError, "targets", "torch.float64"),
        refusal("targets to broadcast", lambda: evaluate(PARAMS, X, T[:1]), ValueError, "targets", "(4, 2)", "(1, 2)"),
        refusal("one dimension", lambda: evaluate(PARAMS, X, T[:, 0]), ValueError, "targets", "(4, 2)", "(4,)"),
        refusal("empty batch", lambda: evaluate(PARAMS, X[:0], T[:0]), ValueError, "empty", "(0, 2)"),
        refusal(
            "params of another layer", lambda: evaluate((PARAMS,), X, T), ValueError, "params must be a LinearParams"
        ),
        refusal("no params", lambda: evaluate((), X, T), ValueError, "params.weight is missing"),
        *(
            refusal(f"{kind} inputs", lambda bad=bad: evaluate(PARAMS, bad, T), ValueError, "inputs", name)
            for kind, (bad, name) in unusable_tensors((4, 3)).items()
        ),
        *(
            refusal(f"{kind} targets", lambda bad=bad: evaluate(PARAMS, X, bad), ValueError, "targets", name)
            for kind, (bad, name) in unusable_tensors((4, 2)).items()
        ),
    ],
)
def test_bad_input_is_refused(call, error, fragments) -> None:
    check_refused(call, error, fragments)


ROOT = Path(fm.__file__).parent
PLACES = [
    (file, name)
    for file, names in re.findall(r"  (\S+\.py) +(\S.*)", backprop.__doc__ or "")
    for name in names.split(", ")
]


def test_the_map_of_the_equations_has_all_of_them():
    assert backprop.__doc__
    assert set(re.findall(r"^ {4}\(.*?\)  ", backprop.__doc__, re.MULTILINE)) >= {f"    ({n})  " for n in range(1, 6)}
    assert "    (6), (7)  " in backprop.__doc__
    assert len(PLACES) >= 15


@pytest.mark.parametrize(("file", "name"), PLACES)
def test_each_place_of_the_map_is_there(file, name):
    module = importlib.import_module("functional_mlp." + file.removesuffix(".py").replace("/", "."))
    function = functools.reduce(getattr, name.split("."), module)
    assert inspect.isfunction(function)
    assert function.__qualname__ == name  # defined there, and not inherited
    assert Path(inspect.getsourcefile(function) or "") == ROOT / file
