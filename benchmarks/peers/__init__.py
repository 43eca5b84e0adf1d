"""The libraries that `epochs.py` times, each training a network on the same task.

A peer is a row of `PEERS`: what it imports, and a function from a `Task` to a `Trainer`. A trainer starts from
the task's initial parameters at every call, runs some epochs and returns the mean loss of each. It shuffles as
the library would; a trainer that can be told the orders takes them, so that `check` in `epochs.py` can show that
the peers do the same work. Libraries are imported inside the functions, so that none has to be installed.
"""

from peers import by_jax, by_sklearn, by_torch, native
from peers.ours import ours
from peers.task import Peer, Task, UnavailableError

__all__ = ["PEERS", "Peer", "Task", "UnavailableError", "peer"]

PEERS = [
    Peer("reference", (), ours("reference")),
    Peer("fused", ("functional_mlp.engine",), ours("fused")),
    Peer("torch.nn", (), by_torch.eager),
    Peer("torch.compile", (), by_torch.compiled),
    Peer("jax", ("jax",), by_jax.plain),
    Peer("equinox", ("jax", "equinox", "optax"), by_jax.equinox),
    Peer("scikit-learn", ("sklearn",), by_sklearn.perceptron, same_orders=False, same_network=False),
    Peer("c", (), native.c),
    Peer("fann", (), native.fann, same_orders=False, same_network=False),
]


def peer(name: str) -> Peer:
    """The peer of a name."""
    return next(p for p in PEERS if p.name == name)
