"""What the columns of a file hold: numbers, dates or words."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from functional_mlp.tables.files import HAS_END, ROW, File

if TYPE_CHECKING:
    import polars

Kind = Literal["number", "date", "word"]

# A column of text with a larger share of numbers was meant to be one of numbers: the other cells are mistakes.
NUMBERS_MEANT = 0.9
DATE_FORMATS = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y")
TIME_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y/%m/%d %H:%M:%S")


def read_columns(
    file: File, names: Sequence[str], known: Mapping[str, Kind], as_they_are: Sequence[str] = ()
) -> tuple["polars.DataFrame", "polars.DataFrame"]:
    """Columns of a file, and other columns as they are with `ROW` and `HAS_END`, in one reading.

    Numbers are Float64, dates Datetime and words String, null where one is missing.

    A column is what `known` says that it is. Of the others one is of numbers where all its values are, or of dates
    where all are written year-month-day, perhaps with a time, or day.month.year; and else of words. Raises
    `ValueError` that names each column that is not what it should be, with the first row.
    """
    import polars

    schema = file.cells.collect_schema()
    kinds, troubles = _kinds(file, {name: schema[name] for name in names}, known)
    if troubles:
        raise ValueError(
            f"{file.path}: {'; '.join(troubles)}: correct the file, or leave out what is no feature"
            if len(troubles) == 1
            else f"{file.path}: {len(troubles)} columns cannot be used: {'; '.join(troubles)}: "
            "correct the file, or leave out what is no feature"
        )
    kept = {f"{ROW} {name}": name for name in dict.fromkeys(as_they_are)}
    read = file.collect(
        ROW,
        HAS_END,
        *(_converted(file, name, schema[name], kinds[name]) for name in names),
        *(polars.col(name).alias(alias) for alias, name in kept.items()),
    )
    return _with_dates(file, read.select(names), known, kinds), read.select(ROW, HAS_END, *kept).rename(kept)


def _with_dates(
    file: File, frame: "polars.DataFrame", known: Mapping[str, Kind], kinds: Mapping[str, Kind]
) -> "polars.DataFrame":
    """The columns, with floats as text where they are words, and text as dates where it is dates."""
    for name in frame.columns:
        if kinds[name] == "word" and frame[name].dtype.is_float():
            frame = frame.with_columns(words(frame[name]))
        if known.get(name) == "date" or (name not in known and kinds[name] == "word"):
            dates = _as_dates(frame[name])
            if dates is not None:
                frame = frame.with_columns(dates)
            elif name in known:
                raise ValueError(f"{file.path}: column {name!r} must hold dates, got {frame[name].drop_nulls()[0]!r}")
    return frame


def words(column: "polars.Series") -> "polars.Series":
    """The values of a column of any kind as text; whole numbers below 2⁵³ without a decimal point, whatever others are.

    >>> import polars
    >>> words(polars.Series([1.0, 1.5, None])).to_list()
    ['1', '1.5', None]
    """
    import polars

    text = column.cast(polars.String)
    if not column.dtype.is_float():
        return text
    is_whole = ((column == column.round()) & (column.abs() < 2**53)).fill_null(False)
    return column.cast(polars.Int64, strict=False).cast(polars.String).zip_with(is_whole, text)


def as_known(column: "polars.Series", known: Sequence[str]) -> "polars.Series":
    """A column of text, in which what is one of the known words in another way of writing is that word.

    So are booleans, `True` or `true`, and whole numbers, `1` or `1.0`, by the kind of file that they are from. What is
    itself known, or may be several of them, stays.

    >>> import polars
    >>> as_known(polars.Series(["True", "1", "01", "false"]), ["true", "1.0", "false"]).to_list()
    ['true', '1.0', '01', 'false']
    """
    written: dict[str, list[str]] = {}
    for word in known:
        written.setdefault(_plain(word), []).append(word)
    new = column.filter((column.is_not_null() & ~column.is_in(known)).fill_null(False)).unique()
    found = {text: written.get(_plain(text), []) for text in new}
    same = {text: words[0] for text, words in found.items() if len(words) == 1}
    return column.replace(same) if same else column


def _plain(word: str) -> str:
    """A word as it is compared: booleans in small letters, whole numbers without a decimal point."""
    return word.lower() if word.lower() in ("true", "false") else re.sub(r"^([+-]?\d+)\.0$", r"\1", word)


def numbers(cells: Any, dtype: "polars.DataType", decimal: str = ".") -> Any:
    """An expression of cells as Float64, null where one is missing or no number."""
    import polars

    if dtype == polars.String and decimal == ",":
        cells = polars.when(cells.str.contains(".", literal=True).not_()).then(
            cells.str.replace(",", ".", literal=True)
        )
    if dtype in (polars.Time, polars.Duration):
        return cells.cast(polars.Int64).cast(polars.Float64)
    return cells.cast(polars.Float64, strict=False)


def numbers_of(column: "polars.Series", decimal: str) -> "polars.Series":
    """A column of text as `numbers`."""
    import polars

    return column.to_frame().select(numbers(polars.col(column.name), column.dtype, decimal)).to_series()


def _kinds(
    file: File, schema: Mapping[str, "polars.DataType"], known: Mapping[str, Kind]
) -> tuple[dict[str, Kind], list[str]]:
    """The kind of each column, and a message for each column without one."""
    import polars

    counts = []
    for index, (name, dtype) in enumerate(schema.items()):
        if dtype == polars.String or dtype.is_float():
            as_number = numbers(polars.col(name), dtype, file.decimal)
            counts += [
                polars.col(name).count().alias(f"{index} values"),
                as_number.count().alias(f"{index} numbers"),
                as_number.is_infinite().any().alias(f"{index} infinite"),
            ]
    counted = file.collect(*counts).row(0, named=True) if counts else {}
    kinds: dict[str, Kind] = {}
    troubles = []
    for index, (name, dtype) in enumerate(schema.items()):
        asked = known.get(name)
        values, found, infinite = (counted.get(f"{index} {what}", 0) for what in ("values", "numbers", "infinite"))
        kind = asked or _kind(dtype, values, found)
        if kind is None:
            troubles.append(f"column {name!r} must hold numbers, words or dates, got {dtype}")
            continue
        kinds[name] = kind
        if kind == "number" and dtype == polars.String and found < values:
            cell, row = _first(file, name, lambda cells, dtype=dtype: numbers(cells, dtype, file.decimal).is_null())
            troubles.append(f"column {name!r} must hold numbers, got {cell!r} in row {row}")
        elif kind == "number" and infinite:
            cell, row = _first(file, name, lambda cells, dtype=dtype: numbers(cells, dtype, file.decimal).is_infinite())
            troubles.append(f"column {name!r} must be finite, got {cell} in row {row}")
        elif kind == "number" and dtype != polars.String and not _is_number(dtype):
            troubles.append(f"column {name!r} must hold numbers, got {dtype}")
    return kinds, troubles


def _kind(dtype: "polars.DataType", values: int, found: int) -> Kind | None:
    """What a column is by its type, and, of text, by how many of its values are numbers."""
    import polars

    if dtype == polars.String:
        return "number" if found == values or found > NUMBERS_MEANT * values else "word"
    if _is_number(dtype):
        return "number"
    if dtype in (polars.Boolean, polars.Categorical, polars.Enum):
        return "word"
    return "date" if dtype in (polars.Date, polars.Datetime) else None


def _is_number(dtype: "polars.DataType") -> bool:
    import polars

    return dtype.is_numeric() or dtype in (polars.Time, polars.Duration, polars.Null)


def _first(file: File, name: str, is_wrong: Any) -> tuple[Any, int]:
    """The first wrong value of a column, and its row."""
    import polars

    cells = polars.col(name)
    found = file.cells.filter(cells.is_not_null() & is_wrong(cells)).select(name, ROW).head(1).collect()
    cell, row = found.row(0)
    return cell, row


def _converted(file: File, name: str, dtype: "polars.DataType", kind: Kind) -> Any:
    import polars

    cells = polars.col(name)
    if kind == "number":
        return numbers(cells, dtype, file.decimal)
    if kind == "date" and dtype != polars.String:
        return cells.cast(polars.Datetime("us"))
    return cells if dtype.is_float() else cells.cast(polars.String)  # floats are looked at as a whole, by `words`


def _as_dates(column: "polars.Series") -> "polars.Series | None":
    """Text as points in time, where all of it is written in one way that is known."""
    import polars

    if column.dtype != polars.String:
        return column
    if column.null_count() == len(column):
        return None
    for form in (*DATE_FORMATS, *TIME_FORMATS):
        first = column.drop_nulls().head(1)
        if first.str.to_datetime(form, strict=False, time_unit="us").null_count():
            continue
        dates = column.str.to_datetime(form, strict=False, time_unit="us")
        if dates.null_count() == column.null_count():
            return dates
    return None
