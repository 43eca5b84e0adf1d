"""Times epochs under other policies than the engine's own: what numbers of `functional_mlp.engine.policy` gain.

    python benchmarks/policies.py [--rounds 15] [FIELD ...]

Fields are those of a `Policy`, and of the `Plan` that follows from one. For each field and case the usual plan and
those with other values of the field take turns, and the figure is the fastest turn of each as a share of the usual
one's fastest: above 1, the usual value is the better one.
"""

import argparse
import itertools
import operator
import time
from collections.abc import Callable
from typing import Any

import attrs
import torch

import functional_mlp as fm
from functional_mlp.engine.compiling import NetworkSource
from functional_mlp.engine.functions import compiled
from functional_mlp.engine.llvm.target import host
from functional_mlp.engine.lowering import lower
from functional_mlp.engine.plan import Plan, Sharing, plan_of
from functional_mlp.engine.policy import MEASURED, Policy, Unrolled
from functional_mlp.engine.program import Program
from functional_mlp.engine.rows import Rows
from functional_mlp.engine.session import Session

KEY = fm.random.key(0)


def dense(*sizes: int, activation: fm.Layer) -> fm.Layer:
    layers = [(fm.Linear(inputs, outputs), activation) for inputs, outputs in itertools.pairwise(sizes)]
    return fm.Sequential(*itertools.chain.from_iterable(layers))[:-1]


PAPER = dense(2, 25, 25, 25, 2, activation=fm.ReLU())
SHAPES = dense(8, 64, 48, 33, 20, 64, 4, activation=fm.Tanh())
DEEP = dense(2, *[25] * 10, 2, activation=fm.ReLU())
WIDE = dense(200, 256, 128, 10, activation=fm.ReLU())


@attrs.frozen
class Case:
    """An epoch over some rows of drawn data."""

    name: str
    network: fm.Layer
    optimizer: fm.Optimizer
    batch_size: int = 1
    rows: int = 500
    loss: fm.Loss = attrs.field(factory=fm.MeanSquaredError)

    def program(self) -> Program:
        return lower(
            self.network,
            self.loss,
            self.optimizer,
            batch_size=self.batch_size,
            class_targets=False,
            dtype=torch.float32,
        )


SINGLE = Case("paper, 1", PAPER, fm.SGD(0.01))
MOMENTUM = Case("paper, 1, momentum", PAPER, fm.Momentum(0.01))
BATCH = Case("paper, 10", PAPER, fm.SGD(0.01), 10)
LARGE_BATCH = Case("paper, 100", PAPER, fm.SGD(0.01), 100)
LOGITS = [
    Case(f"paper, {size}, cross-entropy", PAPER, fm.SGD(0.01), size, loss=fm.CrossEntropy()) for size in (10, 100)
]
WHOLE = Case("paper, 500", PAPER, fm.SGD(0.01), 500)
SMOOTH = Case("tanh, 100", dense(2, 25, 25, 25, 2, activation=fm.Tanh()), fm.SGD(0.01), 100)
SHAPES_1, SHAPES_50 = Case("six shapes, 1", SHAPES, fm.SGD(0.01)), Case("six shapes, 50", SHAPES, fm.SGD(0.01), 50)
DEEP_1, DEEP_50 = Case("ten layers, 1", DEEP, fm.SGD(0.01)), Case("ten layers, 50", DEEP, fm.SGD(0.01), 50)
WIDE_1, WIDE_32 = Case("wide, 1", WIDE, fm.SGD(0.01), 1, 100), Case("wide, 32", WIDE, fm.SGD(0.01), 32, 320)
FEW_UNITS = [
    Case(f"64-32-{units}, 50", dense(64, 32, units, activation=fm.ReLU()), fm.SGD(0.01), 50) for units in (4, 7, 12)
]
SMALL_200 = Case("20-100-100-4, 200", dense(20, 100, 100, 4, activation=fm.ReLU()), fm.SGD(0.01), 200)
MIDDLE_300 = Case("64-128-128-10, 300", dense(64, 128, 128, 10, activation=fm.ReLU()), fm.SGD(0.01), 300)
LONG_BATCH = Case("paper, 2000", PAPER, fm.SGD(0.01), 2000, 2000)
CLASSES = Case("100 outputs, 1", dense(8, 40, 100, activation=fm.ReLU()), fm.SGD(0.01))
OUTPUTS_10 = Case("ten outputs, 1", dense(16, 32, 10, activation=fm.ReLU()), fm.SGD(0.01))
ADAM, ADAM_10 = Case("paper, 1, Adam", PAPER, fm.Adam(0.01)), Case("paper, 10, Adam", PAPER, fm.Adam(0.01), 10)
ADAM_SHAPES = Case("six shapes, 50, Adam", SHAPES, fm.Adam(0.01), 50)

# For each field, or field of a field, the values that are tried, and the cases that they may matter in.
TRIALS: dict[str, tuple[list[Any], list[Case]]] = {
    "sharing": ([*Sharing], [SINGLE, MOMENTUM, BATCH, DEEP_1, DEEP_50, SHAPES_1, SHAPES_50]),
    "calls_in_tables": ([True, False], [DEEP_1, DEEP_50, SHAPES_1]),
    "most_short_in_one_piece": ([0, 60, 1 << 20], [SMOOTH, LARGE_BATCH]),
    "short": ([-1, 8, 60], [SMOOTH, LARGE_BATCH, SHAPES_50]),
    "unrolled_in_one_piece": (
        [Unrolled(vectors=1), Unrolled(products=0), Unrolled(products=32), Unrolled(products=512)],
        [SINGLE, MOMENTUM, BATCH],
    ),
    "unrolled_in_one_piece.transposed_blocks": ([0, 1, 8], [SINGLE, BATCH]),
    "unrolled_in_one_piece.row_blocks": ([0, 1, 8], [SINGLE, MOMENTUM, OUTPUTS_10]),
    "unrolled_in_one_piece.column_blocks": ([0, 1, 8], [SINGLE, BATCH, OUTPUTS_10]),
    "unrolled_in_one_piece.grad_vectors": ([0, 1, 16], [SINGLE, OUTPUTS_10]),
    "unrolled_in_functions.vectors": ([0, 8], [SHAPES_1, SHAPES_50, DEEP_1, DEEP_50]),
    "unrolled_in_functions.products": ([0, 128], [SHAPES_1, SHAPES_50, DEEP_1, DEEP_50]),
    "unrolled_in_functions.transposed_blocks": ([2], [SHAPES_50, DEEP_50]),
    "one_by_one": ([0, 8, 128], [BATCH, LARGE_BATCH]),
    "most_outputs_compared": ([0, 16], [SINGLE, LARGE_BATCH, OUTPUTS_10]),
    "most_outputs_added": ([0, 16], [SINGLE, LARGE_BATCH, OUTPUTS_10]),
    "most_outputs_side_by_side": ([0], [BATCH, LARGE_BATCH, *LOGITS]),
    "long_rule": ([True, False], [ADAM, ADAM_10, ADAM_SHAPES]),
    "most_loss_vectors": ([0, 64], [CLASSES]),
    "most_copied_vectors": ([0, 30, 1000], [SINGLE, WIDE_1]),
    "product_width": ([1, 2, 8], [SINGLE, MOMENTUM, WIDE_1]),
    "product_chains": ([2, 4, 16], [SINGLE, MOMENTUM, WIDE_1]),
    "tail_chains": ([1, 4], [MOMENTUM]),
    "registers": ([16, 48], [LARGE_BATCH, WIDE_32]),
    "share_of_registers": ([0.5, 0.625, 0.875], [LARGE_BATCH, WIDE_32, SHAPES_50]),
    "largest_share_of_lanes": ([0.0, 0.25, 1.0], [BATCH, *FEW_UNITS]),
    "samples_at_once_alone": ([64, 128], [WHOLE]),
    "bias_chains": ([1, 2, 8], [LARGE_BATCH]),
    "bias_vectors": ([1, 2, 8], [WHOLE, SMALL_200]),
    "most_weights_of_small": ([0, 1 << 20], [SMALL_200, MIDDLE_300]),
    "most_samples_in_a_row": ([0, 1 << 12], [WHOLE, LONG_BATCH]),
    "fewest_bytes_fetched": ([0], [SINGLE, BATCH]),
    "most_fused": ([0], [SHAPES_50]),
    "very_short_activation": ([0, 60], [SHAPES_50, DEEP_50]),
    "rows_of_any_matrix": ([4, 12], [SHAPES_50]),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fields", nargs="*", default=[*TRIALS], metavar="FIELD", help=f"some of {', '.join(TRIALS)}")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each plan (15)")
    options = parser.parse_args()
    for field in options.fields:
        values, cases = TRIALS[field]
        for case in cases:
            program = case.program()
            usual = plan_of(program, host())
            others = [with_value(program, usual, field, value) for value in values]
            shares = compare(case, program, usual, others, options.rounds)
            shown = ", ".join(f"{value} {share:.2f}" for value, share in zip(values, shares, strict=True))
            print(f"{field} {usual_value(usual, field)} ({case.name}): {shown}", flush=True)


def with_value(program: Program, usual: Plan, field: str, value: Any) -> Plan:
    """A plan with another value of a field of its own, or of its policy, such as `unrolled_in_one_piece.vectors`."""
    name, _, inner = field.partition(".")
    if name not in attrs.fields_dict(Policy):
        return attrs.evolve(usual, **{name: value})
    changed = attrs.evolve(getattr(MEASURED, name), **{inner: value}) if inner else value
    return plan_of(program, host(), attrs.evolve(MEASURED, **{name: changed}))


def usual_value(plan: Plan, field: str) -> Any:
    owner: Any = plan.policy if field.partition(".")[0] in attrs.fields_dict(Policy) else plan
    return operator.attrgetter(field)(owner)


def compare(case: Case, program: Program, usual: Plan, others: list[Plan], rounds: int) -> list[float]:
    """The fastest turn under each other plan as a share of the fastest under the usual one."""
    turns = [epoch(case, program, plan) for plan in (usual, *others)]
    fastest = [float("inf")] * len(turns)
    for _, (index, turn) in itertools.product(range(rounds), enumerate(turns)):
        fastest[index] = min(fastest[index], turn())
    return [time / fastest[0] for time in fastest[1:]]


def epoch(case: Case, program: Program, plan: Plan) -> Callable[[], float]:
    """What runs a few epochs under a plan, and returns the seconds of the fastest."""
    inputs = fm.random.normal(KEY, (case.rows, program.in_features))
    data = fm.Dataset(inputs, fm.random.normal(KEY, (case.rows, program.out_features)))
    rows = Rows.of(data, fm.MeanSquaredError())
    session, order = Session(compiled(NetworkSource(program, plan), host())), fm.random.permutation(KEY, case.rows)
    session.layout.pack(case.network.init(KEY), session.array(0))

    def once() -> float:
        started = time.perf_counter()
        session.run(rows, case.rows, order, learning_rate=1e-4)
        return time.perf_counter() - started

    return lambda: min(once() for _ in range(10))


if __name__ == "__main__":
    main()
