"""The targets that a loss is proved for, made of symbols."""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sympy
import torch

from functional_mlp.losses import Loss
from functional_mlp.symbolic.claims import Targets
from functional_mlp.testing.targets import accepted_kinds, kinds_of_all

# The targets for a number of outputs, each a function of a symbol an output.
Choices = Callable[[int], Iterator[Callable[[tuple[Any, ...]], Targets]]]


def kinds_of_targets(loss: Loss, wanted: Sequence[str] | None) -> Sequence[tuple[str, Choices]]:
    """What targets may be, the most general first. A loss must be right for all that it takes, or that are wanted."""
    taken = {"values"} if type(loss).encode is Loss.encode else set(accepted_kinds(loss, 2))
    if wanted is None and "values" not in taken and _takes_large_numbers(loss):
        return [_ALL, _NOT_NEGATIVE]
    taken = taken if wanted is None else kinds_of_all(wanted, "prove")
    if "values" in taken:
        return [_ALL]
    if "fractions" in taken:
        return [_ALL, _FRACTIONS]
    return [_ALL, _PROBABILITIES] if "probabilities" in taken else [_ALL, _PROBABILITIES, _CLASSES]


def _takes_large_numbers(loss: Loss) -> bool:
    """Whether a loss takes targets that are no probabilities, and not negative."""
    numbers = torch.tensor([[2.5, 3.0]], dtype=torch.float64)
    try:
        loss.checked_targets(numbers, numbers)
    except (TypeError, ValueError, RuntimeError, IndexError):
        return False
    return True


def _any_numbers(outputs: int) -> Iterator[Callable[[tuple[Any, ...]], Targets]]:
    yield Targets


def _fractions(outputs: int) -> Iterator[Callable[[tuple[Any, ...]], Targets]]:
    yield lambda t: Targets(t, (*t, *(1 - one for one in t)))
    for corner in itertools.product((0, 1), repeat=outputs):
        yield functools.partial(_certain, corner)


def _not_negative(outputs: int) -> Iterator[Callable[[tuple[Any, ...]], Targets]]:
    for some in itertools.product((0, 1), repeat=outputs):
        yield functools.partial(_some_zero, some)


def _some_zero(present: tuple[int, ...], t: tuple[Any, ...]) -> Targets:
    made = tuple(one * is_present for one, is_present in zip(t, present, strict=True))
    return Targets(made, tuple(one for one in made if one != 0))


def _probabilities(outputs: int) -> Iterator[Callable[[tuple[Any, ...]], Targets]]:
    if outputs > 1:
        yield lambda t: Targets((*t[:-1], 1 - sympy.Add(*t[:-1])), (*t[:-1], 1 - sympy.Add(*t[:-1])))
    yield from _classes(outputs)


def _classes(outputs: int) -> Iterator[Callable[[tuple[Any, ...]], Targets]]:
    for label in range(outputs):
        yield functools.partial(_certain, tuple(int(index == label) for index in range(outputs)))


def _certain(numbers: tuple[int, ...], t: tuple[Any, ...]) -> Targets:
    return Targets(tuple(map(sympy.Integer, numbers)))


_ALL = ("all real targets", _any_numbers)
_NOT_NEGATIVE = ("all targets that are not negative", _not_negative)
_FRACTIONS = ("targets that are all between 0 and 1, or all 0 or 1", _fractions)
_PROBABILITIES = ("targets that are probabilities above 0, or classes", _probabilities)
_CLASSES = ("classes as targets", _classes)
