"""Formulas made short: what is written in pieces for the sake of rounding, and is one formula, as that."""

import contextlib

import mpmath
import sympy
from sympy.utilities.lambdify import implemented_function

from functional_mlp.symbolic.allowance import Allowance, OutOfTime
from functional_mlp.symbolic.identities import is_zero
from functional_mlp.symbolic.nodes import GIVES_UP, Maximum, Minimum, NoRealNumber, Where, is_smooth, where
from functional_mlp.symbolic.printing import LargestOf, LogOrZero, Total
from functional_mlp.symbolic.regions import Region, Undecided
from functional_mlp.symbolic.resolving import resolved
from functional_mlp.symbolic.walls import Wall

# With what they are by numbers, for conditions that they are in.
SIGMOID = implemented_function(sympy.Function("σ", real=True), lambda v: 1 / (1 + mpmath.exp(-v)))
NORMAL = implemented_function(sympy.Function("Φ", real=True), mpmath.ncdf)
# Formulas that take longer are left as they are. Each of the library's own takes a twentieth of a second or less.
SECONDS = 2.0
# What comes up where it cannot be told which pieces there are.
_UNDECIDED = (OutOfTime, *GIVES_UP, TypeError, ValueError)
# Pieces that are looked at.
_MOST_PIECES = 8


def tidied(expression: sympy.Expr) -> sympy.Expr:
    """The formula that an expression is in all pieces, if it is one, with sums tidied first.

    >>> s = sympy.Symbol("s", real=True)
    >>> tidied(Where(3, s, 0, 1, sympy.exp(-sympy.Abs(s))) / (1 + sympy.exp(-sympy.Abs(s))))
    1/(1 + exp(-s))
    """
    time = Allowance(SECONDS)
    try:
        return time.run(lambda: _with_sums_tidied(expression))
    except _UNDECIDED as error:
        if isinstance(error, OutOfTime) and time.left:
            raise  # it is that of whoever asks
        return expression


def _with_sums_tidied(expression: sympy.Expr) -> sympy.Expr:
    for total in expression.atoms(Total, LargestOf):
        expression = expression.xreplace({total: total.func(_with_sums_tidied(total.args[0]), total.args[1])})
    totals = {total: sympy.Dummy("total", real=True) for total in expression.atoms(Total, LargestOf)}
    return _tidied(expression.xreplace(totals)).xreplace({dummy: total for total, dummy in totals.items()})


def _tidied(expression: sympy.Expr) -> sympy.Expr:
    """`tidied` where there are no sums, or other names in their place."""
    expression, arguments = _without_limits(expression)
    shown = _in_one(expression)
    return shown.xreplace({sympy.log(argument): LogOrZero(argument) for argument in arguments})


def _in_one(expression: sympy.Expr) -> sympy.Expr:
    """An expression as one formula, or else as cases that stand outside."""
    if is_smooth(expression):
        return expression
    if expression.has(sympy.Mod) or any(node.comparison in ("==", "!=") for node in expression.atoms(Where)):
        return _cases_outside(_in_cases(expression))  # pieces do not tell what holds between them
    whole = _one_formula(expression)
    return _cases_outside(_in_cases(expression)) if whole is None else whole


def _one_formula(expression: sympy.Expr) -> sympy.Expr | None:
    """The formula that an expression is in all pieces, and between them; None where it is several.

    >>> s = sympy.Symbol("s", real=True)
    >>> _one_formula(Where(1, s**2, 0, 7, s)) is None  # 7 at s = 0 alone
    True
    """
    pieces: list[sympy.Expr] = []
    walls: set[sympy.Expr] = set()
    pending = [Region.everywhere(tuple(sorted(expression.free_symbols, key=str)))]
    while pending:
        if len(pieces) + len(pending) > _MOST_PIECES:
            return None
        region = pending.pop()
        try:
            pieces.append(resolved(expression, region))
        except Undecided as undecided:
            pending += undecided.parts
            walls |= set(undecided.walls)
        if region.searched:
            return None  # a piece may have been missed
    if not all(is_zero(piece - pieces[0]) for piece in pieces[1:]):
        return None
    shortest = min(pieces, key=lambda piece: (piece.count_ops(), str(piece)))
    return shortest if all(_is_on(wall, expression, shortest) for wall in walls) else None


def _is_on(surface: sympy.Expr, expression: sympy.Expr, formula: sympy.Expr) -> bool:
    """Whether an expression is a formula where another is 0; not where that cannot be told."""
    for variable in sorted(surface.free_symbols, key=str):
        slope = sympy.diff(surface, variable)
        if slope.is_number:
            others = Region.everywhere(tuple(sorted(expression.free_symbols - {variable}, key=str)))
            wall = Wall(variable, sympy.expand(variable - surface / slope), others)
            with contextlib.suppress(Undecided, NoRealNumber):
                return is_zero(wall.on(resolved(expression, wall) - formula))
    return False


def _without_limits(expression: sympy.Expr) -> tuple[sympy.Expr, list[sympy.Symbol]]:
    """The expression without what is said for x = 0 alone because x log x is 0 there, and each such x.

    >>> t = sympy.Symbol("t", real=True)
    >>> _without_limits(t * sympy.log(Where(4, t, 0, 1, t)))
    (t*log(t), [t])
    """
    terms, arguments = [], []
    for term in sympy.Add.make_args(expression):
        for node in term.atoms(Where):
            _, left, right, special, general = node.args
            elsewhere = term.xreplace({node: general})
            is_limit = node.comparison == "==" and right == 0 and _is_product_with_log(elsewhere, left)
            if is_limit and term.xreplace({node: special}).subs(left, 0) == 0:
                term = elsewhere
                arguments.append(left)
        terms.append(term)
    return sympy.Add(*terms), arguments


def _is_product_with_log(expression: sympy.Expr, symbol: sympy.Expr) -> bool:
    """Whether an expression is x log x, times what has no x."""
    if not symbol.is_Symbol:
        return False
    rest = expression / (symbol * sympy.log(symbol))
    return symbol not in rest.free_symbols


def _in_cases(expression: sympy.Expr) -> sympy.Expr:
    """The expression as cases, where the smaller or larger of two stands in it more than once.

    >>> x, c = sympy.symbols("x c", real=True)
    >>> _in_cases(Minimum(x, c) * (x - Minimum(x, c) / 2))
    Where(1, x, c, x**2/2, c*(-c/2 + x))
    """
    nodes = [node for node in sympy.preorder_traversal(expression) if isinstance(node, Minimum | Maximum)]
    repeated = next((node for node in nodes if nodes.count(node) > 1), None)
    if repeated is None:
        return expression
    one, other = sorted(repeated.args, key=lambda argument: bool(argument.is_number))
    first, second = (_in_cases(_chosen(expression.xreplace({repeated: chosen}))) for chosen in (one, other))
    return where("<=" if isinstance(repeated, Minimum) else ">=", one, other, first, second)


def _chosen(expression: sympy.Expr) -> sympy.Expr:
    """The expression with the smaller and the larger of two numbers as that."""
    nodes = {node: node.args for node in expression.atoms(Minimum, Maximum) if all(one.is_number for one in node.args)}
    chosen = {node: (min if isinstance(node, Minimum) else max)(numbers) for node, numbers in nodes.items()}
    return expression.xreplace(chosen)


def _cases_outside(expression: sympy.Expr) -> sympy.Expr:
    """The expression with the factors of cases in the cases, where there is one of them."""
    wheres = [factor for factor in sympy.Mul.make_args(expression) if isinstance(factor, Where)]
    if len(wheres) != 1 or expression == wheres[0]:
        return expression
    (where,), rest = wheres, expression / wheres[0]
    return Where(*where.args[:3], where.args[3] * rest, where.args[4] * rest)


def with_sigmoids(expression: sympy.Expr) -> sympy.Expr:
    """σ(v) for 1 / (1 + e⁻ᵛ)."""

    def is_gate(e: sympy.Expr) -> bool:
        return bool(e.is_Pow and e.exp == -1 and _gate(e.base) is not None)

    return expression.replace(is_gate, lambda e: SIGMOID(_gate(e.base)))


def factored(expression: sympy.Expr) -> sympy.Expr:
    """√(8/π) (s + c s³) for a polynomial whose coefficients have a root in common."""
    return expression.replace(lambda e: e.is_Add and e.is_polynomial() and e.has(sympy.pi), _over_first)


def _over_first(polynomial: sympy.Expr) -> sympy.Expr:
    """The coefficient of the lowest term, times the rest, if that has rational coefficients."""
    terms = sympy.Poly(polynomial, *polynomial.free_symbols).terms()
    lowest = min(terms)[1]
    rest = sympy.expand(polynomial / lowest)
    is_rational = all(term.as_coeff_Mul()[1].is_polynomial() and not term.has(sympy.pi) for term in rest.args)
    return sympy.Mul(lowest, rest, evaluate=False) if is_rational else polynomial


def with_gate(expressions: list[sympy.Expr], v: sympy.Symbol) -> tuple[list[sympy.Expr], sympy.Expr | None]:
    """The expressions with σ(v) for σ of one long argument, and the argument; None where there is no such."""
    arguments = {gate.args[0] for expression in expressions for gate in expression.atoms(SIGMOID)}
    if len(arguments) != 1 or (argument := arguments.pop()).is_Symbol or (-argument).is_Symbol:
        return expressions, None
    return [expression.xreplace({SIGMOID(argument): SIGMOID(v)}) for expression in expressions], argument


def _gate(denominator: sympy.Expr) -> sympy.Expr | None:
    """v, of 1 + e⁻ᵛ."""
    power = denominator - 1
    return -power.args[0] if isinstance(power, sympy.exp) else None
