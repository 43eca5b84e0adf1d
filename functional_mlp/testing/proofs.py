"""How each kind of value is proved, with symbols, for all real numbers instead of some."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import attrs

from functional_mlp import checks
from functional_mlp.layers.base import Layer
from functional_mlp.layers.elementwise import Elementwise
from functional_mlp.losses import Loss
from functional_mlp.operands import NotInAlgebraError
from functional_mlp.optimizers import Optimizer
from functional_mlp.symbolic import claims
from functional_mlp.symbolic.allowance import Allowance, OutOfTime
from functional_mlp.symbolic.derivatives import Holds, proved
from functional_mlp.symbolic.findings import Refuted
from functional_mlp.symbolic.letters import number_symbols, signed_symbols
from functional_mlp.symbolic.networks import activations_in
from functional_mlp.symbolic.nodes import GIVES_UP
from functional_mlp.testing.proof import CannotProveError, Proof
from functional_mlp.testing.statements import conditions_of, for_all_numbers, proof_of, together
from functional_mlp.testing.symbols import Choices, kinds_of_targets
from functional_mlp.value import replaced

_MORE_TIME = "give it more, seconds=60"
# The rest of the time is for the formulas of the proof.
_FOR_CLAIMS = 0.9
# Numbers of outputs that a loss is proved for.
OUTPUTS = range(1, 5)


def proof(
    thing: Any, formula: Callable[..., Any] | None, steps: int, targets: Sequence[str] | None, seconds: float
) -> Proof:
    """`prove`, without the name of what is proved before an error."""
    checks.not_a_class("what prove is given", thing)
    time = Allowance(checks.number("prove: seconds", seconds, low=0, open_low=True))
    if targets is not None and not isinstance(thing, Loss):
        raise TypeError(f"prove: targets is for losses, got it with {checks.describe(thing)}")
    if isinstance(thing, Optimizer):
        return _of_rule(thing, formula, steps, time)
    if formula is not None:
        raise TypeError(f"prove: formula is for optimizers, got it with {checks.describe(thing)}")
    if isinstance(thing, Elementwise):
        return _of_elementwise(thing, time)
    if isinstance(thing, Loss):
        return _of_loss(thing, targets, time)
    if isinstance(thing, Layer):
        return _of_activations(thing, time)
    if callable(getattr(thing, "value", None)) and callable(getattr(thing, "derivative", None)):
        held = _held(thing, lambda: claims.of_one_symbol(thing, "w"), time)
        return proof_of(thing, f"{thing!r}: the derivative is that of the value for all real w", held, time)
    raise TypeError(
        f"prove: expected an Elementwise, a Loss, an Optimizer, or a value and a derivative in the array algebra, "
        f"got {checks.describe(thing)}"
    )


def _of_elementwise(layer: Elementwise, time: Allowance) -> Proof:
    """For all numbers in place of the layer's own, or for those of the same signs and sides, or for its own alone."""
    _require_expressions(layer, Elementwise)
    held, numbers, symbols = None, "", number_symbols(layer)
    for own, some in ((False, symbols), (True, signed_symbols(layer))) if symbols else ():
        # It may branch on a number, say, or be right for this one alone.
        with contextlib.suppress(NotInAlgebraError, CannotProveError, AssertionError):
            held = _held(layer, functools.partial(claims.of_elementwise, layer, some, own=own), time.part(0.4))
            numbers = f", {for_all_numbers(list(some.values()), held)}"
            break
    if held is None or conditions_of(held):  # what is open for all numbers may be wrong for the layer's own
        alone = _held(layer, lambda: claims.of_elementwise(layer, {}), time)
        if held is None or not conditions_of(alone):
            held, numbers = alone, ""
    names = [name for name, _ in held]
    what = "derivative and pullback are those" if "pullback" in names else "the derivative is that"
    return proof_of(layer, f"{layer!r}: {what} of the value for all real s{numbers}", held, time)


def _of_activations(network: Layer, time: Allowance) -> Proof:
    activations = activations_in(network)
    if not activations:
        raise TypeError(
            f"prove: {network!r} has no expressions in the array algebra, which are what is proved: "
            "check_layer tests its gradients"
        )
    return together(network, [_of_elementwise(activation, time) for activation in activations])


def _of_loss(loss: Loss, wanted: Sequence[str] | None, time: Allowance) -> Proof:
    _require_expressions(loss, Loss)
    failures = []
    for words, choices in kinds_of_targets(loss, wanted):
        try:
            held = _held(loss, functools.partial(_of_outputs, loss, choices), time)
        except AssertionError as error:
            failures.append(error)
        else:
            outputs = f"{OUTPUTS[0]} to {OUTPUTS[-1]} outputs, all real"
            statement = f"{loss!r}: the gradient is that of the value for {outputs}, and {words}"
            return proof_of(loss, statement, held, time)
    raise failures[0]


def _of_outputs(loss: Loss, choices: Choices) -> Iterator[claims.Named]:
    """The claims for each number of outputs, called by it."""
    for outputs in OUTPUTS:
        for targets in choices(outputs):
            for one in claims.of_loss(loss, outputs, targets):
                yield attrs.evolve(one, group=f"{outputs} output{'s'[: outputs > 1]}")


def _of_rule(optimizer: Optimizer, formula: Callable[..., Any] | None, steps: int, time: Allowance) -> Proof:
    _require_expressions(optimizer, Optimizer)
    checks.integer("prove: steps", steps, minimum=1)
    if not callable(formula):
        raise TypeError(
            f"prove: {optimizer!r} is proved against a formula, got {checks.describe(formula)}: "
            "pass formula=f, with f(w, gradients, **numbers) returning the new w"
        )
    held = _held(optimizer, lambda: claims.of_rule(optimizer, formula, steps), time)
    name = getattr(formula, "__name__", repr(formula))
    count = f"{steps} step{'s'[: steps > 1]}"
    numbers = for_all_numbers(list(signed_symbols(optimizer).values()), held)
    statement = f"{optimizer!r}: {count} from zero state are those of {name} for all {numbers}"
    return proof_of(optimizer, statement, held, time)


def _held(thing: Any, read: Callable[[], Iterable[claims.Named]], time: Allowance) -> list[tuple[str, Holds]]:
    """How each claim holds; what needs many points has an even share of the time that those before it have left."""
    try:
        named = time.run(lambda: list(read()))
    except OutOfTime:
        raise CannotProveError(f"prove({thing!r}): there was no time to read the expressions: {_MORE_TIME}") from None
    held = []
    for place, one in enumerate(named):
        try:
            held.append((one.group or one.what, _proved(one, time, _FOR_CLAIMS / (len(named) - place))))
        except Refuted as refuted:
            if refuted.point is None:
                reason = refuted.told(time)
                raise CannotProveError(f"prove({thing!r}): the {one.what} cannot be decided: {reason}") from None
            raise AssertionError(f"the {one.what} is wrong: {refuted.told(time)}") from None
        except OutOfTime:
            reason = f"there was no time to look at a single point: {_MORE_TIME}"
            raise CannotProveError(f"prove({thing!r}): the {one.what} cannot be decided: {reason}") from None
        except (*GIVES_UP, TypeError, ValueError) as error:
            reason = str(error) or "a number in it takes all memory"
            raise CannotProveError(f"prove({thing!r}): the {one.what} cannot be decided: {reason}") from error
    return held


def _proved(named: claims.Named, time: Allowance, share: float) -> Holds:
    try:
        return proved(named.claim, time, share)
    except Refuted:
        if named.related is None:
            raise
    return proved(time.run(named.related), time, share)


def _require_expressions(value: Any, base: Any) -> None:
    for name in replaced(value, base, base.DERIVED):
        raise TypeError(f"prove: {value!r} defines {name} itself, and only expressions in the array algebra are proved")
