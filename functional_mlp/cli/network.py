"""The options that describe a network, and the network that they describe."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any

from attrs import frozen
from cyclopts import Group, Parameter

import functional_mlp as fm
from functional_mlp.cli.parsing import parse_names, parse_widths
from functional_mlp.cli.recipes import Recipe

ACTIVATIONS: dict[str, Callable[[], fm.Elementwise]] = {
    "relu": lambda: fm.ReLU(),
    "tanh": lambda: fm.Tanh(),
    "sigmoid": lambda: fm.Sigmoid(),
    "leaky_relu": lambda: fm.LeakyReLU(),
    "elu": lambda: fm.ELU(),
    "softplus": lambda: fm.Softplus(),
    "silu": lambda: fm.SiLU(),
    "gelu": lambda: fm.GELU(),
    "identity": lambda: fm.Identity(),
}
PAPER_ACTIVATIONS = ("relu", "relu", "tanh")

# Those of `functional_mlp.initializers` that suit all layers.
INITIALIZERS = (
    "uniform",
    "normal",
    "torch_default",
    "xavier_uniform",
    "xavier_normal",
    "kaiming_uniform",
    "kaiming_normal",
)
# The initializers that draw biases as well as weights; with the others biases start at zero.
BIAS_INITIALIZERS = ("uniform", "normal", "torch_default")


NETWORK_GROUP = Group("Network", sort_key=2)

# What is said of an option that `train` takes once, and of which `sweep` takes several.
HIDDEN: Parameter = Parameter(
    group=NETWORK_GROUP,
    help="Widths of the hidden layers, from input to output, joined by commas; none for a network without hidden "
    "layers, whose outputs are linear in the features. Default: 25,25,25 on the paper's disk, 100 on a table.",
)
ACTIVATION: Parameter = Parameter(
    group=NETWORK_GROUP,
    help="Function after each hidden layer: one name for all, or one a layer, joined by commas, of relu, tanh, "
    "sigmoid, leaky_relu, elu, softplus, silu, gelu, identity. Default: gelu on a table; on the paper's disk "
    "relu,relu,tanh for three hidden layers, else relu.",
)
InitializerOption = Annotated[
    str | None,
    Parameter(
        group=NETWORK_GROUP,
        metavar="NAME",
        help='Where weights start: "uniform(LOW,HIGH)", "normal(MEAN,STD)", torch_default (these three draw biases '
        'too), xavier_uniform, xavier_normal, kaiming_uniform or kaiming_normal. Default: "uniform(-1,1)" on the '
        "paper's disk, kaiming_uniform on a table.",
    ),
]


@Parameter(name="*")
@frozen(kw_only=True)
class NetworkOptions:
    """The hidden layers and where their weights start."""

    hidden: Annotated[
        tuple[int, ...] | None, HIDDEN, Parameter(converter=parse_widths, n_tokens=1, negative="", metavar="WIDTHS")
    ] = None
    activation: Annotated[
        tuple[str, ...] | None, ACTIVATION, Parameter(converter=parse_names, n_tokens=1, negative="", metavar="NAMES")
    ] = None
    initializer: InitializerOption = None

    def filled(self, recipe: Recipe) -> NetworkSettings:
        """The settings, with the recipe's where an option was left open."""
        hidden, names = recipe.hidden if self.hidden is None else self.hidden, self.activation or recipe.activations
        if names is None:
            names = PAPER_ACTIVATIONS if len(hidden) == len(PAPER_ACTIVATIONS) else ("relu",)
        return NetworkSettings(hidden, _one_a_layer(names, len(hidden)), self.initializer or recipe.initializer)


@frozen
class NetworkSettings:
    """Hidden layers, the activation of each by its name, and where weights start; None: as `Linear` has it."""

    hidden: tuple[int, ...]
    activations: tuple[str, ...]
    initializer: str | None

    def network(self, in_features: int, out_features: int) -> fm.Sequential:
        """The network, with a linear layer to the outputs at its end."""
        if min(self.hidden, default=1) < 1:
            raise ValueError(f"--hidden: a layer has at least one unit, got {','.join(map(str, self.hidden))}")
        inits = {} if self.initializer is None else parse_initializer(self.initializer)
        widths = (in_features, *self.hidden, out_features)
        layers: list[fm.Layer] = []
        for width, next_width, name in zip(widths, self.hidden, self.activations, strict=False):
            layers += [fm.Linear(width, next_width, **inits), ACTIVATIONS[name]()]
        return fm.Sequential(*layers, fm.Linear(widths[-2], out_features, **inits))


def _one_a_layer(names: tuple[str, ...], layers: int) -> tuple[str, ...]:
    """The name of each hidden layer's activation; `ValueError` for names that are unknown, or too many or too few."""
    for name in names:
        if name not in ACTIVATIONS:
            raise ValueError(f"--activation: there is no {name!r}: choose from {', '.join(ACTIVATIONS)}")
    if layers and len(names) not in (1, layers):
        raise ValueError(
            f"--activation names {len(names)} functions for {layers} hidden layers: give one for all, or {layers}"
        )
    return names if len(names) == layers else names[:1] * layers


def parse_initializer(text: str) -> dict[str, Any]:
    """The arguments of `Linear` that an initializer's text, such as `uniform(-1,1)`, stands for.

    >>> parse_initializer("kaiming_normal")
    {'weight_init': initializers.kaiming_normal()}
    >>> parse_initializer("uniform(-1, 1)")["bias_init"]
    initializers.uniform(-1.0, 1.0)
    """
    match = re.fullmatch(r"\s*(\w+)\s*(?:\(([^()]*)\))?\s*", text)
    name, arguments = match.groups() if match else (text, None)
    if name not in INITIALIZERS:
        raise ValueError(f"--initializer: there is no {name!r}: choose from {', '.join(INITIALIZERS)}")
    make = getattr(fm.initializers, name)
    wanted = list(inspect.signature(make).parameters)
    try:
        numbers = [float(number) for number in (arguments or "").split(",") if number.strip()]
    except ValueError:
        raise ValueError(f"--initializer: {name} takes numbers, got {text!r}") from None
    if len(numbers) != len(wanted):
        form = f"{name}({','.join(wanted).upper()})" if wanted else name
        raise ValueError(f"--initializer: write {form!r}, got {text!r}")
    initializer = make(*numbers)
    return {"weight_init": initializer} | ({"bias_init": initializer} if name in BIAS_INITIALIZERS else {})
