"""A table's preparation as nodes of a graph: raw columns go in, and the numbers that a network takes come out.

Each column is an input (n,) of its name: numbers are float64, NaN where one is missing; words are strings, "" where one
is missing; dates are milliseconds since 1970 as float64, NaN where one is missing.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from functional_mlp.interop.graphs import Graph, GraphArray, GraphNamespace, import_onnx
from functional_mlp.tables import Column, DateColumn, NumberColumn, Preparation, Scale, WordColumn
from functional_mlp.tables.figures import standardized

if TYPE_CHECKING:
    import onnx

_DAY = 86_400_000
# The numbers that stand for a word that is not known, and for a missing one.
_OTHER, _MISSING = -1, -2


def column_inputs(preparation: Preparation) -> list["onnx.ValueInfoProto"]:
    """The inputs of a model, one a raw column."""
    onnx = import_onnx()
    proto, make = onnx.TensorProto, onnx.helper.make_tensor_value_info
    return [
        make(recipe.name, proto.STRING if recipe.kind == "word" else proto.DOUBLE, ["n"])
        for recipe in preparation.recipes
    ]


def prepared(graph: Graph, preparation: Preparation, dtype: torch.dtype) -> str:
    """The name of the numbers (n, features) that a preparation makes of the inputs, in a dtype."""
    axis = graph.constant(torch.tensor([1], device="cpu"), "axis")
    columns = [
        graph.node("Unsqueeze", numbers, axis)
        for recipe in preparation.recipes
        for numbers in _Columns(graph).features(recipe)
    ]
    return graph.cast(graph.node("Concat", *columns, axis=1), dtype)


class _Columns:
    """The features of raw columns as arrays of a graph, computed as the recipes do."""

    def __init__(self, graph: Graph) -> None:
        self._graph, self._xp = graph, GraphNamespace(graph, torch.float64)

    def features(self, recipe: Column) -> Iterator[str]:
        if isinstance(recipe, WordColumn):
            yield from self._words(recipe)
            return
        raw = self._xp.array(recipe.name)
        if isinstance(recipe, NumberColumn):
            yield self._scaled(recipe.scale, raw)
        else:
            assert isinstance(recipe, DateColumn)
            parts = self._parts(raw)
            yield from (
                self._scaled(scale, parts[part]) for part, scale in zip(recipe.parts, recipe.scales, strict=True)
            )
        if recipe.has_missing:
            yield self._indicator(self._graph.node("IsNaN", recipe.name))

    def _scaled(self, scale: Scale, numbers: Any) -> str:
        filled: Any = self._xp.where(numbers != numbers, scale.median, numbers)
        made: GraphArray = standardized(filled, scale.mean, scale.std)  # type: ignore[assignment] # operators alone
        return made.name

    def _words(self, recipe: WordColumn) -> Iterator[str]:
        keys = {**{word: index for index, word in enumerate(recipe.words)}, "": _MISSING}
        numbers = self._graph.node(
            "LabelEncoder",
            recipe.name,
            domain="ai.onnx.ml",
            keys_strings=list(keys),
            values_int64s=list(keys.values()),
            default_int64=_OTHER,
        )
        shown = [*range(len(recipe.words)), *([_OTHER] if recipe.has_others else [])]
        for number in [*shown, *([_MISSING] if recipe.has_missing else [])]:
            constant = self._graph.constant(torch.tensor(number, device="cpu"), "word")
            yield self._indicator(self._graph.node("Equal", numbers, constant))

    def _indicator(self, mask: str) -> str:
        return self._graph.cast(mask, torch.float64)

    def _parts(self, milliseconds: Any) -> dict[str, Any]:
        """The parts of the calendar, by the algorithm of Howard Hinnant, "chrono-compatible low-level date algorithms".

        It counts days from 1 March 0000 on, in eras of 400 years, so that a leap day is the last of its year.
        """
        days = self._floor(milliseconds / _DAY)
        shifted = days + 719468
        in_era = shifted - 146097 * self._floor(shifted / 146097)
        leaps = self._floor(in_era / 1460) - self._floor(in_era / 36524) + self._floor(in_era / 146096)
        year = self._floor((in_era - leaps) / 365)
        in_year = in_era - (365 * year + self._floor(year / 4) - self._floor(year / 100))
        from_march = self._floor((5 * in_year + 2) / 153)
        minutes = self._floor((milliseconds - _DAY * days) / 60_000)
        return {
            "day": milliseconds / _DAY,
            "month": self._xp.where(from_march < 10, from_march + 3, from_march - 9),
            "day of month": in_year - self._floor((153 * from_march + 2) / 5) + 1,
            "weekday": (days + 3) % 7 + 1,
            "hour": minutes / 60,
        }

    def _floor(self, numbers: GraphArray) -> Any:
        return self._xp.array(self._graph.node("Floor", numbers.name))
