"""From raw columns to numbers: what is learned, what comes out, what travels."""

import json
import sys
from datetime import datetime
from fractions import Fraction

import attrs
import mpmath
import numpy as np
import polars
import pytest
import torch

from functional_mlp.tables import LeftOut, Preparation, Scale
from functional_mlp.tables.columns import MOST_OTHERS, MOST_WORDS

DAYS = [datetime(2021, 3, day, 12) for day in (1, 2, 9)]
COLUMNS = polars.DataFrame(
    {
        "size": [1.0, None, 3.0, 5.0],
        "colour": ["red", "blue", None, "red"],
        "flag": ["true", "false", "true", "false"],
        "day": [*DAYS, None],
        "unit": ["m"] * 4,
        "count": [7.0] * 4,
    },
    schema_overrides={"day": polars.Datetime("us")},
)


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ([10**18 + row for row in range(4)], "it is 1e+18 throughout, up to rounding"),
        ([1.0, 1.0 + 2**-52], "it is 1 throughout, up to rounding"),
        ([0.1, 0.1], "it is 0.1 throughout"),
    ],
)
def test_numbers_that_rounding_has_made_the_same_are_called_so(numbers, reason):
    columns = polars.DataFrame({"id": [float(number) for number in numbers], "x": range(len(numbers))})
    prepared = Preparation.learn(columns.with_columns(polars.col("x").cast(polars.Float64)))
    assert prepared.left_out == (LeftOut("id", reason),)


def test_numbers_words_and_dates_become_numbers():
    preparation = Preparation.learn(COLUMNS)
    values = dict(zip(preparation.features, preparation.apply(COLUMNS, torch.float64).T.tolist(), strict=True))
    std = float(np.std([1, 3, 5]))
    assert values["size"] == pytest.approx([-2 / std, 0, 0, 2 / std])
    assert values["size is missing"] == [0, 1, 0, 0]
    assert values["colour = red"] == [1, 0, 0, 1]
    assert values["colour = others"] == [0, 1, 0, 0]
    assert values["colour is missing"] == [0, 0, 1, 0]
    assert values["flag = false"] == [0, 1, 0, 1]
    assert values["day: day"] == pytest.approx(
        [-3 / np.std([1, 2, 9]), -2 / np.std([1, 2, 9]), 5 / np.std([1, 2, 9]), -2 / np.std([1, 2, 9])]
    )
    assert values["day is missing"] == [0, 0, 0, 1]
    assert "day: month" not in values
    assert preparation.left_out == (
        LeftOut("unit", "it is 'm' throughout"),
        LeftOut("count", "it is 7 throughout"),
    )


def test_columns_are_found_by_their_names():
    preparation = Preparation.learn(COLUMNS)
    other = COLUMNS.select(*COLUMNS.columns[::-1])
    assert preparation.apply(other).equal(preparation.apply(COLUMNS))
    assert preparation.columns == ("size", "colour", "flag", "day")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_numbers_are_of_the_dtype_that_is_asked_for(dtype):
    exact = Preparation.learn(COLUMNS).apply(COLUMNS, torch.float64)
    assert Preparation.learn(COLUMNS).apply(COLUMNS, dtype).equal(exact.to(dtype))


def test_the_most_frequent_words_have_indicators_and_the_others_one():
    words = [f"w{index:02}" for index in range(MOST_WORDS + 5) for _ in range(40 - index)] + ["once"]
    column = polars.DataFrame({"w": words})
    preparation = Preparation.learn(column)
    assert preparation.features == (*(f"w = w{index:02}" for index in range(MOST_WORDS)), "w = others")
    values = preparation.apply(column)
    assert values.sum(1).eq(1).all()
    assert values[-1, -1] == 1
    assert preparation.surprises(column) == []
    new = "'w': 2 values not seen in training, and counted among the others, 'new' the first"
    assert preparation.surprises(polars.DataFrame({"w": ["once", "new", "w01", "new"]})) == [new]


def test_words_that_are_too_many_to_be_kept_are_counted_among_the_others():
    column = polars.DataFrame({"w": ["often", "often", *(f"w{index}" for index in range(MOST_OTHERS + 1))]})
    preparation = Preparation.learn(column)
    new = polars.DataFrame({"w": ["often", "new", "w1"]})
    said = ["'w': 2 values counted among the others, 'new' the first"]
    assert preparation.surprises(new) == said
    older = preparation.to_json()
    del older["recipes"][0]["others"]  # as files of older versions are
    assert Preparation.from_json(older).surprises(new) == said


def test_words_of_which_each_row_has_another_tell_nothing():
    columns = polars.DataFrame({"name": list("abcd"), "x": [1.0, 3.0, 2.0, 5.0]})
    assert Preparation.learn(columns).left_out == (LeftOut("name", "each row has another word"),)


def test_what_training_has_not_seen_is_said_and_taken_for_other():
    preparation = Preparation.learn(COLUMNS)
    new = polars.DataFrame(
        {
            "size": [None, 12.0, 9.5, -2.0],
            "colour": ["green", "red", None, "red"],
            "flag": ["maybe", "true", None, "true"],
            "day": [DAYS[0], datetime(2031, 1, 1), None, DAYS[1]],
        },
        schema_overrides={"day": polars.Datetime("us")},
    )
    assert preparation.surprises(new) == [
        "'size': 2 values far from those of training, 1 to 5",
        "'colour': 1 value not seen in training, and counted among the others, 'green' the first",
        "'flag': 1 value not seen in training, 'maybe' the first",
        "'flag': 1 value missing, of which training had none",
        "'day': 1 date far from those of training",
    ]
    values = dict(zip(preparation.features, preparation.apply(new).T.tolist(), strict=True))
    assert values["colour = others"] == [1, 0, 0, 0]
    assert (values["flag = false"][0], values["flag = true"][0]) == (0, 0)
    assert preparation.surprises(COLUMNS) == []


def test_columns_that_tell_nothing_are_named():
    columns = polars.DataFrame({"k": [1.0, 1.0], "n": polars.Series([None, None], dtype=polars.Float64)})
    with pytest.raises(ValueError, match=r"no column of the 2 rows .*: 'k': it is 1 throughout; 'n': it has no value"):
        Preparation.learn(columns)


def test_a_preparation_travels_as_json():
    preparation = Preparation.learn(COLUMNS)
    text = json.dumps(preparation.to_json(), allow_nan=False)
    again = Preparation.from_json(json.loads(text))
    assert again == preparation
    assert again.apply(COLUMNS).equal(preparation.apply(COLUMNS))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.update(more=1),
        lambda data: data["recipes"][0].update(type="Column"),
        lambda data: data["recipes"][0].update(type="os.system"),
        lambda data: data["recipes"][0].update(name=3),
        lambda data: data["recipes"][0]["scale"].update(mean="0"),
        lambda data: data["recipes"][0]["scale"].pop("std"),
        lambda data: data["recipes"][1].update(words=[1, 2]),
        lambda data: data["recipes"][3].update(parts=["century"]),
        lambda data: data["recipes"][3].update(scales=[]),
    ],
)
def test_other_json_is_refused(spoil):
    data = Preparation.learn(COLUMNS).to_json()
    spoil(data)
    with pytest.raises(ValueError, match="does not describe a preparation"):
        Preparation.from_json(data)


def test_a_preparation_is_a_frozen_value():
    preparation = Preparation.learn(COLUMNS)
    assert preparation == Preparation.learn(COLUMNS)
    assert hash(preparation) == hash(Preparation.learn(COLUMNS))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        preparation.recipes = ()


def exact_figures(numbers):
    """The mean and the standard deviation, from fractions."""
    fractions = [Fraction(number) for number in numbers.tolist()]
    mean = sum(fractions) / len(fractions)
    variance = sum((number - mean) ** 2 for number in fractions) / len(fractions)
    with mpmath.workdps(700):  # squares of the smallest numbers have 650 places
        return mpmath.mpf(mean.numerator) / mean.denominator, mpmath.sqrt(
            mpmath.mpf(variance.numerator) / variance.denominator
        )


@pytest.mark.parametrize(
    ("mean", "scale"),
    [
        *((0.0, scale) for scale in (1e-320, 1e-300, 1e-154, 1.0, 1e154, 1e300)),
        *((1e12, scale) for scale in (1e-2, 1.0, 1e6)),
        (-1e12, 1.0),
        (1e300, 1e290),
        (1e-300, 1e-308),
        (1e8, 1e-6),
    ],
)
def test_columns_of_any_size_and_mean_are_standardized_exactly(mean, scale):
    numbers = mean + scale * np.random.default_rng(0).standard_normal(200)
    learned = Scale.learn(numbers)
    exact_mean, exact_std = exact_figures(numbers)
    tolerance = max(1e-12, 2 * sys.float_info.min * sys.float_info.epsilon / scale)  # what is denormal has fewer digits
    assert abs(learned.mean - exact_mean) <= 1e-12 * abs(exact_mean) + tolerance * exact_std
    assert abs(learned.std / exact_std - 1) <= tolerance
    for number, applied in zip(numbers.tolist(), learned.apply(numbers).tolist(), strict=True):
        exact = (mpmath.mpf(number) - mpmath.mpf(learned.mean)) / mpmath.mpf(learned.std)
        assert abs(applied - exact) <= 1e-12 * abs(exact)


def test_numbers_at_both_ends_of_the_range_are_standardized():
    largest = sys.float_info.max
    numbers = np.array([largest, -largest, largest, -largest])
    learned = Scale.learn(numbers)
    assert (learned.mean, learned.std) == (0.0, largest)
    assert learned.apply(numbers).tolist() == [1.0, -1.0, 1.0, -1.0]
    assert learned.outliers(numbers) == 0
    shifted = Scale(mean=-largest, std=largest, median=0.0, low=-largest, high=largest)
    assert shifted.apply(numbers).tolist() == [2.0, 0.0, 2.0, 0.0]


@pytest.mark.parametrize("size", [1e-30, 0.1, 1e12, -1e30, 1e18])
def test_a_column_that_varies_by_rounding_alone_is_constant(size):
    noisy = np.array([size, np.nextafter(size, 2 * size), size])
    assert Scale.learn(noisy) is None
    step = 100 * np.finfo(np.float64).eps * abs(size)
    assert Scale.learn(np.array([size, size + step])).std > 0
