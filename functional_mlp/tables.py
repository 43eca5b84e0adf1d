"""Tables as data: a CSV or Parquet file read, checked, split and standardized for a classifier.

    table = read_table("iris.csv", target="species")
    parts = split_table(table, key, validation_share=0.2)
    fm.fit(..., parts.training, validation=parts.validation, ...)

Files are read with polars, the extra `table`, which is imported when a file is read. Row numbers in messages
are those of the file: in a CSV file the header is row 1, in a Parquet file the first row of data is.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from attrs import field, frozen
from torch import Tensor

from functional_mlp import checks, random
from functional_mlp.datasets import Dataset
from functional_mlp.losses import one_hot
from functional_mlp.random import Key

if TYPE_CHECKING:
    import polars

# A column is constant where its numbers differ by no more than this many ε of their size.
ROUNDING = 4


@frozen
class Standardization:
    """(x − mean) / std for each feature, with the figures of the rows that it was learnt from.

    >>> standardization = Standardization.learn(("height",), torch.tensor([[1.0], [3.0]]))
    >>> standardization
    Standardization(features=('height',), mean=(2.0,), std=(1.0,))
    >>> standardization.apply(torch.tensor([[4.0]]))
    tensor([[2.]])
    """

    features: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def learn(cls, features: tuple[str, ...], values: Tensor) -> "Standardization":
        """The standardization that gives values (n, features) mean 0 and standard deviation 1.

        Figures are exact up to the rounding of the last operations, whatever the size of the numbers and of their mean.

        Raises `ValueError` for a feature that is the same in all rows, up to rounding, and for what is not finite.
        """
        checks.finite("Standardization: values", values)
        figures = []
        for name, column in zip(features, values.detach().cpu().double().unbind(1), strict=True):
            unit = _power_of_two(column.abs().max().item())
            numbers = (column / unit).tolist()  # between −2 and 2, so that no square overflows
            if max(numbers) - min(numbers) <= ROUNDING * torch.finfo(values.dtype).eps:
                raise ValueError(
                    f"column {name!r} cannot be standardized: over the {len(values)} rows of the training part it is "
                    f"{column[0].item()}, up to rounding; leave the column out, or split with another seed"
                )
            mean, std = _mean_and_std(numbers)
            figures.append((unit * mean, unit * std))
        means, stds = zip(*figures, strict=True)
        return cls(features, means, stds)

    def apply(self, values: Tensor) -> Tensor:
        """Values (n, features), standardized, in their dtype."""
        mean, std = (torch.tensor(figures, dtype=torch.float64, device="cpu") for figures in (self.mean, self.std))
        unit = torch.tensor([_power_of_two(figure) for figure in self.std], dtype=torch.float64, device="cpu")
        standardized = (values.cpu().double() / unit - mean / unit) / (std / unit)  # x − mean alone may overflow
        return standardized.to(values.dtype).to(values.device)


def _mean_and_std(numbers: Sequence[float]) -> tuple[float, float]:
    """The mean and the standard deviation (of n) of numbers that are not all the same."""
    mean = math.fsum(numbers) / len(numbers)
    deviations = [number - mean for number in numbers]
    shift = math.fsum(deviations) / len(numbers)  # what rounding the mean leaves over
    size = max(map(abs, deviations))
    squares = math.fsum((deviation / size) ** 2 for deviation in deviations) / len(numbers)
    return mean, size * math.sqrt(squares - (shift / size) ** 2)


def _power_of_two(number: float) -> float:
    """The largest power of two that is no larger than a positive number: to divide by it rounds nothing."""
    return math.ldexp(1.0, math.frexp(number)[1] - 1)


@frozen(eq=False)
class Table:
    """A table for classification, as read.

    `values` is (n, features) of dtype float64, `labels` the class indices (n,), and `classes` the names of the
    classes in the order of their indices.
    """

    features: tuple[str, ...]
    values: Tensor
    labels: Tensor
    classes: tuple[str, ...]


@frozen(eq=False)
class SplitTable:
    """A training and a validation part, both standardized by the training part; targets are one-hot."""

    training: Dataset
    validation: Dataset | None
    standardization: Standardization
    classes: tuple[str, ...]


def read_table(path: str | Path, target: str) -> Table:
    """Read a table from a CSV or Parquet file with a header.

    `target` is the column of the classes, numbers or words; every other column is a feature and holds numbers.
    Classes are ordered by number, or else by the alphabet. Lines of a CSV file without any value are skipped.

    Raises `FileNotFoundError`, or `ValueError` naming the column or the row: for a file that cannot be read or
    is empty, an unknown column, a feature that is text or constant, a value that is missing, NaN or infinite,
    a single class, and a class seen only once. Raises `ImportError` where polars is not installed.
    """
    file = _read_file(Path(path))
    if target not in file.frame.columns:
        known = ", ".join(map(repr, file.frame.columns))
        hint = "; columns must be separated by commas" if file.frame.width == 1 else ""
        raise ValueError(f"{file.path}: there is no column {target!r}: the columns are {known}{hint}")
    features = tuple(name for name in file.frame.columns if name != target)
    if not features:
        raise ValueError(f"{file.path}: a feature is needed beside the target, got the one column {target!r}")
    labels, classes = _classes(file, target)
    columns = [torch.tensor(_feature(file, name).to_list(), dtype=torch.float64, device="cpu") for name in features]
    values = torch.stack(columns, dim=1)
    _check_not_constant(file, features, values)
    return Table(features, values, labels, classes)


def read_features(path: str | Path, features: Sequence[str]) -> Tensor:
    """The values (n, features) of some columns of a CSV or Parquet file, of dtype float64; others are not looked at.

    Raises as `read_table` does, for a file, a column or a value that is not there or is no number.
    """
    file = _read_file(Path(path))
    missing = [repr(name) for name in features if name not in file.frame.columns]
    if missing:
        known = ", ".join(map(repr, file.frame.columns))
        raise ValueError(f"{file.path}: there is no column {', '.join(missing)}: the columns are {known}")
    columns = [torch.tensor(_feature(file, name).to_list(), dtype=torch.float64, device="cpu") for name in features]
    return torch.stack(columns, dim=1)


def split_table(
    table: Table,
    key: Key,
    *,
    validation_share: float = 0.2,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> SplitTable:
    """Split a table at random into training and validation rows, and standardize both by the training rows.

    Each class is split by itself, so that both parts hold each; with a share of 0 there is no validation part.
    """
    training_rows, validation_rows = stratified_split(key, table.labels, validation_share)
    standardization = Standardization.learn(table.features, table.values[training_rows])

    def dataset(rows: Tensor) -> Dataset:
        inputs = standardization.apply(table.values[rows]).to(dtype)
        return Dataset(inputs.to(device), one_hot(table.labels[rows], len(table.classes), dtype).to(device))

    validation = dataset(validation_rows) if len(validation_rows) else None
    return SplitTable(dataset(training_rows), validation, standardization, table.classes)


def stratified_split(key: Key, labels: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """The rows of two parts, sorted, the second with the given share of each class.

    Each part has at least one row of each class, unless the share is 0.

    >>> rows, others = stratified_split(random.key(0), torch.tensor([0, 0, 0, 0, 1, 1]), 0.25)
    >>> len(rows), len(others)
    (4, 2)
    """
    checks.number("validation share", share, low=0.0, high=1.0, open_high=True)
    firsts, seconds = [], []
    for label in labels.unique().tolist():
        rows = (labels == label).nonzero().squeeze(1)
        rows = rows[random.permutation(key.fold_in(label), len(rows))]
        count = min(max(round(share * len(rows)), 1), len(rows) - 1) if share > 0 else 0
        firsts.append(rows[count:])
        seconds.append(rows[:count])
    return torch.cat(firsts).sort().values, torch.cat(seconds).sort().values


@frozen(eq=False)
class _File:
    """A file's rows, each with its number in the file."""

    path: Path
    frame: "polars.DataFrame" = field()
    row_numbers: list[int]

    @frame.validator
    def _check_frame(self, attribute: object, frame: "polars.DataFrame") -> None:
        if frame.height == 0:
            raise ValueError(f"{self.path} has no rows: a header and at least four rows are needed")

    def first_row(self, mask: "polars.Series") -> tuple[int, int] | None:
        """The index and the row number of the first true entry."""
        index = mask.arg_max()
        return (index, self.row_numbers[index]) if index is not None and mask[index] else None


def _read_file(path: Path) -> _File:
    try:
        import polars
    except ImportError:
        raise ImportError("reading a table needs polars: pip install 'functional-mlp[table]'") from None
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise ValueError(f"{path}: a table must be a .csv or a .parquet file, got {path.suffix or 'no suffix'!r}")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    is_csv = path.suffix.lower() == ".csv"
    try:
        # As text, a column's numbers are read below, where a cell that is none can be named.
        read = (
            polars.read_csv(path, infer_schema=False, glob=False) if is_csv else polars.read_parquet(path, glob=False)
        )
    except polars.exceptions.NoDataError:
        raise ValueError(f"{path} is empty: a header and at least four rows are needed") from None
    except polars.exceptions.PolarsError as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"{path} cannot be read as a {path.suffix.lower()[1:]} file: {reason}") from None
    if is_csv:
        _check_header(path, read.columns)
        filled = read.select(polars.any_horizontal(polars.all().is_not_null())).to_series()
        return _File(path, read.filter(filled), [index + 2 for index in filled.arg_true()])
    return _File(path, read, list(range(1, read.height + 1)))


def _check_header(path: Path, columns: list[str]) -> None:
    """Raise for a column named twice: polars renames the second to `<name>_duplicated_<number>`."""
    for name in columns:
        original, mark, _ = name.rpartition("_duplicated_")
        if mark and original in columns:
            raise ValueError(f"{path}: two columns are named {original!r}: give each a name of its own")


def _feature(file: _File, name: str) -> "polars.Series":
    """A feature's numbers."""
    values = _stripped(file, name)
    numbers = _as_numbers(values)
    place = file.first_row(numbers.is_null())
    if place is not None:
        raise ValueError(
            f"{file.path}: column {name!r} must hold numbers, got {values[place[0]]!r} in row {place[1]}: "
            "write numbers with a decimal point, or leave the column out"
        )
    _check_finite(file, name, numbers)
    return numbers


def _check_not_constant(file: _File, features: tuple[str, ...], values: Tensor) -> None:
    is_constant = (values == values[0]).all(0).tolist()
    constant = [repr(name) for name, same in zip(features, is_constant, strict=True) if same]
    if constant:
        raise ValueError(
            f"{file.path}: a column that has the same value in every row tells nothing, and cannot be standardized: "
            f"leave out {', '.join(constant)}"
        )


def _classes(file: _File, name: str) -> tuple[Tensor, tuple[str, ...]]:
    """The class indices (n,) of the target column, and the classes' names."""
    values = _stripped(file, name)
    numbers = _as_numbers(values)
    if numbers.null_count() == 0:
        _check_finite(file, name, numbers)
        values = numbers
    names = values.unique().sort().to_list()
    index = {value: label for label, value in enumerate(names)}
    labels = torch.tensor([index[value] for value in values])
    counts = labels.bincount()
    if len(names) == 1:
        raise ValueError(
            f"{file.path}: column {name!r} holds one class only, {_class_name(names[0])!r}: "
            "a classifier needs at least two"
        )
    if counts.min() == 1:
        label = int((counts == 1).nonzero()[0])
        row = file.row_numbers[int((labels == label).nonzero()[0])]
        raise ValueError(
            f"{file.path}: class {_class_name(names[label])!r} of column {name!r} is seen only once, in row {row}, and "
            "cannot be in both the training and the validation part: remove the row, or choose a column of classes"
        )
    return labels, tuple(map(_class_name, names))


def _stripped(file: _File, name: str) -> "polars.Series":
    """A column without the blanks around its text, once no value is missing."""
    import polars

    values = file.frame[name]
    if values.dtype in (polars.Categorical, polars.Enum):
        values = values.cast(polars.String)
    if values.dtype == polars.String:
        values = values.str.strip_chars()
        missing = values.is_null() | (values == "")
    elif values.dtype.is_numeric() or values.dtype == polars.Boolean:
        missing = values.is_null()
    else:
        raise ValueError(f"{file.path}: column {name!r} must hold numbers or words, got {values.dtype}: leave it out")
    place = file.first_row(missing)
    if place is not None:
        raise ValueError(
            f"{file.path}: column {name!r} has no value in row {place[1]}: fill it in, or remove the row or the column"
        )
    return values


def _as_numbers(values: "polars.Series") -> "polars.Series":
    """The values as float64, null where text is no number."""
    import polars

    return values.cast(polars.Float64, strict=False)


def _check_finite(file: _File, name: str, numbers: "polars.Series") -> None:
    place = file.first_row(~numbers.is_finite())
    if place is not None:
        raise ValueError(
            f"{file.path}: column {name!r} must be finite, got {numbers[place[0]]} in row {place[1]}: "
            "replace the value, or remove the row"
        )


def _class_name(value: str | float) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
