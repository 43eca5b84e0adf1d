"""What the expressions of layers, losses and optimizers do, as text: compiled code is kept under it.

The library's own expressions change only with its source, so their values are known by the code that makes them. What
others write may do something else today: a global that an expression reads has another value, a method has been
replaced. So their expressions are read with a namespace that writes down each operation, whenever code is looked for
and something that they read may be another (see `functional_mlp.reads`). That takes some ten microseconds, and what
does the same is the same, whatever it is called.

Values are told apart to the bit: 0.0 and −0.0 are equal, and make different code.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any, TypeGuard

import attrs
import torch
from torch import Tensor

from functional_mlp.algebra import Namespace, no_function, torch_namespace
from functional_mlp.calling import called, called_rule, not_in_algebra
from functional_mlp.layers.elementwise import Elementwise
from functional_mlp.losses import Loss
from functional_mlp.operands import (
    Comparison,
    NotInAlgebraError,
    Number,
    OfFeatures,
    Shape,
    StandIn,
    most_features,
    no_condition,
    no_features,
    no_operand,
)
from functional_mlp.optimizers import Optimizer
from functional_mlp.penalties import Penalty, l1, l2
from functional_mlp.reads import Reads, Unchanged, fields_of, is_pure, never_sure
from functional_mlp.value import EXPRESSIONS, Value, is_ours


def change_of(values: Iterable[Value]) -> Unchanged:
    """A quick test of whether all that the expressions of values read is still what it is now.

    It says no where it cannot be sure.
    """
    return change_of_kinds([(type(value), fields_of(value)) for value in values])


def change_of_kinds(kinds: Iterable[tuple[type, Iterable[Any]]]) -> Unchanged:
    """As `change_of`, of classes, with what the fields of the values hold."""
    fields: dict[type, list[Any]] = {}
    for kind, own in kinds:
        fields.setdefault(kind, []).extend(own)
    if not all(is_pure(each) for own in fields.values() for each in own):
        return _change_of(fields)
    known = _known_change(tuple(fields))
    if not known or not (known[0] is never_sure or known[0]()):
        known[:] = [_change_of(fields)]
    return known[0]


def _change_of(fields: Mapping[type, Iterable[Any]]) -> Unchanged:
    return Reads.of(fields, (*EXPRESSIONS, "judges_outputs")).unchanged()


@functools.lru_cache(maxsize=256)
def _known_change(kinds: tuple[type, ...]) -> list[Unchanged]:
    """What was said of values of these classes whose fields hold numbers: to find it takes a millisecond."""
    return []


def activation_code(layer: Elementwise | None) -> str:
    """What an activation and its pullback do; where there is none, nothing.

    >>> import functional_mlp as fm
    >>> class Shrunk(fm.Elementwise):
    ...     def value(self, xp, s):
    ...         return xp.tanh(s) / 2
    ...     def derivative(self, xp, s, y):
    ...         return 0.5 - 2 * y * y
    >>> print(activation_code(Shrunk()))
    %1 = tanh(%0)
    %2 = fdiv(%1, 2)
    %6 = fmul(2, %4)
    %7 = fmul(%6, %4)
    %8 = fsub(0.5, %7)
    %9 = fmul(%5, %8)
    %2, %9
    >>> activation_code(fm.LeakyReLU(0.5))
    'LeakyReLU(negative_slope=0.5)'
    """
    if layer is None:
        return ""
    return _code(
        layer, lambda xp: (called(layer, "value", xp, *xp.arrays(1)), called(layer, "pullback", xp, *xp.arrays(3)))
    )


def loss_code(loss: Loss, features: int) -> str:
    """What a loss and its gradient do for `features` outputs, and where it judges them, that."""

    def expressions(xp: "RecordingNamespace") -> tuple[Any, ...]:
        pair = xp.arrays(2)
        judged = (loss.wrong_outputs(xp, *pair),) if loss.judges_outputs else ()
        return called(loss, "sample_value", xp, *pair), called(loss, "sample_grad", xp, *pair), *judged

    return _code(loss, expressions, features)


def rule_code(optimizer: Optimizer) -> str:
    """What the rule of an optimizer does, whatever its learning rate: a rule is handed that.

    >>> import functional_mlp as fm
    >>> rule_code(fm.Momentum(0.1)) == rule_code(fm.Momentum(0.2))
    True
    >>> rule_code(fm.Momentum(0.1, beta=0.9)) == rule_code(fm.Momentum(0.1, beta=0.5))
    False
    """
    if is_ours(type(optimizer)):
        return repr(attrs.evolve(optimizer, learning_rate=1.0))
    return recorded(
        optimizer, lambda xp: xp.run_rule(functools.partial(called_rule, optimizer), len(optimizer.slots()))
    )


def penalty_code(penalty: Penalty | None) -> str:
    """What a penalty adds to the gradient of a weight, whatever its strength; where there is none, nothing.

    >>> import functional_mlp as fm
    >>> penalty_code(fm.penalties.l2(0.1)) == penalty_code(fm.penalties.l2(0.2))
    True
    """
    if penalty is None:
        return ""
    if takes_strength(penalty):
        return repr(attrs.evolve(penalty, strength=1.0))
    return _code(penalty, lambda xp: called(penalty, "derivative", xp, *xp.arrays(1)))


def takes_strength(penalty: Penalty | None) -> TypeGuard[l1 | l2]:
    """Whether code is handed the strength of a penalty: of one of ours, whose expressions are known to take any."""
    return isinstance(penalty, l1 | l2) and is_ours(type(penalty))


def strength_of(penalty: Penalty | None) -> float:
    """The strength that the code of a penalty is handed; 0 where it has no use for it."""
    return float(penalty.strength) if takes_strength(penalty) else 0.0


def slope(penalty: Penalty, xp: Any, strength: Any, weights: Any) -> Any:
    """The derivative of a penalty at weights, with the strength that its code is handed."""
    value: Any = StandIn(type(penalty), {"strength": strength}) if takes_strength(penalty) else penalty
    return value.derivative(xp, weights)


def _code(value: object, expressions: Callable[["RecordingNamespace"], Any], features: int | None = None) -> str:
    return repr(value) if is_ours(type(value)) else recorded(value, expressions, features)


def recorded(value: object, expressions: Callable[["RecordingNamespace"], Any], features: int | None = None) -> str:
    """What expressions of a value do, a line an operation; `NotInAlgebraError` where they do what the algebra has not.

    `features` is how many an array has, None where an expression sees each number by itself.

    >>> recorded(None, lambda xp: xp.abs(xp.scalar()) > 1)
    '%1 = abs(%0)\\n%2 = >(%1, 1)\\n%2'
    """
    xp = RecordingNamespace(features)
    try:
        results = expressions(xp)
    except Exception as error:  # whatever an expression of a user's does with arrays that it does not expect
        raise not_in_algebra(value, error) from error
    several = isinstance(results, tuple | list)
    return "\n".join([*xp.lines, ", ".join(map(_text, results)) if several else _text(results)])


class Recorded(OfFeatures):
    """The outcome of an operation, known by its number, with its features, if any."""

    xp: "RecordingNamespace"
    number: int

    def __init__(self, xp: "RecordingNamespace", number: int, features: int | None) -> None:
        self.xp, self.number, self.features = xp, number, features

    @property
    def shape(self) -> Shape:
        self.xp.require_features("shape")
        return super().shape


class RecordedComparison(Comparison):
    """The outcome of a comparison, known by its number."""

    def __init__(self, number: int) -> None:
        self.number = number


class RecordingNamespace:
    """The array namespace `xp` whose operations are written down, on arrays of some features, or on single numbers."""

    def __init__(self, features: int | None) -> None:
        self.lines: list[str] = []
        self._features = features
        self._count = 0

    def arrays(self, count: int) -> list[Recorded]:
        return [Recorded(self, self._next(), self._features) for _ in range(count)]

    def require_features(self, what: str) -> None:
        """Raise `NotInAlgebraError` where each number is seen by itself."""
        if self._features is None:
            raise no_features(what)

    def scalar(self) -> Recorded:
        return Recorded(self, self._next(), None)

    def run_rule(self, rule: Callable[..., Any], slots: int) -> Any:
        """What a rule with `slots` slots returns."""
        return rule(self, self.scalar(), self.scalar(), *self.arrays(2 + slots))

    def _next(self) -> int:
        self._count += 1
        return self._count - 1

    def _note(self, name: str, *operands: Any, **named: Any) -> int:
        compared = operands[1:] if name == "where" else (*operands, *named.values())
        for operand in compared:
            if isinstance(operand, RecordedComparison):
                raise no_operand(operand)
        number = self._next()
        arguments = [*map(_text, operands), *(f"{key}={_text(operand)}" for key, operand in named.items())]
        self.lines.append(f"%{number} = {name}({', '.join(arguments)})")
        return number

    # What the operators of an operand call

    def binary(self, name: str, a: Any, b: Any) -> Recorded:
        return Recorded(self, self._note(name, a, b), most_features(a, b))

    def compare(self, symbol: str, a: Any, b: Any) -> RecordedComparison:
        return RecordedComparison(self._note(symbol, a, b))

    def remainder(self, a: Any, b: Any) -> Recorded:
        return self.binary("remainder", a, b)

    def power(self, base: Any, exponent: Any) -> Recorded:
        return self.binary("power", base, exponent)

    def exponential(self, base: Any, exponent: Any) -> Recorded:
        return self.binary("exponential", base, exponent)

    # The functions of the algebra

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_") or not hasattr(Namespace, name):
            raise no_function(name)

        def call(*operands: Any, **named: Any) -> Any:
            given = (*operands, *named.values())
            if len(given) != _operands(name):
                raise NotInAlgebraError(f"xp.{name} takes {_operands(name)} arguments, got {len(given)}")
            if name == "where" and not isinstance(given[0], RecordedComparison | bool):
                raise no_condition(given[0])
            if not any(isinstance(operand, Recorded | RecordedComparison) for operand in given):
                result = getattr(torch_namespace(torch.float64, _CPU), name)(*operands, **named)
                return result.item() if isinstance(result, Tensor) else result
            if name in ("sum", "max"):
                self.require_features(f"xp.{name}")
            features = {"sum": None, "max": 1}[name] if name in ("sum", "max") else most_features(*given)
            return Recorded(self, self._note(name, *operands, **named), features)

        return call


_CPU = torch.device("cpu")


def _text(operand: Any) -> str:
    """An operand by its number, or a number to the bit: whole and real ones, and the two zeros, differ."""
    if isinstance(operand, Recorded | RecordedComparison):
        return f"%{operand.number}"
    if isinstance(operand, Number) and not isinstance(operand, bool):
        return float.__repr__(operand) if isinstance(operand, float) else int.__repr__(operand)
    if isinstance(operand, Real):
        return repr(operand)
    raise no_operand(operand)


@functools.cache
def _operands(name: str) -> int:
    """How many operands a function of the algebra takes."""
    return len(inspect.signature(getattr(Namespace, name)).parameters) - 1
