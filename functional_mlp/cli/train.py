"""The command `train`: a classifier, on the paper's data or on a table."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from attrs import asdict

import functional_mlp as fm
from functional_mlp.cli.data import ClassificationData, DataOptions
from functional_mlp.cli.ending import check_completed
from functional_mlp.cli.members import EnsembleOptions, train_members
from functional_mlp.cli.model import ModelOptions
from functional_mlp.cli.network import NetworkOptions
from functional_mlp.cli.paths import check_files
from functional_mlp.cli.plots import PlotOptions
from functional_mlp.cli.progress import training_display
from functional_mlp.cli.report import print_results
from functional_mlp.cli.terminal import err_console, out_console, plain_warnings, say_facts, say_written
from functional_mlp.cli.training import RuleOptions, TrainingOptions, TrainingSettings
from functional_mlp.interrupts import no_interrupt
from functional_mlp.spread import count

if TYPE_CHECKING:
    from functional_mlp.random import Key


def train(
    *,
    data: DataOptions = DataOptions(),  # noqa: B008 - frozen
    network: NetworkOptions = NetworkOptions(),  # noqa: B008 - frozen
    training: TrainingOptions = TrainingOptions(),  # noqa: B008 - frozen
    rule: RuleOptions = RuleOptions(),  # noqa: B008 - frozen
    plots: PlotOptions = PlotOptions(),  # noqa: B008 - frozen
    output: ModelOptions = ModelOptions(),  # noqa: B008 - frozen
    ensemble: EnsembleOptions = EnsembleOptions(),  # noqa: B008 - frozen
) -> None:
    """Train a classifier, on the paper's data or on a table of your own.

    Without options it repeats the paper: a network 2-25-25-25-2 learns which points of the unit square lie in a
    disk. With --data and --target it learns the classes of a table. It ends with the loss and the accuracy on
    training and validation samples, and with how often each class was taken for which. Ctrl-C ends the training
    early, and shows what was learnt so far. With --members it trains many networks at once.
    """
    plots.check()
    ensemble.check(saves=output.out is not None)
    check_files(reads={"--data": data.data}, writes={"--out": output.out, **plots.files()})
    data_key, fit_key = fm.random.key(training.seed).split()
    samples = data.load(data_key, training.torch_dtype(), training.torch_device())
    settings = training.filled(samples.recipe, **asdict(rule))
    sizes = samples.training.inputs.shape[1], len(samples.classes)
    model = network.network(*sizes, default_initializer=samples.recipe.initializer)
    checkpoint = output.checkpoint(samples, training.epochs)

    for make in (settings.make_loss, settings.make_optimizer, training.make_penalty):
        make()  # raises before anything is said
    say_facts(out_console(), _describe(samples, model, network, training, settings))
    if ensemble.members > 1:
        train_members(model, samples, training, settings, ensemble.members, fit_key, plots.plot)
    else:
        with output.in_options():
            result = _fit(model, samples, training, settings, fit_key, checkpoint)
        with no_interrupt():
            print_results(out_console(), model, settings.make_loss(), result, samples)
            for path in plots.save(model, result, samples):
                say_written(out_console(), "plot", path)
            if checkpoint is not None:
                say_written(out_console(), "model", checkpoint.path)
        check_completed(result, training.epochs)


def _fit(
    network: fm.Layer,
    samples: ClassificationData,
    training: TrainingOptions,
    settings: TrainingSettings,
    key: Key,
    checkpoint: fm.Checkpoint | None,
) -> fm.FitResult:
    """`fit` with a display, and without its warnings: the end of the run says what diverged."""
    with training_display(err_console(), training.epochs) as display, plain_warnings():
        warnings.filterwarnings("ignore", "fit: ", RuntimeWarning)
        return fm.fit(
            network,
            settings.make_loss(),
            settings.make_optimizer(),
            samples.training,
            key=key,
            epochs=training.epochs,
            batch_size=settings.batch_size,
            schedule=settings.make_schedule(),
            validation=samples.validation,
            engine=training.engine,
            progress=display.progress,
            callbacks=[display.callback],
            checkpoint=checkpoint,
            early_stopping=training.make_early_stopping(),
            penalty=training.make_penalty(),
        )


def _describe(
    samples: ClassificationData,
    model: fm.Sequential,
    network: NetworkOptions,
    training: TrainingOptions,
    settings: TrainingSettings,
) -> dict[str, str]:
    widths = (samples.training.inputs.shape[1], *network.hidden, len(samples.classes))
    parameters = sum(count for _, _, count in model.summary_rows(widths[0]))
    given = {
        "beta": settings.beta,
        "weight decay": settings.weight_decay,
        "label smoothing": settings.label_smoothing,
        "l2": training.l2,
    }
    numbers = "".join(f", {name} {number:g}" for name, number in given.items() if number is not None)
    return {
        "data": f"{samples.description}: {count(widths[0], 'feature')}, {widths[-1]} classes",
        "network": f"{'-'.join(map(str, widths))}, {', '.join(network.activation_names())}, "
        f"{network.initializer or samples.recipe.initializer}: {parameters:,} parameters",
        "training": f"{settings.loss}, {settings.optimizer} {settings.learning_rate:g}{numbers}, "
        f"decay {settings.decay:g}, batch size {settings.batch_size}, {count(training.epochs, 'epoch')}, "
        f"seed {training.seed}",
    }
