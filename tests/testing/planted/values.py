"""Layers that are no values."""

from typing import Any

import attrs

from functional_mlp.testing import check_layer
from tests.testing.planted.layers import Square
from tests.testing.planted.table import planted


@planted(check_layer, says="cannot be hashed")
class Unhashable(Square):
    __hash__ = None


@planted(check_layer, lambda x: x, says="cannot be pickled|repr must be the code")
@attrs.frozen
class Unpicklable(Square):
    function: Any


@planted(check_layer, says="repr must be the code that makes the value")
class ReprDoesNotEvaluate(Square):
    def __repr__(self):
        return "<a square>"


@planted(check_layer, 2.0, says="does not equal")
@attrs.frozen(repr=False)
class ReprLosesAField(Square):
    factor: float = 1.0

    def __repr__(self):
        return "ReprLosesAField()"


@planted(check_layer, says="does not equal its pickled copy")
class EqualByIdentity(Square):
    __eq__ = object.__eq__
    __hash__ = object.__hash__
