"""What the command prints: messages, tables and errors, with the names that come from files shown as they are written.

A name of a class or a path may hold what steers a terminal, moves the cursor or reverses the order of letters. All
text goes through `printable` here; none is read as rich's markup.
"""

import contextlib
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import rich.table
from rich.console import Console
from rich.text import Text

from functional_mlp.escaping import printable


def out_console(*, quiet: bool = False) -> Console:
    """Standard output, for results."""
    return Console(highlight=False, markup=False, emoji=False, quiet=quiet)


def err_console(*, quiet: bool = False) -> Console:
    """Standard error, for what goes on meanwhile."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False, quiet=quiet)


def say(console: Console, text: str) -> None:
    """Print a message: one line, however long."""
    console.print(Text(printable(text)), soft_wrap=True)


def write_out(text: str) -> None:
    """Write a text to standard output: to the letter, but for what would steer a terminal, if it is one."""
    if sys.stdout.isatty():
        text = "\n".join(map(printable, text.split("\n")))
    sys.stdout.write(text)


def say_facts(console: Console, facts: Mapping[str, str]) -> None:
    """Print names with what is to be said of them, a line each."""
    for name, text in facts.items():
        say(console, f"{name:<10}{text}")


def say_notes(console: Console, notes: Iterable[str]) -> None:
    """Print what is not to be missed, a line each."""
    for note in notes:
        say(console, f"note      {note}")


def say_written(console: Console, kind: str, path: Path) -> None:
    """Print where something has been written."""
    say(console, f"{kind}: {path}")


def fail(message: str, code: int) -> int:
    """Print an error, one line on standard error, and return the exit code."""
    print(printable(f"functional-mlp: {message}"), file=sys.stderr)
    return code


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """Show each warning of a while once, as one line on standard error."""
    with warnings.catch_warnings():
        warnings.simplefilter("once")
        warnings.showwarning = lambda message, *_, **__: print(printable(f"functional-mlp: {message}"), file=sys.stderr)
        yield


class Table(rich.table.Table):
    """A table whose headings and cells are text."""

    def add_column(self, header: str, **options: Any) -> None:  # type: ignore[override] # rich takes more than text
        super().add_column(Text(printable(header)), **options)

    def add_row(self, *cells: str) -> None:  # type: ignore[override] # rich takes more than text
        super().add_row(*(Text(printable(cell)) for cell in cells))
