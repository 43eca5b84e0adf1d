"""Whether another initialization improves the model, as the paper suggests (section IV)."""

from collections.abc import Sequence

import attrs

from functional_mlp.experiments import paper, trials
from functional_mlp.experiments.paper import Recipe
from functional_mlp.experiments.trials import Curves, Draw, Performance
from functional_mlp.initializers import kaiming_uniform, xavier_uniform, zeros
from functional_mlp.schedules import Schedule, constant, exponential_decay

# Xavier and Kaiming describe weights: their biases start at zero.
NETWORKS = {
    "U(−1, 1)": paper.network(),
    "Xavier": paper.network(xavier_uniform(), zeros()),
    "Kaiming": paper.network(kaiming_uniform(), zeros()),
    "PyTorch's": paper.network(paper.PYTORCH_DEFAULT),
}
# A smaller start needs longer steps: the slower decay shows what the initialization costs where there is time.
SCHEDULES: dict[str, Schedule] = {"× 0.9": paper.DECAY, "× 0.97": exponential_decay(0.97), "constant": constant()}


@attrs.frozen
class Initialized:
    """The runs from one initialization under one step-size schedule."""

    initialization: str
    schedule: str
    performance: Performance
    curves: Curves


def run(draws: Sequence[Draw]) -> tuple[Initialized, ...]:
    """Train from every initialization under every schedule, with the paper's step size and epochs."""
    results = []
    for schedule_name, schedule in SCHEDULES.items():
        for name, network in NETWORKS.items():
            runs = trials.train(Recipe(network=network, schedule=schedule), draws)
            results.append(Initialized(name, schedule_name, Performance.of(runs), Curves.of(runs)))
    return tuple(results)
