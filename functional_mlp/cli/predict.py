"""The command `predict`: the classes, or the quantity, of a table's rows."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

import functional_mlp as fm
from functional_mlp.cli.data import FormatOptions, Names
from functional_mlp.cli.model import Model
from functional_mlp.cli.output import Printing
from functional_mlp.cli.paths import check_files, named_and_placed
from functional_mlp.cli.terminal import say, say_notes, write_out
from functional_mlp.files import write_atomically
from functional_mlp.interrupts import no_interrupt
from functional_mlp.spread import count

if TYPE_CHECKING:
    import polars

    from functional_mlp.tables import Table

SUFFIXES = (".csv", ".parquet")
STANDARD_OUTPUT = Path("-")


def predict(
    file: Annotated[Path | None, Parameter(show_default=False)] = None,
    /,
    *,
    model: Annotated[Path | None, Parameter(metavar="FILE.safetensors")] = None,
    data: Annotated[Path | None, Parameter(metavar="FILE")] = None,
    out: Annotated[Path, Parameter(metavar="FILE", allow_leading_hyphen=True)],
    keep: Names = (),
    force: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    written: FormatOptions = FormatOptions(),  # noqa: B008 - frozen
    printing: Printing = Printing(),  # noqa: B008 - frozen
) -> None:
    """Tell the classes, or the quantity, of a table's rows, with what `train --out` has saved.

    The table that it writes has a row for each of the data: the prediction, in a column named as the target, and the
    probability of each class. Of an ensemble it is the mean prediction, and a column `spread` tells by how much the
    networks differ: the standard deviation of the quantity, or of the probability of the class. Where the target has
    one of these names itself, the column beside it has a _ after its name.

    Parameters
    ----------
    file
        The table, or, where --data names that, the trained network.
    model
        The trained network.
    data
        A table with a header, .csv, .tsv, .csv.gz or .parquet, with the columns that the network was trained on; others
        are left out of account.
    out
        The table to write, .csv or .parquet, or - for standard output.
    keep
        Columns of the data to write as well, before the prediction, joined by commas.
    force
        Write over a file that is there.
    """
    model, data = named_and_placed(file, model, data)
    if out == STANDARD_OUTPUT:
        if printing.as_json:
            raise ValueError(
                "--json: with --out - the predictions are what is printed: name a file, or leave out --json"
            )
    else:
        if out.suffix.lower() not in SUFFIXES:
            raise ValueError(f"--out: a table is a .csv or a .parquet file, got {str(out)!r}")
        check_files(reads={"--model": model, "--data": data}, writes={"--out": out})
        if out.exists() and not force:
            raise ValueError(f"--out: {out} is there already: name another file, or add --force to write over it")
    known = Model.load(model)
    about = known.about
    table = fm.tables.read_table(data, preparation=about.preparation, beside=keep, **written.arguments())
    answers = _predictions(known, table)
    taken = [repr(name) for name in dict.fromkeys(keep) if name in answers.columns]
    if taken:
        raise ValueError(f"--keep: {', '.join(taken)} is the name of a column of the predictions: leave it out")
    notes = [f"{data}: {note}" for note in (*table.notes, *about.preparation.surprises(table.columns))]
    import polars  # only here: without it `read_table` names the extra

    answers = polars.concat([table.beside, answers], how="horizontal")
    if out == STANDARD_OUTPUT:
        write_out(_content(answers, ".csv").decode())
        say_notes(printing.err(), notes)
        return
    content = _content(answers, out.suffix.lower())
    with no_interrupt():
        write_atomically(out, content)
        say(printing.out(), f"{count(len(table), 'row')}: {out}")
        say_notes(printing.err(), notes)
        printing.finish({"rows": len(table), "predictions": out, "notes": notes})


def _predictions(model: Model, table: Table) -> polars.DataFrame:
    """The prediction, and how sure it is."""
    import polars

    from functional_mlp.spread import deviation

    about = model.about
    columns: dict[str, Any] = {}  # those beside the prediction
    if about.scale is not None:
        quantities = model.quantities(table.columns)
        answer = polars.Series(quantities.mean(0).numpy())
        answers = quantities
    else:
        members = model.probabilities(table.columns)
        shares = members.mean(0)
        labels = shares.argmax(1)
        answer = polars.Series(about.classes, dtype=polars.String)[labels.numpy()]
        columns |= {f"probability of {name}": own.numpy() for name, own in zip(about.classes, shares.T, strict=True)}
        answers = members.gather(2, labels.expand(len(members), -1)[..., None]).squeeze(2)
    if len(answers) > 1:
        columns["spread"] = deviation(answers).numpy()
    return polars.DataFrame({about.target: answer, **{_free(name, about.target): own for name, own in columns.items()}})


def _free(name: str, target: str) -> str:
    """The name of a column beside the prediction, which has the target's."""
    return f"{name}_" if name == target else name


def _content(table: polars.DataFrame, suffix: str) -> bytes:
    """The content of a file of a table."""
    content = io.BytesIO()
    if suffix == ".csv":
        table.write_csv(content)
    else:
        table.write_parquet(content)
    return content.getvalue()
