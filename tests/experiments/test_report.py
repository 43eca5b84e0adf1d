"""The report: its numbers as JSON, and what it says of how it was made."""

import json
import math
from typing import Any

import attrs
import pytest

from functional_mlp.experiments import report, reproduction
from functional_mlp.experiments.document import Paragraph
from functional_mlp.experiments.reproduction import FULL, QUICK, Scale


@attrs.frozen
class Inner:
    means: tuple[float, ...]


@attrs.frozen
class Outer:
    """What a result is made of."""

    inner: Inner
    shares: dict[str, float]
    runs: list[Any]


def test_what_is_not_a_number_is_null() -> None:
    result = Outer(Inner((1.5, math.nan)), {"a": math.inf, "b": 2.0}, [None, True, -math.inf, "x", 3])
    expected = {
        "inner": {"means": [1.5, None]},
        "shares": {"a": None, "b": 2.0},
        "runs": [None, True, None, "x", 3],
    }
    assert json.loads(report.to_json(result)) == expected


@pytest.mark.parametrize(
    ("scale", "command"),
    [(FULL, "functional-mlp reproduce --seed 7"), (QUICK, "functional-mlp reproduce --quick --seed 7")],
)
def test_the_command_is_the_one_that_makes_the_report_again(scale: Scale, command: str) -> None:
    assert report._command(reproduction._setting(7, scale)) == command


def test_a_preview_is_told_to_be_one() -> None:
    (paragraph,) = report._preview(reproduction._setting(7, QUICK))
    assert isinstance(paragraph, Paragraph)
    assert "3 runs, and 1 run of torch.nn" in paragraph.text
    assert report._preview(reproduction._setting(7, FULL)) == []
