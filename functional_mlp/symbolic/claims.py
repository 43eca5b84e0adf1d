"""What values claim by their expressions, with symbols in place of arrays.

    Elementwise   derivative, and pullback, are the derivative of value
    Loss          sample_grad is the gradient of sample_value
    Optimizer     rule does what a formula says

and whatever else has `value(xp, x)` and `derivative(xp, x)`: that one is the derivative of the other.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
import sympy

from functional_mlp.layers.elementwise import Elementwise
from functional_mlp.losses import Loss
from functional_mlp.operands import called, not_in_algebra
from functional_mlp.optimizers import Optimizer
from functional_mlp.symbolic.derivatives import Claim
from functional_mlp.symbolic.foreign import read_formula
from functional_mlp.symbolic.identities import is_zero
from functional_mlp.symbolic.letters import number_symbols, numbered, with_symbols
from functional_mlp.symbolic.namespace import ConstantsNamespace
from functional_mlp.symbolic.nodes import without_shifts

Formula = Callable[..., Any]


@attrs.frozen
class Named:
    """A claim, and what is said about it in words."""

    what: str
    claim: Claim


def reading(value: object, read: Callable[[], Any]) -> Any:
    """What reading expressions of a value gives; `NotInAlgebraError` with the line where they cannot be read."""
    try:
        return read()
    except Exception as error:  # whatever an expression of a user's does with formulas that it does not expect
        raise not_in_algebra(value, error) from error


def of_elementwise(layer: Elementwise, symbols: Mapping[str, sympy.Symbol]) -> Iterator[Named]:
    """That of the derivative, and that of the pullback where the layer has its own, with symbols for its numbers."""
    s, grad = sympy.symbols("s g", real=True)
    xp = ConstantsNamespace()
    twin = with_symbols(layer, symbols, xp) if symbols else layer

    def read() -> tuple[sympy.Expr, ...]:
        x = xp.array(s)
        y = xp.array(*xp.parts_of(called(twin, "value", xp, x)))
        given = called(twin, "derivative", xp, x, y), called(twin, "pullback", xp, x, y, xp.array(grad))
        return y.parts[0], *(xp.parts_of(one)[0] for one in given)

    value, derivative, pullback = reading(layer, read)
    yield Named("derivative", Claim(value, s, derivative, constants=xp.constants))
    if type(layer).pullback is not Elementwise.pullback:
        yield Named("pullback", Claim(value, s, pullback, grad, xp.constants))


def of_loss(loss: Loss, features: int, targets: Callable[[tuple[sympy.Symbol, ...]], Any]) -> Iterator[Named]:
    """That of each component of the gradient, for targets made of the symbols t1, t2, …"""
    predictions, symbols = numbered("ŷ", features), numbered("t", features)
    xp = ConstantsNamespace()

    def read() -> tuple[Any, ...]:
        arrays = xp.array(*predictions), xp.array(*targets(symbols))
        both = (called(loss, name, xp, *arrays) for name in ("sample_value", "sample_grad"))
        value, gradient = map(xp.parts_of, both)
        return value, gradient

    (value, *_), gradient = reading(loss, read)
    value = without_shifts(value, is_zero)
    gradient = gradient * features if len(gradient) == 1 else gradient
    for prediction, component in zip(predictions, gradient, strict=True):
        component = without_shifts(component, is_zero)
        yield Named(f"gradient by {prediction}", Claim(value, prediction, component, constants=xp.constants))


def of_one_symbol(value: Any, letter: str) -> Iterator[Named]:
    """That of `derivative(xp, x)`, for what has `value(xp, x)` beside it."""
    symbol, xp = sympy.Symbol(letter, real=True), ConstantsNamespace()

    def read() -> tuple[sympy.Expr, sympy.Expr]:
        x = xp.array(symbol)
        both = (called(value, name, xp, x) for name in ("value", "derivative"))
        whole, derivative = (xp.parts_of(one)[0] for one in both)
        return whole, derivative

    whole, derivative = reading(value, read)
    yield Named("derivative", Claim(whole, symbol, derivative, constants=xp.constants))


def of_rule(optimizer: Optimizer, formula: Formula, steps: int) -> Iterator[Named]:
    """That the rule, from zero state, does in each step what a formula makes of the gradients so far.

    The parameter before a step is a symbol: that it is the same for both was shown in the steps before. The rate that
    a schedule gives the rule, and the one that the optimizer was made with, have symbols of their own.
    """
    symbols = number_symbols(optimizer, positive=True)
    xp = ConstantsNamespace()
    own = {name: sympy.Symbol(f"self.{name}", positive=True) for name in symbols.keys() & {"learning_rate"}}
    twin = with_symbols(optimizer, symbols | own, xp)
    rate = xp.scalar(symbols["learning_rate"]) if own else optimizer.learning_rate
    gradients = [sympy.Symbol(f"g{step}", real=True) for step in range(1, steps + 1)]
    w = sympy.Symbol("w", real=True)
    slots = [xp.array(sympy.Integer(0)) for _ in optimizer.slots()]
    for step in range(1, steps + 1):

        def read(step: int = step, slots: list[Any] = slots) -> Any:
            return called(twin, "rule", xp, step, rate, xp.array(w), xp.array(gradients[step - 1]), *slots)

        updated, *slots = reading(optimizer, read)
        slots = [xp.array(*xp.parts_of(slot)) for slot in slots]
        expected = read_formula(sympy.sympify(formula(w, gradients[:step], **symbols)), xp)
        given = xp.parts_of(updated)[0]
        yield Named(f"parameter after step {step}", Claim.of_equality(expected, given, xp.constants))
