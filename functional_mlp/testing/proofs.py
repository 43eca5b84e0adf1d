"""Proving gradients and rules with symbols, for all real numbers instead of some."""

import functools
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import sympy
from sympy.polys.polyerrors import BasePolynomialError

from functional_mlp import checks
from functional_mlp.layers.base import Layer
from functional_mlp.layers.elementwise import Elementwise
from functional_mlp.losses import Loss
from functional_mlp.operands import NotInAlgebraError
from functional_mlp.optimizers import Optimizer
from functional_mlp.penalties import Penalty
from functional_mlp.symbolic import claims
from functional_mlp.symbolic.allowance import Allowance, OutOfTime
from functional_mlp.symbolic.derivatives import Holds, proved
from functional_mlp.symbolic.findings import Refuted
from functional_mlp.symbolic.letters import number_symbols
from functional_mlp.symbolic.networks import activations_in
from functional_mlp.testing.search import failures_of, named
from functional_mlp.testing.statements import Proof, listed, proof_of, together
from functional_mlp.testing.targets import accepted_kinds
from functional_mlp.value import replaced


class CannotProveError(ValueError):
    """The expressions are more than algebra and points decide."""


# The time for a proof. Each of the library's own takes half a second or less.
SECONDS = 10.0
_MORE_TIME = "give it more, seconds=60"
# What sympy raises where it gives up.
_OF_SYMPY = (ArithmeticError, BasePolynomialError, NotImplementedError, RecursionError, TypeError, ValueError)
# Numbers of outputs that a loss is proved for.
OUTPUTS = range(1, 5)


# The targets for a number of outputs, each a function of a symbol an output.
Targets = Callable[[int], Iterator[Callable[[tuple[Any, ...]], Any]]]


def prove(thing: Any, *, formula: Callable[..., Any] | None = None, steps: int = 5, seconds: float = SECONDS) -> Proof:
    """Show that the expressions of a value are right for all real numbers; `AssertionError` where they are not.

    `thing` is one of

    - an `Elementwise`: `derivative` is the derivative of `value`, and `pullback` that times the gradient;
    - a network: that of each of its activations;
    - a `Loss`: `sample_grad` is the gradient of `sample_value`, for 1 to 4 outputs. Targets are any numbers; where that
      does not hold and the loss encodes its targets, they are probabilities, or classes where it takes no others. The
      proof says which;
    - an `Optimizer`: `rule`, from zero state, does in each of `steps` updates what `formula(w, gradients, **numbers)`
      makes of the parameter before the step and the gradients so far. `numbers` are symbols for the optimizer's own,
      by their names: `learning_rate`, `beta`; conditions are those of sympy's `Max`, `Min`, `Abs` and `Piecewise`;
    - a `Penalty`, or whatever else has `value(xp, x)` and `derivative(xp, x)`.

    The numbers of a layer stand for any real numbers, if it holds for any. The line is divided at the conditions that
    the expressions contain, and each piece is proved by itself. Where algebra does not find that the difference is 0,
    the difference is evaluated with 60 digits at many points. Where the pieces themselves cannot be told, these are
    points of the whole space. The proof says so. All of it takes at most `seconds` of work, that is, of the clock and
    of the processor: what one second is enough for is proved the same on every machine, however busy that is.

    A float that is no simple number may have been rounded, as the product of two constants is. A difference that this
    rounding explains is none, and the proof says that the claim holds "to the rounding of its constants".

    Raises `CannotProveError`, a ValueError, where `seconds` are too few to look at a single point, or sympy gives up,
    and `TypeError` for what has no expressions, and where these branch on a symbol, index or call torch, with the line
    that does it.

    >>> import functional_mlp as fm
    >>> prove(fm.ReLU())
    ReLU(): derivative and pullback are those of the value for all real s, by algebra
      s < 0
      s > 0
      derivative at s = 0: 0 on the left, 1 on the right, 0 given
      pullback at s = 0: 0 on the left, g on the right, 0 given
    >>> def paper(w, gradients, learning_rate, beta):
    ...     velocity = 0
    ...     for gradient in gradients:
    ...         velocity = beta * velocity + (1 - beta) * gradient
    ...     return w - learning_rate * velocity
    >>> print(prove(fm.Momentum(0.1), formula=paper).statement)
    Momentum(0.1): 5 steps from zero state are those of paper for all η, β
    """
    with failures_of(f"prove({named(thing)})"):
        return _proof_of(thing, formula, steps, seconds)


def _proof_of(thing: Any, formula: Callable[..., Any] | None = None, steps: int = 5, seconds: float = SECONDS) -> Proof:
    checks.not_a_class("what prove is given", thing)
    time = Allowance(checks.number("prove: seconds", seconds, low=0, open_low=True))
    if isinstance(thing, Optimizer):
        return _of_rule(thing, formula, steps, time)

    if formula is not None:
        raise TypeError(f"prove: formula is for optimizers, got it with {checks.describe(thing)}")
    if isinstance(thing, Elementwise):
        return _of_elementwise(thing, time)
    if isinstance(thing, Loss):
        return _of_loss(thing, time)
    if isinstance(thing, Layer):
        return _of_activations(thing, time)
    if callable(getattr(thing, "value", None)) and callable(getattr(thing, "derivative", None)):
        held = _held(thing, claims.of_one_symbol(thing, "w"), time)
        return proof_of(thing, f"{thing!r}: the derivative is that of the value for all real w", held)
    raise TypeError(
        f"prove: expected an Elementwise, a Loss, an Optimizer, or a value and a derivative in the array algebra, "
        f"got {checks.describe(thing)}"
    )


def prove_expressions(thing: Any) -> None:
    """`prove`, where a layer, a loss or a penalty is written in the array algebra; nothing is said about others.

    What cannot be decided, or holds under a condition, is said in a `RuntimeWarning`, for then the tests alone speak
    for it.
    """
    for base in (Elementwise, Loss, Penalty):
        if isinstance(thing, base) and not replaced(thing, base, base.DERIVED):
            try:
                doubts = " and ".join(_proof_of(thing).conditions)
            except NotInAlgebraError:
                continue  # there are no expressions to be proved
            except CannotProveError as error:
                warnings.warn(f"{error}: it is tested, and not proved", RuntimeWarning, stacklevel=3)
            else:
                if doubts:
                    words = f"prove({thing!r}): proved if {doubts}, and tested as well"
                    warnings.warn(words, RuntimeWarning, stacklevel=3)


def _of_elementwise(layer: Elementwise, time: Allowance) -> Proof:
    _require_expressions(layer, Elementwise)
    numbers = number_symbols(layer, positive=False)
    held, all_numbers = None, ""
    if numbers:
        try:
            held = _held(layer, claims.of_elementwise(layer, numbers), time.part(0.5))
            all_numbers = f", {listed(numbers.values())}"
        except (
            NotInAlgebraError,
            CannotProveError,
            AssertionError,
        ):  # it branches on a number, say, or is right for this one alone
            held = None
    held = held or _held(layer, claims.of_elementwise(layer, {}), time)
    names = [name for name, _ in held]
    what = "derivative and pullback are those" if "pullback" in names else "the derivative is that"
    return proof_of(layer, f"{layer!r}: {what} of the value for all real s{all_numbers}", held)


def _of_activations(network: Layer, time: Allowance) -> Proof:
    activations = activations_in(network)
    if not activations:
        raise TypeError(
            f"prove: {network!r} has no expressions in the array algebra, which are what is proved: "
            "check_layer tests its gradients"
        )
    return together(network, [_of_elementwise(activation, time) for activation in activations])


def _of_loss(loss: Loss, time: Allowance) -> Proof:
    _require_expressions(loss, Loss)
    failures = []
    for words, choices in _kinds_of_targets(loss):
        try:
            held = [
                (f"{outputs} output{'s'[: outputs > 1]}", how)
                for outputs in OUTPUTS
                for targets in choices(outputs)
                for _, how in _held(loss, claims.of_loss(loss, outputs, targets), time)
            ]
        except AssertionError as error:
            failures.append(error)
        else:
            return proof_of(loss, f"{loss!r}: the gradient is that of the value for all real outputs and {words}", held)
    raise failures[0]


def _kinds_of_targets(loss: Loss) -> Sequence[tuple[str, Targets]]:
    """What targets may be, the most general first. A loss that takes probabilities must be right for them."""
    if type(loss).encode is Loss.encode:
        return TARGETS[:1]
    return TARGETS[:2] if "probabilities" in accepted_kinds(loss, 2) else TARGETS


def _any_numbers(outputs: int) -> Iterator[Callable[[tuple[Any, ...]], Any]]:
    yield lambda t: t


def _probabilities(outputs: int) -> Iterator[Callable[[tuple[Any, ...]], Any]]:
    yield lambda t: (*t[:-1], 1 - sympy.Add(*t[:-1]))


def _classes(outputs: int) -> Iterator[Callable[[tuple[Any, ...]], Any]]:
    for label in range(outputs):
        yield functools.partial(_one_hot, label)


def _one_hot(label: int, t: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(sympy.Integer(index == label) for index in range(len(t)))


TARGETS: tuple[tuple[str, Targets], ...] = (
    ("all real targets", _any_numbers),
    ("targets that add up to 1", _probabilities),
    ("classes as targets", _classes),
)


def _of_rule(optimizer: Optimizer, formula: Callable[..., Any] | None, steps: int, time: Allowance) -> Proof:
    _require_expressions(optimizer, Optimizer)
    checks.integer("prove: steps", steps, minimum=1)
    if not callable(formula):
        raise TypeError(
            f"prove: {optimizer!r} is proved against a formula, got {checks.describe(formula)}: "
            "pass formula=f, with f(w, gradients, **numbers) returning the new w"
        )
    held = _held(optimizer, claims.of_rule(optimizer, formula, steps), time)
    name = getattr(formula, "__name__", repr(formula))
    letters = listed(number_symbols(optimizer, positive=True).values())
    count = f"{steps} step{'s'[: steps > 1]}"
    return proof_of(optimizer, f"{optimizer!r}: {count} from zero state are those of {name} for all {letters}", held)


def _held(thing: Any, named: Iterable[claims.Named], time: Allowance) -> list[tuple[str, Holds]]:
    """How each claim holds."""
    try:
        read = time.run(lambda: list(named))
    except OutOfTime:
        raise CannotProveError(f"prove({thing!r}): there was no time to read the expressions: {_MORE_TIME}") from None
    held = []
    for one in read:
        try:
            held.append((one.what, proved(one.claim, time)))
        except Refuted as refuted:
            if refuted.point is None:
                reason = refuted.told(time)
                raise CannotProveError(f"prove({thing!r}): the {one.what} cannot be decided: {reason}") from None
            raise AssertionError(f"the {one.what} is wrong: {refuted.told(time)}") from None
        except OutOfTime:
            reason = f"there was no time to look at a single point: {_MORE_TIME}"
            raise CannotProveError(f"prove({thing!r}): the {one.what} cannot be decided: {reason}") from None
        except _OF_SYMPY as error:
            raise CannotProveError(f"prove({thing!r}): the {one.what} cannot be decided: {error}") from error
    return held


def _require_expressions(value: Any, base: Any) -> None:
    for name in replaced(value, base, base.DERIVED):
        raise TypeError(f"prove: {value!r} defines {name} itself, and only expressions in the array algebra are proved")
