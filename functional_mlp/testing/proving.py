"""Proving gradients and rules; sympy is loaded where something is proved, and no sooner."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from functional_mlp.layers.elementwise import Elementwise
from functional_mlp.losses import Loss
from functional_mlp.operands import NotInAlgebraError
from functional_mlp.penalties import Penalty
from functional_mlp.testing.proof import CannotProveError, Proof
from functional_mlp.testing.search import failures_of, named
from functional_mlp.value import replaced

# The time for a proof. Each of the library's own takes a second or less.
SECONDS = 10.0


def prove(
    thing: Any,
    *,
    formula: Callable[..., Any] | None = None,
    steps: int = 5,
    targets: Sequence[str] | None = None,
    seconds: float | None = None,
) -> Proof:
    """Show that the expressions of a value are right for all real numbers; `AssertionError` where they are not.

    `thing` is one of

    - an `Elementwise`: `derivative` is the derivative of `value`, and `pullback` that times the gradient;
    - a network: that of each of its activations;
    - a `Loss`: `sample_grad` is the gradient of `sample_value`, for 1 to 4 outputs, and of those that can be exchanged
      for the first. Targets are any numbers; where that does not hold and the loss encodes its targets, they are those
      that it takes: from 0 on, between 0 and 1, probabilities, or classes. With `targets`, as `check_loss` takes them,
      they are those kinds. The proof says which;
    - an `Optimizer`: `rule`, from zero state, does in each of `steps` updates what `formula(w, gradients, **numbers)`
      makes of the parameter before the step and the gradients so far. A formula with an argument `params` is given the
      list of the parameters before each step so far, of which `w` is the last. `numbers` are symbols for the
      optimizer's own, by their names: `learning_rate`, `beta`; each has the sign of the optimizer's own number, and is
      0 where that is 0. What else it has, a whole `power` or a tuple of `betas`, is given as it is to a formula that
      asks for it.
      Conditions are those of sympy's `Max`, `Min`, `Abs` and `Piecewise`;
    - a `Penalty`, or whatever else has `value(xp, x)` and `derivative(xp, x)`.

    The numbers of a layer stand for any real numbers, if it holds for any; or else for those of the same signs as its
    own, or for these alone, as where something is left open for all. Space is divided at the conditions that the
    expressions contain, and where what they take roots and logarithms of changes its sign, as the code does it, before
    any formula is made simpler. Each piece is proved by itself, and so is what lies between: surfaces, and where these
    meet, down to points. Nothing is claimed where the value is no finite number. Where algebra does not find that the
    difference is 0, it is evaluated at many points. Both must be within 1e-50 of the larger there, and it must not be
    certain, however small the difference is, that there is one. Where the pieces themselves cannot be told, these are
    points of the whole space. The proof says so, under its conditions too. All of it takes at most `seconds` of work,
    that is, of the clock and of the processor: what one second is enough for is proved the same on every machine,
    however busy that is. By default it is 10 seconds.

    A float stands for the simple number that it is nearest to, 0.1 or 1/√(2π), within 5·2⁻⁵³ of itself. One that is
    near none may have been rounded, as the product of two constants is, by as much. A difference that this explains is
    none: that of each term, whatever its size, where the proof says "by algebra, to the rounding of its constants"; or
    that of all terms together, at points. A relative error of 1e-12 in a coefficient is found.

    Raises `CannotProveError`, a ValueError, where `seconds` are too few to look at a single point, or sympy gives up,
    and `TypeError` for what has no expressions, and where these branch on a symbol, index or call torch, with the line
    that does it.

    >>> import functional_mlp as fm
    >>> prove(fm.ReLU())
    ReLU(): derivative and pullback are those of the value for all real s, by algebra
      s < 0
      s > 0
      derivative: at s = 0 it is 0 from the left and 1 from the right, and 0 is given
      pullback: at s = 0 it is 0 from the left and g from the right, and 0 is given
    >>> def paper(w, gradients, learning_rate, beta):
    ...     velocity = 0
    ...     for gradient in gradients:
    ...         velocity = beta * velocity + (1 - beta) * gradient
    ...     return w - learning_rate * velocity
    >>> print(prove(fm.Momentum(0.1), formula=paper).statement)
    Momentum(0.1): 5 steps from zero state are those of paper for all positive η, β
    """
    with failures_of(f"prove({named(thing)})"):
        return _proof(thing, formula, steps, targets, seconds)


def _proof(
    thing: Any,
    formula: Callable[..., Any] | None = None,
    steps: int = 5,
    targets: Sequence[str] | None = None,
    seconds: float | None = None,
) -> Proof:
    from functional_mlp.testing.proofs import proof  # loads sympy

    return proof(thing, formula, steps, targets, SECONDS if seconds is None else seconds)


def prove_expressions(thing: Any, targets: Sequence[str] | None = None) -> None:
    """`prove`, where a layer, a loss or a penalty is written in the array algebra; nothing is said about others.

    What cannot be decided, or holds under a condition, is said in a `RuntimeWarning`, for then the tests alone speak
    for it.
    """
    for base in (Elementwise, Loss, Penalty):
        if isinstance(thing, base) and not replaced(thing, base, base.DERIVED):
            try:
                doubts = " and ".join(_proof(thing, targets=targets).conditions)
            except NotInAlgebraError:
                continue  # there are no expressions to be proved
            except CannotProveError as error:
                warnings.warn(f"{error}: it is tested, and not proved", RuntimeWarning, stacklevel=3)
            else:
                if doubts:
                    words = f"prove({thing!r}): proved if {doubts}, and tested as well"
                    warnings.warn(words, RuntimeWarning, stacklevel=3)
