"""A compiled function at work: the memory that it runs in, and its calls."""

import ctypes
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor

from functional_mlp import checks
from functional_mlp.engine import crew
from functional_mlp.engine.barrier import Team
from functional_mlp.engine.calls import Arguments, Share
from functional_mlp.engine.compiling import NetworkSource, Outputs
from functional_mlp.engine.epochs import EpochsOfOne
from functional_mlp.engine.functions import Code, compiled
from functional_mlp.engine.layout import Layout
from functional_mlp.engine.llvm import target as machine
from functional_mlp.engine.orders import Orders
from functional_mlp.engine.plan import Plan, plan_of, threads_of
from functional_mlp.engine.policy import Policy
from functional_mlp.engine.program import Program, TrainingProgram
from functional_mlp.engine.rows import Copies, Rows
from functional_mlp.random import Key


def new_workspace(size: int, dtype: torch.dtype) -> Tensor:
    """Zeros, in memory that native code may be given: not where torch is told to make tensors without any."""
    workspace = torch.empty(size, dtype=dtype, device="cpu")
    checks.in_memory("the engine's workspace", workspace)
    checks.plain_tensor("the engine's workspace", workspace)
    workspace.numpy().fill(0)  # on this thread alone, as `Places` moves numbers
    return workspace


def code_to_run(program: Program, policy: Policy) -> tuple[Code[NetworkSource], int]:
    """The code of a program for this machine, as a policy plans it, and on how many threads it runs at most."""
    target = machine.host()
    threads = threads_of(program, target, torch.get_num_threads(), policy)
    in_batches = isinstance(program, TrainingProgram) and program.batch_size > 1
    plan = plan_of(program, target, policy)
    if threads > 1 and in_batches:
        plan = attrs.evolve(plan, divided=True)
    return compiled(NetworkSource(program, plan), target), threads


class Session:
    """A program's function at work, on at most some threads: its workspace, and its calls."""

    layout: Layout
    plan: Plan
    workspace: Tensor
    threads: int  # that make a call together, at most
    address: int  # where the function lies

    def __init__(self, code: Code[NetworkSource], threads: int = 1) -> None:
        self._code, self.threads, program = code, threads, code.source.program
        self.layout, self.plan = code.source.layout, code.source.plan
        self.address, self._call = code.addresses[program.kind], code.functions[program.kind]
        self._call_epochs = code.functions.get("epochs")
        self._batch_size = program.batch_size if isinstance(program, TrainingProgram) else self.plan.piece
        spaces = self.threads if self.plan.divided and self._batch_size == 1 else 1
        self.workspace = new_workspace(spaces * code.workspace_size, program.dtype)
        self._workspace_pointer = self.workspace.data_ptr()

    @classmethod
    def of(cls, program: Program, policy: Policy) -> "Session":
        """That of the code that a policy chooses."""
        return cls(*code_to_run(program, policy))

    def array(self, index: int) -> Tensor:
        """The place of the params in the workspace (0), or of a slot of the optimizer (1, …)."""
        return self.workspace[index * self.layout.size : (index + 1) * self.layout.size]

    def run(
        self,
        rows: Rows,
        samples: int,
        order: Tensor,
        *,
        step: int = 0,
        learning_rate: float,
        strength: float = 0.0,
        progress: Callable[[float], None] | None = None,
    ) -> tuple[float, float]:
        """Run an epoch; returns the sum of the losses and the number of right answers.

        Parameters
        ----------
        rows
            The data.
        samples
            How many rows the epoch goes through.
        order
            Which: its first `samples` numbers.
        step
            The updates before the epoch.
        learning_rate
            That of the epoch.
        strength
            That of the penalty.
        progress
            Is called with the share of the epoch that is done.

        A native call cannot be interrupted, so it is given few rows at a time: Ctrl-C is heard between calls. Rows of
        a mapped file are copied for each.
        """
        results = (ctypes.c_double * 2)()
        stops = [0]
        while stops[-1] < samples:
            stops.append(min(self._stop(stops[-1], rows), samples))

        def call(given: Rows, numbers: Tensor, ends: tuple[int, int]) -> Callable[..., None]:
            return functools.partial(
                self._call,
                *Arguments(
                    workspace=self._workspace_pointer,
                    inputs=given.pointers.inputs,
                    targets=given.pointers.targets,
                    labels=given.pointers.labels,
                    order=numbers.data_ptr(),
                    first=ends[0],
                    last=ends[1],
                    samples=samples,
                    step=step,
                    learning_rate=learning_rate,
                    strength=strength,
                    results=results,
                ),
            )

        def run(given: Rows, numbers: Tensor, stops: Sequence[int]) -> None:
            def tell(calls_done: int) -> None:
                if progress is not None:
                    progress(stops[calls_done] / samples)

            self._run(samples, [call(given, numbers, ends) for ends in itertools.pairwise(stops)], tell)

        if not rows.pages:
            run(rows, order, stops)
            return results[0], results[1]
        groups = _grouped(stops, self._most_copied(rows))
        copies = Copies(rows, order, max(group[-1] - group[0] for group in groups))
        for group in groups:
            run(copies.copy(group[0], group[-1]), copies.numbers, group)
        return results[0], results[1]

    def run_epochs(
        self,
        rows: Rows,
        orders: Orders,
        keys: Sequence[Key],
        learning_rates: Sequence[float],
        *,
        step: int,
        strength: float,
        validation: Any,
        snapshots: Tensor | None = None,
    ) -> tuple[list[float], ...]:
        """Run whole epochs in one call; returns the sums of losses and the right answers, in training and held out.

        Parameters
        ----------
        rows
            The data.
        orders
            The memory of the orders.
        keys
            What each epoch's order is drawn with.
        learning_rates
            One an epoch.
        step
            The updates before the first epoch.
        strength
            That of the penalty.
        validation
            The table of a pass forward after each epoch, if any; what is held out is 0 without one.
        snapshots
            Where the parameters and slots after each epoch go, if anywhere.
        """
        count, samples = len(keys), orders.samples
        results = (ctypes.c_double * (4 * count))()
        assert self._call_epochs is not None, "only epochs are run many at a time"
        call = functools.partial(
            self._call_epochs,
            *EpochsOfOne(
                workspace=self._workspace_pointer,
                inputs=rows.pointers.inputs,
                targets=rows.pointers.targets,
                labels=rows.pointers.labels,
                order=orders.pointer,
                shuffle=orders.shuffle,
                keys=orders.keys(keys),
                learning_rates=(ctypes.c_double * count)(*learning_rates),
                validation=validation,
                turns=count,
                samples=samples,
                step=step,
                strength=strength,
                results=results,
                snapshots=None if snapshots is None else snapshots.data_ptr(),
            ),
        )
        self._run(count * samples, [call])
        return results[::4], results[1::4], results[2::4], results[3::4]

    def pass_forward(self, rows: Rows, samples: int, predictions: Tensor | None = None) -> tuple[float, float]:
        """Pass rows forward, on as many threads as torch has; returns the sum of the losses and the right answers.

        The outputs go into `predictions`, where the function is one that makes them. Neither the shares of rows nor
        the order in which their sums are added depend on the number of threads, and so the bits do not.
        """
        size = self.plan.rows_per_share
        starts = range(0, samples, size)
        results = (ctypes.c_double * (2 * len(starts)))()
        outputs = () if predictions is None else Outputs(predictions.data_ptr())
        shares = enumerate(starts)  # each thread goes on with the next that is left

        def work(rank: int, threads: int, team: Team) -> None:
            workspace = self.workspace if rank == 0 else self.workspace.clone()
            for index, first in shares:
                if team.is_abandoned:
                    return
                arguments = Arguments(
                    workspace=workspace.data_ptr(),
                    inputs=rows.pointers.inputs,
                    targets=rows.pointers.targets,
                    labels=rows.pointers.labels,
                    order=None,
                    first=first,
                    last=min(first + size, samples),
                    samples=samples,
                    step=0,
                    learning_rate=0.0,
                    strength=0.0,
                    results=ctypes.addressof(results) + index * 2 * ctypes.sizeof(ctypes.c_double),
                )
                self._call(*arguments, *outputs)
                rows.pages.give_back()

        threads = torch.get_num_threads()
        crew.together(work, min(threads, len(starts)), threads)
        return sum(results[::2]), sum(results[1::2])

    def _run(
        self,
        rows: int,
        calls: Sequence[Callable[..., None]],
        tell: Callable[[int], None] = lambda calls_done: None,
    ) -> None:
        """Make native calls one after the other, of `rows` rows in all, and tell after each how many are done.

        Where they are made for several threads, these make each call together.
        """
        if not self.plan.divided:
            for done, call in enumerate(calls, start=1):
                call()
                tell(done)
            return

        def work(rank: int, threads: int, team: Team) -> None:
            for done, call in enumerate(calls, start=1):
                if team.is_abandoned:
                    return
                call(*Share(rank=rank, threads=threads, team=team.address))
                if rank == 0:
                    tell(done)

        threads = self.threads if rows >= self.plan.fewest_rows_divided else 1
        crew.together(work, threads, torch.get_num_threads())

    def _stop(self, first: int, rows: Rows) -> int:
        """Where a call from a row on ends: after some milliseconds, and between the pieces of batches."""
        piece = min(self._batch_size, self.plan.piece)
        most = min(self.plan.rows_per_call, self._most_copied(rows)) if rows.pages else self.plan.rows_per_call
        last = first + max(piece, most)
        batch = last - last % self._batch_size
        return batch + (last - batch) // piece * piece

    def _most_copied(self, rows: Rows) -> int:
        """How many rows of a mapped file are copied at a time."""
        return self.plan.policy.most_bytes_copied // (rows.inputs[0].nbytes + rows.targets[0].nbytes)


def _grouped(stops: Sequence[int], most: int) -> list[list[int]]:
    """Stops in groups of calls that go through `most` rows at most, or are one; each begins where the last one ends."""
    groups = [[stops[0]]]
    for stop in stops[1:]:
        if len(groups[-1]) > 1 and stop - groups[-1][0] > most:
            groups.append([groups[-1][-1]])
        groups[-1].append(stop)
    return groups
