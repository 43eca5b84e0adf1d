"""Ensembles: many networks of one kind, trained at once and asked together.

    trees.py        the stacked pytree: a leading axis over the members
    arguments.py    what is given once for all members, or once for each
    fitting.py      `fit_ensemble`; result.py, its result
    groups.py       members that are trained together; work.py, the training of such a group
    elsewhere.py    groups with the workers of an executor; tasks.py, what these are given to do; parcels.py and
                    sharing.py, how members and data are sent
    stacked.py      the reference engine for many members: torch operations over the member axis
    history.py      means and bands over the members
    prediction.py   what the members say together, and how far they disagree

The fused engine for ensembles is `functional_mlp.engine.members`.
"""

from functional_mlp.ensemble.fitting import fit_ensemble
from functional_mlp.ensemble.history import EnsembleHistory
from functional_mlp.ensemble.prediction import EnsembleMetrics, evaluate, predict, spread
from functional_mlp.ensemble.result import EnsembleResult
from functional_mlp.ensemble.trees import member, stack, unstack

__all__ = [
    "EnsembleHistory",
    "EnsembleMetrics",
    "EnsembleResult",
    "evaluate",
    "fit_ensemble",
    "member",
    "predict",
    "spread",
    "stack",
    "unstack",
]
