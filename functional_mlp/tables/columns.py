"""Recipes that turn one raw column into numbers: standardized numbers, indicators of words, parts of dates."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from attrs import field, frozen

from functional_mlp.spread import count
from functional_mlp.tables.figures import Numbers, mean_and_std, standardized
from functional_mlp.tables.kinds import Kind, as_known

if TYPE_CHECKING:
    import polars

# Of words the most frequent ones have an indicator each, and the others one in common. Like the number below and those
# of `functional_mlp.tables.kinds` and `functional_mlp.tables.targets` it was chosen, not measured.
MOST_WORDS = 20
# The others are kept by name, so that words which training has not seen can be told, unless they are more than these.
MOST_OTHERS = 1000


@frozen
class Scale:
    """How numbers are standardized: (x − mean) / std, with the median in place of a missing one.

    `low` and `high` are the range of the training rows.
    """

    mean: float
    std: float
    median: float
    low: float
    high: float

    @classmethod
    def learn(cls, numbers: Numbers) -> "Scale | None":
        """The scale of finite numbers, `None` where they are all the same up to rounding."""
        mean, std = mean_and_std(numbers)
        if std == 0:
            return None
        return cls(mean, std, float(np.median(numbers)), float(numbers.min()), float(numbers.max()))

    def apply(self, numbers: Numbers) -> Numbers:
        """Numbers, NaN where one is missing, standardized."""
        return standardized(np.where(np.isnan(numbers), self.median, numbers), self.mean, self.std)

    def outliers(self, numbers: Numbers) -> int:
        """How many numbers are farther out of the range of training than that is wide."""
        below, above = self.low / 2 - numbers / 2, numbers / 2 - self.high / 2  # halves, which do not overflow
        return int((np.fmax(below, above) > self.high / 2 - self.low / 2).sum())


@frozen
class Column:
    """The base class of recipes: frozen values, learned on the training rows, whose fields JSON can hold.

    `has_missing` says that the training rows had missing values: these have an indicator then.
    """

    kind: ClassVar[Kind]

    name: str
    has_missing: bool = field(default=False, kw_only=True)

    @classmethod
    def learn(cls, column: "polars.Series") -> "Column | str":
        """The recipe for a column, or why there is none."""
        raise NotImplementedError

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the numbers that it makes."""
        return (*self._own_features(), *([f"{self.name} is missing"] if self.has_missing else []))

    def apply(self, column: "polars.Series") -> Iterator[Numbers]:
        """The numbers (n,) of each feature."""
        yield from self._apply(column)
        if self.has_missing:
            yield _indicator(column.is_null())

    def surprises(self, column: "polars.Series") -> Iterator[str]:
        """What new rows hold that the training rows did not."""
        yield from self._surprises(column)
        missing = 0 if self.has_missing else column.null_count()
        if missing:
            yield f"{self.name!r}: {count(missing, 'value')} missing, of which training had none"

    def _own_features(self) -> tuple[str, ...]:
        raise NotImplementedError

    def _apply(self, column: "polars.Series") -> Iterator[Numbers]:
        raise NotImplementedError

    def _surprises(self, column: "polars.Series") -> Iterator[str]:
        raise NotImplementedError


@frozen
class NumberColumn(Column):
    """A column of numbers, standardized."""

    kind: ClassVar[Kind] = "number"

    scale: Scale

    @classmethod
    def learn(cls, column: "polars.Series") -> "NumberColumn | str":
        known = column.drop_nulls().to_numpy()
        scale = Scale.learn(known) if len(known) else None
        if scale is None:
            return _constant(known) if len(known) else "it has no value"
        return cls(column.name, scale, has_missing=column.null_count() > 0)

    def _own_features(self) -> tuple[str, ...]:
        return (self.name,)

    def _apply(self, column: "polars.Series") -> Iterator[Numbers]:
        yield self.scale.apply(_with_nan(column))

    def _surprises(self, column: "polars.Series") -> Iterator[str]:
        far = self.scale.outliers(_with_nan(column))
        if far:
            scale = self.scale
            yield f"{self.name!r}: {count(far, 'value')} far from those of training, {scale.low:g} to {scale.high:g}"


@frozen
class WordColumn(Column):
    """A column of words: an indicator for each of `words`, and one for all others where training had some.

    `words` are those of the training rows that at least two of them have, the most frequent ones first, at most 20, and
    `others` the others, at most 1000: () where there are more. A word that training has not seen counts among the
    others, or has no indicator at all.
    """

    kind: ClassVar[Kind] = "word"

    words: tuple[str, ...]
    has_others: bool = False
    others: tuple[str, ...] = ()

    @classmethod
    def learn(cls, column: "polars.Series") -> "WordColumn | str":
        counts = column.drop_nulls().value_counts(name="rows").sort(["rows", column.name], descending=[True, False])
        if not len(counts):
            return "it has no value"
        if len(counts) == 1 and not column.null_count():
            return f"it is {counts[column.name][0]!r} throughout"
        frequent = counts.filter(counts["rows"] > 1).head(MOST_WORDS)
        if not len(frequent) and len(counts) > 2:
            return "each row has another word"
        chosen = frequent if len(frequent) else counts
        others = counts[column.name][len(chosen) :]
        return cls(
            column.name,
            tuple(chosen[column.name]),
            has_others=len(others) > 0,
            others=tuple(others) if len(others) <= MOST_OTHERS else (),
            has_missing=column.null_count() > 0,
        )

    def _own_features(self) -> tuple[str, ...]:
        others = ["others"] if self.has_others else []
        return tuple(f"{self.name} = {word}" for word in (*self.words, *others))

    def _apply(self, column: "polars.Series") -> Iterator[Numbers]:
        column = as_known(column, (*self.words, *self.others))
        for word in self.words:
            yield _indicator((column == word).fill_null(False))
        if self.has_others:
            yield _indicator(_is_other(column, self.words))

    def _surprises(self, column: "polars.Series") -> Iterator[str]:
        seen = (*self.words, *self.others)
        column = as_known(column, seen)
        new = column.filter(_is_other(column, seen))
        if not len(new):
            return
        if self.has_others and not self.others:
            yield f"{self.name!r}: {count(len(new), 'value')} counted among the others, {new[0]!r} the first"
        else:
            taken = ", and counted among the others" if self.has_others else ""
            yield f"{self.name!r}: {count(len(new), 'value')} not seen in training{taken}, {new[0]!r} the first"


_PARTS: dict[str, Callable[["polars.Series"], "polars.Series"]] = {
    "day": lambda dates: dates.dt.epoch("ms") / 86_400_000,
    "month": lambda dates: dates.dt.month(),
    "day of month": lambda dates: dates.dt.day(),
    "weekday": lambda dates: dates.dt.weekday(),
    "hour": lambda dates: dates.dt.hour() + dates.dt.minute() / 60,
}


@frozen
class DateColumn(Column):
    """A column of dates: the parts of the calendar that vary, each a standardized number.

    They are the day, counted from 1970 on with its fraction, the month, the day of the month, the weekday (1 is Monday)
    and the hour with its fraction.
    """

    kind: ClassVar[Kind] = "date"

    parts: tuple[str, ...] = field()
    scales: tuple[Scale, ...] = field()

    @parts.validator
    def _check_parts(self, attribute: object, parts: tuple[str, ...]) -> None:
        if not set(parts) <= set(_PARTS):
            raise ValueError(f"the parts of a date are {', '.join(_PARTS)}, got {', '.join(parts)}")

    @scales.validator
    def _check_scales(self, attribute: object, scales: tuple[Scale, ...]) -> None:
        if len(scales) != len(self.parts):
            raise ValueError(f"a date of {len(self.parts)} parts needs a scale for each, got {len(scales)}")

    @classmethod
    def learn(cls, column: "polars.Series") -> "DateColumn | str":
        known = column.drop_nulls()
        if not len(known):
            return "it has no value"
        learned = {part: Scale.learn(_with_nan(make(known))) for part, make in _PARTS.items()}
        varying = {part: scale for part, scale in learned.items() if scale is not None}
        if not varying:
            return f"it is {known[0]} throughout"
        return cls(column.name, tuple(varying), tuple(varying.values()), has_missing=column.null_count() > 0)

    def _own_features(self) -> tuple[str, ...]:
        return tuple(f"{self.name}: {part}" for part in self.parts)

    def _apply(self, column: "polars.Series") -> Iterator[Numbers]:
        for part, scale in zip(self.parts, self.scales, strict=True):
            yield scale.apply(_with_nan(_PARTS[part](column)))

    def _surprises(self, column: "polars.Series") -> Iterator[str]:
        if "day" in self.parts:
            far = self.scales[self.parts.index("day")].outliers(_with_nan(_PARTS["day"](column)))
            if far:
                yield f"{self.name!r}: {count(far, 'date')} far from those of training"


def _is_other(column: "polars.Series", words: tuple[str, ...]) -> "polars.Series":
    return (column.is_not_null() & ~column.is_in(words)).fill_null(False)


def _constant(numbers: Numbers) -> str:
    """What numbers are that are the same up to rounding: whole ones from 2⁵³ on have been rounded before."""
    is_rounded = numbers.min() != numbers.max() or abs(numbers[0]) >= 2**53
    return f"it is {numbers[0]:g} throughout{', up to rounding' if is_rounded else ''}"


def _with_nan(column: "polars.Series") -> Numbers:
    """The numbers of a column, NaN where one is missing."""
    import polars

    numbers: Numbers = column.cast(polars.Float64).fill_null(float("nan")).to_numpy()
    return numbers


def _indicator(mask: "polars.Series") -> Numbers:
    return mask.to_numpy().astype(np.float64)
