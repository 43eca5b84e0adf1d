"""The command `evaluate`: how good a saved network is on another table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import functional_mlp as fm
from functional_mlp.cli.data import FormatOptions, as_labels, labelled_rows
from functional_mlp.cli.measuring import score
from functional_mlp.cli.model import Model
from functional_mlp.cli.output import Printing
from functional_mlp.cli.paths import named_and_placed
from functional_mlp.cli.report import print_scores
from functional_mlp.cli.terminal import say_facts, say_notes
from functional_mlp.spread import count


def evaluate(
    file: Annotated[Path | None, Parameter(show_default=False)] = None,
    /,
    *,
    model: Annotated[Path | None, Parameter(metavar="FILE.safetensors")] = None,
    data: Annotated[Path | None, Parameter(metavar="FILE")] = None,
    target: Annotated[str | None, Parameter(metavar="COLUMN")] = None,
    written: FormatOptions = FormatOptions(),  # noqa: B008 - frozen
    printing: Printing = Printing(),  # noqa: B008 - frozen
) -> None:
    """Measure what `train --out` has saved on a table whose target is known.

    It shows what `train` shows of its samples: loss and accuracy, each class, and how often it was taken for which; of
    a quantity the errors in its units. Rows of classes that the network does not know are left out.

    Parameters
    ----------
    file
        The table, or, where --data names that, the trained network.
    model
        The trained network, or the ensemble, whose mean answer is measured.
    data
        A table with a header, .csv, .tsv, .csv.gz or .parquet, with the columns that the network was trained on.
    target
        The column to predict. Default: the one of training.
    """
    model, data = named_and_placed(file, model, data)
    known = Model.load(model)
    about = known.about
    samples, notes = labelled_rows(data, about, written, known.dtype, "cpu", target)
    if isinstance(known.loss, fm.BinaryCrossEntropy):
        samples = as_labels(samples)
    scores = score(known.saved.network, known.loss, known.members, samples, about)
    networks = count(len(known.members), "network")
    facts = {"model": f"{model}, {networks}", "data": f"{data}, {count(len(samples), 'row')}"}
    say_facts(printing.out(), facts)
    say_notes(printing.out(), notes)
    print_scores(printing.out(), "Results", {"data": scores})
    printing.finish({**facts, "notes": notes, "results": {"data": scores.to_json()}})
