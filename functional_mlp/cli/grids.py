"""The values that `sweep` goes through, and how they are written."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from attrs import asdict, frozen
from cyclopts import Parameter, Token

from functional_mlp.cli.network import ACTIVATION, HIDDEN
from functional_mlp.cli.parsing import parse_integer, widths
from functional_mlp.cli.training import BATCH_SIZE, BETA, DECAY, L2, LEARNING_RATE, TRAINING_GROUP

Grid = tuple[float, ...]


def parse_grid(kind: Any, tokens: Sequence[Token]) -> Grid:
    """Numbers joined by commas, or `low:high:log8` and `low:high:lin8` for eight from one to the other."""
    return grid(",".join(token.value for token in tokens))


def grid(text: str) -> Grid:
    """The numbers that an option's text stands for.

    >>> grid("0,0.5,0.9"), grid("0.01:1:log3"), grid("0:1:lin3")
    ((0.0, 0.5, 0.9), (0.01, 0.1, 1.0), (0.0, 0.5, 1.0))
    """
    match = re.fullmatch(r"\s*([^:,]+):([^:,]+):(log|lin)(\d+)\s*", text)
    wanted = f"expected numbers such as 0,0.5,0.9 or 0.001:0.1:log8 or 0:0.9:lin4, got {text!r}"
    try:
        if match is None:
            return tuple(map(float, text.split(",")))
        low, high, count = float(match[1]), float(match[2]), int(match[4])
    except ValueError:
        raise ValueError(wanted) from None
    if count < 2 or not low < high or (match[3] == "log" and low <= 0):
        raise ValueError(f"{wanted}: from low to high, at least two, above 0 for log")
    shares = [step / (count - 1) for step in range(count)]
    if match[3] == "lin":
        return tuple(low + (high - low) * share for share in shares)
    # To 12 digits, for what is a tenth to be printed as one.
    return tuple(float(f"{low * (high / low) ** share:.12g}") for share in shares)


def parse_sizes(kind: Any, tokens: Sequence[Token]) -> tuple[int, ...]:
    """Whole numbers joined by commas."""
    text = ",".join(token.value for token in tokens)
    try:
        return tuple(map(int, text.split(",")))
    except ValueError:
        raise ValueError(f"expected whole numbers joined by commas, such as 16,32, got {text!r}") from None


def alternatives(read: Callable[[str], Any]) -> Callable[[Any, Sequence[Token]], tuple[Any, ...]]:
    """A converter of what is written between slashes."""
    return lambda kind, tokens: tuple(read(part) for part in "/".join(token.value for token in tokens).split("/"))


def names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


GridOption: Parameter = Parameter(converter=parse_grid, n_tokens=1, negative="", metavar="NUMBERS")
SizesOption: Parameter = Parameter(converter=parse_sizes, n_tokens=1, negative="", metavar="NUMBERS")


def _between_slashes(read: Callable[[str], Any], metavar: str) -> Parameter:
    return Parameter(converter=alternatives(read), n_tokens=1, negative="", metavar=metavar)


@Parameter(name="*")
@frozen(kw_only=True)
class SweepOptions:
    """What to vary, and the networks of each setting."""

    hidden: Annotated[tuple[tuple[int, ...], ...] | None, HIDDEN, _between_slashes(widths, "WIDTHS/WIDTHS")] = None
    activation: Annotated[tuple[tuple[str, ...], ...] | None, ACTIVATION, _between_slashes(names, "NAMES/NAMES")] = None
    learning_rate: Annotated[Grid | None, LEARNING_RATE, GridOption] = None
    beta: Annotated[Grid | None, BETA, GridOption] = None
    decay: Annotated[Grid | None, DECAY, GridOption] = None
    batch_size: Annotated[tuple[int, ...] | None, BATCH_SIZE, SizesOption] = None
    l2: Annotated[Grid | None, L2, GridOption] = None

    members: Annotated[int, Parameter(converter=parse_integer, group=TRAINING_GROUP)] = 5
    """Networks for each setting, with initial weights and orders of their own."""

    def settings(self) -> list[dict[str, Any]]:
        """Each combination of what varies, by name; those that one ensemble can train follow each other."""
        if self.members < 1:
            raise ValueError(f"--members: train at least one network a setting, got {self.members}")
        given = {name: values for name, values in asdict(self).items() if name != "members" and values is not None}
        if not given:
            options = ", ".join(f"--{name.replace('_', '-')}" for name in asdict(self) if name != "members")
            raise ValueError(f"nothing varies: give several values to one of {options}")
        first = [name for name in given if name in APART]
        order = [*first, *(name for name in given if name not in APART)]
        combined = itertools.product(*(given[name] for name in order))
        return [dict(zip(order, values, strict=True)) for values in combined]


# What all members of an ensemble have in common.
APART = ("hidden", "activation", "batch_size", "l2")


def shown(value: Any) -> str:
    """A value as the options take it.

    >>> shown((16, 16)), shown(()), shown(0.01)
    ('16,16', 'none', '0.01')
    """
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return f"{value:g}"
