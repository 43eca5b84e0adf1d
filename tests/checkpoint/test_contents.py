"""The digest of a class tells what it does: any change of what it reads changes it, and nothing else does."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from functional_mlp.checkpoint.contents import digest_of_class

ROOT = Path(__file__).parent.parent.parent

# A class, of which a function returns what it reads.
CLASS = """
import enum, functools, math, operator, types
from collections import OrderedDict, deque, namedtuple
from fractions import Fraction
from pathlib import Path
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
    "list": ("X[0]", "X = [0.5, [<1|2>.0]]"),
    "list or tuple": ("X[0]", "X = <[0.5]|(0.5,)>"),
    "set": ("X", "X = {'a', 'b', '<c|d>'}"),
    "frozenset": ("X", "X = frozenset({('a', <1|2>)})"),
    "dict": ("X['a']", "X = {'a': {'b': <1|2>}}"),
    "ordered dict": ("X", "X = OrderedDict(<a=1, b=2|b=2, a=1>)"),
    "mapping": ("X", "X = types.MappingProxyType({'a': <1|2>})"),
    "deque": ("X", "X = deque([1, <2|3>])"),
    "namespace": ("X.a", "X = types.SimpleNamespace(a=<1|2>)"),
    "fraction": ("X", "X = Fraction(1, <3|4>)"),
    "path": ("X", "X = Path('<a|b>')"),
    "range": ("X", "X = range(<3|4>)"),
    "slice": ("X", "X = slice(1, <2|3>)"),
    "kind of word": ("X", "class Word(str): pass\nX = Word('<a|b>')"),
    "named tuple": ("X.a", "X = namedtuple('P', 'a b')(1, <2|3>)"),
    "tensor": ("X", "X = torch.<ones(2|tensor([1.0, 2.0]>)"),
    "tensor's dtype": ("X", "X = torch.zeros(2<|, dtype=torch.int32>)"),
    "array": ("X", "X = np.<ones(2|array([1.0, 2.0]>)"),
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
    "getter": ("X(s)", "X = operator.itemgetter(<1|2>)"),
    "function of a package": ("X(s)", "X = torch.nn.functional.<relu|celu>"),
    "module": ("X.sqrt(s)", "X = <math|np>"),
    "function": ("f(s)", "def f(s): return s + <1|2>"),
    "function it calls": ("f(s)", "X = <1|2>\ndef g(s): return X\nf = lambda s: g(s)"),
    "order of arguments": ("f(s, 1)", "def f(<a, b|b, a>): return a / b"),
    "default": ("f(s)", "def f(s, by=(1, (<2|3>,))): return s"),
    "keyword-only default": ("f(s)", "def f(s, *, by=<1|2>): return by"),
    "what is caught": ("f(s)", "def f(s):\n try:\n  a = 1 / s\n except <TypeError|ValueError>: a = 2\n return a"),
    "cell": ("f(s)", "def make(by):\n return lambda s: by\nf = make([<1|2>])"),
    "swapped cells": ("f(s) - g(s)", "def make(by):\n return lambda s: by\nf, g = make(<1), make(2|2), make(1>)"),
    "attribute of a function": ("f.by", "f = lambda s: s\nf.by = <1|2>"),
    "kept results": ("f(s)", "@functools.cache\ndef f(s): return <1|2>"),
    "kept some": ("f(s)", "@functools.lru_cache(8)\ndef f(s): return <1|2>"),
    "decorated by a package": ("f(s)", "@torch.no_grad()\ndef f(s): return <1|2>"),
    "dispatched": ("f(s)", "@functools.singledispatch\ndef f(s): return <1|2>"),
    "dispatched by class": (
        "f(s)",
        "@functools.singledispatch\ndef f(s): return 1\n@f.register\ndef _(s: int): return <2|3>",
    ),
    "enumeration": ("K.A", "class K(enum.Enum):\n A = <1|2>"),
    "one of an enumeration": ("X", "class K(enum.Enum):\n A = 1\n B = 2\nX = K.<A|B>"),
    "class": ("K.by", "class K:\n by = <1|2>"),
    "base of a class": ("K.by", "class B:\n by = <1|2>\nclass K(B): pass"),
    "another base": ("K().a", "class K(<dict|list>): pass"),
    "object": ("X.by", "class K: pass\nX = K()\nX.by = <1|2>"),
    "object with slots": ("X.by", "class K: __slots__ = 'by'\nX = K()\nX.by = <1|2>"),
    "object that is called": ("X(s)", "class K:\n def __call__(self, s): return <1|2>\nX = K()"),
    "what it is called with": (
        "X(s)",
        "class K:\n def __init__(self, by): self.by = by\n def __call__(self, s): return self.by\nX = K(<1|2>)",
    ),
    "value of attrs": ("X.by", "@attrs.frozen\nclass K:\n by: int\nX = K(<1|2>)"),
    "value of the library": ("X", "X = fm.LeakyReLU(0.<1|2>)"),
    "values within": ("X", "X = fm.Sequential(fm.Linear(2, 2), fm.<Tanh|ReLU>())"),
    "own value within": ("X", "class T(fm.Tanh):\n by = <1|2>\nX = fm.Sequential(fm.Linear(2, 2), T())"),
    "cycle": ("X", "X = [<1|2>]\nX.append(X)"),
    "functions that call each other": ("f(s)", "def f(s): return g(s)\ndef g(s): return f(s) + <1|2>"),
    "deep": ("X", "X = <1|2>\nfor _ in range(20): X = [X]"),
    "module of the user's": (
        "helpers.inner.by",
        "helpers = types.ModuleType('helpers')\nhelpers.inner = types.ModuleType('inner')\nhelpers.inner.by = <1|2>",
    ),
    "written beside": ("f(s)", "X = [<1|2>]\ndef f(s):\n out = s.clone()\n out[0] = X[0]\n return out"),
}
MEMBERS = {
    "number": "by = <1|2>",
    "table": "by = {'a': [<1|2>]}",
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
# What makes no difference: words, places, and what changes as it is used.
SAME = {
    "comment": ("f(s)", "<def f(s): return s|\n\n# what it is\ndef f(s): return s  # and here>"),
    "docstring": ("f(s)", "def f(s):<|\n  'What it is.'\n > return s"),
    "annotation": ("f(s)", "def f(s<|: 'float'>): return s"),
    "kept results": ("f(s)", "@functools.cache\ndef f(s): return 1<|\nf(1), f(2)>"),
    "counter": ("f(s)", "N = <0|5>\ndef f(s):\n global N\n N += 1\n return s"),
    "cache": ("f(s)", "C = {}\ndef f(s):\n if s not in C: C[s] = 1\n return C[s]<|\nf(1)>"),
    "cache that counts": ("f(s)", "C = {0: 0}\ndef f(s):\n C[s] += 1<|\nf(0)>"),
    "cache of another name": ("f(s)", "C = {}\ndef f(s):\n cache = C\n cache[s] = 1\n return C<|\nf(1)>"),
    "log": ("f(s)", "C = []\ndef f(s): C.append(s)<|\nf(1)>"),
    "log of a name": ("f(s)", "C = {'a': []}\ndef f(s): C['a'].append(s)<|\nf(1)>"),
    "table within a table": ("f(s)", "C = {'a': {}}\ndef f(s): C['a']['b'] = s<|\nf(1)>"),
    "each of some logs": ("f(s)", "A = []\nC = [A]\ndef f(s):\n for c in C: c.append(s)<|\nf(1)>"),
    "setting that is not read": ("C.a", "C = types.SimpleNamespace(a=1, b=<2|3>)"),
    "value of settings that is not read": (
        "C.a",
        "@attrs.frozen(slots=False)\nclass K:\n a: int\n b: int\nC = K(1, <2|3>)",
    ),
    "buffer": ("f(s)", "C = torch.zeros(2)\ndef f(s): C.copy_(s)<|\nf(torch.ones(2))>"),
    "part of a buffer": ("f(s)", "C = [0, 0, 0]\ndef f(s): C[0:2] = s<|\nf([1, 2])>"),
    "cache in a default": ("f(s)", "def f(s, c={}): c[s] = s<|\nf(1)>"),
    "cache in a cell": ("f(s)", "def make(c):\n def f(s): return c.setdefault(s, s)\n return f\nf = make({})<|\nf(1)>"),
    "object that counts": (
        "X()",
        "class K:\n def __init__(self): self.n = 0\n def __call__(self): self.n += 1\nX = K()<|\nX()>",
    ),
    "object that keeps": ("X.f", "class K:\n @functools.cached_property\n def f(self): return 1\nX = K()<|\nX.f>"),
    "random numbers": ("X.random()", "X = np.random.default_rng(0)<|\nX.random()>"),
    "name of the file": ("__file__", "__file__ = '<a|b>'"),
    "dict in another order": ("X", "X = {'<a': 1, 'b': 2|b': 2, 'a': 1>}"),
}


def both(text: str) -> list[str]:
    """A text in its two ways."""
    return [re.sub(r"<([^<>|]*)\|([^<>|]*)>", rf"\{way}", text) for way in (1, 2)]


def source(read: str = "s", before: str = "", members: str = "") -> str:
    return CLASS.format(read=read, before=before, members=members)


def digest(text: str) -> str:
    names: dict[str, Any] = {"__name__": "mine"}
    exec(text, names)
    return digest_of_class(names["Own"])


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
    deep = "X = 1\nfor _ in range(10**5): X = [X]"
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
