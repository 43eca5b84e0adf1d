"""The command `train`: classes or a quantity, of the paper's data or of a table."""

from __future__ import annotations

import math
from typing import Annotated, Any

from cyclopts import Parameter

import functional_mlp as fm
from functional_mlp.cli import ranks
from functional_mlp.cli.cluster import ClusterOptions
from functional_mlp.cli.crossing import cross_validate
from functional_mlp.cli.data import DATA_GROUP, DataOptions
from functional_mlp.cli.ending import check_completed, check_members_completed
from functional_mlp.cli.measuring import score_parts
from functional_mlp.cli.members import EnsembleOptions, print_members
from functional_mlp.cli.model import ModelOptions
from functional_mlp.cli.network import NetworkOptions
from functional_mlp.cli.output import Printing
from functional_mlp.cli.parsing import parse_integer
from functional_mlp.cli.paths import check_files
from functional_mlp.cli.plots import PlotOptions
from functional_mlp.cli.progress import ensemble_display
from functional_mlp.cli.report import print_scores, print_speed, remarks
from functional_mlp.cli.run import Run, fit_ensemble
from functional_mlp.cli.terminal import say, say_facts, say_notes, say_written
from functional_mlp.cli.training import RuleOptions, TrainingOptions
from functional_mlp.interrupts import no_interrupt


def train(
    *,
    data: DataOptions = DataOptions(),  # noqa: B008 - frozen
    parts: Annotated[
        int | None, Parameter(name="--cross-validate", converter=parse_integer, group=DATA_GROUP, metavar="PARTS")
    ] = None,
    network: NetworkOptions = NetworkOptions(),  # noqa: B008 - frozen
    training: TrainingOptions = TrainingOptions(),  # noqa: B008 - frozen
    rule: RuleOptions = RuleOptions(),  # noqa: B008 - frozen
    plots: PlotOptions = PlotOptions(),  # noqa: B008 - frozen
    output: ModelOptions = ModelOptions(),  # noqa: B008 - frozen
    ensemble: EnsembleOptions = EnsembleOptions(),  # noqa: B008 - frozen
    cluster: ClusterOptions = ClusterOptions(),  # noqa: B008 - frozen
    printing: Printing = Printing(),  # noqa: B008 - frozen
) -> None:
    """Train a network, on the paper's data or on a table of your own.

    Without options it repeats the paper: a network 2-25-25-25-2 learns which points of the unit square lie in a
    disk. With --data and --target it learns the classes, or the quantity, in a column of a table. It ends with the
    loss and the accuracy on training and validation samples, how well each class is found and how often each was
    taken for which; for a quantity, with the errors in its units. Ctrl-C ends the training early, and shows what was
    learnt so far. With --members it trains many networks at once, with --cluster on other machines; started as
    `torchrun --nproc-per-node 4 -m functional_mlp train` it divides each batch among four processes.

    Parameters
    ----------
    parts
        Divide the table into this number of parts, train once with each of them for validation, and show the mean
        results.
    """
    plots.check()
    ensemble.check()
    ranks.check_options(members=ensemble.members, engine=training.engine, parts=parts)
    if cluster.cluster is not None and ensemble.members == 1:
        raise ValueError("--cluster trains many networks: give --members")
    check_files(reads=data.files(), writes={"--out": output.out, **plots.files()})
    data_key, fit_key = fm.random.key(training.seed).split()
    if parts is not None:
        if data.data is None or ensemble.members > 1 or output.out is not None or plots.plot is not None:
            raise ValueError("--cross-validate needs --data, and goes without --out, --plot and --members")
        cross_validate(
            parts,
            data=data,
            network=network,
            training=training,
            rule=rule,
            printing=printing,
            key=data_key,
            fit_key=fit_key,
        )
        return
    samples = data.load(data_key, training.torch_dtype(), training.torch_device())
    run = Run.of(samples, network, training, rule)
    checkpoint = output.checkpoint(samples.about, run.settings)
    facts = run.facts
    with cluster.executor() as executor, output.in_options():
        say_facts(printing.out(), facts)
        say_notes(printing.out(), samples.notes)
        if ensemble.members > 1:
            keys = fit_key.split(ensemble.members)
            with ensemble_display(printing.err(), run.settings.epochs) as progress:
                results = fit_ensemble(run.ensemble(keys), progress, checkpoint=checkpoint, executor=executor)
        else:
            result = run.fit(fit_key, printing.err(), checkpoint)
    if not ranks.is_first():
        return
    with no_interrupt():
        if ensemble.members > 1:
            found = print_members(printing.out(), run, results)
            drawn = plots.save_members(run, results)
        else:
            found = _print_results(printing, run, result)
            drawn = plots.save(run, result)
        for path in drawn:
            say_written(printing.out(), "plot", path)
        if checkpoint is not None:
            say_written(printing.out(), "model", checkpoint.path)
        kept = None if checkpoint is None else checkpoint.path
        printing.finish({**facts, "notes": samples.notes, **found, "plots": drawn, "model": kept})
    if ensemble.members > 1:
        check_members_completed(results)
    else:
        check_completed(result, run.settings.epochs)


def _print_results(printing: Printing, run: Run, result: fm.FitResult) -> dict[str, Any]:
    """Print the tables of a training; returns what they say."""
    out = printing.out()
    scores = score_parts(run.network, run.loss, [result.best_params], run.samples)
    print_scores(out, "Results", scores)
    if result.best is not result.state:
        ended = "stopped early after" if result.stopped_early else "after"
        say(out, f"{ended} {result.state.epoch} epochs; these are the results of the best, epoch {result.best.epoch}")
    said = list(remarks(scores, None if run.early_stopping else result.history))
    seconds = math.fsum(result.history.seconds)
    print_speed(out, len(result.history) * len(run.samples.training), seconds)
    say_notes(out, said)
    return {
        "results": {name: each.to_json() for name, each in scores.items()},
        "remarks": said,
        "epochs": result.state.epoch,
        "best_epoch": result.best.epoch,
        "stopped_early": result.stopped_early,
        "seconds": seconds,
        "history": result.history.to_dict(),
    }
