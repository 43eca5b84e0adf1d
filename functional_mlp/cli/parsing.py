"""How the text of an option becomes a value, where cyclopts' own rules would not do."""

import re
from collections.abc import Sequence
from typing import Any

from cyclopts import Token


def parse_integer(kind: Any, tokens: Sequence[Token]) -> int:
    """A whole number; cyclopts would round 2.5 epochs."""
    text = tokens[0].value
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"expected a whole number, got {text!r}") from None


def parse_widths(kind: Any, tokens: Sequence[Token]) -> tuple[int, ...]:
    """Whole numbers joined by commas, or `none`."""
    return widths(",".join(token.value for token in tokens))


def widths(text: str) -> tuple[int, ...]:
    """The widths that a text stands for.

    >>> widths("25,25"), widths("none")
    ((25, 25), ())
    """
    if text.strip() == "none":
        return ()
    if not re.fullmatch(r"\s*\d+\s*(,\s*\d+\s*)*", text):
        raise ValueError(f"expected widths joined by commas, such as 25,25,25, got {text!r}")
    return tuple(map(int, text.split(",")))


def parse_names(kind: Any, tokens: Sequence[Token]) -> tuple[str, ...]:
    """Names joined by commas."""
    return tuple(name.strip() for token in tokens for name in token.value.split(","))
