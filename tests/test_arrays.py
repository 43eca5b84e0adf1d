"""Arrays of numpy, and frames and series of pandas and polars, as data."""

import datetime
from typing import Any

import ml_dtypes
import numpy as np
import pandas
import polars
import pytest
import torch

import functional_mlp as fm
from functional_mlp.arrays import as_tensor
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


def test_integers_of_128_bits_are_class_indices() -> None:
    for dtype in (polars.Int128, polars.UInt8):
        assert fm.Dataset(NUMBERS, polars.Series(LABELS, dtype=dtype)).targets.tolist() == LABELS


# How each kind of data holds the columns of an array, and the first of them, and how it is converted.
KINDS: dict[str, Any] = {
    "numpy": (np.asarray, lambda column: column, ".astype('{}')"),
    "pandas": (pandas.DataFrame, pandas.Series, ".astype('{}')"),
    "polars": (
        lambda array: polars.DataFrame(array, schema=list("abcdef"[: array.shape[1]])),
        polars.Series,
        ".cast(polars.{})",
    ),
    "torch": (torch.tensor, torch.tensor, ".to(torch.{})"),
}
FOR_ONE = {"numpy": ".reshape(-1, 1)", "pandas": ".to_frame()", "polars": ".to_frame()", "torch": ".unsqueeze(1)"}
OF_ONE = {"numpy": ".ravel()", "pandas": ".iloc[:, 0]", "polars": ".to_series()", "torch": ".squeeze(1)"}
SMALL, ONE_HOT = NUMBERS.astype("float32"), np.eye(2, dtype=int)[LABELS]
SMALL_PARAMS = NETWORK.init(KEY)
ONLINE = fm.Online(NETWORK, fm.MeanSquaredError(), fm.SGD(0.1))
STATE = ONLINE.init(SMALL_PARAMS)
SITUATIONS: dict[str, Any] = {
    "predict": (NUMBERS, lambda x: fm.predict(NETWORK, SMALL_PARAMS, x), "float32"),
    "classify whole numbers": (ONE_HOT, lambda x: fm.classify(NETWORK, PARAMS, x), "float64"),
    "an ensemble": (NUMBERS, lambda x: fm.ensemble.predict(NETWORK, fm.ensemble.stack([SMALL_PARAMS]), x), "float32"),
    "online": (NUMBERS, lambda x: ONLINE.predict(STATE, x), "float32"),
    "online targets": (np.ones((4, 3)), lambda y: ONLINE.step(STATE, SMALL, y), "float32"),
    "whole inputs": (ONE_HOT, lambda x: fm.Dataset(x, np.array(LABELS)), "float32"),
    "bool inputs": (ONE_HOT == 1, lambda x: fm.Dataset(x, np.array(LABELS)), "float32"),
    "targets of another dtype": (SMALL, lambda y: fm.Dataset(NUMBERS, y), "float64"),
    "whole values": (3 * ONE_HOT, lambda y: fm.Dataset(SMALL, y), "float32"),
    "several that are true": (ONE_HOT >= 0, lambda y: fm.Dataset(SMALL, y), "float32"),
    "one row of features": (NUMBERS[:, 0], lambda x: fm.Dataset(x, np.array(LABELS)), FOR_ONE),
    "classes in floats": (np.array(LABELS, "float64"), lambda y: fm.Dataset(NUMBERS, y), "int64"),
    "labels in floats": (np.array(LABELS, "float64"), fm.datasets.balanced_weights, "int64"),
    "values of one output": (np.array(LABELS, "float64"), lambda y: fm.Dataset(NUMBERS, y), FOR_ONE),
    "classes in a column": (np.array(LABELS).reshape(-1, 1), lambda y: fm.Dataset(NUMBERS, y), OF_ONE),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_advice_can_be_followed(kind: str, situation: str) -> None:
    array, use, advice = SITUATIONS[situation]
    frame, series, cast = KINDS[kind]
    data = frame(array) if array.ndim == 2 else series(array)
    call = (
        advice[kind] if isinstance(advice, dict) else cast.format(advice.capitalize() if kind == "polars" else advice)
    )
    if not (kind == "torch" and situation in ("predict", "classify whole numbers", "an ensemble")):  # see the layers
        check_refused(lambda: use(data), ValueError, [call])
    use(eval(f"data{call}"))


WORDS = ["b", "a", "b", "a"]
STRINGS = [np.dtypes.StringDType()] if hasattr(np.dtypes, "StringDType") else []  # since numpy 2
DATES = [datetime.date(1970, 1, day) for day in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("data", "advice", "expected"),
    [
        *(
            (np.array(WORDS, dtype=dtype), "numpy.unique(words, return_inverse=True)[1]", [1, 0, 1, 0])
            for dtype in (str, object, *STRINGS)
        ),
        *(
            (kind, "data.astype('category').cat.codes", [1, 0, 1, 0])
            for kind in (pandas.Series(WORDS), pandas.Series(WORDS, dtype="category"))
        ),
        *(
            (polars.Series(WORDS, dtype=dtype), "data.rank('dense') - 1", [1, 0, 1, 0])
            for dtype in (polars.String, polars.Categorical, polars.Enum(["a", "b"]))
        ),
        (
            np.array([*DATES, None], "datetime64[D]"),
            "numpy.where(numpy.isnat(dates), numpy.nan, dates.astype('float64'))",
            [0.0, 1.0, 2.0, 3.0, np.nan],
        ),
        *(
            (
                pandas.Series(pandas.to_datetime([*DATES, None]).as_unit("s").tz_localize(zone)),
                "data.astype('int64').astype('float64').where(dates.notna())",
                [0.0, 86400.0, 172800.0, 259200.0, np.nan],
            )
            for zone in (None, "UTC")
        ),
        (polars.Series([datetime.time(0, 0, 1), None]), "data.cast(polars.Float64)", [1e9, np.nan]),
        (polars.Series(DATES), "data.cast(polars.Float64)", [0.0, 1.0, 2.0, 3.0]),
        (polars.Series(["1.5", "2"]).cast(polars.Decimal(4, 1)), "data.cast(polars.Float64)", [1.5, 2.0]),
        (np.array([1.5, 2], dtype=object), "data.astype('float64')", [1.5, 2.0]),
        (np.array([1.5, 2], dtype="longdouble"), "data.astype('float64')", [1.5, 2.0]),
        (np.array([1.5, 2], dtype=ml_dtypes.bfloat16), "data.astype('float64')", [1.5, 2.0]),
        (np.array([1.5, None], dtype=object), "data.astype('float64')", [1.5, np.nan]),
        (polars.Series([{"a": 1, "b": 2}]), "data.struct.unnest()", [[1, 2]]),
        (polars.Series([[1, 2]], dtype=polars.Array(int, 2)), "data.arr.to_struct().struct.unnest()", [[1, 2]]),
    ],
)
def test_what_makes_numbers_of_words_and_dates(data: Any, advice: str, expected: Any) -> None:
    text = advice.removeprefix("data")
    check_refused(lambda: fm.Dataset(np.ones((len(data), 2)), data), TypeError, ["must hold numbers", text])
    names = {"numpy": np, "polars": polars, "data": data, "words": data, "dates": data}
    converted = as_tensor("converted", eval(advice, names))
    np.testing.assert_array_equal(converted.numpy(), expected)


@pytest.mark.parametrize("kind", ["numpy", "pandas", "polars"])
def test_half_precision_is_reached_through_a_tensor(kind: str) -> None:
    data, params = KINDS[kind][0](NUMBERS), NETWORK.init(KEY, dtype=torch.bfloat16)
    call = "torch.as_tensor(numpy.array(data)).to(torch.bfloat16)"
    check_refused(lambda: fm.predict(NETWORK, params, data), ValueError, [call])
    fm.predict(NETWORK, params, eval(call, {"numpy": np, "torch": torch, "data": data}))


@pytest.mark.parametrize("loss", [fm.MeanSquaredError(), fm.Huber(), fm.PoissonDeviance(), fm.BinaryCrossEntropy()])
@pytest.mark.parametrize("outputs", [1, 2])
def test_losses_that_take_values_say_how_to_make_them_of_classes(loss: fm.Loss, outputs: int) -> None:
    network = fm.Linear(2, outputs)
    params, data = network.init(KEY), fm.Dataset(SMALL, np.array(LABELS))
    if loss == fm.BinaryCrossEntropy() and outputs == 1:  # which takes such labels
        fm.evaluate(network, loss, params, data)
        return
    two = "torch.eye(2, dtype=torch.float32)[torch.as_tensor(targets)]"
    call = two if outputs == 2 else "torch.as_tensor(targets).to(torch.float32).unsqueeze(-1)"
    check_refused(lambda: fm.evaluate(network, loss, params, data), ValueError, [call])
    for targets in (data.targets, np.array(LABELS), pandas.Series(LABELS), polars.Series(LABELS)):
        values = eval(call, {"torch": torch, "targets": targets})
        fm.evaluate(network, loss, params, fm.Dataset(SMALL, values))


@pytest.mark.parametrize("weights", [None, np.array([1, 2, 1, 1])])
def test_a_data_set_of_another_dtype_than_the_params_is_made_anew(weights: Any) -> None:
    for targets in (np.array(LABELS), NUMBERS):
        network = fm.Linear(2, 2)
        loss = fm.CrossEntropy() if targets.ndim == 1 else fm.MeanSquaredError()
        data, params = fm.Dataset(NUMBERS, targets, weights), network.init(KEY)
        with pytest.raises(ValueError, match=r"params\.weight and the data must have one dtype") as caught:
            fm.evaluate(network, loss, params, data)
        made = str(caught.value).partition(": ")[2].partition(" is ")[0]
        fm.evaluate(network, loss, params, eval(made, {"torch": torch, "functional_mlp": fm, "data": data}))


def test_one_hot_bools_are_one_hot() -> None:
    dummies = pandas.get_dummies(pandas.Series(WORDS))
    assert fm.Dataset(SMALL, dummies).labels.tolist() == [1, 0, 1, 0]
    assert fm.CrossEntropy().value(torch.zeros(4, 2), torch.tensor(dummies.to_numpy())).item() == pytest.approx(
        0.6931, abs=1e-4
    )


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
                "Dataset: inputs: column 'city' must hold numbers that torch knows, got",
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
            "the same name twice",
            lambda: fm.Dataset(pandas.DataFrame([[1.0, "a"]] * 4, columns=["x", "x"]), np.array(LABELS)),
            TypeError,
            "column 'x' must hold numbers that torch knows, got str",
        ),
        refusal(
            "dates beside numbers",
            lambda: fm.Dataset(polars.DataFrame({"a": [1.0] * 4, "when": DATES}), np.array(LABELS)),
            TypeError,
            "column 'when' must hold numbers",
            "Date: .cast(polars.Float64) makes numbers of dates",
        ),
        refusal(
            "lists in a column",
            lambda: fm.Dataset(polars.DataFrame({"a": [[1.0], [1.0, 2.0]]}), np.array(LABELS[:2])),
            TypeError,
            "got List(Float64): leave it out",
        ),
        refusal(
            "too large an integer",
            lambda: fm.Dataset(NUMBERS, polars.Series([2**70, 0, 1, 0], dtype=polars.Int128)),
            ValueError,
            "at most 64 bits, got Int128: call .cast(polars.Float64)",
        ),
        *(
            refusal(f"classes that are missing in {kind.__name__}", call, ValueError, "finite, got nan in row 1")
            for kind, call in (
                (pandas.Series, lambda: fm.Dataset(NUMBERS, pandas.Series([1, None, 0, 1], dtype="Int64"))),
                (polars.Series, lambda: fm.Dataset(NUMBERS, polars.Series([True, None, False, True]))),
            )
        ),
        refusal(
            "missing numbers",
            lambda: fm.Dataset(polars.DataFrame({"a": [1.0, None]}), np.array([0, 1])),
            ValueError,
            "finite, got nan in row 1, column 0",
        ),
        refusal(
            "a plan", lambda: fm.Dataset(polars.LazyFrame({"a": [1.0]}), np.array(LABELS)), TypeError, ".collect()"
        ),
        refusal(
            "words of which one is missing",
            lambda: fm.Dataset(NUMBERS, np.array(["a", None, "b", "a"], dtype=object)),
            TypeError,
            "leave out the rows without a word, then numpy.unique(words, return_inverse=True)[1]",
        ),
        refusal(
            "several numbers in a column",
            lambda: fm.Dataset(polars.DataFrame({"a": [{"b": 1.0, "c": 2.0}] * 4}), np.array(LABELS)),
            TypeError,
            "column 'a' must hold numbers that torch knows, got Struct",
        ),
        refusal("a list of words", lambda: fm.Dataset(NUMBERS, WORDS), TypeError, "call numpy.array"),
        refusal("lists", lambda: fm.Dataset([[1.0]], np.array(LABELS)), TypeError, "call torch.as_tensor"),
        refusal("an array in a layer", lambda: NETWORK.apply(PARAMS, NUMBERS), TypeError, "call torch.as_tensor"),
        refusal(
            "a frame in a layer", lambda: NETWORK.apply(PARAMS, pandas.DataFrame(COLUMNS)), TypeError, ".to_numpy()"
        ),
    ],
)
def test_refusals(call, error, fragments) -> None:
    check_refused(call, error, fragments)
