"""The command that reproduces the paper."""

import importlib
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from functional_mlp.cli.output import Printing
from functional_mlp.cli.parsing import parse_integer
from functional_mlp.cli.terminal import say
from functional_mlp.interrupts import no_interrupt, one_interrupt


def reproduce(
    *,
    out: Annotated[Path, Parameter(metavar="FOLDER")] = Path("reproduction"),
    quick: Annotated[bool, Parameter(negative="")] = False,
    seed: Annotated[int, Parameter(converter=parse_integer)] = 0,
    printing: Printing = Printing(),  # noqa: B008 - frozen
) -> None:
    """Repeat the paper's experiments, and answer what it left open.

    Trains the paper's models in independent runs, beside the same network in torch.nn, and writes a report with its
    figures (report.html, report.md) and every number (results.json). It takes some minutes on two cores.

    Parameters
    ----------
    out
        Folder of the report, made where there is none.
    quick
        Few runs, and of torch.nn a few epochs: less than 20 seconds, to see what comes out.
    seed
        Every random draw follows from it.
    """
    # Loaded when used: the other commands need no figures. Without matplotlib the error names the extra.
    importlib.import_module("functional_mlp.plotting")
    from functional_mlp.experiments import report, reproduction

    out.mkdir(parents=True, exist_ok=True)
    progress = printing.err()
    started = time.perf_counter()

    def announce(experiment: str) -> None:
        say(progress, f"{time.perf_counter() - started:5.0f} s  {experiment}")

    with one_interrupt():
        result = reproduction.run(reproduction.QUICK if quick else reproduction.FULL, seed, announce)
    announce("writing the report")
    with no_interrupt():
        files = report.write(result, out)
        for path in files:
            say(printing.out(), str(path))
        printing.finish({"files": files, "seconds": time.perf_counter() - started})
