"""The options that every command shares, of what it prints: for people, for machines, or nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any

from attrs import frozen
from cyclopts import Group, Parameter
from rich.console import Console

from functional_mlp.cli import ranks
from functional_mlp.cli.terminal import err_console, out_console

OUTPUT_GROUP = Group("Output", sort_key=4)


@Parameter(name="*", group=OUTPUT_GROUP)
@frozen(kw_only=True)
class Printing:
    """What is printed."""

    as_json: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False
    """Print one JSON object, for machines, in place of text."""

    quiet: Annotated[bool, Parameter(negative="", show_default=False)] = False
    """Print errors only, and what --json asks for."""

    def out(self) -> Console:
        """Standard output, for results in text."""
        return out_console(quiet=self.quiet or self.as_json or not ranks.is_first())

    def err(self) -> Console:
        """Standard error, for what goes on meanwhile."""
        return err_console(quiet=self.quiet or not ranks.is_first())

    def finish(self, results: Mapping[str, Any]) -> None:
        """Print the results as JSON, where that is asked for."""
        if self.as_json and ranks.is_first():
            print(json.dumps(plain(results), allow_nan=False))


def plain(value: Any) -> Any:
    """A value that JSON can hold: without NaN and infinities, which become null.

    >>> plain({"loss": float("nan"), "path": ("a", 1)})
    {'loss': None, 'path': ['a', 1]}
    """
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
