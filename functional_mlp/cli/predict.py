"""The command `predict`: the classes of a table's rows."""

import io
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from functional_mlp.cli.model import Model
from functional_mlp.cli.paths import check_files
from functional_mlp.cli.terminal import out_console, say
from functional_mlp.files import write_atomically


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
    check_files(reads={"--model": model, "--data": data}, writes={"--out": out})
    classifier = Model.load(model)
    probabilities, classes = classifier.probabilities(data), classifier.data.classes
    columns: dict[str, list[Any]] = {"class": [classes[label] for label in probabilities.argmax(1).tolist()]}
    for name, column in zip(classes, probabilities.T, strict=True):
        columns[f"probability of {name}"] = column.tolist()
    write_atomically(out, _table(columns, out.suffix.lower()))
    say(out_console(), f"{len(probabilities):,} rows: {out}")


def _table(columns: dict[str, list[Any]], suffix: str) -> bytes:
    """The content of a file of a table."""
    import polars  # the extra that has read the data

    table, content = polars.DataFrame(columns), io.BytesIO()
    if suffix == ".csv":
        table.write_csv(content)
    else:
        table.write_parquet(content)
    return content.getvalue()
