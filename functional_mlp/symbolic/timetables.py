"""The factor of a schedule as a formula of the epoch.

A schedule is a function of numbers in plain Python. It is read with a symbol for the epoch: functions of `math` are
sympy's then, and where it branches on the epoch, both ways are gone.
"""

import functools
import math
import types
from collections.abc import Callable
from typing import Any

import attrs
import sympy

from functional_mlp.operands import Comparison
from functional_mlp.schedules import Schedule, on_plateau
from functional_mlp.symbolic.claims import reading
from functional_mlp.symbolic.letters import LETTERS
from functional_mlp.symbolic.namespace import Formula, SymbolicNamespace, parts_of
from functional_mlp.symbolic.nodes import where
from functional_mlp.symbolic.printing import EPOCH


class Epochs(Formula):
    """A number of epochs."""

    def __floordiv__(self, other: Any) -> Any:
        return self.xp.elementwise(lambda a, b: sympy.floor(a / b), self, other)


@attrs.frozen(eq=False)
class Branching(Comparison):
    """A comparison that is decided by the path that is gone."""

    path: "Path"
    symbol: str
    left: sympy.Expr
    right: sympy.Expr

    def __bool__(self) -> bool:
        return self.path.take(self)


class Path:
    """The decisions on the way through a function: the first ones are given, and all others are true."""

    decisions: list[bool]

    def __init__(self, decisions: tuple[bool, ...]) -> None:
        self.decisions = list(decisions)
        self.comparisons: list[Branching] = []

    def take(self, comparison: Branching) -> bool:
        asked = (comparison.symbol, comparison.left, comparison.right)
        for earlier, decision in zip(self.comparisons, self.decisions, strict=False):
            if (earlier.symbol, earlier.left, earlier.right) == asked:
                return decision
        self.comparisons.append(comparison)
        if len(self.comparisons) > len(self.decisions):
            self.decisions.append(True)
        return self.decisions[len(self.comparisons) - 1]


class PathNamespace(SymbolicNamespace):
    """Numbers whose comparisons choose a path."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def elementwise(self, function: Callable[..., sympy.Expr], *operands: Any) -> Any:
        return Epochs(self, [function(*(parts_of(operand)[0] for operand in operands))], has_shape=False)

    def compare(self, symbol: str, a: Any, b: Any) -> Any:
        return Branching(self.path, symbol, parts_of(a)[0], parts_of(b)[0])


def factor_of(schedule: Schedule) -> sympy.Expr:
    """The factor in the epoch n, or after k reductions for a schedule that counts them."""
    return _explored(lambda xp: _called(schedule, xp, xp.elementwise(lambda e: e, EPOCH)), ())


def _explored(read: Callable[[PathNamespace], Any], decisions: tuple[bool, ...]) -> sympy.Expr:
    """What comes out on all paths that begin with some decisions, as cases."""
    path = Path(decisions)
    result = parts_of(read(PathNamespace(path)))[0]
    if result.is_Add and sympy.fraction(sympy.together(result))[1].is_number:
        result = sympy.together(result)  # (1 + cos x) / 2
    for depth in reversed(range(len(decisions), len(path.comparisons))):
        other = _explored(read, (*path.decisions[:depth], False))
        comparison = path.comparisons[depth]
        result = where(comparison.symbol, *_sides(comparison), result, other)
    return result


def _sides(comparison: Branching) -> tuple[sympy.Expr, sympy.Expr]:
    """What is compared, with the epoch by itself: n < 25 for n − 5 < 20."""
    shift = comparison.left - EPOCH
    return (EPOCH, comparison.right - shift) if shift.is_number else (comparison.left, comparison.right)


def plateau_of(schedule: Any) -> on_plateau | None:
    """The schedule in it, or itself, whose factor is applied ever again."""
    inner = (getattr(schedule, field.name) for field in attrs.fields(type(schedule)))
    if isinstance(schedule, on_plateau):
        return schedule
    return next((found for value in inner if isinstance(value, Schedule) and (found := plateau_of(value))), None)


@attrs.frozen(eq=False)
class Inner:
    """A schedule within another."""

    schedule: Schedule
    xp: PathNamespace

    def __call__(self, epoch: Any) -> Any:
        return _called(self.schedule, self.xp, epoch)

    def factor_after(self, memory: Any, epoch: Any) -> Any:
        return _called(self.schedule, self.xp, epoch)


def _called(schedule: Any, xp: PathNamespace, epoch: Any) -> Any:
    """The factor, with letters for the schedule's numbers and this function for the schedules in it."""
    fields = {field.name: getattr(schedule, field.name) for field in attrs.fields(type(schedule))}
    for name, value in fields.items():
        if isinstance(value, Schedule):
            fields[name] = Inner(value, xp)
    return reading(schedule, lambda: _factor(schedule, fields, xp, epoch))


def _factor(schedule: Any, fields: dict[str, Any], xp: PathNamespace, epoch: Any) -> Any:
    stand_in = types.SimpleNamespace(**fields)
    if "factor" not in fields:  # it may be a number
        stand_in.factor = functools.partial(_with_symbolic_math(type(schedule).factor, xp), stand_in)
    if schedule.monitor is not None:
        memory = schedule.start()
        counts = {f.name: xp.elementwise(lambda s: s, _letter(f.name)) for f in attrs.fields(type(memory))}
        return _with_symbolic_math(type(schedule).factor_after, xp)(stand_in, types.SimpleNamespace(**counts), epoch)
    return _with_symbolic_math(type(schedule).factor, xp)(stand_in, epoch)


def _letter(name: str) -> sympy.Symbol:
    return sympy.Symbol(LETTERS.get(name, name), integer=True, nonnegative=True)


def _with_symbolic_math(function: Any, xp: PathNamespace) -> Any:
    """The function, with sympy's functions in place of those of `math`."""
    numbers = {name: number for name, number in vars(math).items() if isinstance(number, float)}
    functions = {name: functools.partial(xp.elementwise, function) for name, function in _functions_of_math().items()}
    shadow = {**function.__globals__, "math": types.SimpleNamespace(**numbers, **functions)}
    return types.FunctionType(function.__code__, shadow, function.__name__, function.__defaults__, function.__closure__)


def _functions_of_math() -> dict[str, Callable[..., sympy.Expr]]:
    """The functions of `math`, of symbols: those that sympy calls the same, and others."""
    functions = {name: getattr(sympy, name) for name in vars(math) if hasattr(sympy, name)}
    return {name: function for name, function in functions.items() if callable(function)} | {
        "cbrt": sympy.cbrt,
        "exp2": lambda x: 2**x,
        "expm1": lambda x: sympy.exp(x) - 1,
        "fabs": sympy.Abs,
        "log10": lambda x: sympy.log(x, 10),
        "log1p": lambda x: sympy.log(1 + x),
        "log2": lambda x: sympy.log(x, 2),
        "pow": sympy.Pow,
    }
