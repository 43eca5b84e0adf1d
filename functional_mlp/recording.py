"""What a function of tensors does, as straight code: the operations of torch that it was seen to call, one a line.

Between two operations of a small network's step lie walks over layers and questions of shapes, which take as long as
the operations. Where the kinds of the tensors alone decide what is called, as in the library's own layers and losses,
one call shows what all others do. Torch is called as it was seen to be, and gives the same bits.

>>> import torch
>>> recording = Recording([torch.tensor([[1.0, 2.0]])])
>>> (x,) = recording.inputs
>>> with recording:
...     doubled = (x.T * 2).sum(0)
>>> print(recording.source([doubled]))
def recorded(a0):
    with below_autograd():
        v0 = a0.T
        v1 = g0(v0, 2)
        del v0
        v2 = g1(v1, 0)
        del v1
        return [v2]
>>> recording.function([doubled])(torch.tensor([[3.0, 4.0]]))
[tensor([14.])]
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from functional_mlp.algebra import below_autograd
from functional_mlp.usual import is_kept

# What may be asked of a tensor without a look at its numbers.
_KINDS = (
    *("shape", "dtype", "device", "layout", "ndim", "numel", "dim", "size", "is_floating_point"),
    *("requires_grad", "is_nested", "is_quantized", "is_meta", "is_cuda"),
)

Recorded = Callable[..., list[Tensor]]


class Recording(TorchFunctionMode):
    """Sees in a `with` block what torch is called for. `inputs` are the tensors given, each as an object of its own."""

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        super().__init__()
        self.inputs: list[Tensor] = [tensor.detach() for tensor in tensors]
        self._names = {id(tensor): f"a{number}" for number, tensor in enumerate(self.inputs)}
        self._named: list[Any] = [*self.inputs]  # kept, so that no other object gets the id of one
        self._globals: dict[str, Any] = {}
        self._lines: list[tuple[str, str]] = []  # what is named, and how it is made
        self._is_whole = True
        self._is_aside = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not self._is_aside:
            self._see(func, args, kwargs or {}, result)
        return result

    def aside(self, function: Callable[..., Tensor], *arguments: Tensor) -> Tensor:
        """What a function gives that looks at numbers, and is called as a whole each time."""
        self._is_aside = True
        result = function(*arguments)
        self._is_aside = False
        self._see(function, arguments, {}, result)
        return result

    def function(self, results: Sequence[Tensor]) -> Recorded | None:
        """A function that gives these results for other inputs, without graphs of torch's autograd, where `is_usual()`.

        None where the numbers of inputs may decide what is called, and where a tensor is no input, no result of an
        operation that was seen, and none that the library keeps.
        """
        source, names = self.source(results), {"below_autograd": below_autograd, **self._globals}
        if not self._is_whole:
            return None
        exec(source, names)  # it was written below, of the names of operations
        made: Recorded = names["recorded"]
        return made

    def source(self, results: Sequence[Tensor]) -> str:
        """The function in Python. What is not needed any more is let go of, as it was when it was seen."""
        text = f"return {self._operand(list(results))}"
        body, needed = [text], _made(text)
        for name, text in reversed(self._lines):
            if done := _made(text) - needed:
                body.append(f"del {', '.join(sorted(done))}")
            needed |= _made(text)
            body.append(f"{name} = {text}")
        head = f"def recorded({', '.join(f'a{number}' for number in range(len(self.inputs)))}):"
        return "\n        ".join([head + "\n    with below_autograd():", *reversed(body)])

    def _see(self, function: Any, args: Any, kwargs: Any, result: Any) -> None:
        is_attribute = function.__name__ == "__get__"
        name = function.__self__.__name__ if is_attribute else function.__name__
        if not isinstance(result, Tensor):
            self._is_whole &= name in _KINDS
            return
        operands = [self._operand(x) for x in args] + [f"{key}={self._operand(x)}" for key, x in kwargs.items()]
        text = f"{operands[0]}.{name}" if is_attribute else f"{self._operand(function)}({', '.join(operands)})"
        made = f"v{len(self._lines)}"
        self._lines.append((made, text))
        self._name(result, made)

    def _operand(self, x: Any) -> str:
        """How something is called, or written."""
        if id(x) in self._names:
            return self._names[id(x)]
        if type(x) in (int, bool, type(None)):
            return repr(x)
        if type(x) in (tuple, list):
            return f"[{', '.join(map(self._operand, x))}]"
        self._is_whole &= not isinstance(x, Tensor) or is_kept(x)
        name = f"g{len(self._globals)}"
        self._globals[name] = x
        return self._name(x, name)

    def _name(self, x: Any, name: str) -> str:
        self._names[id(x)] = name
        self._named.append(x)
        return name


def _made(text: str) -> set[str]:
    """The names of results of operations in a line."""
    return set(re.findall(r"\bv\d+\b", text))
