"""The formulas of values, in LaTeX, from the expressions that run."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import sympy

from functional_mlp import checks
from functional_mlp.calling import called
from functional_mlp.layers.base import Layer
from functional_mlp.layers.elementwise import Elementwise
from functional_mlp.layers.kinds import has_passes_of
from functional_mlp.losses import Loss
from functional_mlp.operands import NotInAlgebraError
from functional_mlp.optimizers import Optimizer
from functional_mlp.penalties import Penalty
from functional_mlp.schedules import Schedule
from functional_mlp.symbolic.claims import reading
from functional_mlp.symbolic.lettering import Names, named, signed_stand_ins, slot_stand_ins, stand_ins
from functional_mlp.symbolic.letters import with_symbols
from functional_mlp.symbolic.namespace import SymbolicNamespace, parts_of
from functional_mlp.symbolic.networks import IN_NETWORKS, of_layer
from functional_mlp.symbolic.printing import EPOCH, LogOrZero, tex
from functional_mlp.symbolic.rules import PARAMETER, STEP, of_rule
from functional_mlp.symbolic.spelling import decimal, operator, text
from functional_mlp.symbolic.sums import FREE, OUTPUTS, of_loss
from functional_mlp.symbolic.tidying import NORMAL, SIGMOID, factored, tidied, with_gate, with_sigmoids
from functional_mlp.symbolic.timetables import factor_of, plateau_of
from functional_mlp.symbolic.writing import written_power, written_product, written_ratio

Line = tuple[str, str, str]
Symbols = dict[str, sympy.Dummy]


class ShownNamespace(SymbolicNamespace):
    """The namespace whose functions are shown by their letters, Φ and σ, of single numbers."""

    has_features = False

    def binary(self, name: str, a: Any, b: Any) -> Any:
        kept = {"fmul": written_product, "fdiv": written_ratio}.get(name)
        return super().binary(name, a, b) if kept is None else self.elementwise(kept, a, b)

    def power(self, base: Any, exponent: Any) -> Any:
        return self.elementwise(written_power, base, exponent)

    def exp(self, x: Any) -> Any:
        return self.elementwise(lambda x: written_power(sympy.E, x), x)

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
    `derivative(xp, w)`. A layer with passes of its own, of a subclass of the library's too, is a function by its name.
    Raises `TypeError` for other things.

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
    if isinstance(thing, Layer):
        return of_elementwise(thing) if has_passes_of(thing, Elementwise) else of_layer(thing, of_elementwise)
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


def _read(
    value: Any, read: Callable[[Any], Any], *, positive: bool = False, integers: bool = False
) -> tuple[Any, Symbols]:
    """What is read of a value with symbols for its numbers, and these; with the numbers where that fails."""
    if attrs.has(type(value)):
        for symbols in (stand_ins(value, positive=positive, integers=integers), signed_stand_ins(value)):
            with contextlib.suppress(NotInAlgebraError):
                return read(with_symbols(value, symbols, ShownNamespace()) if symbols else value), symbols
    return read(value), {}


def _numbers(value: Any, symbols: Symbols, names: Names, shown: Sequence[sympy.Expr]) -> list[Line]:
    """What the letters of numbers stand for, of those that are shown."""
    lines = []
    for field, symbol in symbols.items():
        if not any(expression.has(symbol) for expression in shown):
            continue
        is_renamed = names[symbol] not in (field, symbol.name)
        own = rf" \quad \text{{(the number }}{text(field)}\text{{)}}" if is_renamed else ""
        lines.append((tex(symbol, names), "=", decimal(getattr(value, field)) + own))
    return lines


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

    (value, derivative), symbols = _read(layer, read)
    shown = [value if _is_the_sigmoid(value, s) else with_sigmoids(value), with_sigmoids(derivative)]
    v = sympy.Symbol("v", real=True)
    shown, gate = with_gate([factored(one) for one in shown], v)
    names = named(symbols, [s, *shown, *([] if gate is None else [v, gate])], [] if name is None else IN_NETWORKS)
    numbers = _numbers(layer, symbols, names, [*shown, *([] if gate is None else [gate])])
    if name is None:
        name = operator(type(layer).__name__)
    else:
        numbers = [(letter, "=", rf"{number} \quad \text{{(in }}{{{name}}}\text{{)}}") for letter, _, number in numbers]
    lines = [(f"{name}(s)", "=", tex(shown[0], names)), (f"{name}'(s)", "=", tex(shown[1], names))]
    if derivative.has(y):
        lines.append(("y", "=", f"{name}(s)"))
    if gate is not None:
        lines.append((tex(v), "=", tex(gate, names)))
    return lines + _functions(shown) + numbers


def _is_the_sigmoid(value: sympy.Expr, s: sympy.Symbol) -> bool:
    return bool(with_sigmoids(value) == SIGMOID(s))


def _functions(shown: Sequence[sympy.Expr]) -> list[Line]:
    """What the letters of functions stand for, and what one is where it has no value."""
    lines = []
    u = sympy.Symbol("u", real=True)
    if any(expression.has(SIGMOID) for expression in shown):
        lines.append((tex(SIGMOID(u)), "=", tex(1 / (1 + sympy.exp(-u)))))
    if any(expression.has(NORMAL) for expression in shown):
        lines.append((tex(NORMAL(u)), "=", r"\frac{1}{\sqrt{2 \, \pi}} \int_{-\infty}^{u} e^{-t^2/2} \, dt"))
    if any(expression.has(LogOrZero) for expression in shown):
        lines.append((r"0 \, \log(0)", "=", "0"))
    return lines


def _of_one_symbol(value: Any) -> list[Line]:
    w = sympy.Symbol("w", real=True)

    def read(twin: Any) -> tuple[sympy.Expr, ...]:
        xp = ShownNamespace()

        def expressions() -> list[sympy.Expr]:
            return [parts_of(called(twin, name, xp, xp.array(w)))[0] for name in ("value", "derivative")]

        return tuple(map(tidied, reading(twin, expressions)))

    shown, symbols = _read(value, read)
    name = "P" if isinstance(value, Penalty) else operator(type(value).__name__)
    names = named(symbols, [w, *shown], [name])
    whole, derivative = (tex(one, names) for one in shown)
    lines = [(f"{name}(w)", "=", whole), (f"{name}'(w)", "=", derivative)]
    return lines + _functions(shown) + _numbers(value, symbols, names, shown)


def _of_loss(loss: Loss) -> list[Line]:
    (value, gradient), symbols = _read(loss, of_loss)
    shown = [with_sigmoids(value), with_sigmoids(gradient)]
    names = named(symbols, shown, ("ℓ", "ŷ", "t", FREE))
    lines = [
        (r"\ell(\hat{y}, t)", "=", tex(shown[0], names)),
        (r"\frac{\partial \ell}{\partial \hat{y}_{j}}", "=", tex(shown[1], names)),
    ]
    if any(one.has(OUTPUTS) for one in shown):
        lines.append((tex(OUTPUTS), ":", r"\text{the number of outputs}"))
    return [*lines, *_functions(shown), *_numbers(loss, symbols, names, shown)]


def _of_optimizer(optimizer: Optimizer) -> list[Line]:
    slots = slot_stand_ins(optimizer.slots())
    rule, symbols = _read(
        optimizer, lambda twin: of_rule(twin, [*slots.values()], ShownNamespace()), positive=True, integers=True
    )
    shown = [expression for _, _, expression in rule.assignments]
    names = named(slots | symbols, [PARAMETER, *shown], [])
    names |= {dummy: form.format(names.get(of, of.name)) for dummy, (of, form) in rule.marked.items()}
    lines = [
        (tex(left, names), relation.replace("\N{LEFTWARDS ARROW}", r"\leftarrow"), tex(right, names))
        for left, relation, right in rule.assignments
    ]
    if any(expression.has(STEP) for expression in shown):
        lines.append((tex(STEP), ":", r"\text{the step, from } 1"))
    return lines + _numbers(optimizer, symbols, names, shown)
