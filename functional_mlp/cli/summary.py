"""The command `summary`: what a network is made of."""

from typing import Annotated

from cyclopts import Parameter

from functional_mlp.cli.network import NETWORK_GROUP, NetworkOptions
from functional_mlp.cli.parsing import parse_integer
from functional_mlp.cli.terminal import out_console, say


def summary(
    *,
    inputs: Annotated[int, Parameter(converter=parse_integer, group=NETWORK_GROUP)] = 2,
    outputs: Annotated[int, Parameter(converter=parse_integer, group=NETWORK_GROUP)] = 2,
    network: NetworkOptions = NetworkOptions(),  # noqa: B008 - frozen
) -> None:
    """Show a network's layers, their sizes and their numbers of parameters, without training it.

    Parameters
    ----------
    inputs
        Number of features.
    outputs
        Number of classes.
    """
    for line in network.network(inputs, outputs).summary().split("\n"):
        say(out_console(), line)
