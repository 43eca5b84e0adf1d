"""The digest of a class tells what it does: any change of what it reads changes it, and nothing else does."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from functional_mlp.checkpoint.contents import digest_of

ROOT = Path(__file__).parent.parent.parent

# A class, of which a function returns what it reads.
CLASS = """
import dataclasses, enum, functools, math, types
from collections import namedtuple
from fractions import Fraction
import attrs, numpy as np, torch
import functional_mlp as fm

{before}

class Own:
    {members}
    def value(self, s):
        return {read}
"""
# What is read, and what makes it, in two ways: <one|other>.
READ = {
    "number": ("X", "X = 0.<5|25>"),
    "zero": ("X", "X = <|->0.0"),
    "kind of number": ("X", "X = <1|True>"),
    "nested tuple": ("X", "X = (1, (2, (<3|4>,)))"),
    "frozenset": ("X", "X = frozenset({('a', <1|2>)})"),
    "fraction": ("X", "X = Fraction(1, <3|4>)"),
    "range": ("X", "X = range(<3|4>)"),
    "slice": ("X", "X = slice(1, <2|3>)"),
    "kind of word": ("X", "class Word(str): pass\nX = Word('<a|b>')"),
    "named tuple": ("X.a", "X = namedtuple('P', 'a b')(1, <2|3>)"),
    "number of numpy": ("X", "X = np.float32(<1|2>)"),
    "dtype": ("X", "X = torch.<float32|float64>"),
    "partial": ("X(s)", "X = functools.partial(pow, <2|3>)"),
    "partial of another": ("X(s)", "X = functools.partial(<pow|max>, 2)"),
    "function of torch": ("X(s)", "X = torch.<sin|cos>"),
    "function of numpy": ("X(s)", "X = np.<sin|cos>"),
    "function of math": ("X(s)", "X = math.<sin|cos>"),
    "builtin": ("X(s)", "X = <min|max>"),
    "builtin of another name": ("abs(s)", "<|abs = float>"),
    "method of torch": ("X(s)", "X = torch.Tensor.<sin|cos>"),
    "bound method": ("X(s)", "X = '<a|b>'.join"),
    "function of a package": ("X(s)", "X = torch.nn.functional.<relu|celu>"),
    "module": ("X.sqrt(s)", "X = <math|np>"),
    "function": ("f(s)", "def f(s): return s + <1|2>"),
    "function it calls": ("f(s)", "X = <1|2>\ndef g(s): return X\nf = lambda s: g(s)"),
    "order of arguments": ("f(s, 1)", "def f(<a, b|b, a>): return a / b"),
    "default": ("f(s)", "def f(s, by=(1, (<2|3>,))): return s"),
    "keyword-only default": ("f(s)", "def f(s, *, by=<1|2>): return by"),
    "what is caught": ("f(s)", "def f(s):\n try:\n  a = 1 / s\n except <TypeError|ValueError>: a = 2\n return a"),
    "cell": ("f(s)", "def make(by):\n return lambda s: by\nf = make(<1|2>)"),
    "swapped cells": ("f(s) - g(s)", "def make(by):\n return lambda s: by\nf, g = make(<1), make(2|2), make(1>)"),
    "kept results": ("f(s)", "@functools.cache\ndef f(s): return <1|2>"),
    "kept some": ("f(s)", "@functools.lru_cache(8)\ndef f(s): return <1|2>"),
    "decorated by a package": ("f(s)", "@torch.no_grad()\ndef f(s): return <1|2>"),
    "dispatched": ("f(s)", "@functools.singledispatch\ndef f(s): return <1|2>"),
    "enumeration": ("K.A", "class K(enum.Enum):\n A = <1|2>"),
    "one of an enumeration": ("X", "class K(enum.Enum):\n A = 1\n B = 2\nX = K.<A|B>"),
    "class": ("K.by", "class K:\n by = <1|2>"),
    "base of a class": ("K.by", "class B:\n by = <1|2>\nclass K(B): pass"),
    "another base": ("K().a", "class K(<dict|list>): pass"),
    "object that is called": ("X(s)", "class K:\n def __call__(self, s): return <1|2>\nX = K()"),
    "value of attrs": ("X.by", "@attrs.frozen\nclass K:\n by: int\nX = K(<1|2>)"),
    "value of the library": ("X", "X = fm.LeakyReLU(0.<1|2>)"),
    "values within": ("X", "X = fm.Sequential(fm.Linear(2, 2), fm.<Tanh|ReLU>())"),
    "own value within": ("X", "class T(fm.Tanh):\n by = <1|2>\nX = fm.Sequential(fm.Linear(2, 2), T())"),
    "functions that call each other": ("f(s)", "def f(s): return g(s)\ndef g(s): return f(s) + <1|2>"),
    "module of the user's": (
        "helpers.inner.by",
        "helpers = types.ModuleType('helpers')\nhelpers.inner = types.ModuleType('inner')\nhelpers.inner.by = <1|2>",
    ),
    "value of dataclasses": ("X", "@dataclasses.dataclass(frozen=True)\nclass K:\n by: int\nX = K(<1|2>)"),
    "vectorized": ("f(s)", "@np.vectorize\ndef f(s): return <1|2>"),
    "keyword of a partial": ("X(s)", "def f(s, by): return by\nX = functools.partial(f, by=<1|2>)"),
    "attribute that a function has as a name": (
        "helper.value(s)",
        "class helper:\n def set(self): self.value = 0\n def value(s): return <1|2>",
    ),
    "variable that a local has as a name": (
        "f(s)",
        "X = <1|2>\ndef g():\n X = 0\n return lambda: X\ndef f(s): return g() and X",
    ),
}
MEMBERS = {
    "number": "by = <1|2>",
    "keyword-only default": "def f(self, *, by=<1|2>): return by",
    "property": "f = property(lambda self: <1|2>)",
    "property that is set": "f = property(None, lambda self, x: <1|2>)",
    "property that is kept": "f = functools.cached_property(lambda self: <1|2>)",
    "static": "f = staticmethod(lambda: <1|2>)",
    "of the class": "f = classmethod(lambda cls: <1|2>)",
    "partial": "f = functools.partialmethod(pow, <1|2>)",
    "called by an operator": "def __call__(self, s): return <1|2>",
    "class within": "class In:\n        by = <1|2>",
    "of torch": "f = torch.<sin|cos>",
}
# What makes no difference: words, places, what code assigns to, and what is in things that can be changed in place.
SAME = {
    "comment": ("f(s)", "<def f(s): return s|\n\n# what it is\ndef f(s): return s  # and here>"),
    "docstring": ("f(s)", "def f(s):<|\n  'What it is.'\n > return s"),
    "docstring within": ("f(s)", "def f(s):\n class K:<|\n  'What it is.'>\n  by = 1\n return K.by"),
    "annotation": ("f(s)", "def f(s<|: 'float'>): return s"),
    "annotation of a local": ("f(s)", "def f(s):\n by<|: float> = 1\n return by"),
    "list": ("X[0]", "X = [<1|2>]"),
    "kept in a list": ("X[0](s)", "X = [lambda s: <1|2>]"),
    "dict": ("X['a']", "X = {'a': <1|2>}"),
    "set": ("X", "X = {<1|2>}"),
    "tensor": ("X", "X = torch.<zeros|ones>(2)"),
    "array": ("X", "X = np.<zeros|ones>(2)"),
    "namespace": ("X.a", "X = types.SimpleNamespace(a=<1|2>)"),
    "object": ("X.by", "class K: pass\nX = K()\nX.by = <1|2>"),
    "what an object was made with": (
        "X(s)",
        "class K:\n def __init__(self, by): self.by = by\n def __call__(self, s): return self.by\nX = K(<1|2>)",
    ),
    "object of a package": ("X(s)", "X = torch.nn.LeakyReLU(0.<1|2>)"),
    "attribute of a function": ("f.by", "f = lambda s: s\nf.by = <1|2>"),
    "default that is changed": ("f(s)", "def f(s, c={}): c[s] = s<|\nf(1)>"),
    "cell that is changed": (
        "f(s)",
        "def make(c):\n return lambda s: rec(c, s)\ndef rec(c, s): c.append(s)\nf = make([])<|\nf(1)>",
    ),
    "list of a class": ("K.by.append(s)", "class K:\n by = []<|\nK.by.append(1)>"),
    "implementations by class": ("f(s)", "@functools.singledispatch\ndef f(s): return s<|\nf(1)>"),
    "kept results": ("f(s)", "@functools.cache\ndef f(s): return 1<|\nf(1), f(2)>"),
    "counter": ("f(s)", "N = <0|5>\ndef f(s):\n global N\n N += 1\n return s"),
    "counter by name": ("f(s)", "N = <0|5>\ndef f(s): globals()['N'] += 1"),
    "counter in a cell": ("f(s)", "def make(n):\n def f(s):\n  nonlocal n\n  n += 1\n return f\nf = make(<0|5>)"),
    "counter of a class": ("K(s)", "class K:\n n = <0|5>\n def __init__(self): type(self).n += 1"),
    "counter of a class by name": ("f(s)", "class K: n = <0|5>\ndef f(s): setattr(K, 'n', K.n + 1)"),
    "counter of a module": ("f(s)", "M = types.ModuleType('M')\nM.n = <0|5>\ndef f(s):\n M.n += 1\n return M.n"),
    "function once it is there": ("f(s)", "g = None\ndef f(s):\n global g\n g = g or len\n return g(s)<|\nf('a')>"),
    "setting that is not read": ("C.a", "class C:\n a = 1\n b = <2|3>"),
    "value of settings that is not read": ("C.a", "@attrs.frozen\nclass K:\n a: int\n b: int\nC = K(1, <2|3>)"),
    "setting of a module that is not read": ("M.a", "M = types.ModuleType('M')\nM.a, M.b = 1, <2|3>"),
    "random numbers": ("X.random()", "X = np.random.default_rng(0)<|\nX.random()>"),
    "name of the file": ("__file__", "__file__ = '<a|b>'"),
}


def both(text: str) -> list[str]:
    """A text in its two ways."""
    return [re.sub(r"<([^<>|]*)\|([^<>|]*)>", rf"\{way}", text) for way in (1, 2)]


def source(read: str = "s", before: str = "", members: str = "") -> str:
    return CLASS.format(read=read, before=before, members=members)


def digest(text: str) -> str:
    names: dict[str, Any] = {"__name__": "mine"}
    exec(text, names)
    return digest_of(names["Own"])


@pytest.mark.parametrize("case", READ)
def test_what_a_class_reads_is_a_part_of_it(case: str) -> None:
    read, text = READ[case]
    one, other = (source(read, each) for each in both(text))
    assert digest(one) == digest(one)
    assert digest(one) != digest(other)


@pytest.mark.parametrize("case", MEMBERS)
def test_what_a_class_has_is_a_part_of_it(case: str) -> None:
    one, other = (source(members=members) for members in both(MEMBERS[case]))
    assert digest(one) == digest(one)
    assert digest(one) != digest(other)


@pytest.mark.parametrize("case", SAME)
def test_what_does_the_same_has_the_same_digest(case: str) -> None:
    read, text = SAME[case]
    one, other = (source(read, each) for each in both(text))
    assert digest(one) == digest(other)


def test_properties_that_attrs_keeps_are_a_part_of_a_class() -> None:
    text = "import attrs, functools\n@attrs.frozen\nclass Own:\n @functools.cached_property\n def f(self): return 1"
    assert digest(text) == digest(text)
    assert digest(text) != digest(text.replace("return 1", "return 2"))


def test_nesting_without_end_is_looked_into_to_some_depth() -> None:
    deep = "X = 1\nfor _ in range(10**5): X = (X,)"
    assert digest(source("X", deep)) == digest(source("X", deep))
    chain = "\n".join(f"def f{n}(s): return f{n + 1}(s)" for n in range(500))
    assert digest(source("f0(s)", chain)) == digest(source("f0(s)", chain))


def test_another_process_gives_the_same_digests() -> None:
    texts = [source(read, both(text)[0]) for read, text in READ.values()]
    program = "import sys, json\nfrom tests.checkpoint.test_contents import digest\n"
    program += "print(*map(digest, json.load(sys.stdin)))"
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(texts),
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == list(map(digest, texts))
