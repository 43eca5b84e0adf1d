"""A view stands for a tuple or a list, and makes the items that are asked for alone."""

import itertools
import json
import operator
import pickle
from typing import Any

import numpy as np
import pytest
import torch

from functional_mlp.views import View

FIGURES = (0.5, 0.25, 0.125, 1.0)


class Counting:
    """Figures that count how many of them were asked for."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, place: int) -> float:
        self.asked += 1
        return FIGURES[place]


@pytest.mark.parametrize("kind", [tuple, list])
def test_a_view_does_what_it_stands_for(kind: Any) -> None:
    view, whole = View(4, FIGURES.__getitem__, kind), kind(FIGURES)
    for place in (0, -1, 3, np.int64(-4)):
        assert view[place] == whole[place]
    for places in (slice(None), slice(-2, None), slice(None, None, -1), slice(9, 0, -2)):
        assert view[places] == whole[places]
        assert type(view[places]) is kind
    assert (view == whole, whole == view, view == View(4, FIGURES.__getitem__, kind)) == (True, True, True)
    assert (view == whole[:3], view == View(3, FIGURES.__getitem__, kind), view == set(whole)) == (False,) * 3
    for compare, other in itertools.product(
        (operator.lt, operator.le, operator.gt, operator.ge), (whole, whole[:3], kind((0.5, 0.3)))
    ):
        seen = View(len(other), other.__getitem__, kind)
        assert compare(view, other) == compare(view, seen) == compare(whole, other)
        assert compare(other, view) == compare(other, whole)
    with pytest.raises(TypeError, match="not supported between instances"):
        assert view < {0.5}
    assert repr(view) == repr(whole)
    assert (view + whole, whole + view, view + view, 2 * view) == ((whole * 2),) * 4
    assert (list(reversed(view)), view.index(0.125), view.count(1.0), 0.25 in view) == ([*FIGURES[::-1]], 2, 1, True)
    assert type(pickle.loads(pickle.dumps(view))) is kind
    assert pickle.loads(pickle.dumps(view)) == whole
    np.testing.assert_array_equal(np.asarray(view), np.asarray(whole))
    assert torch.equal(torch.tensor(view), torch.tensor(whole))
    for place in (4, -5):
        with pytest.raises(IndexError, match=f"{kind.__name__} index out of range"):
            view[place]


def test_a_view_is_hashed_as_its_tuple_is_and_json_refuses_it() -> None:
    view = View(4, FIGURES.__getitem__)
    assert hash(view) == hash(FIGURES)
    with pytest.raises(TypeError, match="unhashable"):
        hash(View(4, FIGURES.__getitem__, list))
    with pytest.raises(TypeError, match="not JSON serializable"):
        json.dumps(view)


def test_only_what_is_asked_for_is_made() -> None:
    item = Counting()
    view = View(4, item)
    assert (len(view), item.asked) == (4, 0)
    assert (view[-1], item.asked) == (1.0, 1)
    assert (view[-2:], item.asked) == ((0.125, 1.0), 3)
    assert (next(iter(view)), item.asked) == (0.5, 4)
