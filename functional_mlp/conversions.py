"""The calls that convert data, in the words of the kind of data: what a message advises, the data can do."""

import attrs
import torch


@attrs.frozen
class Conversions:
    """What to write for a conversion: behind the data where it begins with a dot, else with the data in it."""

    cast: str
    column: str  # of (n,) the one column (n, 1)
    series: str  # of the one column (n, 1) all of (n,)
    real: str
    classes: str  # a number for each word
    times: str  # dates as numbers
    halves: str  # the cast to float16 and bfloat16

    def to(self, dtype: torch.dtype) -> str:
        """The cast to a dtype.

        >>> POLARS.to(torch.float32), ARRAY.to(torch.int64), TENSOR.to(torch.float64)
        ('.cast(polars.Float32)', ".astype('int64')", '.to(torch.float64)')
        """
        name = str(dtype).removeprefix("torch.")
        cast = self.halves if dtype in (torch.float16, torch.bfloat16) else self.cast
        return cast.format(name=name, Name=name.capitalize())


TENSOR = Conversions(
    cast=".to(torch.{name})",
    column=".unsqueeze(1)",
    series=".squeeze(1)",
    real=".real",
    classes="torch.unique(words, return_inverse=True)[1]",
    times=".to(torch.float64)",
    halves=".to(torch.{name})",
)
ARRAY = Conversions(
    cast=".astype('{name}')",
    column=".reshape(-1, 1)",
    series=".ravel()",
    real="numpy.real(data)",
    classes="numpy.unique(words, return_inverse=True)[1]",
    times="numpy.where(numpy.isnat(dates), numpy.nan, dates.astype('float64'))",
    halves="torch.as_tensor(numpy.array(data)).to(torch.{name})",  # numpy has no bfloat16
)
PANDAS = attrs.evolve(
    ARRAY,
    column=".to_frame()",
    series=".iloc[:, 0]",
    classes=".astype('category').cat.codes",
    times=".astype('int64').astype('float64').where(dates.notna())",
)
POLARS = attrs.evolve(
    ARRAY,
    cast=".cast(polars.{Name})",
    column=".to_frame()",
    series=".to_series()",
    classes=".rank('dense') - 1",
    times=".cast(polars.Float64)",
)


def conversions_of(value: object) -> Conversions:
    """The calls for data of the kind of a value.

    >>> conversions_of([1.0]) is ARRAY, conversions_of(torch.zeros(2)) is TENSOR
    (True, True)
    """
    if isinstance(value, torch.Tensor):
        return TENSOR
    return {"polars": POLARS, "pandas": PANDAS}.get(package_of(value), ARRAY)


def package_of(value: object) -> str:
    """The name of the package that the class of a value is from.

    >>> package_of(1), package_of(torch.zeros(2))
    ('builtins', 'torch')
    """
    return type(value).__module__.partition(".")[0]
