"""The LLVM text of a matrix of programs, as a table of digests: a change of the text is a change of the table.

Not all combinations are emitted, but some in which any two values of the axes come together. `CASES` has the parts of
the matrix: networks of all sizes and shapes, and on small ones what else programs can be told.

    python -m tests.engine.llvm_text --write        write the table anew
    python -m tests.engine.llvm_text --save FOLDER  write the texts into a folder, to be compared with others

The text is emitted, not compiled, so the table is the same on every machine.
"""

import argparse
import hashlib
import itertools
import json
import operator
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs
import torch

import functional_mlp as fm
from functional_mlp.engine.compiling import NetworkSource
from functional_mlp.engine.llvm.target import Target
from functional_mlp.engine.lowering import lower_loss, lower_steps
from functional_mlp.engine.members.algebra import MembersRule
from functional_mlp.engine.members.compiling import GroupSource
from functional_mlp.engine.members.plan import members_plan_of
from functional_mlp.engine.members.program import MembersProgram
from functional_mlp.engine.once import OnceSource
from functional_mlp.engine.plan import plan_of
from functional_mlp.engine.policy import MEASURED
from functional_mlp.engine.program import LossProgram, Program
from functional_mlp.engine.shuffle import ShuffleSource
from functional_mlp.penalties import Penalty
from tests.engine.modes import TARGETS

TABLE = Path(__file__).with_name("llvm_text.json")
DIGITS = 16

DTYPES = {"float32": torch.float32, "float64": torch.float64}


@attrs.frozen(repr=False)
class Iterated(fm.Optimizer):
    """A rule that is long enough to be emitted few times."""

    def rule(self, xp, step, learning_rate, param, grad):  # type: ignore[no-untyped-def]  # as users write rules
        for _ in range(8):
            grad = xp.sign(grad) * xp.sqrt(xp.abs(grad) + 0.01)
        return (param - learning_rate * grad,)


def _dense(*sizes: int, activations: tuple[fm.Layer, ...] = (fm.Tanh(), fm.ReLU()), bias: bool = True) -> fm.Layer:
    """Linear layers of these sizes with activations between them, taken in turn."""
    layers: list[fm.Layer] = []
    for number, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        layers += [fm.Linear(inputs, outputs, bias=bias), activations[number % len(activations)]]
    return fm.Sequential(*layers[:-1])


_BLOCK = fm.Sequential(fm.Linear(9, 9), fm.GELU(), fm.Linear(9, 9, bias=False), fm.Sigmoid())

# Networks of every way in which layers share functions, with what is special about each.
NETWORKS: dict[str, fm.Layer] = {
    "linear": fm.Linear(3, 2, bias=False),
    "paper": _dense(2, 25, 25, 25, 2, activations=(fm.ReLU(), fm.ReLU(), fm.Tanh())),
    "activations first": fm.Sequential(fm.Linear(5, 5), fm.Softplus(), fm.ELU(), fm.Residual(fm.Tanh()), fm.ReLU()),
    "branches": fm.Sequential(fm.Linear(2, 9), fm.ReLU(), fm.Residual(_BLOCK), _BLOCK, fm.Linear(9, 3)),
    "branch at the start": fm.Sequential(fm.Residual(fm.Linear(7, 7)), fm.SiLU(), fm.Linear(7, 19), fm.Linear(19, 2)),
    "wide": _dense(20, 150, 70, 4, activations=(fm.LeakyReLU(0.2), fm.GELU("tanh"))),
    "many outputs": _dense(3, 40, 100),
    "equal layers": _dense(4, *[25] * 8, 3),
    "deep": _dense(4, *[12] * 40, 3),
    "many shapes": _dense(3, 1, 15, 16, 17, 64, 81, 1, 20, 3, activations=(fm.Tanh(), fm.ReLU(), fm.ELU(0.5))),
    "no biases": _dense(6, 33, 33, 33, 5, bias=False),
}  # fmt: skip


@attrs.frozen
class Task:
    """What the outputs of a network are measured by, and what is added to the gradients of its weights."""

    loss: fm.Loss
    class_targets: bool = False
    weighted: bool = False
    penalty: Penalty | None = None


TASKS = {
    "mse": Task(fm.MeanSquaredError()),
    "classes": Task(fm.CrossEntropy(), class_targets=True),
    "soft": Task(fm.CrossEntropy()),
}
OPTIMIZERS: dict[str, fm.Optimizer] = {
    "sgd": fm.SGD(0.1),
    "momentum": fm.Momentum(0.1),
    "adam": fm.Adam(0.1),
    "batchgd": fm.BatchGD(0.1, 3),
    "iterated": Iterated(0.1),
}
BATCH_SIZES = (1, 10, 300)
# Each step of an ensemble has code of its own: for these there would be much of it, and they are not trained so.
NOT_IN_ENSEMBLES = ("wide", "many outputs", "deep", "many shapes", "iterated")

# On small networks, and one of which a matrix does not fit into a cache, what else programs can be told.
FURTHER_NETWORKS = {"small": _dense(2, 9, 3), "very wide": _dense(20, 520, 520, 3)}
FURTHER_TASKS = {
    "weighted classes": Task(fm.CrossEntropy(), class_targets=True, weighted=True),
    "weighted mse": Task(fm.MeanSquaredError(), weighted=True),
    "smoothed": Task(fm.CrossEntropy(label_smoothing=0.1), class_targets=True),
    "huber": Task(fm.Huber(0.7)),
    "bce": Task(fm.BinaryCrossEntropy()),
    "poisson": Task(fm.PoissonDeviance()),
    "l2": Task(fm.MeanSquaredError(), penalty=fm.penalties.l2(0.1)),
    "weighted, l1": Task(fm.Huber(), weighted=True, penalty=fm.penalties.l1(0.1)),
}
FURTHER_OPTIMIZERS: dict[str, fm.Optimizer] = {
    "sgd": OPTIMIZERS["sgd"],
    "nesterov": fm.Nesterov(0.1),
    "adamw": fm.AdamW(0.1),
    "rmsprop": fm.RMSProp(0.1),
    "lion": fm.Lion(0.1),
}
ALL_NETWORKS, ALL_TASKS = NETWORKS | FURTHER_NETWORKS, TASKS | FURTHER_TASKS
ALL_OPTIMIZERS = OPTIMIZERS | FURTHER_OPTIMIZERS


@attrs.frozen
class Case:
    """A program, the function that is emitted of it, and the processor."""

    kind: str
    network: str
    task: str
    optimizer: str
    batch_size: int
    dtype: str
    target: str

    def __str__(self) -> str:
        return ", ".join(map(str, attrs.astuple(self)))

    def text(self) -> str:
        """The LLVM text, which is the same wherever it is made."""
        return str(self._module())

    @property
    def _target(self) -> Target:
        return next(target for target in TARGETS if target.cpu == self.target)

    def _module(self) -> Any:
        if self.kind == "shuffle":
            return ShuffleSource(MEASURED.places_drawn_ahead).emit()
        if self.kind in GROUPS:
            return self._module_of_group()
        program = self._program()
        plan = plan_of(program, self._target)
        if self.kind == "once":
            return OnceSource(program, plan, self.batch_size).emit()
        divided = self.kind == "divided" or plan.divided
        return NetworkSource(program, attrs.evolve(plan, divided=divided)).emit()

    def _module_of_group(self) -> Any:
        rule, task = self._rule(), ALL_TASKS[self.task]
        group = MembersProgram(self._loss_program(), rule, self.batch_size, task.penalty)
        plan = members_plan_of(group.program, len(rule.slots()), self.batch_size, self._target)
        members = plan.lanes if self.kind == "full groups" else max(plan.lanes // 2, 2)
        return GroupSource(group, attrs.evolve(plan, members=members)).emit()

    def _program(self) -> Program:
        if self.kind == "predict":
            return lower_steps(ALL_NETWORKS[self.network], dtype=DTYPES[self.dtype])
        program, task = self._loss_program(), ALL_TASKS[self.task]
        if self.kind == "evaluate":
            return program
        return program.with_update(ALL_OPTIMIZERS[self.optimizer], self.batch_size, task.penalty)

    def _loss_program(self) -> LossProgram:
        task = ALL_TASKS[self.task]
        return lower_loss(
            ALL_NETWORKS[self.network],
            task.loss,
            class_targets=task.class_targets,
            dtype=DTYPES[self.dtype],
            weighted=task.weighted,
        )

    def _rule(self) -> MembersRule:
        """A rule with the learning rate, and for Adam another number, of each member's own."""
        first = ALL_OPTIMIZERS[self.optimizer]
        return MembersRule.of([first, attrs.evolve(first, beta1=0.5)] if isinstance(first, fm.Adam) else [first])


Axes = tuple[Iterable[Any], ...]

GROUPS = ("full groups", "half groups")
_DTYPES_AND_TARGETS = (tuple(DTYPES), tuple(target.cpu for target in TARGETS))
_SMALL, _SHORT = ([name for name in names if name not in NOT_IN_ENSEMBLES] for names in (NETWORKS, OPTIMIZERS))

# The axes of the parts of the matrix: the values of the fields of its cases.
PARTS: dict[str, Axes] = {
    "epochs": (("epoch",), NETWORKS, TASKS, OPTIMIZERS, BATCH_SIZES, *_DTYPES_AND_TARGETS),
    "passes forward": (("evaluate", "predict"), NETWORKS, TASKS, ("sgd",), (1,), *_DTYPES_AND_TARGETS),
    "groups": (GROUPS, _SMALL, TASKS, _SHORT, BATCH_SIZES[:2], *_DTYPES_AND_TARGETS),
    "further epochs": (
        ("epoch", "divided", "once"),
        FURTHER_NETWORKS,
        FURTHER_TASKS,
        FURTHER_OPTIMIZERS,
        BATCH_SIZES[:2],
        *_DTYPES_AND_TARGETS,
    ),
    "further groups": (GROUPS, ("small",), FURTHER_TASKS, FURTHER_OPTIMIZERS, BATCH_SIZES[:2], *_DTYPES_AND_TARGETS),
    "further passes forward": (("evaluate",), ("small",), FURTHER_TASKS, ("sgd",), (1,), *_DTYPES_AND_TARGETS),
    "orders": (("shuffle",), ("small",), ("mse",), ("sgd",), (1,), ("float64",), (TARGETS[0].cpu,)),
}


def covering(axes: Axes) -> list[tuple[Any, ...]]:
    """Few tuples with a value of each axis, in which any two values of two axes come together.

    Each begins with two values that have not met, and takes of each other axis the value that meets most of its own
    for the first time.
    """
    pairs = itertools.combinations(enumerate(map(tuple, axes)), 2)
    new = {((i, a), (j, b)): None for (i, values), (j, others) in pairs for a, b in itertools.product(values, others)}
    found = []
    while new:
        chosen = dict(next(iter(new)))
        for axis, values in enumerate(map(tuple, axes)):
            if axis not in chosen:
                chosen[axis] = max(
                    values,
                    key=lambda value: sum(pair in new for pair in _pairs(chosen | {axis: value})),
                )
        for pair in _pairs(chosen):
            new.pop(pair, None)
        found.append(tuple(value for _, value in sorted(chosen.items())))
    return found


def _pairs(chosen: dict[int, Any]) -> Iterator[Any]:
    return itertools.combinations(sorted(chosen.items(), key=operator.itemgetter(0)), 2)


def cases() -> list[Case]:
    """The cases of all parts."""
    return [Case(*values) for axes in PARTS.values() for values in covering(axes)]


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the table of digests")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="write the texts, a file each")
    options = parser.parse_args()
    table = {}
    for case in cases():
        text = case.text()
        table[str(case)] = digest(text)
        if options.save is not None:
            options.save.mkdir(parents=True, exist_ok=True)
            (options.save / f"{case}.ll").write_text(text)
    if options.write:
        TABLE.write_text(json.dumps(table, indent=0, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
