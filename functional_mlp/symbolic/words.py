"""Formulas in words: without the digits that nobody reads, and with what is no number said."""

import sympy

# A number with more digits is shown as a decimal number, of this many.
_LONG, _SHOWN = 10**12, 15


def in_words(expression: sympy.Expr) -> str:
    """A formula, or what it is where that is no number.

    >>> in_words(sympy.Float("0.5493061443340548456976226184612628", 60)), in_words(sympy.Float(5)), in_words(-sympy.oo)
    ('0.549306144334055', '5', '-∞')
    """
    if expression.has(sympy.nan, sympy.zoo):
        return "no number" if expression.has(sympy.nan) else "an infinite number"
    long = [one for one in expression.atoms(sympy.Rational, sympy.Float) if one.is_Float or _is_long(one)]
    shown = {number: sympy.Symbol(digits_of(number, _SHOWN)) for number in long}
    return str(expression.xreplace(shown)).replace("oo", "∞")


def digits_of(number: sympy.Expr, count: int) -> str:
    """A number in at most `count` digits, without zeros at the end.

    >>> digits_of(sympy.Rational(3, 2), 15), digits_of(sympy.pi * 10**20, 3), digits_of(sympy.Integer(100), 15)
    ('1.5', '3.14e+20', '100')
    """
    mantissa, e, exponent = str(sympy.N(number, count)).partition("e")
    return (mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa) + e + exponent


def _is_long(number: sympy.Rational) -> bool:
    return bool(max(abs(number.p), number.q) > _LONG)
