"""The command `export`: a saved network as an ONNX model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from functional_mlp.cli.model import Model
from functional_mlp.cli.output import Printing
from functional_mlp.cli.paths import check_files
from functional_mlp.cli.terminal import say
from functional_mlp.interrupts import one_interrupt
from functional_mlp.spread import count


def export(
    *,
    model: Annotated[Path, Parameter(metavar="FILE.safetensors")],
    out: Annotated[Path, Parameter(metavar="FILE.onnx")],
    force: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    printing: Printing = Printing(),  # noqa: B008 - frozen
) -> None:
    """Write what `train --out` has saved as an ONNX model, for onnxruntime and other languages.

    The model takes the columns of the table by their names, each with a value a row: numbers as float64, NaN where one
    is missing; words as strings, "" where one is missing; dates as the milliseconds since 1970, float64. It prepares
    them as `predict` does, and gives the label of each row and the probabilities of the classes, or the quantity. Of an
    ensemble it is the mean answer.

    Parameters
    ----------
    model
        The trained network, or the ensemble.
    out
        The file to write.
    force
        Write over a file that is there.
    """
    check_files(reads={"--model": model}, writes={"--out": out})
    if out.exists() and not force:
        raise ValueError(f"--out: {out} is there already: name another file, or add --force to write over it")
    known = Model.load(model)
    with one_interrupt():
        known.export(out)
    columns = known.about.preparation.columns
    say(printing.out(), f"{count(len(columns), 'column')} in, {known.about.target!r} out: {out}")
    printing.finish({"columns": list(columns), "target": known.about.target, "model": out})
