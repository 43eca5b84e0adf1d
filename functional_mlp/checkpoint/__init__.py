"""Training that outlives the process: states saved to a file, loaded, and gone on with.

A checkpoint is one safetensors file. Its tensors are named by the code that reaches them: `params[0].weight`,
`slots.velocity[0].weight` for what the optimizer remembers, `history.train_loss` for the figures of the epochs.
Its metadata has one entry, `functional_mlp`, a JSON document that begins with a digest of the whole file and holds
the format's number, the library's version, the network, the optimizer and the loss as the code that makes them,
and the learning rate, step, epoch and key of the training.

    container.py     the safetensors file, its digest, and the checks before a byte of it is believed
    values.py        layers, optimizers and losses as JSON, and back; the registry of a user's own
    description.py   what the document says, and what the tensors are called
    saving.py        save
    loading.py       load
    resuming.py      the checkpoint that `fit` keeps and goes on from

Nothing in a file is executed: a class is only found in the registry by its name.
"""

from functional_mlp.checkpoint.container import CheckpointError
from functional_mlp.checkpoint.loading import Saved, load
from functional_mlp.checkpoint.resuming import Checkpoint
from functional_mlp.checkpoint.saving import save
from functional_mlp.checkpoint.values import Registry

__all__ = ["Checkpoint", "CheckpointError", "Registry", "Saved", "load", "save"]
