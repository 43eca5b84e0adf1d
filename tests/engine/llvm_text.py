"""The LLVM text of a matrix of programs, as a table of digests: a change of the text is a change of the table.

    python -m tests.engine.llvm_text --write        write the table anew
    python -m tests.engine.llvm_text --save FOLDER  write the texts into a folder, to be compared with others

The text is emitted, not compiled, so the table is the same on every machine.
"""

import argparse
import hashlib
import itertools
import json
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import attrs
import torch

import functional_mlp as fm
from functional_mlp.engine import compiling
from functional_mlp.engine.lowering import lower, lower_loss, lower_steps
from functional_mlp.engine.members import compiling as members_compiling
from functional_mlp.engine.members.algebra import MembersRule
from functional_mlp.engine.members.policy import members_policy_of
from functional_mlp.engine.members.program import MembersProgram
from functional_mlp.engine.policy import policy_of
from functional_mlp.engine.program import LossProgram, Program
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
LOSSES: dict[str, tuple[fm.Loss, bool]] = {
    "mse": (fm.MeanSquaredError(), False),
    "classes": (fm.CrossEntropy(), True),
    "soft": (fm.CrossEntropy(), False),
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


@attrs.frozen
class Case:
    """A program, the function that is emitted of it, and the size of the vectors."""

    kind: str
    network: str
    loss: str
    optimizer: str
    batch_size: int
    dtype: str
    target: str

    def __str__(self) -> str:
        return ", ".join(map(str, attrs.astuple(self)))

    def text(self) -> str:
        """The LLVM text, which is the same on all processors."""
        with mock.patch.object(platform, "machine", return_value="x86_64"):
            return str(self._module())

    def _module(self) -> Any:
        target = next(target for target in TARGETS if target.cpu == self.target)
        if self.kind in ("full groups", "half groups"):
            rule = self._rule()
            group = MembersProgram(self._loss_program(), rule, self.batch_size)
            policy = members_policy_of(group.program, len(rule.slots()), self.batch_size, target)
            members = policy.lanes if self.kind == "full groups" else max(policy.lanes // 2, 2)
            return members_compiling.emit(group, attrs.evolve(policy, members=members))
        program = self._program()
        return compiling.emit(program, policy_of(program, target))

    def _program(self) -> Program:
        network, dtype, (loss, classes) = NETWORKS[self.network], DTYPES[self.dtype], LOSSES[self.loss]
        if self.kind == "predict":
            return lower_steps(network, dtype=dtype)
        if self.kind == "evaluate":
            return self._loss_program()
        optimizer, batch_size = OPTIMIZERS[self.optimizer], self.batch_size
        return lower(network, loss, optimizer, batch_size=batch_size, class_targets=classes, dtype=dtype)

    def _loss_program(self) -> LossProgram:
        loss, classes = LOSSES[self.loss]
        return lower_loss(NETWORKS[self.network], loss, class_targets=classes, dtype=DTYPES[self.dtype])

    def _rule(self) -> MembersRule:
        """A rule with the learning rate, and for Adam another number, of each member's own."""
        first = OPTIMIZERS[self.optimizer]
        return MembersRule.of([first, attrs.evolve(first, beta1=0.5)] if isinstance(first, fm.Adam) else [first])


# Found by trial: with these, one of 31 cases is enough for any two values of epochs, and of ensembles, to meet.
ONE_OF, WEIGHTS = 31, (27, 8, 17, 18, 7, 11, 30)


def cases(one_of: int = ONE_OF) -> list[Case]:
    """One of so many cases, spread evenly."""
    targets = [target.cpu for target in TARGETS]
    axes = (NETWORKS, LOSSES, OPTIMIZERS, BATCH_SIZES, DTYPES, targets)
    found = [Case("epoch", *values) for values in _some(one_of, *axes)]
    found += [
        Case(kind, network, loss, "sgd", 1, dtype, target)
        for kind, network, loss, dtype, target in _some(
            min(one_of, 7), ("evaluate", "predict"), NETWORKS, LOSSES, DTYPES, targets
        )
    ]
    small = [[name for name in names if name not in NOT_IN_ENSEMBLES] for names in (NETWORKS, OPTIMIZERS)]
    axes_of_ensembles = (("full groups", "half groups"), small[0], LOSSES, small[1], BATCH_SIZES[:2], DTYPES)
    return found + [Case(*values) for values in _some(one_of, *axes_of_ensembles, targets)]


def _some(one_of: int, *axes: Any) -> Iterator[tuple[Any, ...]]:
    for places in itertools.product(*(enumerate(axis) for axis in axes)):
        if sum(weight * place for weight, (place, _) in zip(WEIGHTS, places, strict=False)) % one_of == 0:
            yield tuple(value for _, value in places)


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
