"""Docstrings as Markdown: their examples, which are doctests, are code, and classes show how they are called."""

import importlib
import inspect
import re
from typing import Any

import attrs
import griffe

EXAMPLE = re.compile(r"^>>> .*(?:\n.+)*", re.MULTILINE)


class Doctests(griffe.Extension):
    """Puts the doctests of every docstring into blocks of code."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = with_code_blocks(obj.docstring.value)
            if obj.is_class and obj.parent is not None and obj.parent.is_module and not obj.name.startswith("_"):
                obj.docstring.value = call_of(obj.path) + obj.docstring.value


def call_of(path: str) -> str:
    """How a class of attrs is called, for its source does not say so; nothing for other classes.

    >>> print(call_of("functional_mlp.optimizers.Momentum").replace("`", "'").strip())
    '''python
    Momentum(learning_rate, beta=0.9)
    '''
    """
    module, _, name = path.rpartition(".")
    cls = getattr(importlib.import_module(module), name)
    if not (attrs.has(cls) and inspect.signature(cls).parameters):
        return ""
    plain = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in inspect.signature(cls).parameters.values()
    ]
    return f"```python\n{name}{inspect.Signature(plain)}\n```\n\n"


def with_code_blocks(docstring: str) -> str:
    r"""A docstring whose examples stand in blocks.

    >>> with_code_blocks("Double.\n\n>>> 2 * 3\n6")
    'Double.\n\n```pycon\n>>> 2 * 3\n6\n```'
    """
    return EXAMPLE.sub(lambda found: f"```pycon\n{found[0]}\n```", docstring)
