"""Formulas in LaTeX, read as a person reads them, and computed: what is printed is what it says.

What could be read in two ways is refused: cases that something follows, two numbers beside each other, a remainder in a
product.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

Values = Mapping[str, Any]
Reading = Callable[[Values], float]

_END = {None, ")", "]", "}", "&", ",", "=", "<", ">", r"\le", r"\ge", r"\ne", r"\\", "|)", r"\rfloor", "/", r"\rceil"}
_RELATIONS: dict[str, Callable[[float, float], bool]] = {
    "<": lambda a, b: a < b,
    r"\le": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    r"\ge": lambda a, b: a >= b,
    "=": lambda a, b: a == b,
    r"\ne": lambda a, b: a != b,
}
FUNCTIONS: dict[str, Callable[..., float]] = {
    r"\log": lambda x: math.log(x) if x > 0 else -math.inf if x == 0 else math.nan,
    r"\tanh": math.tanh,
    r"\cos": math.cos,
    r"\exp": math.exp,
    r"\max": max,
    r"\min": min,
    r"\sigma": lambda x: 1 / (1 + math.exp(-x)),
    r"\Phi": lambda x: (1 + math.erf(x / math.sqrt(2))) / 2,
    r"\operatorname{erf}": math.erf,
    r"\operatorname{sign}": lambda x: float((x > 0) - (x < 0)),
}


def equations(latex: str) -> dict[str, str]:
    """What stands on the right of each equation, by its left side, without the words after it."""
    rows = re.findall(r"^(.*?) &(?:=|\\leftarrow) (.*?)(?: \\quad .*?)?(?: \\\\)?$", latex, re.MULTILINE)
    return dict(rows)


def numbers(latex: str) -> dict[str, float]:
    """What the letters of numbers stand for, of all equations that say it."""
    found = {}
    for left, right in equations(latex).items():
        try:
            found[left] = compute(right, {})
        except (AssertionError, KeyError, ValueError):  # it is no number
            continue
    return found


def compute(tex: str, values: Values) -> float:
    r"""The number that a formula comes to; arrays are lists, whose letters have an index.

    >>> compute(r"\frac{1}{k} \, \sum_{j} (1 - t_{j})^{2}", {"k": 2, "t": [3, 0]})
    2.5
    """
    reader = Reader(tex)
    reading = reader.formula()
    assert reader.next is None, f"{tex}: {reader.next} was not expected"
    return reading(values)


class Reader:
    """The words of a formula that are left, and how each kind of words is read."""

    def __init__(self, tex: str) -> None:
        tex = tex.replace(r"\left|", "|(").replace(r"\right|", "|)").replace(r"\left", "").replace(r"\right", "")
        names = r"\\operatorname\{[^}]*\}|\\mathrm\{[^}]*\}|\\text\{[^}]*\}|\\(?:begin|end)\{[a-z]+\}|\|[()]"
        words = re.findall(rf"{names}|\\hat\{{[a-z]\}}|\\[A-Za-z]+|\\.|\d+(?:\.\d+)?|\S", tex)
        self.words = list(reversed(words))

    @property
    def next(self) -> str | None:
        return self.words[-1] if self.words else None

    def take(self, *expected: str) -> str:
        word = self.words.pop()
        assert not expected or word in expected, f"{word} came in place of {expected}"
        return word

    def if_next(self, *expected: str) -> str | None:
        return self.take() if self.next in expected else None

    def formula(self) -> Reading:
        """Terms, or one remainder of two units."""
        terms = [(-1 if self.if_next("-") else 1, self.term())]
        if self.if_next(r"\bmod"):
            assert self.was_unit, "a remainder of what may be more than a unit"
            divisor = self.term()
            assert self.was_unit
            assert self.next in _END
            ((sign, number),) = terms
            assert sign == 1
            return lambda v: number(v) % divisor(v)
        while sign := self.if_next("+", "-"):
            terms.append((1 if sign == "+" else -1, self.term()))
        assert self.next in _END, f"{self.next} after a formula"
        return lambda v: sum(sign * term(v) for sign, term in terms)

    def term(self) -> Reading:
        """Factors; a / within an exponent divides all of them."""
        factors = [self.power()]
        while self.next not in _END and self.next not in ("+", "-", r"\bmod"):
            joint = self.take(r"\,", r"\cdot")
            assert joint == r"\cdot" or not self.next[0].isdigit(), "two numbers beside each other"
            assert not self.was_largest, "a factor after a maximum"
            factors.append(self.power())
        self.was_unit = len(factors) == 1
        if not self.if_next("/"):
            return lambda v: math.prod(factor(v) for factor in factors)
        below = self.power()
        self.was_unit = False
        assert self.next not in (r"\,", r"\cdot")
        return lambda v: math.prod(factor(v) for factor in factors) / below(v)

    def power(self) -> Reading:
        is_largest = len(self.words) > 1 and self.words[-2:] == ["_", r"\max"]
        is_letter = len(self.words) > 1 and self.words[-2] == "_" and self.next not in (r"\sum", r"\max")
        if not is_letter and (self.next in FUNCTIONS or self.next == r"\sum"):
            reading = self.named()
        else:
            reading = self.cases() if self.next == r"\begin{cases}" else self.raised(self.atom())
        self.was_largest = is_largest
        return reading

    def raised(self, base: Reading) -> Reading:
        if not self.if_next("^"):
            return base
        exponent = self.group()
        assert self.next != "^", "two exponents"
        return lambda v: _power(base(v), exponent(v))

    def named(self) -> Reading:
        name = self.take()
        if name == r"\sum" or self.next == "_":
            return self.over(sum if name == r"\sum" else max)
        power = self.group() if self.if_next("^") else None
        arguments = self.arguments()
        function = FUNCTIONS[name]
        if power is not None:
            return lambda v: function(*(one(v) for one in arguments)) ** power(v)
        return self.raised(lambda v: function(*(one(v) for one in arguments)))

    def over(self, function: Any) -> Reading:
        self.take("_")
        index = self.index()
        body = self.term() if function is sum else self.power()

        def read(v: Values) -> float:
            (count,) = {len(array) for array in v.values() if isinstance(array, list)}
            return function(body({**v, index: place}) for place in range(count))

        return read

    def index(self) -> str:
        """What is in a subscript, as it is written."""
        if self.next != "{":
            return self.take()
        self.take("{")
        words = ""
        depth = 1
        while True:
            word = self.take()
            depth += {"{": 1, "}": -1}.get(word, 0)
            if not depth:
                return words
            words += word

    def arguments(self) -> list[Reading]:
        self.take("(")
        arguments = [self.formula()]
        while self.if_next(","):
            arguments.append(self.formula())
        self.take(")")
        return arguments

    def group(self) -> Reading:
        self.take("{")
        inner = self.formula()
        self.take("}")
        return inner

    def cases(self) -> Reading:
        self.take()
        rows: list[tuple[Reading, Reading | None]] = []
        while True:
            value = self.formula()
            self.take("&")
            if self.take(r"\text{if }", r"\text{otherwise}") == r"\text{otherwise}":
                rows.append((value, None))
                break
            left = self.formula()
            relation = _RELATIONS[self.take()]
            right = self.formula()
            rows.append((value, lambda v, a=left, b=right, holds=relation: holds(a(v), b(v))))
            self.take(r"\\")
        self.take(r"\end{cases}")
        assert self.next in _END, f"{self.next} after cases"
        return lambda v: next(value(v) for value, holds in rows if holds is None or holds(v))

    def atom(self) -> Reading:
        word = self.take()
        if re.fullmatch(r"\d+(\.\d+)?", word):
            return lambda v: float(word)
        if word == "(":
            inner = self.formula()
            self.take(")")
            return inner
        if word == "|(":
            inner = self.formula()
            self.take("|)")
            return lambda v: abs(inner(v))
        if word == r"\lfloor":
            inner = self.formula()
            self.take(r"\rfloor")
            return lambda v: math.floor(inner(v))
        if word == r"\frac":
            above, below = self.group(), self.group()
            return lambda v: above(v) / below(v)
        if word == r"\sqrt":
            inner = self.group()
            return lambda v: _power(inner(v), 0.5)
        return self.letter(word)

    def letter(self, word: str) -> Reading:
        assert re.fullmatch(r"\\(mathrm|hat)\{.*\}|\\[A-Za-z]+|[A-Za-z]", word), f"{word} is no letter"
        index = self.index() if self.if_next("_") else None
        constants = {"e": math.e, r"\pi": math.pi, r"\infty": math.inf, r"\mathrm{NaN}": math.nan}

        def read(v: Values) -> float:
            name = word if index is None else f"{word}_{{{index}}}"
            if name in v:
                return v[name]
            return constants[name] if index is None else v[word][v[index]]

        return read


def _power(base: float, exponent: float) -> float:
    if base < 0 and exponent != int(exponent):
        return math.nan
    if base == 0 and exponent < 0:
        return math.inf
    return base**exponent
