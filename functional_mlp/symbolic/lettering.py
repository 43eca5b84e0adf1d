"""Letters in printed formulas for what a value's own class names: each another than whatever else stands there."""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any

import sympy

from functional_mlp.symbolic.letters import LETTERS, SLOTS, numbers_of
from functional_mlp.symbolic.spelling import letter
from functional_mlp.value import Value

# Functions that are written otherwise than they are called.
_WRITTEN = {"LargestOf": "max", "LogOrZero": "log", "Maximum": "max", "Minimum": "min", "Mod": "mod"}
Names = Mapping[sympy.Symbol, str]


class OfValue(sympy.Dummy):  # type: ignore[misc] # sympy's classes have no types
    """A symbol for a number of a value."""


def stand_ins(value: Value, *, positive: bool, integers: bool = False) -> dict[str, sympy.Dummy]:
    """A symbol for each field of a value that holds a number. It is equal to no other, whatever the field is called."""
    numbers = numbers_of(value, (float, int) if integers else (float,))
    assumptions = {"positive": True} if positive else {"real": True}
    return {field: OfValue(name, **assumptions) for field, name in _distinct(numbers, LETTERS).items()}


def signed_stand_ins(value: Value) -> dict[str, sympy.Dummy]:
    """A symbol for each field of a value that holds a number other than 0, of which it is known which sign it has.

    An expression may branch on whether such a number is 0, as it may not for a number that could be anything.
    """
    numbers = {field: number for field, number in numbers_of(value, (float,)).items() if number != 0}
    names = _distinct(numbers, LETTERS)
    return {field: OfValue(names[field], positive=number > 0, real=True) for field, number in numbers.items()}


def slot_stand_ins(names: Iterable[str]) -> dict[str, sympy.Dummy]:
    """A symbol for each slot of an optimizer."""
    return {slot: sympy.Dummy(name, real=True) for slot, name in _distinct(names, SLOTS).items()}


def _distinct(fields: Iterable[str], letters: Mapping[str, str]) -> dict[str, str]:
    """The letter of each field; of two that have one, the second is called as it is in Python."""
    names: dict[str, str] = {}
    for field in fields:
        name = letters.get(field, field)
        names[field] = field if name in names.values() else name
    return names


def named(symbols: Mapping[str, sympy.Dummy], shown: Iterable[sympy.Expr], fixed: Iterable[str]) -> dict[Any, str]:
    """What each of some symbols is called in formulas: as it is, or where that is taken, by its field, or s₀ for s.

    Taken is what else stands in the formulas that are shown, and what is fixed, as the name of what they define.

    >>> s, own, slope = sympy.Symbol("s"), sympy.Dummy("s"), sympy.Dummy("α")
    >>> list(named({"s": own, "negative_slope": slope}, [own * s + slope], []).values())
    ['s_0', 'α']
    """
    taken = {_looks(letter(name)) for name in fixed} | {name for one in shown for name in _letters_of(one)}
    names: dict[Any, str] = {}
    for field, symbol in symbols.items():
        name = next(one for one in _candidates(symbol.name, field) if not _is_taken(one, taken))
        taken.add(_looks(letter(name)))
        names[symbol] = name
    return names


def _candidates(name: str, field: str) -> Iterator[str]:
    yield from (name, field)
    yield from (f"{field.partition('_')[0] or field}_{place}" for place in itertools.count())


def _is_taken(name: str, taken: Set[str]) -> bool:
    """Whether a name is that of something else, or looks as if it had the index of a sum."""
    index = name.rpartition("_")[2]
    return _looks(letter(name)) in taken or (index != name and len(index) == 1 and index in taken)


def _letters_of(expression: sympy.Expr) -> Iterator[str]:
    """What the letters and functions of an expression look like."""
    for symbol in expression.free_symbols:
        if not symbol.is_Dummy:
            yield _looks(letter(symbol.name))
            yield _looks(letter(symbol.name)).partition("_")[0]
    if expression.has(sympy.exp, sympy.E):
        yield from ("e", "exp")
    if expression.has(sympy.pi):
        yield "pi"
    for function in expression.atoms(sympy.Function):
        name = function.func.__name__
        yield _WRITTEN.get(name) or _looks(letter(name))
        if name in ("σ", "Φ"):  # with what defines them
            yield from ("u", "t", "e", "pi")


def _looks(tex: str) -> str:
    """What is seen of a letter or a word in LaTeX, whatever it is set in."""
    return re.sub(r"\\mathrm|\\operatorname|[\\{}]", "", tex)
