"""The letters of the field: what stands for the numbers of a value, and for what a layer, a loss or a rule is given."""

from collections.abc import Mapping
from typing import Any

import attrs
import sympy

from functional_mlp.operands import StandIn
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


def number_symbols(value: Value, *, positive: bool, integers: bool = False) -> dict[str, sympy.Symbol]:
    """A symbol for each field of a value that holds a number."""
    numbers = numbers_of(value, (float, int) if integers else (float,))
    assumptions = {"positive": True} if positive else {"real": True}
    return {name: sympy.Symbol(LETTERS.get(name, name), **assumptions) for name in numbers}


def numbers_of(value: Value, kinds: tuple[type, ...]) -> dict[str, Any]:
    """The fields of a value that hold a number of some kinds."""
    fields = {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
    return {name: number for name, number in fields.items() if type(number) in kinds}


def with_symbols(value: Value, symbols: Mapping[str, sympy.Symbol], xp: SymbolicNamespace) -> Any:
    """What the expressions of a value are read of, with symbols for numbers.

    >>> import functional_mlp as fm
    >>> xp = SymbolicNamespace()
    >>> elu = with_symbols(fm.ELU(), number_symbols(fm.ELU(), positive=False), xp)
    >>> elu.value(xp, xp.array(sympy.Symbol("s", real=True))).parts
    (Where(1, s, 0, α*(exp(s) - 1), s),)
    """
    fields = {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
    return StandIn(type(value), fields | {name: xp.scalar(symbol) for name, symbol in symbols.items()})


def numbered(letter: str, count: int) -> tuple[sympy.Symbol, ...]:
    """The features of an array: t1, t2, …; one alone has no number."""
    return tuple(sympy.Symbol(f"{letter}{i + 1}" if count > 1 else letter, real=True) for i in range(count))
