"""ONNX models that take raw columns: they prepare them as the library does, and answer in words or in units."""

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import polars
import pytest
import torch

import functional_mlp as fm
from functional_mlp import interop
from functional_mlp.cli.scores import probabilities_of
from functional_mlp.interop.export import write_model
from functional_mlp.tables import Preparation, Scale
from tests.helpers import KEY, assert_close, check_refused, draw

NOON = datetime.datetime(1969, 12, 31, 12, 34, 56)
DATES = [NOON + datetime.timedelta(hours=h) for h in (0, 1, 13, 700, 9_000, -400_000, 18_262 * 24, 474_300, 2_900_000)]
LEAP_DAYS = [datetime.datetime(*day, 23, 59, 59) for day in [(2000, 2, 29), (2024, 2, 29), (1900, 3, 1), (2100, 2, 28)]]
N = len(DATES) + len(LEAP_DAYS)
TABLE = polars.DataFrame(
    {
        "size": [None, *draw(N - 1).tolist()],
        "label": [1e300 * number for number in draw(N, seed=1).tolist()],
        "colour": ["red", "Löss", None, "red", "Löss", "x", "y", "red", *["red"] * (N - 8)],
        "two": ["a", "b"] * (N // 2) + ["a"] * (N % 2),
        "when": DATES + LEAP_DAYS,
    }
)
PREPARATION = Preparation.learn(TABLE)
NETWORK = fm.Sequential(fm.Linear(len(PREPARATION.features), 4), fm.Tanh(), fm.Linear(4, 3))
CLASSES = ["one", "two", "three"]


def feed(preparation: Preparation, columns: polars.DataFrame) -> dict[str, np.ndarray]:
    """The raw columns as the inputs of a model, as the documentation of `to_onnx` says."""
    fed: dict[str, np.ndarray] = {}
    for name, kind in preparation.kinds.items():
        column = columns[name]
        if kind == "word":
            fed[name] = column.fill_null("").to_numpy().astype(object)
        else:
            numbers = column.dt.epoch("ms") if kind == "date" else column
            fed[name] = numbers.cast(polars.Float64).fill_null(float("nan")).to_numpy()
    return fed


def answers(path: Path, preparation: Preparation, columns: polars.DataFrame) -> dict[str, Any]:
    """What onnxruntime answers, by name."""
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return dict(
        zip([each.name for each in session.get_outputs()], session.run(None, feed(preparation, columns)), strict=True)
    )


def test_every_kind_of_column_is_there() -> None:
    assert {"size is missing", "colour = others", "colour is missing", "when: weekday", "when: hour"} <= set(
        PREPARATION.features
    )
    assert set(PREPARATION.kinds.values()) == {"number", "word", "date"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_columns_are_prepared_as_by_the_library(tmp_path: Path, dtype: torch.dtype) -> None:
    features = len(PREPARATION.features)
    network = fm.Linear(features, features, bias=False)
    params = fm.LinearParams(torch.eye(features, dtype=dtype), None)
    interop.to_onnx(tmp_path / "m.onnx", network, params, preparation=PREPARATION)
    new = polars.DataFrame(
        {**TABLE.to_dict(), "two": ["c", None, *TABLE["two"][2:]], "when": [None, *TABLE["when"][1:]]}
    )
    for columns in (TABLE, new, TABLE[:1], TABLE[:0]):
        (outputs,) = answers(tmp_path / "m.onnx", PREPARATION, columns).values()
        assert_close(
            torch.from_numpy(outputs), PREPARATION.apply(columns, dtype), 1e-6 if dtype == torch.float32 else 1e-12
        )


@pytest.mark.parametrize("loss", [None, fm.CrossEntropy(), fm.MeanSquaredError(), fm.BinaryCrossEntropy()], ids=repr)
def test_labels_and_probabilities_of_raw_columns(tmp_path: Path, loss: fm.Loss | None) -> None:
    members = [NETWORK.init(key) for key in KEY.split(3)]
    shares = torch.stack(
        [
            probabilities_of(loss or fm.CrossEntropy(), fm.predict(NETWORK, params, PREPARATION.apply(TABLE)))
            for params in members
        ]
    )
    path = tmp_path / "m.onnx"
    for params, expected in ((members, shares.mean(0)), (members[:1], shares[0])):
        write_model(path, NETWORK, params, preparation=PREPARATION, classes=CLASSES, loss=loss, scale=None)
        found = answers(path, PREPARATION, TABLE)
        assert list(found) == ["label_", "probabilities"]  # a column is called label
        assert_close(torch.from_numpy(found["probabilities"]).double(), expected, 1e-6)
        chosen = [CLASSES.index(name) for name in found["label_"]]
        assert_close(expected[range(N), chosen], expected.amax(1), 1e-6)  # two that are clipped to 1 are equal


@pytest.mark.parametrize(
    "loss", [fm.MeanSquaredError(), fm.Huber(), fm.PoissonDeviance(), fm.BinaryCrossEntropy()], ids=repr
)
def test_labels_tell_apart_outputs_whose_shares_are_all_1(tmp_path: Path, loss: fm.Loss) -> None:
    network, x = fm.Linear(2, 3), 100 * draw(50, 2, dtype=torch.float32)
    params = network.init(KEY)
    interop.to_onnx(tmp_path / "m.onnx", network, params, classes=range(3), loss=loss)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    (label,) = session.run(["label"], {"inputs": x.numpy()})
    assert label.tolist() == fm.classify(network, params, x).tolist()


@pytest.mark.parametrize("loss", [fm.MeanSquaredError(), fm.Huber()], ids=repr)
def test_one_output_of_a_squared_error_is_the_share_of_the_second_class(tmp_path: Path, loss: fm.Loss) -> None:
    params = fm.LinearParams(torch.ones(1, 1), None)
    interop.to_onnx(tmp_path / "m.onnx", fm.Linear(1, 1, bias=False), params, classes=["no", "yes"], loss=loss)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    label, probabilities = session.run(None, {"inputs": np.array([[0.2], [0.8], [2.0]], dtype="float32")})
    assert label.tolist() == ["no", "yes", "yes"]
    assert_close(torch.from_numpy(probabilities), torch.tensor([[0.8, 0.2], [0.2, 0.8], [0.0, 1.0]]), 1e-6)


def test_quantities_are_in_their_units(tmp_path: Path) -> None:
    network, scale = fm.Linear(len(PREPARATION.features), 1), Scale(100.0, 20.0, 99.0, 40.0, 150.0)
    params = network.init(KEY, dtype=torch.float64)
    interop.to_onnx(tmp_path / "m.onnx", network, params, preparation=PREPARATION, scale=scale)
    quantity = torch.from_numpy(answers(tmp_path / "m.onnx", PREPARATION, TABLE)["quantity"])
    expected = 20 * fm.predict(network, params, PREPARATION.apply(TABLE, torch.float64)).squeeze(1) + 100
    assert_close(quantity, expected, 1e-12)


def test_columns_may_be_called_as_nodes_are(tmp_path: Path) -> None:
    network = fm.Sequential(fm.Linear(8, 4), fm.GELU(), fm.Linear(4, 2))
    params = network.init(KEY)
    plain = polars.DataFrame({f"c{number}": draw(5, seed=number) for number in range(8)})
    interop.to_onnx(tmp_path / "m.onnx", network, params, preparation=Preparation.learn(plain), classes=["a", "b"])
    graph = onnx.load(tmp_path / "m.onnx").graph
    names = [*(node.output[0] for node in graph.node[::9]), graph.initializer[0].name, "label", "inputs", "label_"]
    table = plain.rename(dict(zip(plain.columns, names, strict=False)))
    preparation = Preparation.learn(table)
    interop.to_onnx(tmp_path / "n.onnx", network, params, preparation=preparation, classes=["a", "b"])
    found = list(answers(tmp_path / "n.onnx", preparation, table).values())[1]
    expected = list(answers(tmp_path / "m.onnx", Preparation.learn(plain), plain).values())[1]
    np.testing.assert_array_equal(found, expected)


PARAMS = NETWORK.init(KEY)


@pytest.mark.parametrize(
    ("options", "error", "fragments"),
    [
        ({"preparation": [1, 2]}, TypeError, ["preparation must be a Preparation"]),
        ({"preparation": Preparation.learn(TABLE.select("size"))}, ValueError, ["makes 2 features", "network takes"]),
        (
            {"preparation": Preparation.learn(TABLE.rename({"two": ""}))},
            ValueError,
            ["column whose name is empty"],
        ),
        ({"scale": 2.0}, TypeError, ["scale must be a Scale"]),
        ({"scale": Scale(0.0, 1.0, 0.0, 0.0, 0.0)}, ValueError, ["one output", "has 3"]),
        ({"scale": Scale(0.0, 1.0, 0.0, 0.0, 0.0), "classes": CLASSES}, ValueError, ["both given"]),
    ],
    ids=str,
)
def test_refusals(tmp_path: Path, options: Any, error: type[Exception], fragments: list[str]) -> None:
    check_refused(lambda: interop.to_onnx(tmp_path / "m.onnx", NETWORK, PARAMS, **options), error, fragments)


@pytest.mark.parametrize("ensemble", [(), ("--members", "2")], ids=["one", "ensemble"])
@pytest.mark.parametrize(("target", "loss"), [("kind", "cross-entropy"), ("kind", "bce"), ("price", "mse")])
def test_the_command_exports_what_predict_computes(run: Any, target: str, loss: str, ensemble: tuple[str, ...]) -> None:
    rows = [(size, "red" if size * 7 % 1 > 0.5 else "blue") for size in draw(40).tolist()]
    lines = [f"{s},{c},{'big' if s > 0 else 'small'},{3.5 * s + (c == 'red'):.6f}" for s, c in rows]
    Path("t.csv").write_text("\n".join(["size,tint,kind,price", *lines]))
    drop = "price" if target == "kind" else "kind"
    train = ("train", "--data", "t.csv", "--target", target, "--drop", drop, "--epochs", "3", "--out", "m.safetensors")
    assert run(*train, "--loss", loss, *ensemble)[0] == 0
    code, out, err = run("export", "--model", "m.safetensors", "--out", "m.onnx")
    assert (code, out, err) == (0, f"2 columns in, {target!r} out: m.onnx\n", "")
    assert run("predict", "--model", "m.safetensors", "--data", "t.csv", "--out", "p.csv")[0] == 0
    table = polars.read_csv("t.csv")
    preparation = Preparation.learn(table.select("size", "tint"))
    found, expected = answers(Path("m.onnx"), preparation, table), polars.read_csv("p.csv")
    if target == "kind":
        assert found["label"].tolist() == expected["kind"].to_list()
        shares = expected.select("probability of big", "probability of small").to_torch()
        assert_close(torch.from_numpy(found["probabilities"]).double(), shares, 1e-6)
    else:
        assert_close(torch.from_numpy(found["quantity"]), expected["price"].to_torch(), 1e-6)
    code, _, err = run("export", "--model", "m.safetensors", "--out", "m.onnx")
    assert (code, "--force" in err) == (1, True)
    assert run("export", "--model", "m.safetensors", "--out", "m.onnx", "--force", "--json")[0] == 0
