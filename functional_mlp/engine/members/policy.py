"""The choices among ways to train a group of networks at once, as `functional_mlp.engine.policy` has those of one."""

import functools

import attrs

from functional_mlp.engine.expressions import activation_code
from functional_mlp.engine.lengths import activation_lengths, activations, loss_length, rule_length_of_a_vector
from functional_mlp.engine.llvm.target import Target
from functional_mlp.engine.policy import (
    MOST_EPOCHS_PER_CALL,
    OPERATIONS_PER_UNIT,
    OPERATIONS_PER_WEIGHT,
    lanes_of,
    number_bytes,
)
from functional_mlp.engine.program import Program, TrainingProgram, affine_steps, pointwise_steps

# A group of members: its weights, with what the optimizer remembers and a batch's gradients, are to lie in a core's
# first cache. Where those of as many members as a vector has lanes do not, half as many are taken together, and where
# theirs do not either, each is trained by itself. A fit alone took 0.92 to 2.3 of a member's time where they do, 1.34
# in the middle, and 0.67 to 1.41 where they do not, 0.97 in the middle: 2-w-2 to 2-w-w-w-2 with w from 2 to 64 at batch
# sizes 1, 10 and 50 with SGD.
FIRST_CACHE_BYTES = 48 << 10
# The same as `OPERATIONS_PER_CALL`, counted in operations on vectors.
VECTOR_OPERATIONS_PER_CALL = 120_000_000
# Losses of groups are emitted without loops, and each step has code of its own, its expressions about `COPIES` times:
# there must not be more of either.
MOST_OUTPUTS_OF_MEMBERS = 32
COPIES, MOST_INSTRUCTIONS_OF_MEMBERS = 10, 12_000
# A batch of a group is not divided between calls.
MOST_SAMPLES_OF_MEMBERS = 1000


@attrs.frozen(kw_only=True)
class MembersPolicy:
    """How the code of a group of networks that are trained at once is made."""

    lanes: int  # the numbers in a vector
    members: int  # the networks in a group: a vector holds `lanes // members` numbers of each
    unrolled_units: int = 4  # the units that are treated one after the other in the body of a loop
    most_rows: int = 8  # the most rows of a matrix that are met at a time: as many as registers hold
    rows_per_call: int
    most_epochs_per_call: int = MOST_EPOCHS_PER_CALL

    @property
    def units(self) -> int:
        """How many numbers of each member a vector holds."""
        return self.lanes // self.members


@functools.lru_cache(maxsize=256)
def members_policy_of(program: Program, slots: int, batch_size: int, target: Target) -> MembersPolicy:
    """The policy for networks of one program, whose optimizers have `slots` slots."""
    lanes = lanes_of(program, target)
    full = _bytes_of_a_member(program, slots, batch_size) * lanes <= FIRST_CACHE_BYTES
    operations = sum(
        layer.out_features * (OPERATIONS_PER_WEIGHT * layer.in_features + OPERATIONS_PER_UNIT)
        for layer in affine_steps(program.steps)
    )
    batches = VECTOR_OPERATIONS_PER_CALL // max(1, operations * batch_size)
    return MembersPolicy(
        lanes=lanes,
        members=lanes if full else max(lanes // 2, 2),
        rows_per_call=max(1, batches) * batch_size,
    )


def gain_from_groups(program: TrainingProgram, count: int, target: Target) -> bool:
    """Whether `count` networks of one program are trained faster in groups than one after the other."""
    slots, batch_size = len(program.optimizer.slots()), program.batch_size
    members = members_policy_of(program, slots, batch_size, target).members
    return (
        2 * count > members
        and _bytes_of_a_member(program, slots, batch_size) * members <= FIRST_CACHE_BYTES
        and program.out_features <= MOST_OUTPUTS_OF_MEMBERS
        and batch_size <= MOST_SAMPLES_OF_MEMBERS
        and _instructions_of_members(program) <= MOST_INSTRUCTIONS_OF_MEMBERS
    )


def _bytes_of_a_member(program: Program, slots: int, batch_size: int) -> int:
    """The size of its parameters, what the optimizer remembers of them, and the gradients of a batch."""
    arrays = 1 + slots + (batch_size > 1)
    numbers = sum((layer.in_features + layer.bias) * layer.out_features for layer in affine_steps(program.steps))
    return numbers * arrays * number_bytes(program)


def _instructions_of_members(program: TrainingProgram) -> int:
    """About how many instructions an epoch has."""
    lengths = {activation_code(layer): sum(activation_lengths(layer)) for layer in activations(program)}
    of_activations = sum(lengths[step.code] for step in pointwise_steps(program.steps))
    of_layer = COPIES + 2 * rule_length_of_a_vector(program.optimizer, program.penalty)
    of_layers = of_layer * len(affine_steps(program.steps))
    return COPIES * (of_activations + of_layers) + loss_length(program.loss, program.out_features)
