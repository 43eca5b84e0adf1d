"""Steps on a GPU as CUDA graphs: what is launched as many small kernels is recorded once, and then launched as one.

A small network's step takes a GPU less time than Python takes to launch its kernels. The launches of a function are
recorded when it is called with tensors of some sizes for the second time, and replayed from then on. What cannot be
recorded, a layer that reads a number from the GPU for example, is called as it is each time.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from functional_mlp import pytree
from functional_mlp.algebra import torch_namespace, working_dtype
from functional_mlp.buffers import Number
from functional_mlp.optimizers import Optimizer

Function = Callable[[Sequence[Tensor]], Sequence[Tensor]]

# Batches whose kernels are one graph. On an H200 a step of the network 2-25-25-25-2 took 105 µs with 32 of them, 112
# with 8 and 104 with 128; to capture them takes a run some 0.1, 0.05 and 0.6 seconds.
CAPTURED_AT_ONCE = 32
# Numbers of inputs and targets that are gathered for them at most, for they stay in memory with the graph: 64 MiB.
MOST_NUMBERS = 1 << 24
# Steps after which Python waits for their results: 4 % faster than after every 32 of these steps.
STEPS_UNSEEN = 512


class WaitsError(RuntimeError):
    """An operation cannot be recorded, for Python waits for what it gives, or hands it numbers."""


class Graphs:
    """The graphs of one pure function of tensors on one GPU: one for each combination of their sizes.

    The results of replayed calls have the same bits as those of plain ones: they are the same kernels. What the
    function reads beside its arguments, data for example, must stay as it is.

    The function itself is not kept: a method, say, of what keeps the graphs. Graphs that only Python's collector of
    cycles could free would be freed at any time, and to free one while another is captured makes that fail.
    """

    def __init__(self) -> None:
        self._graphs: dict[Any, Graph | None] = {}
        self._called: set[Any] = set()

    def call(self, function: Function, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """What the function gives: the first time for some sizes by a plain call, from then on by a graph."""
        sizes = tuple((tensor.shape, tensor.dtype) for tensor in tensors)
        if sizes not in self._called:  # this call makes what kernels need for their first launch
            self._called.add(sizes)
            return function(tensors)
        if sizes not in self._graphs:
            self._graphs[sizes] = capture(function, tensors)
        graph = self._graphs[sizes]
        return function(tensors) if graph is None else graph.replay(tensors)


def capture(function: Function, tensors: Sequence[Tensor]) -> "Graph | None":
    """The graph of a function; `None` where its operations cannot be recorded."""
    device = tensors[0].device
    # A capture that fails leaves torch on the stream that it was made on.
    with torch.cuda.device(device), torch.cuda.stream(torch.cuda.current_stream(device)):
        try:
            return Graph(function, tensors)
        except Exception:  # if it is the function's own, the call without a graph raises it
            return None


class Graph:
    """The kernels that a function launches for tensors of some sizes, with memory of their own."""

    def __init__(self, function: Function, tensors: Sequence[Tensor]) -> None:
        self._arguments = [tensor.clone() for tensor in tensors]
        self._graph = torch.cuda.CUDAGraph()
        device = tensors[0].device
        stream = torch.cuda.Stream(device)
        # Other threads may go on with what they do on the GPU.
        with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"), Watch(device) as watch:
            self._results = function(self._arguments)
        self._read = watch.read

    def replay(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """What the function gives, in tensors of its own."""
        for own, given in zip(self._arguments, tensors, strict=True):
            own.copy_(given)
        self._graph.replay()
        return [result.clone() for result in self._results]


class Watch(TorchDispatchMode):
    """Looks at each operation: raises `WaitsError` for one that cannot be recorded, and keeps what the others read.

    A recorded kernel reads the same memory at each replay, so no tensor that it reads may be freed: `read` holds the
    memory that was there before the first operation.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._device = device
        self.read: dict[int, torch.UntypedStorage] = {}
        self._made: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = _tensors((args, kwargs))
        if any(tensor.device == self._device for tensor in given) and _waits(func, args, kwargs, given):
            raise WaitsError(f"{func} needs what is on the GPU, or is on its way there")
        result = func(*args, **kwargs)
        for storage in map(Tensor.untyped_storage, given):
            if storage.data_ptr() not in self._made:
                self.read[storage.data_ptr()] = storage
        made = {tensor.untyped_storage().data_ptr() for tensor in _tensors(result)}
        self._made |= made - self.read.keys()
        return result


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.leaves(tree) if isinstance(leaf, Tensor)]


def _waits(operation: Any, args: Any, kwargs: Any, given: Sequence[Tensor]) -> bool:
    """Whether Python must wait for an operation, because what it returns depends on numbers or leaves the device."""
    if operation is torch.ops.aten.index.Tensor:
        return any(index.dtype in (torch.bool, torch.uint8) for index in args[1] if index is not None)
    if operation in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default):
        devices = [tensor.device for tensor in given] + [torch.device(kwargs.get("device") or given[0].device)]
        return len({device.type for device in devices}) > 1
    return bool({torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(operation.tags))


class Steps(Protocol):
    """Makes steps over rows of data, with arrays of what they change."""

    def __call__(self, rows: Tensor, step: Number, learning_rate: Number, *arrays: Tensor) -> Sequence[Tensor]: ...


class Launcher:
    """Calls what makes steps.

    On a GPU its kernels are captured, and step and learning rate are 0-d tensors of float64, so that a graph serves
    all steps; elsewhere they are numbers, as they are for a rule that takes nothing else.
    """

    def __init__(self, optimizer: Optimizer, inputs: Tensor) -> None:
        self._device = inputs.device
        self._graphs = Graphs() if inputs.is_cuda and takes_arrays(optimizer, inputs.dtype) else None

    def batches_at_once(self, elsewhere: int, numbers: int) -> int:
        """How many batches, each of `numbers` numbers, one call is given."""
        most = elsewhere if self._graphs is None else CAPTURED_AT_ONCE
        return max(1, min(most, MOST_NUMBERS // numbers))

    def call(self, steps: Steps, rows: Tensor, step: int, rate: Number, arrays: Sequence[Tensor]) -> Sequence[Tensor]:
        """What the steps give."""
        if self._graphs is None:
            return steps(rows, step, rate, *arrays)

        def of_tensors(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
            rows, step, rate, *arrays = tensors
            return steps(rows, step, rate, *arrays)

        return self._graphs.call(of_tensors, [rows, self._number(step), self._number(rate), *arrays])

    def _number(self, number: Number) -> Tensor:
        if isinstance(number, Tensor):
            return number
        return torch.full((), number, dtype=torch.float64, device=self._device)


def epochs_at_once(inputs: Tensor, steps: int) -> int:
    """How many epochs of `steps` steps are launched before the host looks at their results."""
    return max(1, STEPS_UNSEEN // steps) if inputs.is_cuda else 1


@functools.lru_cache(maxsize=256)
def takes_arrays(optimizer: Optimizer, dtype: torch.dtype) -> bool:
    """Whether an optimizer's rule takes the step and the learning rate as 0-d tensors, and reads no number of them.

    >>> import functional_mlp as fm
    >>> takes_arrays(fm.Adam(0.1), torch.float32)
    True
    """
    # Tensors of the device "meta" have no numbers to be read.
    array = torch.empty(2, dtype=working_dtype(dtype), device="meta")
    number = torch.empty((), dtype=torch.float64, device="meta")
    xp = torch_namespace(array.dtype, array.device)
    try:
        updated = optimizer.rule(xp, number, number, array, array, *(array for _ in optimizer.slots()))
    except Exception:  # whatever a rule does with what it takes for numbers
        return False
    return all(value.dtype == array.dtype and value.shape == array.shape for value in updated)
