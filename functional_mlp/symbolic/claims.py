"""What values claim by their expressions, with symbols in place of arrays.

    Elementwise   derivative, and pullback, are the derivative of value
    Loss          sample_grad is the gradient of sample_value
    Optimizer     rule does what a formula says

and whatever else has `value(xp, x)` and `derivative(xp, x)`: that one is the derivative of the other.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from numbers import Real
from typing import Any

import attrs
import sympy

from functional_mlp.calling import called, called_rule, definition_of, not_in_algebra
from functional_mlp.layers.elementwise import Elementwise
from functional_mlp.losses import Loss
from functional_mlp.optimizers import Optimizer
from functional_mlp.symbolic.conditions import Condition
from functional_mlp.symbolic.foreign import called_formula, read_formula
from functional_mlp.symbolic.identities import is_zero
from functional_mlp.symbolic.letters import number_symbols, numbered, own_numbers, signed_symbols, with_symbols
from functional_mlp.symbolic.namespace import ClaimsNamespace
from functional_mlp.symbolic.nodes import without_shifts
from functional_mlp.symbolic.partial import substituted
from functional_mlp.symbolic.slopes import Claim

Formula = Callable[..., Any]


@attrs.frozen
class Named:
    """A claim, and what is said about it in words; those of a group are told together where they hold.

    A claim may say more than is meant: where it is wrong, what `related` makes of it is looked at.
    """

    what: str
    claim: Claim
    group: str = ""
    related: Callable[[], Claim] | None = None


def reading(value: object, read: Callable[[], Any]) -> Any:
    """What reading expressions of a value gives; `NotInAlgebraError` with the line where they cannot be read."""
    try:
        return read()
    except Exception as error:  # whatever an expression of a user's does with formulas that it does not expect
        raise not_in_algebra(value, error) from error


def of_elementwise(layer: Elementwise, symbols: Mapping[str, sympy.Symbol], *, own: bool = False) -> Iterator[Named]:
    """That of the derivative, and that of the pullback where the layer has its own, with symbols for its numbers.

    With `own` it is made for numbers on the side of the layer's own of each condition that is about numbers alone.
    """
    s, grad = sympy.symbols("s g", real=True)
    xp = ClaimsNamespace()
    twin = with_symbols(layer, symbols, xp) if symbols else layer

    def read() -> tuple[sympy.Expr, ...]:
        x = xp.array(s)
        y = xp.array(*xp.parts_of(called(twin, "value", xp, x)))
        given = called(twin, "derivative", xp, x, y), called(twin, "pullback", xp, x, y, xp.array(grad))
        return y.parts[0], *(xp.parts_of(one)[0] for one in given)

    value, derivative, pullback = reading(layer, read)
    numbers = own_numbers(layer, symbols) if own else {}
    yield Named("derivative", Claim(value, s, derivative, constants=xp.constants, own=numbers))
    if type(layer).pullback is not Elementwise.pullback:
        yield Named("pullback", Claim(value, s, pullback, grad, xp.constants, own=numbers))


@attrs.frozen
class Targets:
    """Targets made of the symbols t1, t2, …, and what is positive of these."""

    made: tuple[Any, ...]
    positive: tuple[sympy.Expr, ...] = ()


def of_loss(loss: Loss, features: int, targets: Callable[[tuple[sympy.Symbol, ...]], Targets]) -> Iterator[Named]:
    """That of each component of the gradient, of those that only exchange outputs the first.

    Raises `AssertionError` where these, or the value, are not one number.
    """
    predictions, symbols = numbered("ŷ", features), numbered("t", features)
    xp, target = ClaimsNamespace(has_features=True), targets(symbols)

    def read() -> tuple[Any, ...]:
        arrays = xp.array(*predictions), xp.array(*target.made)
        both = [called(loss, name, xp, *arrays) for name in ("sample_value", "sample_grad")]
        return both, *map(xp.parts_of, both)

    (total, slopes), value, gradient = reading(loss, read)
    if isinstance(total, Real):
        raise AssertionError(
            f"sample_value must return an array of one number for a sample, got {total!r}: "
            f"xp.sum(0 * prediction) + {total!r} is one{definition_of(loss.sample_value)}"
        )
    if len(value) > 1:
        raise AssertionError(
            f"sample_value must return one number for a sample, got one for each of its {features} outputs: "
            f"add them up with xp.sum{definition_of(loss.sample_value)}"
        )
    whole = without_shifts(value[0], is_zero)
    within = tuple(map(Condition.positive, target.positive))
    if isinstance(slopes, Real) or len(gradient) != features:
        got = repr(slopes) if isinstance(slopes, Real) else f"an array of {len(gradient)}"
        raise AssertionError(
            f"sample_grad must return an array of one number for each output, {features} here, got {got}: "
            f"0 * prediction + it is one, where that is meant{definition_of(loss.sample_grad)}"
        )
    seen: list[Claim] = []
    targets_of = dict(zip(predictions, symbols, strict=True))
    for prediction, component in zip(predictions, gradient, strict=True):
        component = without_shifts(component, is_zero)
        claim = Claim(whole, prediction, component, constants=xp.constants, within=within, inputs=predictions)
        if not any(_is_exchanged(claim, other, targets_of) for other in seen):
            yield Named(f"gradient by {prediction}", claim)
        seen.append(claim)


def _is_exchanged(claim: Claim, other: Claim, targets: Mapping[sympy.Symbol, sympy.Symbol]) -> bool:
    """Whether a claim is another with two outputs exchanged, and their targets: they hold together."""
    mine, theirs = ((one.variable, targets[one.variable]) for one in (claim, other))
    letters = dict(zip((*mine, *theirs), (*theirs, *mine), strict=True))
    within = frozenset(Condition.positive(one.sign * one.expression.xreplace(letters)) for one in other.within)
    formulas = other.value.xreplace(letters), other.given.xreplace(letters)
    return formulas == (claim.value, claim.given) and within == frozenset(claim.within)


def of_one_symbol(value: Any, letter: str) -> Iterator[Named]:
    """That of `derivative(xp, x)`, for what has `value(xp, x)` beside it."""
    symbol, xp = sympy.Symbol(letter, real=True), ClaimsNamespace()

    def read() -> tuple[sympy.Expr, sympy.Expr]:
        x = xp.array(symbol)
        both = (called(value, name, xp, x) for name in ("value", "derivative"))
        whole, derivative = (xp.parts_of(one)[0] for one in both)
        return whole, derivative

    whole, derivative = reading(value, read)
    yield Named("derivative", Claim(whole, symbol, derivative, constants=xp.constants))


def of_rule(optimizer: Optimizer, formula: Formula, steps: int) -> Iterator[Named]:
    """That the rule, from zero state, does in each step what a formula makes of the parameters and gradients so far.

    The parameter before a step is a symbol: that it is the same for both was shown in the steps before. So are those
    before earlier steps, if it holds whatever they are, or else they are what the steps made of the first. The rate
    that a schedule gives the rule, and the one that the optimizer was made with, have symbols of their own.
    """
    symbols = signed_symbols(optimizer)
    xp = ClaimsNamespace()
    own = {name: sympy.Symbol(f"self.{name}", positive=True) for name in symbols.keys() & {"learning_rate"}}
    twin = with_symbols(optimizer, symbols | own, xp)
    values = own_numbers(optimizer, symbols) | own_numbers(optimizer, own)
    rate = xp.scalar(symbols["learning_rate"]) if own else optimizer.learning_rate
    numbers = {name: symbols.get(name, sympy.S.Zero) for name in number_symbols(optimizer)}
    others = {field.name: getattr(optimizer, field.name) for field in attrs.fields(type(optimizer))}
    others = {name: value for name, value in others.items() if name not in numbers}
    gradients = [sympy.Symbol(f"g{step}", real=True) for step in range(1, steps + 1)]
    w = sympy.Symbol("w", real=True)
    earlier: list[sympy.Symbol] = []
    made: list[sympy.Expr] = []
    slots = [xp.array(sympy.Integer(0)) for _ in optimizer.slots()]
    for step in range(1, steps + 1):

        def read(step: int = step, slots: list[Any] = slots) -> Any:
            return called_rule(twin, xp, step, rate, xp.array(w), xp.array(gradients[step - 1]), *slots)

        updated, *slots = reading(optimizer, read)
        given = xp.parts_of(updated)[0]
        expected = read_formula(called_formula(formula, [*earlier, w], gradients[:step], numbers, others), xp)
        claim = Claim.of_equality(expected, given, xp.constants, values)
        related = None
        if not claim.value.free_symbols.union(given.free_symbols).isdisjoint(earlier):
            related = functools.partial(_related, claim, [*earlier, w], list(made))
        yield Named(f"parameter after step {step}", claim, related=related)
        earlier.append(sympy.Symbol(f"w{step}", real=True))
        now = {w: earlier[-1]}
        slots = [xp.array(*(part.xreplace(now) for part in xp.parts_of(slot))) for slot in slots]
        made.append(given.xreplace(now))


def _related(claim: Claim, parameters: list[sympy.Symbol], made: list[sympy.Expr]) -> Claim:
    """A claim in which each parameter after the first is what the step before it made."""
    value, given = claim.value, claim.given
    for parameter, formula in zip(reversed(parameters[1:]), reversed(made), strict=True):
        value, given = (substituted(one, parameter, formula) for one in (value, given))
    return attrs.evolve(claim, value=value, given=given)
