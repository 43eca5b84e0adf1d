"""The command `train`: classes or a quantity, of the paper's data or of a table."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import functional_mlp as fm
from functional_mlp.cli import ranks
from functional_mlp.cli.cluster import ClusterOptions
from functional_mlp.cli.crossing import cross_validate
from functional_mlp.cli.data import DATA_GROUP, DataOptions
from functional_mlp.cli.members import EnsembleOptions
from functional_mlp.cli.model import ModelOptions
from functional_mlp.cli.network import NetworkOptions
from functional_mlp.cli.output import Printing
from functional_mlp.cli.parsing import parse_integer
from functional_mlp.cli.paths import check_files
from functional_mlp.cli.plots import PlotOptions
from functional_mlp.cli.progress import ensemble_display
from functional_mlp.cli.run import Run, fit_ensemble
from functional_mlp.cli.terminal import say_facts, say_notes, say_written
from functional_mlp.cli.trained import TrainedMembers, TrainedNetwork
from functional_mlp.cli.training import RuleOptions, TrainingOptions
from functional_mlp.interrupts import no_interrupt

Trained = TrainedNetwork | TrainedMembers


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
    if parts is not None:
        if data.data is None or ensemble.members > 1 or output.out is not None or plots.plot is not None:
            raise ValueError("--cross-validate needs --data, and goes without --out, --plot and --members")
        cross_validate(parts, data, network, training, rule, printing)
        return
    data_key, fit_key = fm.random.key(training.seed).split()
    samples = data.load(data_key, training.torch_dtype(), training.torch_device())
    run = Run.of(samples, network, training, rule)
    checkpoint = output.checkpoint(samples.about, run.settings)
    with cluster.executor() as executor, output.in_options():
        say_facts(printing.out(), run.facts)
        say_notes(printing.out(), samples.notes)
        if ensemble.members == 1:
            trained: Trained = TrainedNetwork(run, run.fit(fit_key, printing.err(), checkpoint))
        else:
            keys = fit_key.split(ensemble.members)
            with ensemble_display(printing.err(), run.settings.epochs) as progress:
                fit = functools.partial(fit_ensemble, checkpoint=checkpoint, executor=executor)
                trained = TrainedMembers.of(run, functools.partial(fit, run.ensemble(keys), progress))
    if ranks.is_first():
        with no_interrupt():
            _finish(trained, printing, plots, None if checkpoint is None else checkpoint.path)
        with output.in_options():
            trained.check_completed()


def _finish(trained: Trained, printing: Printing, plots: PlotOptions, model: Path | None) -> None:
    """Print what has been trained, and say what has been written."""
    found, drawn = trained.show(printing), trained.draw(plots)
    for path in drawn:
        say_written(printing.out(), "plot", path)
    if model is not None:
        say_written(printing.out(), "model", model)
    run = trained.run
    printing.finish({**run.facts, "notes": run.samples.notes, **found, "plots": drawn, "model": model})
