"""Arrays of numpy, and frames and series of pandas and polars, as data."""

from typing import Any

import numpy as np
import pandas
import polars
import pytest
import torch

import functional_mlp as fm
from tests.helpers import KEY, assert_same_bits, check_refused, draw, refusal

NUMBERS = draw(4, 2).numpy()
LABELS = [0, 1, 1, 0]
COLUMNS = {"a": NUMBERS[:, 0], "b": NUMBERS[:, 1]}
NETWORK = fm.Linear(2, 3)
PARAMS = NETWORK.init(KEY, dtype=torch.float64)


@pytest.mark.parametrize(
    ("frame", "series"),
    [(pandas.DataFrame, pandas.Series), (polars.DataFrame, polars.Series)],
    ids=["pandas", "polars"],
)
def test_frames_are_taken_as_their_numbers_are(frame: Any, series: Any) -> None:
    expected = fm.Dataset(torch.from_numpy(NUMBERS), torch.tensor(LABELS), torch.tensor([1.0, 2.0, 1.0, 0.0]))
    data = fm.Dataset(frame(COLUMNS), series(LABELS), series([1.0, 2.0, 1.0, 0.0]))
    parts = (expected.inputs, expected.targets, expected.weights)
    assert_same_bits((data.inputs, data.targets, data.weights), parts)
    assert_same_bits(fm.Dataset(frame(COLUMNS), series([label == 1 for label in LABELS])).targets, data.targets)
    values = fm.Dataset(frame(COLUMNS), frame({"y": NUMBERS[:, 0]}))
    assert_same_bits(values.targets, torch.from_numpy(NUMBERS[:, :1]))
    mixed = frame({"a": NUMBERS[:, 0], "n": [1, 2, 3, 4], "is": [True, False, True, True]})
    assert fm.Dataset(mixed, series(LABELS)).inputs.tolist()[1] == [NUMBERS[1, 0], 2.0, 0.0]
    for call in (fm.predict, fm.classify):
        assert_same_bits(call(NETWORK, PARAMS, frame(COLUMNS)), call(NETWORK, PARAMS, expected.inputs))
    stacked = fm.ensemble.stack([PARAMS, PARAMS])
    members = fm.ensemble.predict(NETWORK, stacked, frame(COLUMNS))
    assert_same_bits(members, fm.ensemble.predict(NETWORK, stacked, NUMBERS))


@pytest.mark.parametrize("frame", [pandas.DataFrame(NUMBERS), polars.DataFrame({"a": NUMBERS[:, 0].copy()})])
def test_numbers_are_taken_where_they_lie(frame: Any) -> None:
    assert fm.Dataset(frame, np.array(LABELS)).inputs.data_ptr() == frame.to_numpy().ctypes.data


def test_pandas_numbers_that_may_be_missing_are_numbers() -> None:
    frame = pandas.DataFrame({"a": NUMBERS[:, 0], "n": pandas.array([1, 2, 3, 4], dtype="Int64")})
    assert fm.Dataset(frame, pandas.array(LABELS, dtype="Int64")).inputs[:, 1].tolist() == [1.0, 2.0, 3.0, 4.0]


def words(kind: Any) -> Any:
    return kind({**COLUMNS, "city": ["Bern", "Graz", "Graz", "Bern"]})


@pytest.mark.parametrize(
    ("call", "error", "fragments"),
    [
        *(
            refusal(
                f"words of {kind.__module__}",
                lambda kind=kind: fm.Dataset(words(kind), np.array(LABELS)),
                TypeError,
                "Dataset: inputs: column 'city' must hold numbers, got",
                "functional_mlp.tables.read_table",
            )
            for kind in (pandas.DataFrame, polars.DataFrame)
        ),
        refusal(
            "words as classes",
            lambda: fm.Dataset(NUMBERS, np.array(["a", "b", "a", "b"])),
            TypeError,
            "numpy.unique(words, return_inverse=True)[1]",
        ),
        refusal(
            "missing numbers",
            lambda: fm.Dataset(polars.DataFrame({"a": [1.0, None]}), np.array([0, 1])),
            ValueError,
            "finite, got nan in row 1, column 0",
        ),
        *(
            refusal(f"whole numbers of {what}", lambda x=x: fm.predict(NETWORK, PARAMS, x), ValueError, "int64", call)
            for what, x, call in (
                ("numpy", np.ones((4, 2), dtype=int), "call .astype('float32')"),
                ("pandas", pandas.DataFrame({"a": [1], "b": [2]}), "call .astype('float32')"),
                ("polars", polars.DataFrame({"a": [1], "b": [2]}), "call .cast(polars.Float32)"),
            )
        ),
        *(
            refusal(f"a row of values of {what}", lambda y=y: fm.Dataset(NUMBERS, y), ValueError, *calls)
            for what, y, calls in (
                ("torch", torch.ones(4), [".long()", ".unsqueeze(1)"]),
                ("numpy", np.ones(4), [".astype('int64')", ".reshape(-1, 1)"]),
                ("pandas", pandas.Series(np.ones(4)), [".astype('int64')", ".to_frame()"]),
                ("polars", polars.Series(np.ones(4)), [".cast(polars.Int64)", ".to_frame()"]),
            )
        ),
        *(
            refusal(f"values of another dtype of {what}", lambda y=y: fm.Dataset(NUMBERS, y), ValueError, call)
            for what, y, call in (
                ("torch", torch.ones(4, 1), ".to(torch.float64) on the targets"),
                ("numpy", np.ones((4, 1), dtype="float32"), ".astype('float64') on the targets"),
                ("polars", polars.DataFrame({"y": np.ones(4, dtype="float32")}), ".cast(polars.Float64)"),
            )
        ),
        refusal(
            "a plan", lambda: fm.Dataset(polars.LazyFrame({"a": [1.0]}), np.array(LABELS)), TypeError, ".collect()"
        ),
        refusal("lists", lambda: fm.Dataset([[1.0]], np.array(LABELS)), TypeError, "call torch.as_tensor"),
        refusal("an array in a layer", lambda: NETWORK.apply(PARAMS, NUMBERS), TypeError, "call torch.as_tensor"),
        refusal(
            "a frame in a layer", lambda: NETWORK.apply(PARAMS, pandas.DataFrame(COLUMNS)), TypeError, ".to_numpy()"
        ),
    ],
)
def test_refusals(call, error, fragments) -> None:
    check_refused(call, error, fragments)
