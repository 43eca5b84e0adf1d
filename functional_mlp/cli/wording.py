"""Errors in the words of the command line: the library speaks of arguments, and people here of options."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import functional_mlp as fm

# The options that arguments of the library's functions and values stand for.
OPTIONS = {
    "learning_rate": "--learning-rate",
    "batch_size": "--batch-size",
    "epochs": "--epochs",
    "patience": "--early-stopping",
    "weight_decay": "--weight-decay",
    "label_smoothing": "--label-smoothing",
    "beta1": "--beta",
    "beta": "--beta",
    "momentum": "--beta",
    "delta": "--delta",
    "strength": "--l2",
    "engine": "--engine",
}
# Those that have a name of another argument elsewhere.
OF_CLASSES = {("l1", "strength"): "--l1", ("exponential_decay", "rate"): "--decay", ("RMSProp", "decay"): "--beta"}


@contextmanager
def in_options() -> Iterator[None]:
    """Raise the library's `ValueError` for an argument as one that names the option."""
    try:
        yield
    except fm.CheckpointError:
        raise
    except ValueError as error:
        raise ValueError(worded(str(error))) from error


def worded(message: str) -> str:
    """A message of the library, which begins with the function or class and its argument, in options.

    >>> worded("fit: batch_size must be a positive integer, got 0")
    '--batch-size must be a positive integer, got 0'
    >>> worded("exponential_decay: rate must be a finite number in (0.0, 1.0], got 7.0")
    '--decay must be a finite number in (0.0, 1.0], got 7.0'
    """
    match = re.match(r"(?:(\w+)(?::|\.)\s?)?(\w+)( .*)", message, re.DOTALL)
    if match is None:
        return message
    speaker, argument, rest = match.groups()
    option = OF_CLASSES.get((speaker, argument)) or OPTIONS.get(argument)
    return message if option is None else f"{option}{rest}"
