"""The formulas of values, in LaTeX, from the expressions that run."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import sympy

from functional_mlp import checks
from functional_mlp.layers.base import Layer
from functional_mlp.layers.elementwise import Elementwise
from functional_mlp.losses import Loss
from functional_mlp.operands import NotInAlgebraError, called
from functional_mlp.optimizers import Optimizer
from functional_mlp.penalties import Penalty
from functional_mlp.schedules import Schedule
from functional_mlp.symbolic.claims import reading
from functional_mlp.symbolic.letters import SLOTS, number_symbols, signed_symbols, with_symbols
from functional_mlp.symbolic.namespace import SymbolicNamespace, parts_of
from functional_mlp.symbolic.networks import of_layer
from functional_mlp.symbolic.printing import EPOCH, decimal, operator, tex
from functional_mlp.symbolic.sums import of_loss
from functional_mlp.symbolic.tidying import NORMAL, SIGMOID, factored, tidied, with_gate, with_sigmoids
from functional_mlp.symbolic.timetables import factor_of, plateau_of

Line = tuple[str, str, str]


class ShownNamespace(SymbolicNamespace):
    """The namespace whose functions are shown by their letters, Φ and σ."""

    def ndtr(self, x: Any) -> Any:
        return self.elementwise(NORMAL, x)

    def gelu(self, s: Any) -> Any:
        return s * self.ndtr(s)

    def gelu_slope(self, s: Any) -> Any:
        return self.ndtr(s) + s * (self.exp(-s * s / 2) / sympy.sqrt(2 * sympy.pi))


def latex(thing: Any) -> str:
    """The mathematics of a value in LaTeX, from the code that runs.

    An activation with its derivative, a loss with its gradient, the rule of an optimizer, a schedule, a penalty, a
    layer with its gradients, a network with its forward and backward pass, and whatever else has `value(xp, w)` and
    `derivative(xp, w)`. Raises `TypeError` for other things.

    >>> import functional_mlp as fm
    >>> latex(fm.SGD(0.1))
    '\\\\begin{aligned}\\nw &\\\\leftarrow w - \\\\eta \\\\, g \\\\\\\\\\n\\\\eta &= 0.1\\n\\\\end{aligned}'
    """
    checks.not_a_class("what latex is given", thing)
    lines = lines_of(thing)
    if lines is None:
        raise TypeError(
            f"latex: expected a layer, a loss, an optimizer, a schedule or a penalty, got {checks.describe(thing)}"
        )
    return aligned(lines)


def aligned(lines: Sequence[Line]) -> str:
    """Equations below each other: left side, relation, right side."""
    rows = [f"{left} &{relation} {right}" for left, relation, right in lines]
    return "\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}"


def lines_of(thing: Any) -> list[Line] | None:
    """The equations of a value: left side, relation, right side; None for what has none."""
    if isinstance(thing, Elementwise):
        return of_elementwise(thing)
    if isinstance(thing, Layer):
        return of_layer(thing, of_elementwise)
    if isinstance(thing, Loss):
        return _of_loss(thing)
    if isinstance(thing, Optimizer):
        return _of_optimizer(thing)
    if isinstance(thing, Schedule):
        return _of_schedule(thing)
    if callable(getattr(thing, "value", None)) and callable(getattr(thing, "derivative", None)):
        return _of_one_symbol(thing)
    return None


def _of_schedule(schedule: Schedule) -> list[Line]:
    factor = factor_of(schedule)
    lines = [(rf"\operatorname{{factor}}({tex(EPOCH)})", "=", tex(factor))]
    if factor.has(EPOCH):
        lines.append((tex(EPOCH), ":", r"\text{the epoch, from } 0"))
    plateau = plateau_of(schedule)
    if plateau is not None:
        figure, epochs = plateau.monitor.replace("_", " "), "epochs" if plateau.patience > 1 else "epoch"
        words = rf"\text{{how often the {figure} was not better by more than }} {decimal(plateau.min_delta)} "
        lines.append(("k", ":", rf"{words}\text{{ for more than }} {plateau.patience} \text{{ {epochs} in a row}}"))
    return lines


def _shown(
    value: Any, read: Callable[[Any], Any], *, positive: bool = False, integers: bool = False
) -> tuple[Any, list[Line]]:
    """What is read of a value with letters for its numbers, and their lines; with the numbers where that fails."""
    if attrs.has(type(value)):
        for symbols in (number_symbols(value, positive=positive, integers=integers), signed_symbols(value)):
            with contextlib.suppress(NotInAlgebraError):
                twin = with_symbols(value, symbols, ShownNamespace()) if symbols else value
                return read(twin), _numbers(value, symbols)
    return read(value), []


def _numbers(value: Any, symbols: dict[str, sympy.Symbol]) -> list[Line]:
    return [(tex(symbol), "=", decimal(getattr(value, name))) for name, symbol in symbols.items()]


def of_elementwise(layer: Any, name: str | None = None) -> list[Line]:
    """f(s), f'(s), and what the letters in them are; with a name of its own, for one of several, in it alone."""
    s, y = sympy.symbols("s y", real=True)

    def read(twin: Any) -> tuple[sympy.Expr, sympy.Expr]:
        xp = ShownNamespace()

        def expressions() -> tuple[sympy.Expr, sympy.Expr]:
            x = xp.array(s)
            value = called(twin, "value", xp, x)
            return parts_of(value)[0], parts_of(called(twin, "derivative", xp, x, xp.array(y)))[0]

        return tuple(map(tidied, reading(twin, expressions)))

    (value, derivative), numbers = _shown(layer, read)
    if name is None:
        name = operator(type(layer).__name__)
    else:
        numbers = [(letter, "=", rf"{number} \quad \text{{(in ${name}$)}}") for letter, _, number in numbers]
    shown = [value if _is_the_sigmoid(value, s) else with_sigmoids(value), with_sigmoids(derivative)]
    v = sympy.Symbol("v", real=True)
    shown, gate = with_gate([factored(one) for one in shown], v)
    lines = [(f"{name}(s)", "=", tex(shown[0])), (f"{name}'(s)", "=", tex(shown[1]))]
    if derivative.has(y):
        lines.append(("y", "=", f"{name}(s)"))
    if gate is not None:
        lines.append((tex(v), "=", tex(gate)))
    return lines + _functions(shown) + numbers


def _is_the_sigmoid(value: sympy.Expr, s: sympy.Symbol) -> bool:
    return bool(with_sigmoids(value) == SIGMOID(s))


def _functions(shown: Sequence[sympy.Expr]) -> list[Line]:
    """What the letters of functions stand for."""
    lines = []
    u = sympy.Symbol("u", real=True)
    if any(expression.has(SIGMOID) for expression in shown):
        lines.append((tex(SIGMOID(u)), "=", tex(1 / (1 + sympy.exp(-u)))))
    if any(expression.has(NORMAL) for expression in shown):
        lines.append((tex(NORMAL(u)), "=", r"\frac{1}{\sqrt{2 \, \pi}} \int_{-\infty}^{u} e^{-t^2/2} \, dt"))
    return lines


def _of_one_symbol(value: Any) -> list[Line]:
    w = sympy.Symbol("w", real=True)

    def read(twin: Any) -> tuple[sympy.Expr, ...]:
        xp = ShownNamespace()

        def expressions() -> list[sympy.Expr]:
            return [parts_of(called(twin, name, xp, xp.array(w)))[0] for name in ("value", "derivative")]

        return tuple(map(tidied, reading(twin, expressions)))

    (whole, derivative), numbers = _shown(value, read)
    name = "P" if isinstance(value, Penalty) else operator(type(value).__name__)
    return [(f"{name}(w)", "=", tex(whole)), (f"{name}'(w)", "=", tex(derivative)), *numbers]


def _of_loss(loss: Loss) -> list[Line]:
    (value, gradient), numbers = _shown(loss, of_loss)
    shown = [with_sigmoids(value), with_sigmoids(gradient)]
    left = r"\frac{\partial \ell}{\partial \hat{y}_{j}}"
    return [
        (r"\ell(\hat{y}, t)", "=", tex(shown[0])),
        (left, "=", tex(shown[1])),
        *_functions(shown),
        *numbers,
    ]


def _of_optimizer(optimizer: Optimizer) -> list[Line]:
    (slots, hats, parameter, uses_new), numbers = _shown(optimizer, _rule, positive=True, integers=True)
    arrow = r"\leftarrow"
    lines = [(tex(slot), arrow, tex(updated)) for slot, updated in slots.items()]
    corrected = [(tex(hat), "=", tex(meaning)) for hat, meaning in hats.items()]
    new = ("w", arrow, tex(parameter))
    # A parameter that is made of what was remembered before the step comes first.
    lines = [*lines, *corrected, new] if uses_new else [new, *lines]
    return [*lines, *numbers]


def _rule(optimizer: Any) -> tuple[dict[Any, Any], dict[Any, Any], sympy.Expr, bool]:
    """What a rule makes of each slot, means that are corrected for their start, and what it makes of the parameter.

    The last says whether the parameter is made of what the slots are after the step.
    """
    xp = ShownNamespace()
    w, g = sympy.symbols("w g", real=True)
    step = sympy.Symbol("t", integer=True, positive=True)
    slots = [sympy.Symbol(SLOTS.get(name, name), real=True) for name in optimizer.slots()]
    rate = optimizer.learning_rate

    def expressions() -> Any:
        return called(optimizer, "rule", xp, xp.scalar(step), rate, xp.array(w), xp.array(g), *map(xp.array, slots))

    parameter, *updated = (parts_of(one)[0] for one in reading(optimizer, expressions))
    now = {slot: sympy.Dummy(slot.name, real=True) for slot in slots}
    parameter = parameter.xreplace({new: now[slot] for slot, new in zip(slots, updated, strict=True) if new != slot})
    uses_new = any(parameter.has(new) for new in now.values()) or not any(parameter.has(slot) for slot in slots)
    if uses_new:  # what is left of a slot is what it was before the step
        parameter = parameter.xreplace({slot: sympy.Symbol(f"{slot.name}_before", real=True) for slot in slots})
    parameter = parameter.xreplace({dummy: slot for slot, dummy in now.items()})
    hats = {}
    for slot in slots:
        for corrected in sorted(_corrections(parameter, slot, step), key=str):
            hat = sympy.Symbol(f"{slot.name}̂", real=True)
            hats[hat] = slot * corrected
            parameter = parameter.subs(slot * corrected, hat)
    return dict(zip(slots, updated, strict=True)), hats, parameter, uses_new


def _corrections(expression: sympy.Expr, slot: sympy.Symbol, step: sympy.Symbol) -> set[sympy.Expr]:
    """The factors 1 / (1 − βᵗ) of a slot."""
    return {
        factor
        for product in expression.atoms(sympy.Mul)
        if slot in product.args
        for factor in product.args
        if factor.is_Pow and factor.exp == -1 and (1 - factor.base).is_Pow and factor.has(step)
    }  # fmt: skip
