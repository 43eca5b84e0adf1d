"""`train --cross-validate`: many trainings, each with another part of the table for validation."""

from __future__ import annotations

from typing import Any

import functional_mlp as fm
from functional_mlp.cli.data import DataOptions, samples_of
from functional_mlp.cli.ending import check_completed
from functional_mlp.cli.measuring import score_parts
from functional_mlp.cli.members import epochs_of, say_best_epochs, spread_table
from functional_mlp.cli.network import NetworkOptions
from functional_mlp.cli.output import Printing
from functional_mlp.cli.run import Run
from functional_mlp.cli.terminal import say, say_facts, say_notes
from functional_mlp.cli.training import RuleOptions, TrainingOptions
from functional_mlp.interrupts import no_interrupt


def cross_validate(
    parts: int,
    data: DataOptions,
    network: NetworkOptions,
    training: TrainingOptions,
    rule: RuleOptions,
    printing: Printing,
) -> None:
    """Train once for each part, on all the others, and print the mean of the scores with its deviation.

    Parameters
    ----------
    parts
        How many.
    data
        Which data, and how they are read.
    network
        Which network.
    training
        How it is trained.
    rule
        By which optimizer.
    printing
        What is printed, and how.
    """
    key, fit_key = fm.random.key(training.seed).split()
    table = data.read()
    assert table is not None
    import torch

    strata = torch.zeros(len(table), dtype=torch.int64) if table.labels is None else table.labels
    if not 2 <= parts <= len(table):
        raise ValueError(f"--cross-validate takes from 2 parts to one for each row, {len(table)}, got {parts}")
    dtype, device = training.torch_dtype(), training.torch_device()
    scores, results = [], []
    notes: list[str] = []
    for number, (own, others) in enumerate(fm.tables.stratified_folds(key, strata, parts)):
        split = fm.tables.parts_of(table, own, others, dtype=dtype, device=device)
        samples = data.completed(samples_of(table, split), dtype, device)
        run = Run.of(samples, network, training, rule)
        if number == 0:
            say_facts(printing.out(), run.facts)
        said = [note for note in samples.notes if note not in notes]
        say_notes(printing.out(), [f"training {number + 1}: {note}" for note in said] if number else said)
        notes += said
        result = run.fit(fit_key.fold_in(number), printing.err())
        results.append((result, run.settings.epochs))
        with no_interrupt():
            scores.append(score_parts(run.network, run.loss, [result.best_params], run.samples))
        if result.interrupted:
            break
    with no_interrupt():
        out = printing.out()
        out.print()
        trainings = f"{len(scores)} of {parts}" if len(scores) < parts else f"{parts}"
        say(out, f"Results of {trainings} trainings, each validated on another part: mean ± standard deviation")
        out.print(spread_table(scores))
        trained = [result for result, _ in results]
        say_best_epochs(out, "trainings", trained)
        parts_json = [_as_json(each) for each in scores]
        printing.finish({**run.facts, "notes": notes, "parts": parts_json, **epochs_of(trained)})
    for result, epochs in results:
        check_completed(result, epochs)


def _as_json(scores: Any) -> dict[str, Any]:
    return {name: each.to_json() for name, each in scores.items()}
