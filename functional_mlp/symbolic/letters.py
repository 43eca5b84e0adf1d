"""The letters of the field: what stands for the numbers of a value, and for what a layer, a loss or a rule is given."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import sympy

from functional_mlp.operands import StandIn
from functional_mlp.symbolic.constants import exactly
from functional_mlp.symbolic.namespace import SymbolicNamespace
from functional_mlp.value import Value

# For the fields of values. A number of another name is called by it.
LETTERS = {
    "alpha": "α",
    "batch_size": "B",
    "beta": "β",
    "beta1": "β1",
    "beta2": "β2",
    "decay": "ρ",
    "delta": "δ",
    "eps": "ε",
    "label_smoothing": "ε",
    "learning_rate": "η",
    "momentum": "μ",
    "negative_slope": "α",
    "reductions": "k",
    "strength": "λ",
    "weight_decay": "λ",
}
# For the slots of optimizers.
SLOTS = {"first_moment": "m", "grad_sum": "G", "second_moment": "v", "velocity": "V"}


# What layers, losses and rules are given, and the indices of formulas; with a number each.
_TAKEN = re.compile(r"[gijklnpstvwxy]\d*|ŷ\d*")


def number_symbols(value: Value) -> dict[str, sympy.Symbol]:
    """A symbol for each field of a value that holds a number."""
    return {name: sympy.Symbol(letter, real=True) for name, letter in _letters(numbers_of(value, (float,))).items()}


def signed_symbols(value: Value) -> dict[str, sympy.Symbol]:
    """A symbol for each field of a value that holds a number other than 0, of which it is known which sign it has.

    An expression may branch on whether such a number is 0, as it may not for a number that could be anything.
    """
    numbers = {name: number for name, number in numbers_of(value, (float,)).items() if number != 0}
    return {
        name: sympy.Symbol(letter, **{"positive" if numbers[name] > 0 else "negative": True})
        for name, letter in _letters(numbers).items()
    }


def own_numbers(value: Value, symbols: Mapping[str, sympy.Symbol]) -> dict[sympy.Symbol, sympy.Rational]:
    """What the numbers that have symbols are in a value itself: 0.9 is 9/10, as it is where an expression has it."""
    numbers = {symbol: getattr(value, name) for name, symbol in symbols.items()}
    meant = {symbol: exactly(number) for symbol, number in numbers.items()}
    return {symbol: one if one.is_Rational else sympy.Rational(numbers[symbol]) for symbol, one in meant.items()}


def _letters(names: Iterable[str]) -> dict[str, str]:
    """The letter of each number; `self.g` for the number g, say, whose name is that of something else.

    >>> _letters(["alpha", "negative_slope", "g", "gain"])
    {'alpha': 'self.alpha', 'negative_slope': 'self.negative_slope', 'g': 'self.g', 'gain': 'gain'}
    """
    wanted = {name: LETTERS.get(name, name) for name in names}
    counts = Counter(wanted.values())
    return {
        name: f"self.{name}" if counts[letter] > 1 or (name == letter and _TAKEN.fullmatch(name)) else letter
        for name, letter in wanted.items()
    }


def numbers_of(value: Value, kinds: tuple[type, ...]) -> dict[str, Any]:
    """The fields of a value that hold a number of some kinds; a whole one in a field for floats is a float there."""
    found = {}
    for field in attrs.fields(type(value)):
        number = getattr(value, field.name)
        if type(number) in kinds or (type(number) is int and field.type in (float, "float")):
            found[field.name] = number
    return found


def with_symbols(value: Value, symbols: Mapping[str, sympy.Symbol], xp: SymbolicNamespace) -> Any:
    """What the expressions of a value are read of, with symbols for numbers.

    >>> import functional_mlp as fm
    >>> xp = SymbolicNamespace()
    >>> elu = with_symbols(fm.ELU(), number_symbols(fm.ELU()), xp)
    >>> elu.value(xp, xp.array(sympy.Symbol("s", real=True))).parts
    (Where(1, s, 0, α*(exp(s) - 1), s),)
    """
    fields = {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
    return StandIn(type(value), fields | {name: xp.scalar(symbol) for name, symbol in symbols.items()})


def numbered(letter: str, count: int) -> tuple[sympy.Symbol, ...]:
    """The features of an array: t1, t2, …; one alone has no number."""
    return tuple(sympy.Symbol(f"{letter}{i + 1}" if count > 1 else letter, real=True) for i in range(count))
