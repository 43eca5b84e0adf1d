"""How the code of a group of networks is made and run: what `functional_mlp.engine.plan` has for one network."""

import functools

import attrs

from functional_mlp.engine.expressions import activation_code
from functional_mlp.engine.lengths import activation_lengths, activations, loss_length, rule_length_of_a_vector
from functional_mlp.engine.llvm.target import Target
from functional_mlp.engine.plan import lanes_of, number_bytes
from functional_mlp.engine.policy import MEASURED, Policy
from functional_mlp.engine.program import Program, TrainingProgram, affine_steps, pointwise_steps

# How often the code of a layer has the optimizer's rule: for its weights and for its biases.
RULES_OF_A_LAYER = 2


@attrs.frozen(kw_only=True)
class MembersPlan:
    """How the code of a group of networks that are trained at once is made and run, by a policy."""

    policy: Policy
    architecture: str  # of the processor, by LLVM's name
    lanes: int  # the numbers in a vector
    members: int  # the networks in a group: a vector holds `lanes // members` numbers of each
    rows_per_call: int

    @property
    def units(self) -> int:
        """How many numbers of each member a vector holds."""
        return self.lanes // self.members


@functools.lru_cache(maxsize=256)
def members_plan_of(
    program: Program, slots: int, batch_size: int, target: Target, policy: Policy = MEASURED
) -> MembersPlan:
    """The plan for networks of one program, whose optimizers have `slots` slots."""
    lanes = lanes_of(program, target)
    full = bytes_of_a_member(program, slots, batch_size) * lanes <= policy.first_cache_bytes
    operations = sum(
        layer.out_features * (policy.operations_per_weight * layer.in_features + policy.operations_per_unit)
        for layer in affine_steps(program.steps)
    )
    batches = policy.vector_operations_per_call // max(1, operations * batch_size)
    return MembersPlan(
        policy=policy,
        architecture=target.architecture,
        lanes=lanes,
        members=lanes if full else max(lanes // 2, 2),
        rows_per_call=max(1, batches) * batch_size,
    )


def gain_from_groups(program: TrainingProgram, count: int, target: Target, policy: Policy = MEASURED) -> bool:
    """Whether `count` networks of one program are trained faster in groups than one after the other."""
    slots, batch_size = len(program.optimizer.slots()), program.batch_size
    members = members_plan_of(program, slots, batch_size, target, policy).members
    return (
        count > policy.least_share_of_a_group * members
        and bytes_of_a_member(program, slots, batch_size) * members <= policy.first_cache_bytes
        and program.out_features <= policy.most_outputs_of_members
        and batch_size <= policy.most_samples_of_members
        and _instructions_of_members(program, policy) <= policy.most_instructions_of_members
    )


def bytes_of_a_member(program: Program, slots: int, batch_size: int) -> int:
    """The size of its parameters, what the optimizer remembers of them, and the gradients of a batch."""
    arrays = 1 + slots + (batch_size > 1)
    numbers = sum((layer.in_features + layer.bias) * layer.out_features for layer in affine_steps(program.steps))
    return numbers * arrays * number_bytes(program)


def _instructions_of_members(program: TrainingProgram, policy: Policy) -> int:
    """About how many instructions an epoch has."""
    lengths = {activation_code(layer): sum(activation_lengths(layer)) for layer in activations(program)}
    of_activations = sum(lengths[step.code] for step in pointwise_steps(program.steps))
    of_layer = policy.copies + RULES_OF_A_LAYER * rule_length_of_a_vector(program.optimizer, program.penalty)
    of_layers = of_layer * len(affine_steps(program.steps))
    return policy.copies * (of_activations + of_layers) + loss_length(program.loss, program.out_features)
