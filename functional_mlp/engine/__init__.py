"""The fused engine: a whole epoch of training in one native call.

From a network, a loss and an optimizer, written in the array algebra, the engine makes machine code with LLVM. `fit`
comes to it by `engines.choose`, which asks `explain`, and then

    native.py     `start`: the network, loss and optimizer of a job become a program
    running.py    a network in training: its epochs are calls of native code
    rows.py       data as this code reads them
    session.py    the memory that this code runs in, and the calls
    functions.py  how all code is compiled: from memory, from the disk, or emitted as LLVM
    compiling.py  the code of a network

What is trained, and how code is made of it:

    program.py    the network as a list of steps; lowering.py, the steps of a nest of layers
    layout.py     where their numbers lie in memory; workspace.py, how much of it a function needs
    expressions.py   what the expressions do, as text under which code is kept
    policy.py     every number that decides between ways to make code and to run it; plan.py, what follows for a program
    limits.py     what would make too much code; lengths.py, how much the expressions make
    making.py     whether code can be made here at all, and what is said where it cannot
    cache.py      machine code on disk

What emits code:

    walk.py       one pass over the steps, forward and back, whatever emits them
    calls.py      the functions that layers share, and the scope in which code is emitted
    kernels.py    activations and sums; loss.py, the loss of a sample, and side_by_side.py, those of several;
                  update.py, the optimizer's rule; prefetch.py, rows that are soon needed
    single/       an epoch of single samples: linear layers (layers.py) of the products of matvec.py and tails.py; where
                  a sample's numbers lie (places.py); how threads divide wide layers (exchange.py)
    batch/        an epoch of minibatches, and passes forward: steps.py, linear layers (linear.py, gradients.py) of the
                  products of matmul.py and dots.py, and what stands on their left (factors.py); losses.py; pieces of
                  batches (piece.py), and how threads divide them (division.py)
    members/      an epoch of many networks at once: its program, array algebra and steps, and how it is run
    epochs.py     whole epochs in one call; validation.py, passes forward between them; shuffle.py, their orders
    once.py       a single step in one short call
    llvm/         emitter.py, the assembler: vectors, memory, loops (types.py, indices.py, records.py, …);
                  vector.py and operands.py, the array algebra over LLVM vectors: expressions emit instructions;
                  functions.py and gates.py, exp, log, tanh, … of vectors; target.py, processors and machine code

What else calls native code:

    passes.py     passes forward; online.py, the steps of an `Online`; orders.py, orders of epochs
    crew.py       the threads that run one function together; barrier.py, where they wait for each other

A small network is emitted in one piece. In others, layers share functions: those of one shape where there are few
shapes, and otherwise all of them, with functions that are given the sizes. A deep network makes no more code than a
shallow one, whatever its shapes, and takes less than a second to compile. What would take longer is refused: networks
of thousands of layers, and expressions of thousands of instructions.

This page does not need LLVM: `explain` says so where it is missing, or cannot make code that runs here.

`python -m functional_mlp.engine` prints the program and the LLVM code of a network. In training, denormal numbers
are taken as zero; otherwise a run agrees with the reference up to rounding.
"""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch._C._functorch import peek_interpreter_stack

from functional_mlp import checks, imports, pytree
from functional_mlp.engine import making
from functional_mlp.engine.cache import cache_folder, clear_cache
from functional_mlp.engine.lowering import lower, lower_loss, lower_member, lower_steps
from functional_mlp.engine.making import CannotMakeCodeError as CannotMakeCodeError
from functional_mlp.engine.making import warn_of_fallback as warn_of_fallback
from functional_mlp.engine.policy import MEASURED, Policy
from functional_mlp.engine.program import Program
from functional_mlp.layers.adapting import as_layer
from functional_mlp.layers.arguments import template
from functional_mlp.layers.base import Layer
from functional_mlp.losses import Loss
from functional_mlp.optimizers import Optimizer
from functional_mlp.penalties import Penalty, check_penalty
from functional_mlp.state import Job, Member

if TYPE_CHECKING:
    from functional_mlp.engine.native import CompiledEpoch
    from functional_mlp.engine.native import evaluate as evaluate
    from functional_mlp.engine.native import predict as predict
    from functional_mlp.engine.native import start as start

__all__ = ["CompiledEpoch", "cache_folder", "clear_cache", "compile", "explain"]


def explain(
    network: Layer,
    loss: Loss,
    optimizer: Optimizer,
    *,
    penalty: Penalty | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> str | None:
    """Why the engine cannot run a network under a loss, an optimizer and a penalty; `None` where it can.

    The first call makes a little code and loads it, to see that this works here; whether LLVM takes the code of a
    whole network shows when it is first run, and is known here from then on.

    Parameters
    ----------
    network
        What is to be trained.
    loss
        What training minimizes.
    optimizer
        How a gradient changes the parameters.
    penalty
        What is added to the loss for the size of the weights.
    dtype
        That of the data.
    device
        Where the data are.

    >>> import functional_mlp as fm
    >>> explain(fm.Linear(2, 2), fm.MeanSquaredError(), fm.SGD(0.1), dtype=torch.float64)
    >>> explain(fm.Linear(2, 2), fm.MeanSquaredError(), fm.SGD(0.1), dtype=torch.float16)
    'the engine computes in torch.float32 and torch.float64, not in torch.float16'
    """
    return explain_by(MEASURED, network, loss, optimizer, penalty=penalty, dtype=dtype, device=device)


def explain_by(
    policy: Policy,
    network: Layer,
    loss: Loss,
    optimizer: Optimizer,
    *,
    penalty: Penalty | None,
    dtype: torch.dtype,
    device: torch.device | str | None = None,
) -> str | None:
    """The answer of `explain` where the engine follows a policy.

    Takes the arguments of `explain`, and this one.

    Parameters
    ----------
    policy
        What the engine decides by.
    """
    checks.instance("explain: loss", loss, Loss, "subclass functional_mlp.Loss to write your own")
    checks.instance("explain: optimizer", optimizer, Optimizer, "subclass functional_mlp.Optimizer to write your own")
    checks.instance("explain: dtype", dtype, torch.dtype, "pass torch.float32 or torch.float64")
    check_penalty("explain", penalty, dtype if dtype.is_floating_point else None)
    checks.device("explain: device", device)
    refusal = _refusal(dtype, device)
    if refusal is not None:
        return refusal
    network = as_layer("explain: network", network)
    return _reason(
        lambda: lower(network, loss, optimizer, batch_size=1, class_targets=False, dtype=dtype, penalty=penalty),
        policy,
    )


def explain_member(job: Job, member: Member, policy: Policy) -> str | None:
    """As `explain_by`, for the training of a member of a job: its program is made here, and is known when it starts."""
    refusal = _refusal(member.data.inputs.dtype, member.data.inputs.device)
    return _reason(lambda: lower_member(job, member), policy) if refusal is None else refusal


def explain_forward(network: Layer, loss: Loss | None, x: Tensor, policy: Policy) -> str | None:
    """As `explain_by`, for passes of inputs forward alone, whose outputs a loss may measure."""
    refusal = _refusal(x.dtype, x.device)
    if refusal is not None:
        return refusal
    if loss is None:
        return _reason(lambda: lower_steps(network, dtype=x.dtype), policy)
    return _reason(lambda: lower_loss(network, loss, class_targets=False, dtype=x.dtype), policy)


def _refusal(dtype: torch.dtype, device: torch.device | str | None) -> str | None:
    """Why the engine does not compute in a dtype or on a device; `None` where it does."""
    if device is not None and torch.device(device).type != "cpu":
        return f"the engine runs on the CPU, not on {device}"
    if dtype not in (torch.float32, torch.float64):
        return f"the engine computes in torch.float32 and torch.float64, not in {dtype}"
    if peek_interpreter_stack() is not None or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return "torch.func or torch.jit.trace follows what is called here, and native code is out of its sight"
    return None


def _reason(lowered: Callable[[], Program], policy: Policy) -> str | None:
    """Why the engine cannot run a program; `None` where it can."""
    reason = making.llvm_missing()
    if reason is not None:
        return reason
    with imports.importing():
        from functional_mlp.engine import native  # loads LLVM

    return native.reason(lowered, policy)


def steps(
    network: Layer, loss: Loss, optimizer: Optimizer, penalty: Penalty | None, dtype: torch.dtype, policy: Policy
) -> Any:
    """The `FusedSteps` of an `Online` whose network the engine can run. Takes the arguments of `FusedSteps`."""
    with imports.importing():
        from functional_mlp.engine import online  # loads LLVM

    return online.FusedSteps(network, loss, optimizer, penalty, dtype, policy)


def compile(
    network: Layer,
    loss: Loss,
    optimizer: Optimizer,
    *,
    batch_size: checks.Integer,
    penalty: Penalty | None = None,
    dtype: torch.dtype = torch.float32,
) -> "CompiledEpoch":
    """The native epoch of a network, loss, optimizer and penalty.

    Raises `ValueError` with `explain`'s reason if there is none.

    Parameters
    ----------
    network
        What is to be trained.
    loss
        What training minimizes.
    optimizer
        How a gradient changes the parameters.
    penalty
        What is added to the loss for the size of the weights.
    batch_size
        Samples an update; the last batch of an epoch may be short.
    dtype
        That of the data.

    >>> import functional_mlp as fm
    >>> network, optimizer = fm.Linear(2, 2), fm.SGD(0.01)
    >>> epoch = compile(network, fm.MeanSquaredError(), optimizer, batch_size=10)
    >>> state = optimizer.init(network.init(fm.random.key(0)))
    >>> data = fm.datasets.disk(fm.random.key(1), 100)
    >>> state, mean_loss = epoch(state, data, fm.random.permutation(fm.random.key(2), 100))
    >>> state.step
    10
    """
    batch_size = checks.integer("compile: batch_size", batch_size, minimum=1)
    reason = explain(network, loss, optimizer, penalty=penalty, dtype=dtype)
    if reason is not None:
        raise ValueError(f"compile: {reason}")
    with imports.importing():
        from functional_mlp.engine import native  # loads LLVM

    layer = as_layer("compile: network", network)
    return native.CompiledEpoch(layer, loss, optimizer, batch_size, dtype, penalty, MEASURED)


def is_faster_forward(network: Layer, rows: int, policy: Policy) -> bool:
    """Whether the engine is the faster one to pass rows forward, the time to make the code included."""
    return rows * _numbers(network) >= policy.fewest_products


def draw_natively(policy: Policy) -> None:
    """Have all orders drawn in native code from now on, where there can be any: to the same bits, and faster."""
    if making.llvm_missing() is None:
        with imports.importing():
            from functional_mlp.engine import shuffle  # loads LLVM

        shuffle.load_if_possible(policy)


@functools.lru_cache(maxsize=256)
def _numbers(network: Layer) -> int:
    return sum(leaf.numel() for leaf in pytree.leaves(template(network, torch.float32)))


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name in ("CompiledEpoch", "evaluate", "predict", "start"):
            with imports.importing():
                from functional_mlp.engine import native  # loads LLVM

            return getattr(native, name)
        raise AttributeError(f"module 'functional_mlp.engine' has no attribute {name!r}")
