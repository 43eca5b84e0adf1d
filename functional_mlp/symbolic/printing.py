"""Formulas in LaTeX, as a person would write them: βV + (1−β)g, and not V β + g (1 − β)."""

import re
from collections.abc import Iterable
from typing import Any

import sympy
from sympy.printing.latex import LatexPrinter

from functional_mlp.symbolic.nodes import Where
from functional_mlp.symbolic.words import in_words

# Greek letters, accents, and the names of functions.
_TEX = {
    "α": r"\alpha", "β": r"\beta", "γ": r"\gamma", "δ": r"\delta", "ε": r"\varepsilon", "η": r"\eta", "λ": r"\lambda",
    "μ": r"\mu", "ρ": r"\rho", "σ": r"\sigma", "Φ": r"\Phi", "ŷ": r"\hat{y}", "m̂": r"\hat{m}", "v̂": r"\hat{v}",
}  # fmt: skip
_RELATIONS = {"<": "<", "<=": r"\le", ">": ">", ">=": r"\ge", "==": "=", "!=": r"\ne"}
# What a term is sorted by: the parameter first, then what is remembered, then what comes in.
_TERMS = ("w", "V", "G", "m̂", "v̂", "m", "v", "ŷ", "y", "s", "g", "t")
# Factors of a product: numbers, then letters of numbers, then the rest.
_GREEK = "αβγδεηλμρB"


# A number that ends in this many zeros is written with a power of ten.
_MANY_ZEROS = 6
# Functions that are written with a power between their name and their argument: tanh² s.
_NAMED = (sympy.tanh, sympy.cos, sympy.erf, sympy.log)
# The letter of a schedule's epoch.
EPOCH = sympy.Symbol("e", integer=True, nonnegative=True)


class Total(sympy.Function):  # type: ignore[misc] # sympy's functions have no types
    """Σ over an index: Total(term, index)."""

    is_real = True


class LargestOf(sympy.Function):  # type: ignore[misc]
    """The largest over an index: LargestOf(term, index)."""

    is_real = True


class Printer(LatexPrinter):  # type: ignore[misc]
    """sympy's printer with the order and the forms of the field."""

    def _print_Symbol(self, e: sympy.Symbol, style: str = "plain") -> str:
        return letter(e.name)

    def _print_Rational(self, e: sympy.Rational) -> str:
        """A fraction, or the decimal number that was meant."""
        if _is_decimal(e):
            return decimal(float(e))
        sign, above, below = ("-" if e.p < 0 else ""), _whole(abs(e.p)), _whole(e.q)
        return sign + (above if e.q == 1 else rf"\frac{{{above}}}{{{below}}}")

    def _print_Integer(self, e: sympy.Integer) -> str:
        return ("-" if e < 0 else "") + _whole(abs(int(e)))

    def _print_Float(self, e: sympy.Float) -> str:
        return decimal(float(e))

    def _print_Add(self, e: sympy.Add, order: Any = None) -> str:
        terms = sorted(e.args, key=_term_key)
        positive = [term for term in terms if not term.could_extract_minus_sign()]
        if positive and positive[0] is not terms[0]:
            terms.remove(positive[0])
            terms.insert(0, positive[0])
        text = self._print(terms[0])
        for term in terms[1:]:
            printed = self._print(term)
            text += f" - {printed[1:].strip()}" if printed.startswith("-") else f" + {printed}"
        return str(text)

    def _print_Mul(self, e: sympy.Mul) -> str:
        if e.could_extract_minus_sign() and e.as_coeff_Mul()[0].is_negative:
            return f"-{self._factor(-e)}"
        coefficient, rest = e.as_coeff_Mul()
        if rest.is_Add and coefficient.is_Rational and coefficient.p == 1:
            return rf"\frac{{{self._print(rest)}}}{{{coefficient.q}}}"
        if coefficient.is_Rational and _is_decimal(coefficient) and not rest.has(sympy.pi):
            above, below = sympy.fraction(rest, exact=True)
            shown = decimal(float(coefficient))
            product = shown if above == 1 else self._juxtaposed([shown, self._factor(above)])
            return product if below == 1 else rf"\frac{{{product}}}{{{self._print(below)}}}"
        number, rest = _root_of_number(e)
        if number is not None:
            return self._juxtaposed([number, *([self._factor(rest)] if rest != 1 else [])])
        above, below = sympy.fraction(e, exact=True)
        if below == 1:
            return self._product(above)
        factors = sympy.Mul.make_args(above)
        totals = [factor for factor in factors if isinstance(factor, Total)]
        if totals:
            others = sympy.Mul(*(factor for factor in factors if not isinstance(factor, Total)))
            return self._juxtaposed(
                [rf"\frac{{{self._print(others)}}}{{{self._print(below)}}}", *map(self._factor, totals)]
            )
        return rf"\frac{{{self._print(above)}}}{{{self._print(below)}}}"

    def _product(self, e: sympy.Expr) -> str:
        factors = sorted(sympy.Mul.make_args(e), key=_factor_key)
        return self._juxtaposed([self._factor(factor) for factor in factors])

    def _factor(self, e: sympy.Expr) -> str:
        return _bracketed(self._print(e)) if e.is_Add else str(self._print(e))

    @staticmethod
    def _juxtaposed(factors: Iterable[str]) -> str:
        return r" \, ".join(factors)

    def _print_Pow(self, e: sympy.Pow) -> str:
        base, exponent = e.args
        if exponent.is_Integer and exponent % 2 == 0:
            base = _of_either_sign(base)
        if exponent.is_Rational and exponent.is_negative:
            return rf"\frac{{1}}{{{self._print(base**-exponent)}}}"
        if exponent == sympy.S.Half:
            return rf"\sqrt{{{self._print(base)}}}"
        if isinstance(base, _NAMED) and exponent.is_Integer:
            name, opening, rest = self._print(base).partition("\\left(" if "\\left(" in self._print(base) else "(")
            return f"{name}^{{{exponent}}}{opening}{rest}"
        text = decimal(float(base)) if base.is_Rational and _ends(base) else self._print(base)
        atom = base.is_Symbol or isinstance(base, sympy.Abs) or (base.is_Rational and base >= 0 and "frac" not in text)
        power = f"{exponent.p} / {exponent.q}" if exponent.is_Rational and exponent.q > 1 else self._print(exponent)
        return f"{text if atom else _bracketed(text)}^{{{power}}}"

    def _inline(self, e: sympy.Expr) -> str:
        """A formula with / for its fraction where that has one letter or number below: for exponents and brackets."""
        above, below = sympy.fraction(e)
        if below == 1 or above.is_Rational or not (below.is_Integer or below.is_Symbol):
            return str(self._print(e))
        sign = "-" if above.could_extract_minus_sign() else ""
        return f"{sign}{self._product(-above if sign else above)} / {self._print(below)}"

    def _print_floor(self, e: sympy.Expr, exp: Any = None) -> str:
        return rf"\lfloor {self._inline(e.args[0])} \rfloor"

    def _print_exp(self, e: sympy.Expr, exp: Any = None) -> str:
        text = f"e^{{{self._inline(e.args[0])}}}"
        return text if exp is None else f"{_bracketed(text)}^{{{exp}}}"

    def _print_Abs(self, e: sympy.Expr, exp: Any = None) -> str:
        return rf"\left|{self._print(_of_either_sign(e.args[0]))}\right|"

    def _print_sign(self, e: sympy.Expr, exp: Any = None) -> str:
        return rf"\operatorname{{sign}}{_bracketed(self._print(e.args[0]))}"

    def _print_Function(self, e: sympy.Function, exp: Any = None) -> str:
        name = e.func.__name__
        known = {"log": r"\log", "tanh": r"\tanh", "Maximum": r"\max", "Minimum": r"\min"}
        shown = known.get(name) or _TEX.get(name) or operator(name)
        return f"{shown}{_bracketed(', '.join(map(self._inline, e.args)))}"

    _print_log = _print_tanh = _print_erf = _print_Function

    def _print_cos(self, e: sympy.Expr, exp: Any = None) -> str:
        return rf"\cos{_bracketed(self._inline(sympy.together(e.args[0])))}"

    def _print_Mod(self, e: sympy.Expr, exp: Any = None) -> str:
        return rf"{self._print(e.args[0])} \bmod {self._print(e.args[1])}"

    def _print_Total(self, e: sympy.Expr, exp: Any = None) -> str:
        return rf"\sum_{{{self._print(e.args[1])}}} {self._factor(e.args[0])}"

    def _print_LargestOf(self, e: sympy.Expr, exp: Any = None) -> str:
        return rf"\max_{{{self._print(e.args[1])}}} {self._factor(e.args[0])}"

    def _print_Where(self, e: Where, exp: Any = None) -> str:
        rows: list[str] = []
        rest: Any = e
        while isinstance(rest, Where):
            relation = _RELATIONS[rest.comparison]
            _, left, right, chosen, rest = rest.args
            rows.append(rf"{self._print(chosen)} & \text{{if }} {self._print(left)} {relation} {self._print(right)}")
        rows.append(rf"{self._print(rest)} & \text{{otherwise}}")
        return r"\begin{cases} " + r" \\ ".join(rows) + r" \end{cases}"


def _of_either_sign(e: sympy.Expr) -> sympy.Expr:
    """Of a sum and its negative, which are equal in what they stand in, the one whose first letter has no minus."""
    return -e if e.is_Add and min(e.args, key=_term_key).could_extract_minus_sign() else e


def _whole(number: int) -> str:
    """A whole number, by a power of ten where it ends in many zeros."""
    digits = str(number).rstrip("0")
    zeros = len(str(number)) - len(digits)
    if zeros < _MANY_ZEROS:
        return str(number)
    return f"10^{{{zeros}}}" if digits == "1" else rf"{digits} \cdot 10^{{{zeros}}}"


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


def tex(expression: sympy.Expr) -> str:
    """A formula in LaTeX.

    >>> w, eta, g = sympy.Symbol("w"), sympy.Symbol("η"), sympy.Symbol("g")
    >>> tex(w - eta * g)
    'w - \\\\eta \\\\, g'
    """
    return str(Printer().doprint(expression))


def tex_or_words(expression: sympy.Expr) -> str:
    """A formula in LaTeX, or what it is where that is no number."""
    if expression.has(sympy.nan, sympy.zoo):
        return text(in_words(expression))
    return tex(expression)


def text(words: str) -> str:
    r"""Words in a formula.

    >>> print(text("my_layer: 50% {a}"))
    \text{my\_layer: 50\% \{a\}}
    """
    escaped = {"\\": r"\backslash ", "^": r"\hat{}", "~": r"\sim "}
    return rf"\text{{{''.join(escaped.get(c, f'{chr(92)}{c}' if c in '&%$#_{}' else c) for c in words)}}}"


def decimal(number: float) -> str:
    """A number as it is written.

    >>> decimal(0.9), decimal(1e-8), decimal(3), decimal(1 + 1e-12)
    ('0.9', '10^{-8}', '3', '1.000000000001')
    """
    mantissa, _, exponent = repr(float(number)).removesuffix(".0").partition("e")
    power = rf"10^{{{int(exponent)}}}" if exponent else ""
    return mantissa if not power else (power if mantissa == "1" else rf"{mantissa} \cdot {power}")


def operator(name: str) -> str:
    r"""The name of a function.

    >>> print(operator("my_layer"))
    \operatorname{my\_layer}
    """
    return rf"\operatorname{{{name.replace('_', chr(92) + '_')}}}"


def letter(name: str) -> str:
    """A letter with its index: β1, ŷ_j.

    >>> letter("β1"), letter("ŷ_j"), letter("rate")
    ('\\\\beta_{1}', '\\\\hat{y}_{j}', '\\\\mathrm{rate}')
    """
    found = re.fullmatch(r"(.+?)(?:_(\w+)|(\d+))?", name)
    base, index = (found[1], found[2] or found[3]) if found else (name, None)
    shown = _TEX.get(base) or (base if len(base) == 1 else r"\mathrm{" + base.replace("_", r"\_") + "}")
    if not index:
        return shown
    return f"{shown}_{{{index}}}" if len(index) == 1 or index.isdigit() else rf"{shown}_{{\mathrm{{{index}}}}}"


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
    return {re.split(r"[_\d]", symbol.name)[0] for symbol in e.free_symbols}


def _term_key(term: sympy.Expr) -> tuple[Any, ...]:
    names = _names(term)
    places = [place for place, name in enumerate(_TERMS) if name in names]
    if term.is_polynomial() and term.free_symbols:
        degree = sympy.Poly(term, *term.free_symbols).total_degree()
    else:
        degree = len(sympy.Mul.make_args(term))
    if term == EPOCH:
        return (-2, degree, str(term))  # e + 1
    if term.is_number:  # 1 + s, and s + 3
        return (-1 if term in (1, -1) else len(_TERMS) + 1, degree, str(term))
    return (min(places, default=len(_TERMS)), degree, str(term))


def _factor_key(factor: sympy.Expr) -> tuple[Any, ...]:
    names = _names(factor)
    if factor.is_number:
        kind = 0
    elif names and all(name in _GREEK or (len(name) > 1 and name not in _TERMS) for name in names):
        kind = 2 if factor.is_Add else 1
    else:
        kind = 3 if factor.is_Symbol else 4 if factor.is_Pow and factor.base.is_Symbol else 6 if factor.is_Add else 5
    places = [place for place, name in enumerate(_TERMS) if name in names]
    return (kind, min(places, default=0), str(factor))
