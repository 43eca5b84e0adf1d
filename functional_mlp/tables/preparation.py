"""`Preparation`: a frozen recipe from the raw columns of a table to the numbers that a network takes."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from functional_mlp import markup
from functional_mlp.spread import count
from functional_mlp.tables.columns import Column, DateColumn, NumberColumn, WordColumn
from functional_mlp.tables.kinds import Kind

if TYPE_CHECKING:
    import polars


@frozen
class LeftOut:
    """A column that is not used, and why."""

    name: str
    reason: str


@frozen(repr=False)
class Preparation:
    """What turns raw columns into numbers, learned on the rows of training alone.

    Numbers are standardized, and missing ones filled with the median beside an indicator; words have an indicator each,
    the most frequent ones first; dates become the parts of the calendar; a column that is the same in all rows is left
    out. The value is plain data: it is compared, and written into model files, as such.

    >>> import polars
    >>> columns = polars.DataFrame({"size": [1.0, 3.0, None], "colour": ["red", "red", "blue"], "unit": ["m"] * 3})
    >>> preparation = Preparation.learn(columns)
    >>> preparation.features
    ('size', 'size is missing', 'colour = red', 'colour = others')
    >>> preparation.left_out
    (LeftOut(name='unit', reason="it is 'm' throughout"),)
    >>> preparation.apply(polars.DataFrame({"colour": ["red", "green"], "size": [2.0, 5.0]}))
    tensor([[0., 0., 1., 0.],
            [3., 0., 0., 1.]])
    """

    recipes: tuple[Column, ...]
    left_out: tuple[LeftOut, ...] = ()

    def __repr__(self) -> str:
        return f"<Preparation of {count(len(self.recipes), 'column')} into {count(len(self.features), 'feature')}>"

    def _repr_html_(self) -> str:
        rows = [(recipe.name, recipe.kind, ", ".join(recipe.features)) for recipe in self.recipes]
        return markup.table(repr(self), ["column", "kind", "features"], rows)

    @classmethod
    def learn(cls, columns: "polars.DataFrame") -> "Preparation":
        """The preparation of the columns of `read_table`. Raises `ValueError` where none of them tells anything."""
        recipes: list[Column] = []
        left_out: list[LeftOut] = []
        for column in columns:
            learned = _recipe(column).learn(column)
            if isinstance(learned, str):
                left_out.append(LeftOut(column.name, learned))
            else:
                recipes.append(learned)
        if not recipes:
            reasons = "; ".join(f"{each.name!r}: {each.reason}" for each in left_out)
            raise ValueError(f"no column of the {columns.height} rows of training tells anything: {reasons}")
        return cls(tuple(recipes), tuple(left_out))

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the raw columns that it takes."""
        return tuple(recipe.name for recipe in self.recipes)

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the numbers that it makes."""
        return tuple(name for recipe in self.recipes for name in recipe.features)

    @property
    def kinds(self) -> dict[str, Kind]:
        """What each raw column holds, by its name."""
        return {recipe.name: recipe.kind for recipe in self.recipes}

    def apply(self, columns: "polars.DataFrame", dtype: torch.dtype = torch.float32) -> Tensor:
        """The numbers (n, features) of raw columns (n rows), found by their names."""
        kind = np.float32 if dtype == torch.float32 else np.float64
        prepared = np.empty((columns.height, len(self.features)), kind)
        made = (numbers for recipe in self.recipes for numbers in recipe.apply(columns[recipe.name]))
        for index, numbers in enumerate(made):
            prepared[:, index] = numbers
        return torch.from_numpy(prepared).to(dtype)

    def to_json(self) -> Any:
        """The preparation as dicts, lists and numbers: for the `extra` of `functional_mlp.save`, say."""
        return _converter().unstructure(self)

    @classmethod
    def from_json(cls, data: Any) -> "Preparation":
        """The preparation that `to_json` wrote. Raises `ValueError` for anything else."""
        try:
            preparation: Preparation = _converter().structure(data, cls)
        except Exception as error:  # whatever is not there, or is of another kind than it should be
            raise ValueError(f"this does not describe a preparation: {type(error).__name__}: {error}") from error
        return preparation

    def surprises(self, columns: "polars.DataFrame") -> list[str]:
        """What raw columns hold that those of training did not: unseen words, far outliers, missing values."""
        return [text for recipe in self.recipes for text in recipe.surprises(columns[recipe.name])]


def _recipe(column: "polars.Series") -> type[Column]:
    """The kind of recipe for a column as `read_table` gives it."""
    import polars

    if column.dtype == polars.String:
        return WordColumn
    return NumberColumn if column.dtype == polars.Float64 else DateColumn


def _converter() -> Any:
    from functional_mlp.checkpoint.values import Registry, converter  # loads cattrs

    return converter(Registry(Column, NumberColumn, WordColumn, DateColumn))
