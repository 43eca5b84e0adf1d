"""The command `trace`: one sample on its way through a network and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import attrs
from cyclopts import Parameter

import functional_mlp as fm
from functional_mlp.cli.data import SourceOptions
from functional_mlp.cli.network import NetworkOptions
from functional_mlp.cli.output import Printing
from functional_mlp.cli.parsing import parse_integer
from functional_mlp.cli.run import Run
from functional_mlp.cli.terminal import say
from functional_mlp.cli.training import TRAINING_GROUP, LossOption, RuleOptions, SeedOption, TrainingOptions

if TYPE_CHECKING:
    from functional_mlp.tracing import Quantity


def trace(
    *,
    data: SourceOptions = SourceOptions(),  # noqa: B008 - frozen
    network: NetworkOptions = NetworkOptions(),  # noqa: B008 - frozen
    loss: LossOption = None,
    sample: Annotated[int, Parameter(converter=parse_integer, group=TRAINING_GROUP, metavar="ROW")] = 0,
    seed: SeedOption = 0,
    printing: Printing = Printing(),  # noqa: B008 - frozen
) -> None:
    """Show one step of back-propagation: what each layer gives, and each gradient, with the number of its equation.

    The network has the weights that it starts with. A small one is easy to follow with pencil and paper, for example
    functional-mlp trace --hidden 3 --activation tanh.

    Parameters
    ----------
    sample
        Which of the training samples goes through, counted from 0.
    """
    options = TrainingOptions(loss=loss, seed=seed)
    data_key, fit_key = fm.random.key(seed).split()
    samples = data.load(data_key, options.torch_dtype(), options.torch_device())
    rows = samples.training
    if not 0 <= sample < len(rows):
        raise ValueError(f"--sample: there are {len(rows):,} samples, counted from 0, got {sample}")
    run = Run.of(samples, network, options, RuleOptions())
    rows = run.samples.training  # with the targets that its loss takes
    params = run.network.init(fit_key.split()[0], dtype=rows.inputs.dtype)  # what `train` starts with
    step = fm.trace(run.network, run.loss, params, rows.inputs[sample], rows.targets[sample])
    console = printing.out()
    for line in repr(step).split("\n"):
        say(console, line)
    passes = {"forward": step.forward, "backward": step.backward}
    printing.finish({name: [_plain(quantity) for quantity in quantities] for name, quantities in passes.items()})


def _plain(quantity: Quantity) -> dict[str, Any]:
    """A quantity for machines."""
    return {**attrs.asdict(quantity, recurse=False), "value": quantity.value.tolist()}
