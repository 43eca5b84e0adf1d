"""The command `summary`: what a network is made of."""

from typing import Annotated

from attrs import evolve
from cyclopts import Parameter

import functional_mlp as fm
from functional_mlp.cli.network import NETWORK_GROUP, NetworkOptions
from functional_mlp.cli.output import Printing
from functional_mlp.cli.parsing import parse_integer
from functional_mlp.cli.recipes import PAPER_RECIPE
from functional_mlp.cli.terminal import say


def summary(
    *,
    inputs: Annotated[int, Parameter(converter=parse_integer, group=NETWORK_GROUP)] = 2,
    outputs: Annotated[int, Parameter(converter=parse_integer, group=NETWORK_GROUP)] = 2,
    network: NetworkOptions = NetworkOptions(),  # noqa: B008 - frozen
    math: Annotated[bool, Parameter(negative="")] = False,
    printing: Printing = Printing(),  # noqa: B008 - frozen
) -> None:
    """Show a network's layers, their sizes and their numbers of parameters, without training it.

    Parameters
    ----------
    inputs
        Number of features.
    outputs
        Number of classes.
    math
        Print the equations of the forward and the backward pass as well, in LaTeX.
    """
    model = network.filled(evolve(PAPER_RECIPE, initializer=None)).network(inputs, outputs)
    console = printing.out()
    for line in model.summary().split("\n"):
        say(console, line)
    equations = fm.latex(model) if math else None
    if equations is not None:
        console.print()
        for line in equations.split("\n"):
            say(console, line)
    rows = [{"layer": name, "outputs": size, "parameters": own} for name, size, own in model.summary_rows(inputs)]
    total = fm.count_parameters(model.init(fm.random.key(0)))
    shown = {} if equations is None else {"equations": equations}
    printing.finish({"network": repr(model), "layers": rows, "parameters": total} | shown)
