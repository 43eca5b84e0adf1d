"""The command `functional-mlp`, on the library's public functions."""

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from functional_mlp.cli.codes import INTERRUPTED
from functional_mlp.interrupts import ending_interrupt, one_interrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and return its exit code: those of the program, where no arguments are given."""
    with one_interrupt() if arguments is not None else ending_interrupt(_end):
        from functional_mlp.cli.app import run  # takes a while

        return run(sys.argv[1:] if arguments is None else arguments)


def _end() -> NoReturn:
    """End the program at once."""
    with contextlib.suppress(Exception):  # of a reader that has gone, say
        sys.stdout.flush()
    os.write(2, b"functional-mlp: interrupted\n")
    os._exit(INTERRUPTED)


__all__ = ["main"]
