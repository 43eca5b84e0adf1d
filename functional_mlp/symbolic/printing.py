"""Formulas in LaTeX, as a person would write them: βV + (1−β)g, and not V β + g (1 − β).

What is printed says what is computed. A sum reaches as far to the right as products do, cases as far as it goes: what
would be read into them is kept out by brackets.
"""

import re
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import sympy
from sympy.printing.latex import LatexPrinter

from functional_mlp.symbolic.lettering import Names, OfValue
from functional_mlp.symbolic.nodes import Where
from functional_mlp.symbolic.spelling import decimal, letter, operator, text, whole
from functional_mlp.symbolic.words import in_words

_RELATIONS = {"<": "<", "<=": r"\le", ">": ">", ">=": r"\ge", "==": "=", "!=": r"\ne"}
# What a term is sorted by: the parameter first, then what is remembered, then what comes in.
_TERMS = ("w", "V", "G", "m̂", "v̂", "m", "v", "ŷ", "y", "s", "g", "t")
# Factors of a product: numbers, then letters of numbers, then the rest.
_GREEK = "αβγδεηλμρB"


# Functions that have a name of TeX's, and those that are written with a power between it and their argument: tanh² s.
_FUNCTIONS = {"LogOrZero": r"\log", "Maximum": r"\max", "Minimum": r"\min", "σ": r"\sigma", "Φ": r"\Phi"}
_FUNCTIONS |= {name: f"\\{name}" for name in ("log", "tanh", "sin", "cos", "tan", "sinh", "cosh")}
_NAMED = (sympy.tanh, sympy.sin, sympy.cos, sympy.tan, sympy.erf, sympy.log)
# What is above this is not divided by with /.
_LONG = 1000
# The letter of a schedule's epoch.
EPOCH = sympy.Symbol("n", integer=True, nonnegative=True)


class Total(sympy.Function):  # type: ignore[misc] # sympy's functions have no types
    """Σ over an index: Total(term, index)."""

    is_real = True


class LargestOf(sympy.Function):  # type: ignore[misc]
    """The largest over an index: LargestOf(term, index)."""

    is_real = True


class LogOrZero(sympy.Function):  # type: ignore[misc]
    """log x in a product with x, which is 0 where x is."""

    is_real = True


class Ratio(sympy.Function):  # type: ignore[misc]
    """a / b as it is written, of which sympy would leave less: s² / s is no number for s = 0."""

    is_real = True


class Raised(sympy.Function):  # type: ignore[misc]
    """A power as it is written, of which sympy would leave less: exp(log s) is none for s < 0."""

    is_real = True


class Printer(LatexPrinter):  # type: ignore[misc]
    """sympy's printer with the order and the forms of the field, and names for some symbols."""

    def __init__(self, names: Names) -> None:
        super().__init__()
        self.names = names

    def _print_Symbol(self, e: sympy.Symbol, style: str = "plain") -> str:
        return letter(self.names.get(e, e.name))

    _print_Dummy = _print_Symbol  # noqa: N815 - sympy looks for the names of its classes

    def _print_Rational(self, e: sympy.Rational) -> str:
        """A fraction, or the decimal number that was meant."""
        if e.q == 1:
            return decimal(int(e))
        if _is_decimal(e):
            return decimal(float(e))
        return rf"{'-' if e.p < 0 else ''}\frac{{{whole(abs(e.p))}}}{{{whole(e.q)}}}"

    _print_Integer = _print_Rational  # noqa: N815

    def _print_Float(self, e: sympy.Float) -> str:
        return decimal(float(e))

    def _print_Add(self, e: sympy.Add, order: Any = None) -> str:
        terms = sorted(e.args, key=lambda term: (_is_open(term), *_term_key(term)))
        positive = [term for term in terms if not term.could_extract_minus_sign()]
        if positive and positive[0] is not terms[0]:
            terms.remove(positive[0])
            terms.insert(0, positive[0])
        text = ""
        for term in terms:
            printed = self._term(term, is_last=term is terms[-1])
            sign, size = ("-", printed[1:].strip()) if printed.startswith("-") else ("+", printed)
            text += f" {sign} {size}" if text else printed
        return text

    def _print_Mul(self, e: sympy.Mul) -> str:
        coefficient, rest = e.as_coeff_Mul()
        if coefficient.is_negative:
            return f"-{self._factor(-e)}"
        if rest.is_Add and coefficient.is_Rational and coefficient.p == 1:
            return rf"\frac{{{self._print(rest)}}}{{{coefficient.q}}}"
        number, factors, below = _fraction(e)
        if below == 1:
            return self._product(factors, number)
        outside = [factor for factor in factors if _is_outside(factor, below)]
        inside = [factor for factor in factors if factor not in outside]
        fraction = rf"\frac{{{self._product(inside, number)}}}{{{self._print(below)}}}"
        return self._product(outside, fraction)

    def _product(self, factors: Sequence[sympy.Expr], first: str | None = None) -> str:
        """Factors beside each other, after one that is printed already; sums and cases are the last."""
        factors = sorted(factors, key=_is_last)
        if first is None and len(factors) == 1:
            return str(self._print(factors[0]))
        product = first or ""
        for place, factor in enumerate(factors, 1):
            printed = self._factor(factor, is_last=place == len(factors))
            product += ("" if not product else r" \cdot " if printed[0].isdigit() else r" \, ") + printed
        return product or "1"

    def _term(self, e: sympy.Expr, *, is_last: bool) -> str:
        """One of a sum."""
        return self._in(e, brackets=isinstance(e, sympy.Mod) or (_is_open(e) and not is_last))

    def _factor(self, e: sympy.Expr, *, is_last: bool = True) -> str:
        """One of a product, or what a sum is of."""
        brackets = e.is_Add or isinstance(e, sympy.Mod) or _is_negative(e) or (_is_last(e) and not is_last)
        return self._in(e, brackets=brackets)

    def _operand(self, e: sympy.Expr) -> str:
        """What stands beside an operator of which readers may not know how strongly it binds."""
        return self._in(e, brackets=_needs_brackets(e))

    def _in(self, e: sympy.Expr, *, brackets: bool) -> str:
        printed = str(self._print(e))
        return _bracketed(printed) if brackets else printed

    def _print_Pow(self, e: sympy.Pow) -> str:
        base, exponent = e.args
        if exponent.is_Integer and exponent % 2 == 0:
            base = _of_either_sign(base)
        if exponent.is_Rational and exponent.is_negative:
            return rf"\frac{{1}}{{{self._print(base**-exponent)}}}"
        if exponent == sympy.S.Half:
            return rf"\sqrt{{{self._print(base)}}}"
        power = self._inline(exponent)
        if isinstance(base, _NAMED) and exponent.is_Integer:
            return f"{self._name(base)}^{{{power}}}{self._arguments(base)}"
        printed = decimal(float(base)) if base.is_Rational and _ends(base) else str(self._print(base))
        is_unit = re.fullmatch(r"[\d.]+", printed) if base.is_number else _is_unit(base)
        return f"{printed if is_unit else _bracketed(printed)}^{{{power}}}"

    def _inline(self, e: sympy.Expr) -> str:
        """A formula with / for its fraction where that has one letter or number below: for exponents and brackets."""
        if e.is_Rational:
            return f"{decimal(e.p)} / {whole(e.q)}" if not (e.q == 1 or _is_decimal(e)) else str(self._print(e))
        above, below = sympy.fraction(e)
        coefficient = e.as_coeff_Mul()[0]
        is_short = below.is_Integer and below < _LONG
        is_simple = below.is_Symbol or (is_short and (abs(coefficient.p) == 1 or not _is_decimal(coefficient)))
        if not is_simple or below == 1 or (above.is_Rational and below.is_Symbol):
            return str(self._print(e))
        sign = "-" if above.could_extract_minus_sign() and not above.is_Add else ""
        above = -above if sign else above
        shown = whole(int(above)) if above.is_Integer else self._factor(above, is_last=False)
        return f"{sign}{shown} / {self._print(below)}"

    def _print_floor(self, e: sympy.Expr, exp: Any = None) -> str:
        return rf"\lfloor {self._inline(e.args[0])} \rfloor"

    def _print_ceiling(self, e: sympy.Expr, exp: Any = None) -> str:
        return rf"\lceil {self._inline(e.args[0])} \rceil"

    def _print_exp(self, e: sympy.Expr, exp: Any = None) -> str:
        return f"e^{{{self._inline(e.args[0])}}}"

    def _print_Ratio(self, e: sympy.Expr, exp: Any = None) -> str:
        return rf"\frac{{{self._print(e.args[0])}}}{{{self._print(e.args[1])}}}"

    def _print_Raised(self, e: sympy.Expr, exp: Any = None) -> str:
        base, exponent = e.args
        return f"{'e' if base == sympy.E else _bracketed(self._print(base))}^{{{self._inline(exponent)}}}"

    def _print_Abs(self, e: sympy.Expr, exp: Any = None) -> str:
        return rf"\left|{self._print(_of_either_sign(e.args[0]))}\right|"

    def _print_Function(self, e: sympy.Function, exp: Any = None) -> str:
        return self._name(e) + self._arguments(e)

    def _name(self, e: sympy.Function) -> str:
        name = e.func.__name__
        return _FUNCTIONS.get(name) or operator(name)

    def _arguments(self, e: sympy.Function) -> str:
        return _bracketed(", ".join(map(self._inline, e.args)))

    _print_log = _print_tanh = _print_erf = _print_sign = _print_Function

    def _print_cos(self, e: sympy.Expr, exp: Any = None) -> str:
        return rf"\cos{_bracketed(self._inline(sympy.together(e.args[0])))}"

    def _print_Mod(self, e: sympy.Expr, exp: Any = None) -> str:
        return rf"{self._operand(e.args[0])} \bmod {self._operand(e.args[1])}"

    def _print_Total(self, e: sympy.Expr, exp: Any = None) -> str:
        return rf"\sum_{{{self._print(e.args[1])}}} {self._factor(e.args[0])}"

    def _print_LargestOf(self, e: sympy.Expr, exp: Any = None) -> str:
        return rf"\max_{{{self._print(e.args[1])}}} {self._operand(e.args[0])}"

    def _print_Where(self, e: Where, exp: Any = None) -> str:
        rows: list[str] = []
        rest: Any = e
        while isinstance(rest, Where):
            _, left, right, chosen, otherwise = rest.args
            sides = [self._in(side, brackets=side.has(Where)) for side in (left, right)]
            condition = f" {_RELATIONS[rest.comparison]} ".join(sides)
            rows.append(rf"{self._in(chosen, brackets=chosen.has(Where))} & \text{{if }} {condition}")
            rest = otherwise
        rows.append(rf"{self._in(rest, brackets=rest.has(Where))} & \text{{otherwise}}")
        return r"\begin{cases} " + r" \\ ".join(rows) + r" \end{cases}"


def _is_open(e: sympy.Expr) -> bool:
    """Whether what stands to the right of a formula would be read into it."""
    if e.is_Mul:
        _, factors, below = _fraction(e)
        return any(_is_open(factor) for factor in factors if below == 1 or _is_outside(factor, below))
    if isinstance(e, LargestOf):
        return not _needs_brackets(e.args[0])
    return isinstance(e, Total | Where | sympy.Mod)


def _is_last(e: sympy.Expr) -> bool:
    """Whether a factor must be the last: max (a + b) c could be a maximum of products as well."""
    return _is_open(e) or isinstance(e, LargestOf)


def _fraction(e: sympy.Mul) -> tuple[str | None, list[sympy.Expr], sympy.Expr]:
    """A product as a number that is written as one, if there is such, other factors above a line, and what is below."""
    coefficient, rest = e.as_coeff_Mul()
    if coefficient.is_Rational and _is_decimal(coefficient) and not rest.has(sympy.pi):
        number: str | None = decimal(float(coefficient))
    else:
        number, rest = _root_of_number(e)
    above, below = sympy.fraction(rest, exact=True)
    factors = sorted(sympy.Mul.make_args(above), key=_factor_key)
    return number, [] if number is not None and above == 1 else factors, below


def _is_outside(factor: sympy.Expr, below: sympy.Expr) -> bool:
    """Whether a factor stands beside a fraction, and not in it: (1/k) Σ, but (Σ a) / (Σ b)."""
    return isinstance(factor, Total) and not below.has(Total)


def _needs_brackets(e: sympy.Expr) -> bool:
    """Whether a formula has brackets beside an operator of which readers may not know how strongly it binds."""
    return not (_is_unit(e) or isinstance(e, sympy.exp) or (e.is_Pow and e.exp.is_positive))


def _is_negative(e: sympy.Expr) -> bool:
    return bool(e.as_coeff_Mul()[0].is_negative)


def _is_unit(e: sympy.Expr) -> bool:
    """Whether a formula is held together by itself: a letter, or what has brackets of its own."""
    if e.is_Integer:
        return bool(e >= 0)
    is_function = isinstance(e, sympy.Function) and not isinstance(
        e, sympy.exp | Total | LargestOf | Where | sympy.Mod | Raised | Ratio
    )
    return bool(e.is_Symbol or is_function)


def _of_either_sign(e: sympy.Expr) -> sympy.Expr:
    """Of a sum and its negative, which are equal in what they stand in, the one whose first letter has no minus."""
    return -e if e.is_Add and min(e.args, key=_term_key).could_extract_minus_sign() else e


def _is_decimal(number: sympy.Rational) -> bool:
    """Whether a fraction is better written as a decimal number, which it is to the last digit."""
    return _ends(number) and number.q not in (1, 2, 4, 8)


def _ends(number: sympy.Rational) -> bool:
    """Whether a fraction is a decimal number of finitely many digits."""
    return set(sympy.primefactors(number.q)) <= {2, 5}


def _bracketed(text: str) -> str:
    """In brackets, as high as what is in them."""
    is_high = any(mark in text for mark in (r"\frac", r"\sum", r"\max_", r"\sqrt", r"\begin"))
    return rf"\left({text}\right)" if is_high else f"({text})"


def tex(expression: sympy.Expr, names: Names = MappingProxyType({})) -> str:
    """A formula in LaTeX, with names for some symbols, where these have no names of their own that tell them apart.

    >>> w, eta, g = sympy.Symbol("w"), sympy.Symbol("η"), sympy.Symbol("g")
    >>> tex(w - eta * g)
    'w - \\\\eta \\\\, g'
    """
    return str(Printer(names).doprint(expression))


def tex_or_words(expression: sympy.Expr) -> str:
    """A formula in LaTeX, or what it is where that is no number."""
    if expression.has(sympy.nan, sympy.zoo):
        return text(in_words(expression))
    return tex(expression)


def _root_of_number(e: sympy.Mul) -> tuple[str | None, sympy.Expr]:
    """The numbers of a product as one root, √(8/π), and the other factors; None where they are no such root."""
    number = sympy.Mul(*(factor for factor in e.args if factor.is_number))
    square = number**2
    over_pi = square * sympy.pi
    if number.is_Rational or not (square.is_Rational or over_pi.is_Rational):
        return None, e
    rest = sympy.Mul(*(factor for factor in e.args if not factor.is_number))
    if square.is_Rational:
        return None, e
    above, below = over_pi.p, over_pi.q
    pi = r"\pi" if below == 1 else rf"{below} \, \pi"
    root = sympy.sqrt(above)
    return (rf"\frac{{{root}}}{{\sqrt{{{pi}}}}}" if root.is_Integer else rf"\sqrt{{\frac{{{above}}}{{{pi}}}}}"), rest


def _names(e: sympy.Expr) -> set[str]:
    """What stands for arrays: what letters stand for numbers says nothing about the place of a term."""
    return {re.split(r"[_\d]", symbol.name)[0] for symbol in e.free_symbols if not isinstance(symbol, OfValue)}


def _term_key(term: sympy.Expr) -> tuple[Any, ...]:
    names = _names(term)
    places = [place for place, name in enumerate(_TERMS) if name in names]
    if term.is_polynomial() and term.free_symbols:
        degree = sympy.Poly(term, *term.free_symbols).total_degree()
    else:
        degree = len(sympy.Mul.make_args(term))
    if term == EPOCH:
        return (-2, degree, str(term))  # n + 1
    if term.is_number:  # 1 + s, and s + 3
        return (-1 if term in (1, -1) else len(_TERMS) + 1, degree, str(term))
    return (min(places, default=len(_TERMS)), degree, str(term))


def _factor_key(factor: sympy.Expr) -> tuple[Any, ...]:
    names = _names(factor)
    if factor.is_number:
        kind = 0
    elif all(name in _GREEK or (len(name) > 1 and name not in _TERMS) for name in names):
        kind = 2 if factor.is_Add else 1
    else:
        kind = 3 if factor.is_Symbol else 4 if factor.is_Pow and factor.base.is_Symbol else 6 if factor.is_Add else 5
    places = [place for place, name in enumerate(_TERMS) if name in names]
    return (kind, min(places, default=0), str(factor))
