"""Calling a function as a pure one, and finding out where it is not."""

import contextlib
import random as stdlib_random
from collections.abc import Callable, Collection, Iterator
from typing import Any

import torch
from torch import Tensor

from functional_mlp import checks, imports, pytree
from functional_mlp.testing.trees import assert_same, packed
from functional_mlp.value import replaced


def attempt(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """The function's result; `AssertionError` where it raises."""
    try:
        return function(*arguments)
    except Exception as error:
        raise AssertionError(f"{name} raised {type(error).__name__}: {error}") from error


def refuses(function: Callable[..., Any], *arguments: Any) -> Exception | None:
    """The exception that a call raises, None where it returns."""
    try:
        function(*arguments)
    except Exception as error:
        return error
    return None


def call(name: str, function: Callable[..., Any], *, detached: Collection[str] = (), **arguments: Any) -> Any:
    """The result of `function(*arguments.values())`, proven to come from a pure function at these arguments.

    The function is called three times: plainly, then under another default dtype, grad mode and other seeds of the
    global generators, and plainly again. Raises `AssertionError` where a call raises, changes an argument or global
    state, returns a result that is connected to an autograd graph, or where the three results differ in a bit. The
    second call's arguments named in `detached`, which the function promises to detach, ask for a gradient.
    """
    tracked = {
        argument: pytree.map(_requiring_grad, value) if argument in detached else value
        for argument, value in arguments.items()
    }
    with restored_globals():
        _set_globals(torch.float32, grad_mode=False, seed=0)
        result = _observed_call(name, function, arguments)
        _set_globals(torch.float64, grad_mode=True, seed=1)
        elsewhere = _observed_call(name, function, tracked)
        _set_globals(torch.float32, grad_mode=False, seed=0)
        again = _observed_call(name, function, arguments)
    assert_same(f"{name} gives another result when it is called again with the same arguments", result, again)
    assert_same(
        f"{name} reads global state: its result depends on the default dtype, the grad mode or a global generator",
        result,
        elsewhere,
    )
    return result


def inherits(value: Any, base: type, *functions: str) -> bool:
    """Whether an object leaves these functions to a base class of the library's, which detaches their arguments."""
    return isinstance(value, base) and not replaced(value, base, functions)


def _observed_call(name: str, function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    globals_before = global_state()
    marks = {argument: [_marks(leaf) for leaf in pytree.leaves(value)] for argument, value in arguments.items()}
    copies = {argument: pytree.map(packed, value) for argument, value in arguments.items()}
    result = attempt(name, function, *arguments.values())
    for argument, value in arguments.items():
        for (path, leaf), copy, before in zip(
            pytree.items(value), pytree.leaves(copies[argument]), marks[argument], strict=True
        ):
            if not pytree.equal(packed(leaf), copy):
                _restore(leaf, copy)
                raise AssertionError(f"{name} changed its argument {argument}{path}")
            if _marks(leaf) != before:
                _restore(leaf, copy)
                raise AssertionError(f"{name} wrote to its argument {argument}{path}, or made it ask for a gradient")
    globals_after = global_state()
    for part, state in globals_before.items():
        if not _same(globals_after[part], state):
            raise AssertionError(f"{name} changed {part}")
    for path, leaf in pytree.items(result):
        if isinstance(leaf, Tensor) and leaf.requires_grad:
            raise AssertionError(f"{name} returned a result{path} that is connected to an autograd graph")
    return pytree.map(packed, result)


def _same(a: Any, b: Any) -> bool:
    return torch.equal(a, b) if isinstance(a, Tensor) else bool(a == b)


def _marks(leaf: Any) -> Any:
    """A tensor's count of in-place operations, which shows one that was undone, and whether it asks for a gradient."""
    return (leaf._version, leaf.requires_grad) if isinstance(leaf, Tensor) else None


def _restore(leaf: Any, copy: Any) -> None:
    """Undo a change, so that the failing case is reported as it was handed in."""
    with contextlib.suppress(RuntimeError), torch.no_grad():
        leaf.requires_grad_(False).copy_(copy)


def _requiring_grad(leaf: Any) -> Any:
    if isinstance(leaf, Tensor) and leaf.dtype in checks.FLOAT_DTYPES:
        return leaf.detach().requires_grad_()
    return leaf


def global_state() -> dict[str, Any]:
    """What a pure function neither changes nor reads, by name."""
    state: dict[str, Any] = {
        "torch's global generator": torch.get_rng_state(),
        "Python's global generator": stdlib_random.getstate(),
        "the default dtype": torch.get_default_dtype(),
        "the default device": torch.get_default_device(),
        "the grad mode": torch.is_grad_enabled(),
        "the inference mode": torch.is_inference_mode_enabled(),
        "the number of threads": torch.get_num_threads(),
        "the choice of deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
    }
    numpy = imports.loaded("numpy")
    if numpy is not None:
        name, words, *rest = numpy.random.get_state()
        state["numpy's global generator"] = (name, words.tobytes(), *rest)
    return state


@contextlib.contextmanager
def restored_globals() -> Iterator[None]:
    """Leave the global state as it was, whatever happens inside."""
    numpy = imports.loaded("numpy")
    numpy_state = None if numpy is None else numpy.random.get_state()
    torch_state, python_state = torch.get_rng_state(), stdlib_random.getstate()
    dtype, device, threads = torch.get_default_dtype(), torch.get_default_device(), torch.get_num_threads()
    grad_mode = torch.is_grad_enabled()
    deterministic = torch.are_deterministic_algorithms_enabled()
    try:
        yield
    finally:
        if numpy is not None:
            numpy.random.set_state(numpy_state)
        torch.set_rng_state(torch_state)
        stdlib_random.setstate(python_state)
        torch.set_default_dtype(dtype)
        if torch.get_default_device() != device:
            torch.set_default_device(device)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_grad_enabled(grad_mode)
        torch.use_deterministic_algorithms(deterministic)


def _set_globals(dtype: torch.dtype, *, grad_mode: bool, seed: int) -> None:
    torch.set_default_dtype(dtype)
    torch.set_grad_enabled(grad_mode)
    torch.default_generator.manual_seed(seed)
    stdlib_random.seed(seed)
    numpy = imports.loaded("numpy")
    if numpy is not None:
        numpy.random.seed(seed)
