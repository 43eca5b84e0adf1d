"""ONNX models: what onnxruntime makes of them is what the network makes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import functional_mlp as fm
from functional_mlp import interop
from tests import tables
from tests.helpers import KEY, assert_close, check_refused, draw


def session_of(path: Path, network: fm.Layer, params: Any, **options: Any) -> onnxruntime.InferenceSession:
    """The model of a network, checked by onnx and run by onnxruntime on one thread."""
    interop.to_onnx(path, network, params, **options)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])


def outputs_of(session: onnxruntime.InferenceSession, x: torch.Tensor) -> torch.Tensor:
    (outputs,) = session.run(["outputs"], {"inputs": x.numpy()})
    return torch.from_numpy(outputs)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("onnx") / "model.onnx"


@settings(max_examples=30)
@given(network=fm.testing.networks(), dtype=st.sampled_from([torch.float32, torch.float64]), key=fm.testing.keys())
def test_random_networks_agree(path: Path, network: fm.Layer, dtype: torch.dtype, key: fm.random.Key) -> None:
    params = network.init(key, dtype=dtype)
    session = session_of(path, network, params)
    for n in (1, 7, 0):
        x = 3 * draw(n, network.in_features, seed=n, dtype=dtype)
        assert_close(outputs_of(session, x), fm.predict(network, params, x), 1e-5)


@pytest.mark.parametrize("layer", tables.LAYERS, ids=repr)
def test_every_layer_agrees(path: Path, layer: fm.Layer) -> None:
    params = layer.init(KEY)
    x = 4 * draw(50, layer.in_features or 3, dtype=torch.float32)
    assert_close(outputs_of(session_of(path, layer, params), x), layer.apply(params, x), 2e-6)


def test_float16_networks_agree(path: Path) -> None:
    network = fm.Sequential(fm.Linear(2, 3), fm.GELU(), fm.Residual(fm.Linear(3, 3)))
    params, x = network.init(KEY, dtype=torch.float16), draw(5, 2, dtype=torch.float16)
    assert_close(outputs_of(session_of(path, network, params), x), network.apply(params, x), 2e-3)


@attrs.frozen(repr=False)
class Written(fm.Elementwise):
    """An activation of one expression, which nobody differentiates."""

    expression: Callable[[Any, Any], Any]

    def value(self, xp, s):
        return self.expression(xp, s)


EXPRESSIONS = {
    "operators": lambda xp, s: (1 - s) * 2 / (s + 0.5) - -s,
    "powers": lambda xp, s: s**3 + s**-1 + 2**s,
    "remainder": lambda xp, s: s % 0.75 + 3 % (s + 40) + s % -2,
    "signs": lambda xp, s: +s - abs(s),
    "numpy's numbers": lambda xp, s: np.sqrt(2) * s + np.float32(0.5) * s - s / np.float64(3) - np.int64(2),
    "log ndtr": lambda xp, s: xp.log(xp.ndtr(s)) + xp.log(xp.ndtr(0.25 * s)),
    "ndtr": lambda xp, s: xp.ndtr(s) + xp.ndtr(-s),
    "erf": lambda xp, s: xp.erf(s) / s,
    "comparisons": lambda xp, s: (
        xp.where(s < 0, 1, s) + xp.where(s <= 0.5, s, 2) * xp.where(s > 1, 1, 0) + xp.where(s >= 1, 2, s)
    ),
    "equalities": lambda xp, s: xp.where(s == 0.5, 7, s) + xp.where(s != 0.5, s, -7),
    "numbers": lambda xp, s: s * xp.where(xp.sqrt(2) > 1, xp.maximum(2, xp.exp(1)), 0) + xp.expm1(0.5),
    "a number": lambda xp, s: 2.5,
    "maximum": lambda xp, s: xp.maximum(s, 0) + xp.minimum(0.5, s) * xp.maximum(s, 1 - s),
    "sign": lambda xp, s: xp.sign(s) * xp.abs(s),
    "exponentials": lambda xp, s: xp.exp(s) + xp.sqrt(xp.abs(s)) * xp.log(xp.abs(s)),
    "expm1": lambda xp, s: xp.expm1(s),
    "log1p": lambda xp, s: xp.log1p(xp.abs(s)),
    "log1p near 1": lambda xp, s: xp.log1p(s),
    "tanh and erf": lambda xp, s: xp.tanh(s) + xp.erf(s) * xp.ndtr(s),
    "gelu": lambda xp, s: xp.gelu(s) + xp.gelu_slope(s),
    "silu": lambda xp, s: xp.gated(s, 1, 0) + xp.gated_slope(s, 1, 0),
    "gated": lambda xp, s: xp.gated(s, a=1.5, b=0.25) + xp.gated_slope(s, 1.5, 0.25),
}
SPECIAL = [0.0, 0.5, 1.0, -1.0, 1e-6, -1e-6, 3e-4, 30.0, -30.0, float("inf"), float("-inf"), float("nan")]


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_expressions_agree(path: Path, expression: Callable[[Any, Any], Any], dtype: torch.dtype) -> None:
    x = torch.cat([torch.tensor(SPECIAL, dtype=dtype), 3 * draw(50, dtype=dtype)]).unsqueeze(1)
    expected = torch.as_tensor(expression(fm.algebra.torch_namespace(dtype, x.device), x)).expand_as(x)
    network = fm.Sequential(fm.Linear(1, 1, bias=False), Written(expression))
    params = (fm.LinearParams(torch.ones(1, 1, dtype=dtype), None), ())
    actual = outputs_of(session_of(path, network, params), x)
    torch.testing.assert_close(actual, expected.to(dtype), rtol=2e-5, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("modulus", [0.1, -0.3, 1e-5])
def test_remainders_are_exact(path: Path, dtype: torch.dtype, modulus: float) -> None:
    multiples = torch.arange(-400, 400, dtype=dtype) * torch.tensor(modulus, dtype=dtype)
    x = torch.cat([multiples, torch.tensor([31.8, 1e30, *SPECIAL], dtype=dtype)]).unsqueeze(1)
    params = (fm.LinearParams(torch.ones(1, 1, dtype=dtype), None), ())
    for expression in (lambda xp, s: s % modulus, lambda xp, s: modulus % s):
        network = fm.Sequential(fm.Linear(1, 1, bias=False), Written(expression))
        outputs = outputs_of(session_of(path, network, params), x)
        torch.testing.assert_close(outputs, fm.predict(network, params, x), rtol=0, atol=0, equal_nan=True)


def test_the_lower_tail_of_the_normal_distribution_keeps_its_digits(path: Path) -> None:
    network = fm.Sequential(fm.Linear(1, 1, bias=False), Written(lambda xp, s: xp.ndtr(s)))
    for dtype, lowest, rtol in ((torch.float32, -12.0, 1e-5), (torch.float64, -37.0, 1e-12)):
        x = torch.linspace(lowest, 6, 500, dtype=dtype).unsqueeze(1)
        session = session_of(path, network, (fm.LinearParams(torch.ones(1, 1, dtype=dtype), None), ()))
        expected = fm.algebra.torch_namespace(dtype, x.device).ndtr(x)
        torch.testing.assert_close(outputs_of(session, x), expected, rtol=rtol, atol=0)


CLASSES = [["sand", "Löss", ""], (7, 3, 11), np.array(["a", "b", "c"]), np.array([1, 0, 2], "uint8"), torch.arange(3)]


@pytest.mark.parametrize("classes", CLASSES, ids=repr)
def test_labels_and_probabilities(path: Path, classes: Any) -> None:
    network = fm.Sequential(fm.Linear(2, 5), fm.Tanh(), fm.Linear(5, 3))
    for dtype in (torch.float32, torch.float16):
        params, x = network.init(KEY, dtype=dtype), draw(9, 2, dtype=dtype)
        label, probabilities = session_of(path, network, params, classes=classes).run(None, {"inputs": x.numpy()})
        assert label.tolist() == [list(classes)[index] for index in fm.classify(network, params, x).tolist()]
        expected = fm.predict(network, params, x).float().softmax(1)
        assert_close(torch.from_numpy(probabilities), expected, 1e-6 if dtype == torch.float32 else 2e-3)


def test_one_output_tells_two_classes(path: Path) -> None:
    x = torch.tensor([[2.0], [-1.0], [1e-9], [0.0]])
    label, probabilities = session_of(
        path, fm.Linear(1, 1, bias=False), fm.LinearParams(torch.ones(1, 1), None), classes=["no", "yes"]
    ).run(None, {"inputs": x.numpy()})
    assert label.tolist() == ["yes", "no", "yes", "no"]
    assert_close(torch.from_numpy(probabilities), torch.cat([(-x).sigmoid(), x.sigmoid()], 1), 1e-6)


def test_a_model_says_what_it_takes(path: Path) -> None:
    session = session_of(path, fm.Linear(2, 3), fm.Linear(2, 3).init(KEY))
    (inputs,), (outputs,) = session.get_inputs(), session.get_outputs()
    assert (inputs.name, inputs.shape, inputs.type) == ("inputs", ["n", 2], "tensor(float)")
    assert (outputs.name, outputs.shape, outputs.type) == ("outputs", ["n", 3], "tensor(float)")
    assert onnx.load(path).producer_name == "functional_mlp"


class OwnApply(fm.Layer):
    def apply(self, params, x):
        return x

    def vjp(self, params, x, grad_out):
        return (), grad_out


class OwnForward(fm.Tanh):
    def forward(self, params, x):
        return super().forward(params, x)


NETWORK = fm.Linear(2, 3)
PARAMS = NETWORK.init(KEY)


@pytest.mark.parametrize(
    ("network", "params", "options", "error", "fragments"),
    [
        pytest.param(*row, id=what)
        for what, row in {
            "params of another": (NETWORK, fm.Linear(3, 3).init(KEY), {}, ValueError, ["params.weight must have"]),
            "bfloat16": (NETWORK, NETWORK.init(KEY, dtype=torch.bfloat16), {}, ValueError, ["bfloat16", "pytree.map"]),
            "a layer of torch operations": (
                fm.Residual(OwnApply()),
                (),
                {},
                ValueError,
                ["OwnApply() is neither Linear, Elementwise", "torch.onnx.export"],
            ),
            "another forward": (OwnForward(), (), {}, ValueError, ["OwnForward() defines forward itself"]),
            "an expression that is none": (
                Written(lambda xp, s: torch.relu(s)),
                (),
                {},
                ValueError,
                ["is not written in the array algebra: torch.relu is not in the algebra"],
            ),
            "a product with a condition": (
                Written(lambda xp, s: s * (s > 0)),
                (),
                {},
                ValueError,
                ["is not written in the array algebra: an expression cannot compute with a comparison: use xp.where"],
            ),
            "a condition": (Written(lambda xp, s: s > 0), (), {}, ValueError, ["cannot compute with a comparison"]),
            "too few classes": (NETWORK, PARAMS, {"classes": "ab"}, TypeError, ["a sequence of names, got 'ab'"]),
            "a set of classes": (NETWORK, PARAMS, {"classes": {1, 2, 3}}, TypeError, ["a sequence of names"]),
            "a large class": (NETWORK, PARAMS, {"classes": [2**63, 1, 2]}, ValueError, ["64 bits", str(2**63)]),
            "no loss": (NETWORK, PARAMS, {"classes": [0, 1, 2], "loss": "x"}, TypeError, ["loss must be a Loss"]),
            "two classes": (NETWORK, PARAMS, {"classes": ["a", "b"]}, ValueError, ["3 for 3 outputs, got 2"]),
            "mixed": (NETWORK, PARAMS, {"classes": ["a", 1, 2]}, TypeError, ["all of them an int, got 'a'"]),
            "a class twice": (
                NETWORK,
                PARAMS,
                {"classes": ["a", "b", "a"]},
                ValueError,
                ["different names, got 'a' 2 times"],
            ),
            "half a character": (NETWORK, PARAMS, {"classes": ["a", "b", "\ud800"]}, ValueError, ["must be text"]),
            "no network": (torch.nn.ReLU(), (), {}, TypeError, ["to_onnx: network must be a layer"]),
        }.items()
    ],
)
def test_refusals(path: Path, network: Any, params: Any, options: Any, error: Any, fragments: Any) -> None:
    path.unlink(missing_ok=True)
    check_refused(lambda: interop.to_onnx(path, network, params, **options), error, fragments)
    assert not path.exists()


@pytest.mark.parametrize("path", [None, 3])
def test_a_path_is_asked_for(path: Any) -> None:
    check_refused(lambda: interop.to_onnx(path, NETWORK, PARAMS), TypeError, ["path must be a str or a path, got"])


def test_params_are_asked_for_where_a_result_is_given() -> None:
    data = fm.datasets.disk(KEY, 5)
    network, loss, optimizer = fm.Linear(2, 2), fm.CrossEntropy(), fm.SGD(0.1)
    one = fm.fit(network, loss, optimizer, data, key=KEY, epochs=1)
    several = fm.fit_ensemble(network, loss, optimizer, data, keys=KEY.split(2), epochs=1)
    for result in (one, several):
        check_refused(lambda result=result: interop.to_torch(network, result), TypeError, ["pass its params"])
