"""Training one network on many processes: each batch is divided among the ranks of a `torch.distributed` group.

    fitting.py     `fit`
    ranks.py       the ranks of a group, and what they ask each other
    agreement.py   whether all ranks were given the same
    trial.py       what they were given on the first rows: words may hide what is computed
    asking.py      the caller's own functions, asked so that all ranks learn what one says
    course.py      the course of training, on all ranks the same
    running.py     an epoch: each rank's share of every batch, and one sum of gradients a step
    keeping.py     a checkpoint, which rank 0 writes

`torchrun --nproc-per-node 2 script.py` starts two ranks of a script on this machine, and
`torchrun --nproc-per-node 2 -m functional_mlp train --data table.csv --target kind` of the command.
"""

from functional_mlp.distributed.fitting import fit

__all__ = ["fit"]
