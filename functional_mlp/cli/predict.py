"""The command `predict`: the classes of a table's rows."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console

from functional_mlp.cli.model import Model


def predict(
    *,
    model: Annotated[Path, Parameter(metavar="FILE.safetensors")],
    data: Annotated[Path, Parameter(metavar="FILE")],
    out: Annotated[Path, Parameter(metavar="FILE")],
) -> None:
    """Tell the classes of a table's rows, with a network that `train --out` has saved.

    The table that it writes has a row for each of the data: the class, and the probability of each class.

    Parameters
    ----------
    model
        The trained network.
    data
        A table with a header, .csv or .parquet, with the columns that the network was trained on; others are left
        out of account.
    out
        The table to write, .csv or .parquet.
    """
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise ValueError(f"--out: a table is a .csv or a .parquet file, got {str(out)!r}")
    classifier = Model.load(model)
    probabilities, classes = classifier.probabilities(data), classifier.data.classes
    columns: dict[str, list[Any]] = {"class": [classes[label] for label in probabilities.argmax(1).tolist()]}
    for name, column in zip(classes, probabilities.T, strict=True):
        columns[f"probability of {name}"] = column.tolist()
    _write_table(out, columns)
    Console(highlight=False).print(f"{len(probabilities):,} rows: {out}", soft_wrap=True, markup=False)


def _write_table(path: Path, columns: dict[str, list[Any]]) -> None:
    import polars  # the extra that has read the data

    table = polars.DataFrame(columns)
    if path.suffix.lower() == ".csv":
        table.write_csv(path)
    else:
        table.write_parquet(path)
