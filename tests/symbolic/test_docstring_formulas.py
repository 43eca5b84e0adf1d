"""The formulas that docstrings have, for readers of the source, are those of the code, which the reference shows."""

import re
from collections.abc import Mapping
from typing import Any

import pytest
import sympy

import functional_mlp as fm
from functional_mlp.testing import prove
from tests.testing.expressions import activation

FUNCTIONS = {
    "tanh": sympy.tanh,
    "sign": sympy.sign,
    "log": sympy.log,
    "exp": sympy.exp,
    "σ": lambda v: 1 / (1 + sympy.exp(-v)),
}
POWERS = {"²": "**2", "³": "**3", "ᵗ": "**t"}
OPERATORS = {"−": "-", "·": "*", "√": "sympy.sqrt("}
TOKEN = re.compile(rf"{'|'.join(FUNCTIONS)}|[²³ᵗ]|[^\W\d_]\u0302?[₁₂]?|\d+|[√+*/()−·]")
SUBSCRIPTS = str.maketrans("₁₂", "12")


def read(text: str, names: Mapping[str, Any]) -> Any:
    """What a formula of a docstring comes to: β₁m + (1−β₁)g², √v̂, 1 / (1 + e⁻ˢ)."""
    code, before = "", "("
    for token in TOKEN.findall(text.replace("e⁻ˢ", "exp(−s)").replace("eˢ", "exp(s)")):
        if begins_operand(token) and ends_operand(before):
            code += "*"
        is_name = token[0].isalpha() and token not in POWERS
        code += f"names[{token.translate(SUBSCRIPTS)!r}]" if is_name else (POWERS | OPERATORS).get(token, token)
        code += ")" if before == "√" else ""
        before = token
    return eval(code, {"sympy": sympy, "names": {**FUNCTIONS, **names}, "t": names.get("t")})


def begins_operand(token: str) -> bool:
    return token not in POWERS and (token[0].isalpha() or token[0].isdecimal() or token in "(√")


def ends_operand(token: str) -> bool:
    return token not in FUNCTIONS and (token[0].isalpha() or token[0].isdecimal() or token == ")" or token in POWERS)


def written(cls: type) -> list[tuple[str, str, str]]:
    """The assignments of a docstring: w ← w − ηg, m̂ = m / (1−β₁ᵗ)."""
    prose = " ".join(cls.__doc__.partition(">>>")[0].split())
    return re.findall(r"(?<!\w)(\w\u0302?) (←|=) (.+?)(?=, | undo|: |\.(?: |$)| and \w\u0302|$)", prose)


RULES = [fm.SGD(0.1), fm.Nesterov(0.1), fm.Adam(0.1), fm.RMSProp(0.1), fm.Lion(0.1, weight_decay=0.1)]


@pytest.mark.parametrize("rule", [*RULES, fm.Momentum(0.1)], ids=repr)
def test_the_rule_of_a_docstring_is_that_of_the_code(rule):
    assignments = [(to, text) for to, sign, text in written(type(rule)) if sign == "←"]
    meanings = [(to, text) for to, sign, text in written(type(rule)) if sign == "="]

    def formula(w, gradients, **numbers):
        names = {str(number): number for number in numbers.values()} | dict.fromkeys("mvV", sympy.S.Zero)
        for step, gradient in enumerate(gradients, 1):
            names |= {"g": gradient, "t": step, "w": w}
            for to, text in assignments:
                hats = {hat: read(meaning, names) for hat, meaning in meanings if "\u0302" in hat}
                names[to] = read(text, names | hats)
        return names["w"]

    assert prove(rule, formula=formula, steps=2).method == "by algebra"


@pytest.mark.parametrize(
    ("layer", "text"),
    [(fm.Tanh(), "tanh(s)"), (fm.Sigmoid(), "1 / (1 + e⁻ˢ)"), (fm.Softplus(), "log(1 + eˢ)"), (fm.SiLU(), "s σ(s)")],
    ids=str,
)
def test_the_formula_of_an_activation_is_in_its_docstring_and_that_of_the_code(layer, text):
    assert text in type(layer).__doc__.partition(".")[0]

    def given(xp, s, y):
        (symbol,) = s.parts
        names = {"s": symbol}
        return layer.derivative(xp, s, y) + xp.array(read(text, names)) - y

    assert prove(activation(layer.value, given)).method == "by algebra"
