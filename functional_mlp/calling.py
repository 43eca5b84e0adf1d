"""How a method of a value is called with arrays of the algebra, and what is said where it makes no formula of them."""

import inspect
import linecache
import os
import re
import sysconfig
import traceback
import types
from collections.abc import Iterator
from numbers import Real
from typing import Any

from functional_mlp import operands
from functional_mlp.operands import Comparison, NotInAlgebraError, Operand

# An error that comes up in these is one of the line that has led to them.
_OWN_FILES = {__file__, operands.__file__}
# What lies in these folders is nobody's expression, and neither is what was installed.
_OTHERS = (os.path.dirname(__file__), sysconfig.get_path("stdlib"), "<")
_INSTALLED = re.compile(r"[/\\](site|dist)-packages[/\\]")

# What Python and numpy say in their own words, and what to write instead.
_ADVICE = {
    r"^\w*Namespace\.(.*argument.*)": r"xp.\1",
    r".*does not support ufuncs.*": "numpy's functions take no array of it: use those of xp, xp.exp for np.exp",
    r"(.*(unsupported operand type|not supported between).*)": r"operators take arrays and numbers: \1",
    r"(.*(takes|missing|got an unexpected|got multiple).* argument.*)": r"a function was given other arguments: \1",
}


def not_in_algebra(value: object, error: Exception) -> NotInAlgebraError:
    """What an expression of a value did that the algebra has not, in which line, and what to write instead."""
    words = str(error)
    if isinstance(error, TypeError) and not isinstance(error, NotInAlgebraError):
        words = next((found.expand(advice) for found, advice in _advice(words)), words)
    return NotInAlgebraError(f"{value!r} is not written in the array algebra: {words}{_line(value, error)}")


def _advice(words: str) -> Iterator[tuple[re.Match[str], str]]:
    """What is said about an error of Python's instead of its own words."""
    for pattern, advice in _ADVICE.items():
        found = re.fullmatch(pattern, words)
        if found:
            yield found, advice


def called(value: Any, name: str, *arguments: Any) -> Any:
    """What a method of a value makes of arrays; `NotInAlgebraError` where that is no formula, or no such method."""
    method = getattr(value, name)
    result = _result(method, name, _parameters(value, name), arguments)
    _require_formula(method, f"{name} must return a formula of its arguments", result)
    return result


def called_rule(optimizer: Any, *arguments: Any) -> tuple[Any, ...]:
    """What a rule makes of arrays, the new parameter and the new slots, as `called` has it."""
    slots = optimizer.slots()
    names = ("xp", "step", "learning_rate", "param", "grad", *slots)
    result = _result(optimizer.rule, "rule", names, arguments)
    returned = ("param", *slots)
    must = f"rule must return a tuple of {len(returned)}, ({', '.join(returned)}{',' * (not slots)})"
    if not isinstance(result, tuple) or len(result) != len(returned):
        raise NotInAlgebraError(f"{must}, got {_described(result)}{definition_of(optimizer.rule)}")
    for one in result:
        _require_formula(optimizer.rule, f"{must}, each a formula of its arguments", one)
    return result


def _result(method: Any, name: str, names: tuple[str, ...], arguments: tuple[Any, ...]) -> Any:
    try:
        return method(*arguments)
    except TypeError:
        _require_parameters(method, name, names, arguments)
        raise


def _require_formula(method: Any, must: str, result: Any) -> None:
    if not isinstance(result, Operand | Real):
        raise NotInAlgebraError(f"{must}, got {_described(result)}{definition_of(method)}")


def _described(result: Any) -> str:
    """What an expression returned, in words."""
    if isinstance(result, Comparison):
        return "a comparison: write xp.where(condition, 1, 0) for the numbers 1 and 0"
    if isinstance(result, tuple | list):
        return f"a {type(result).__name__} of {len(result)}"
    return "an array" if isinstance(result, Operand) else repr(result)


def _require_parameters(method: Any, name: str, names: tuple[str, ...], arguments: tuple[Any, ...]) -> None:
    """Raise `NotInAlgebraError` where a method does not take that number of arguments."""
    signature = inspect.signature(method)
    try:
        signature.bind(*arguments)
    except TypeError:
        wanted, got = ", ".join(("self", *names)), ", ".join(("self", *signature.parameters))
        words = f"{name}({wanted}) is called, and {name}({got}) is defined"
        raise NotInAlgebraError(words + definition_of(method)) from None


def _parameters(value: object, name: str) -> tuple[str, ...]:
    """Those that the library's own class gives a method, and what is called without one by their places."""
    for cls in reversed(value.__class__.__mro__):
        if name in vars(cls) and cls.__module__.startswith("functional_mlp"):
            return tuple(inspect.signature(vars(cls)[name]).parameters)[1:]
    return ("xp", "x")


def definition_of(method: Any) -> str:
    """Where a method is defined, in brackets."""
    code = getattr(getattr(method, "__func__", method), "__code__", None)
    return "" if code is None else f" (in {code.co_name}, {_place(code, code.co_firstlineno)})"


def _line(value: object, error: Exception) -> str:
    """The line of the value's class in which an error came up, in brackets."""
    functions = [item for cls in value.__class__.__mro__ for item in vars(cls).values()]
    return line_in({item.__code__.co_filename for item in functions if isinstance(item, types.FunctionType)}, error)


def line_in(files: set[str], error: Exception) -> str:
    """The line of some files in which an error came up, in brackets, and that of a helper elsewhere that it called."""
    lines = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    within = [place for place, (code, _) in enumerate(lines) if code.co_filename in files - _OWN_FILES]
    if not within:
        return ""
    called = [line for line in lines[within[-1] + 1 :] if _is_written_by_users(line[0].co_filename)]
    told = [f"in {code.co_name}, {_place(code, line)}" for code, line in (*called[-1:], lines[within[-1]])]
    return f" ({', called '.join(told)})"


def _is_written_by_users(file: str) -> bool:
    return not (file.startswith(_OTHERS) or _INSTALLED.search(file))


def _place(code: types.CodeType, line: int) -> str:
    """A line of a file, with its text."""
    text = linecache.getline(code.co_filename, line).strip()
    return f"line {line} of {os.path.basename(code.co_filename)}{': ' if text else ''}{text}"
