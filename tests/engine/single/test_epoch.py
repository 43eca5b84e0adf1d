"""What an epoch of single samples keeps in its memory."""

import itertools

import torch
from llvmlite import ir

import functional_mlp as fm
from functional_mlp.engine.calls import Arguments, Scope
from functional_mlp.engine.functions import begin
from functional_mlp.engine.layout import vectors
from functional_mlp.engine.lowering import lower
from functional_mlp.engine.plan import Plan
from functional_mlp.engine.policy import MEASURED
from functional_mlp.engine.program import TrainingProgram
from functional_mlp.engine.rows import Rows
from functional_mlp.engine.session import Session
from functional_mlp.engine.single.epoch import SampleEpoch


def copies_of(program: TrainingProgram, plan: Plan) -> dict[int, int]:
    builder, given = begin(ir.Module(), "epoch", Arguments)
    epoch = SampleEpoch(program, builder, Scope.of_function(plan, *given))
    epoch.emit()
    return epoch.layers.copies


def test_transposed_copies_have_the_bits_of_the_weights() -> None:
    sizes = (2, 25, 25, 9, 13, 2)
    layers = [(fm.Linear(i, o), fm.Tanh()) for i, o in itertools.pairwise(sizes)]
    network = fm.Sequential(*itertools.chain.from_iterable(layers))
    data = fm.datasets.disk(fm.random.key(0), 100)
    optimizer = fm.SGD(0.1)
    state = optimizer.init(network.init(fm.random.key(1)))
    program = lower(
        network, fm.MeanSquaredError(), optimizer, batch_size=1, class_targets=False, dtype=data.inputs.dtype
    )

    def workspace_after(samples: int) -> tuple[torch.Tensor, Session]:
        session = Session.of(program, MEASURED)
        session.layout.pack(state.params, session.array(0))
        session.run(Rows.of(data, program.loss), samples, torch.arange(100), learning_rate=0.1)
        return session.workspace, session

    copied, session = workspace_after(100)
    weights, _ = workspace_after(99)  # the update of the last sample is of the weights alone
    lanes = session.layout.lanes
    copies = copies_of(program, session.plan)
    assert copies
    for number, copy in copies.items():
        matrix = session.layout.matrices[number]
        rows = weights[matrix.offset :][: matrix.rows * matrix.stride].view(matrix.rows, -1)[:, : matrix.columns]
        size = matrix.columns * lanes * vectors(matrix.rows, lanes)
        transposed = copied[copy:][:size].view(matrix.columns, -1)[:, : matrix.rows]
        assert torch.equal(rows.T, transposed)
