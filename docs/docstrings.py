"""Docstrings as Markdown: examples, which are doctests, are code; classes show their call, and their formula."""

import functools
import importlib
import inspect
import re
from pathlib import Path
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
                obj.docstring.value = call_of(obj.path) + formula_of(obj.path) + obj.docstring.value


def call_of(path: str) -> str:
    """How a class of attrs is called, for its source does not say so; nothing for other classes.

    >>> print(call_of("functional_mlp.optimizers.Momentum").replace("`", "'").strip())
    '''python
    Momentum(learning_rate, beta=0.9)
    '''
    """
    cls = class_at(path)
    if not (attrs.has(cls) and inspect.signature(cls).parameters):
        return ""
    plain = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in inspect.signature(cls).parameters.values()
    ]
    return f"```python\n{cls.__name__}{inspect.Signature(plain)}\n```\n\n"


def formula_of(path: str) -> str:
    """The formula that a page of the reference asks for below the name of a class; nothing for other classes."""
    from hooks import formula  # mkdocs has loaded it from this folder by now

    value = values().get(class_at(path))
    return "" if value is None else f"{formula(value)}\n\n"


@functools.cache
def values() -> dict[Any, str]:
    """The code of the values whose formulas stand below the names of classes in the reference."""
    from hooks import BELOW_A_NAME

    pages = [page.read_text() for page in (Path(__file__).parent / "reference").glob("*.md")]
    return {class_at(path): value for page in pages for path, value in BELOW_A_NAME.findall(page)}


def class_at(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def with_code_blocks(docstring: str) -> str:
    r"""A docstring whose examples stand in blocks.

    >>> with_code_blocks("Double.\n\n>>> 2 * 3\n6")
    'Double.\n\n```pycon\n>>> 2 * 3\n6\n```'
    """
    return EXAMPLE.sub(lambda found: f"```pycon\n{found[0]}\n```", docstring)
