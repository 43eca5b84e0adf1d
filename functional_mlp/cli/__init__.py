"""The command `functional-mlp`, on the library's public functions."""

import sys
from collections.abc import Sequence

from functional_mlp.cli.codes import INTERRUPTED


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and return its exit code: those of the program, where no arguments are given."""
    try:
        from functional_mlp.cli.app import run  # takes a while, in which Ctrl-C is to be as quiet as later
    except KeyboardInterrupt:
        print("functional-mlp: interrupted", file=sys.stderr)
        return INTERRUPTED
    return run(arguments)


__all__ = ["main"]
