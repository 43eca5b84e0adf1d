"""Numbers, names and words in LaTeX, in what MathJax, KaTeX and TeX all read."""

import math
import re

# Accents and letters that are written otherwise than they are called.
_TEX = {"ε": r"\varepsilon", "ŷ": r"\hat{y}", "ℓ": r"\ell"}
_HAT = "\N{COMBINING CIRCUMFLEX ACCENT}"
_LOWER = (
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu"),
    *("xi", "", "pi", "rho", "", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega"),  # no ο, no ς
)
# By their names and by themselves, λ and lambda; of capitals those that have another shape than Latin ones.
_GREEK = {name: chr(ord("α") + place) for place, name in enumerate(_LOWER) if name}
_CAPITALS = {
    name.capitalize(): letter.upper()
    for name, letter in _GREEK.items()
    if name in ("gamma", "delta", "theta", "lambda", "xi", "pi", "sigma", "upsilon", "phi", "psi", "omega")
}
_COMMANDS = {letter: f"\\{name}" for name, letter in (_GREEK | _CAPITALS).items()} | _TEX
_BY_NAME = _GREEK | _CAPITALS | {"lambda_": "λ"}  # Python has a word lambda
# A number that ends in this many zeros is written with a power of ten.
_MANY_ZEROS = 6
# What text cannot hold for TeX, or for MathJax, which shows the backslash of \_ in it; formulas can.
_NOT_IN_TEXT = {
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    **{mark: f"{{{mark}}}" for mark in "<>|"},
    "\\": r"\backslash ",
    "^": r"\hat{\ }",
    "~": r"{\sim}",
}


def decimal(number: float) -> str:
    """A number as it is written.

    >>> decimal(0.9), decimal(1e-8), decimal(3), decimal(1 + 1e-12), decimal(-2.5e300)
    ('0.9', '10^{-8}', '3', '1.000000000001', '-2.5 \\\\cdot 10^{300}')
    >>> decimal(float("-inf")), decimal(float("nan"))
    ('-\\\\infty', '\\\\mathrm{NaN}')
    """
    if isinstance(number, int) and 10**16 < abs(number) < 2**1023 and int(float(number)) == number:
        number = float(number)
    if math.isnan(number):
        return r"\mathrm{NaN}"
    sign = "-" if number < 0 else ""
    if math.isinf(number):
        return rf"{sign}\infty"
    if number == int(number) and (isinstance(number, int) or abs(number) < 10**16):
        return sign + whole(abs(int(number)))
    mantissa, _, exponent = repr(abs(number)).partition("e")
    if not exponent:
        return sign + mantissa
    power = f"10^{{{int(exponent)}}}"
    return sign + (power if mantissa == "1" else rf"{mantissa} \cdot {power}")


def whole(number: int) -> str:
    """A whole number that is not negative, by a power of ten where it ends in many zeros.

    >>> whole(2500), whole(10**6), whole(25 * 10**7)
    ('2500', '10^{6}', '25 \\\\cdot 10^{7}')
    """
    digits = str(number).rstrip("0")
    zeros = len(str(number)) - len(digits)
    if zeros < _MANY_ZEROS:
        return str(number)
    return f"10^{{{zeros}}}" if digits == "1" else rf"{digits} \cdot 10^{{{zeros}}}"


def letter(name: str) -> str:
    r"""A letter with its index, or a word.

    >>> letter("β1"), letter("beta_1"), letter("ŷ_j"), letter("s_max")
    ('\\beta_{1}', '\\beta_{1}', '\\hat{y}_{j}', 's_{\\mathrm{max}}')
    >>> letter("theta"), letter("rate"), letter("decay_rate"), letter("rate2")
    ('\\theta', '\\mathrm{rate}', '\\mathrm{decay\\_rate}', '\\mathrm{rate}_{2}')
    """
    if name.endswith(_HAT):
        return rf"\hat{{{letter(name.removesuffix(_HAT))}}}"
    base, *indices = name.strip("_").split("_")
    if not base or "" in indices:
        return _word(name)
    found = re.fullmatch(r"(\D+?)(\d+)", base)
    if found:
        base, indices = found[1], [found[2], *indices]
    base = _BY_NAME.get(base, base)
    is_letter = len(base) == 1 or base in _COMMANDS
    if not is_letter and not all(index.isdigit() for index in indices):
        return _word(name)
    shown = _COMMANDS.get(base) or (base if is_letter and base.isascii() else _word(base))
    if not indices:
        return shown
    return f"{shown}_{{{', '.join(map(_index, indices))}}}"


def _index(index: str) -> str:
    if re.fullmatch(r"[a-z]\d+", index):
        return letter(index)
    return index if len(index) == 1 or index.isdigit() else _word(index)


def operator(name: str) -> str:
    r"""The name of a function.

    >>> print(operator("my_layer"))
    \operatorname{my\_layer}
    """
    return rf"\operatorname{{{_escaped(name)}}}"


def text(words: str) -> str:
    r"""Words in a formula.

    >>> print(text("my_layer: 50%"))
    \text{my}\_\text{layer: 50}\%
    """
    pieces = re.split(f"([{re.escape(''.join(_NOT_IN_TEXT))}])", words)
    return "".join(_NOT_IN_TEXT.get(piece) or rf"\text{{{piece}}}" for piece in pieces if piece)


def _word(name: str) -> str:
    return rf"\mathrm{{{_escaped(name)}}}"


def _escaped(name: str) -> str:
    """A name of Python's, whose letters may be of any script."""
    escaped = name.replace("_", r"\_")
    return re.sub(r"[^\x00-\x7f]+", lambda found: rf"\text{{{found[0]}}}", escaped)
