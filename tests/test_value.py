import copy
import pickle

import attrs
import numpy as np
import pytest

import functional_mlp as fm
from functional_mlp.value import Value
from tests.tables import VALUES

every_value = pytest.mark.parametrize("value", VALUES, ids=repr)


@every_value
def test_the_repr_is_the_code_that_makes_the_value(value: Value) -> None:
    names: dict[str, object] = {}
    exec("from functional_mlp import *", names)
    assert eval(repr(value), names) == value


@every_value
def test_a_value_survives_pickle_and_copy(value: Value) -> None:
    for twin in (pickle.loads(pickle.dumps(value)), copy.copy(value), copy.deepcopy(value)):
        assert twin == value
        assert hash(twin) == hash(value)
        assert repr(twin) == repr(value)


def test_values_differ_where_their_code_differs() -> None:
    assert len({repr(value) for value in VALUES}) == len(set(VALUES)) == len(VALUES)
    for index, value in enumerate(VALUES):
        assert [other == value for other in VALUES] == [place == index for place in range(len(VALUES))]


@every_value
def test_a_value_cannot_be_changed(value: Value) -> None:
    for name in [field.name for field in attrs.fields(type(value))] + ["anything"]:
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(value, name, 1)


def test_a_number_of_numpy_is_written_as_a_number() -> None:
    assert repr(fm.SGD(np.float64(0.5))) == "SGD(0.5)"


def test_fields_at_their_defaults_are_left_out() -> None:
    assert repr(fm.Linear(2, 3)) == "Linear(2, 3)"
    assert repr(fm.Linear(2, 3, bias=False)) == "Linear(2, 3, bias=False)"
    assert repr(fm.Adam(0.1, eps=1e-6)) == "Adam(0.1, eps=1e-06)"
